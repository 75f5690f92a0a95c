// SPDX-License-Identifier: MIT
//
// The request that the chat would send, as code to copy.
import { useState } from "preact/hooks";
import { Dialog, Segments, Snippet } from "../ui/parts.tsx";

type Language = "curl" | "python" | "javascript";

const LANGUAGES = [
	["curl", "curl"],
	["python", "Python"],
	["javascript", "JavaScript"],
] as const;

interface Body {
	model: string;
	messages: object[];
	[name: string]: unknown;
}

const shellQuoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

function curl(base: string, body: Body): string {
	const json = JSON.stringify(body, null, 2);
	return `curl -N ${base}/chat/completions \\
  -H 'content-type: application/json' \\
  -d ${shellQuoted(json)}`;
}

function python(base: string, body: Body): string {
	const args = Object.entries(body).map(([name, value]) => {
		const json = JSON.stringify(value, null, 4).replaceAll("\n", "\n    ");
		return `    ${name}=${value === true ? "True" : json},`;
	});
	return `from openai import OpenAI

client = OpenAI(base_url="${base}", api_key="not needed on loopback")
stream = client.chat.completions.create(
${args.join("\n")}
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}

function javascript(base: string, body: Body): string {
	const json = JSON.stringify(body, null, 2);
	return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${base}", apiKey: "not needed on loopback" });
const stream = await client.chat.completions.create(${json});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
}
`;
}

const WRITERS: Record<Language, (base: string, body: Body) => string> = {
	curl,
	python,
	javascript,
};

function Code({ body }: { body: Body }) {
	const [language, setLanguage] = useState<Language>("curl");
	return (
		<>
			<Segments
				label="Language"
				value={language}
				choices={LANGUAGES}
				onChange={setLanguage}
			/>
			<Snippet
				text={WRITERS[language](`${location.origin}/v1`, body)}
				label="The request as code"
			/>
		</>
	);
}

export function AsCode({ body }: { body: () => object }) {
	const [shown, setShown] = useState<Body | null>(null);
	return (
		<>
			<button type="button" onClick={() => setShown(body() as Body)}>
				Copy as code
			</button>
			{shown && (
				<Dialog title="The request as code" onClose={() => setShown(null)}>
					<Code body={shown} />
				</Dialog>
			)}
		</>
	);
}
