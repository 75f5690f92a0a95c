// SPDX-License-Identifier: MIT
//
// Models from the hub: asking for one, what a repository offers and what of it fits here, and how
// the downloads go.
import { useRef, useState } from "preact/hooks";
import { api } from "../api.ts";
import { age, bytes } from "../format.ts";
import { pulls } from "../live.ts";
import { path } from "../router.ts";
import type { Pull, PullChoice } from "../types.ts";
import { Icon } from "../ui/icons.tsx";
import { attempt } from "../ui/notices.tsx";
import { Mark, Progress, type Tone } from "../ui/parts.tsx";

const VERDICTS: Record<PullChoice["verdict"], [Tone, string]> = {
	fits: ["good", "fits"],
	tight: ["warn", "tight"],
	too_large: ["bad", "too large"],
	unknown: ["off", "not known"],
};

const ask = (model: string) => attempt(`Get ${model}`, () => api.pull(model));
const drop = (pull: Pull) => attempt(`Take ${pull.source} off`, () => api.dropPull(pull.id));

// Another download takes the place of the question.
async function choose(pull: Pull, choice: PullChoice): Promise<void> {
	if (await ask(`${pull.source}:${choice.name}`)) {
		await drop(pull);
	}
}

function Choices({ pull }: { pull: Pull }) {
	return (
		<div class="scroll" tabIndex={0} role="region" aria-label={`Offers of ${pull.source}`}>
			<table class="plain" aria-label={`What ${pull.source} offers`}>
				<thead>
					<tr>
						<th scope="col">Quantisation</th>
						<th scope="col" class="num">
							File
						</th>
						<th scope="col" class="num">
							Memory
						</th>
						<th scope="col">Here</th>
						<th scope="col">
							<span class="sr">Get</span>
						</th>
					</tr>
				</thead>
				<tbody>
					{pull.choices.map((c, i) => {
						const [tone, word] = VERDICTS[c.verdict];
						return (
							<tr key={c.name}>
								<td>{c.name}</td>
								<td class="num">{bytes(c.bytes)}</td>
								<td class="num">{c.memory_bytes > 0 ? bytes(c.memory_bytes) : ""}</td>
								<td>
									<Mark tone={tone} /> {word}
									{i === pull.best && ", best"}
								</td>
								<td>
									<button
										type="button"
										class={i === pull.best ? "small primary" : "small"}
										onClick={() => void choose(pull, c)}
									>
										Get<span class="sr"> {c.name}</span>
									</button>
								</td>
							</tr>
						);
					})}
				</tbody>
			</table>
		</div>
	);
}

function howFar(p: Pull): string {
	const of = p.total_bytes > 0 ? ` of ${bytes(p.total_bytes)}` : "";
	const rate = p.bytes_per_s > 0 ? `, ${bytes(p.bytes_per_s)}/s` : "";
	const left = p.eta_ms >= 0 ? `, about ${age(p.eta_ms)} left` : "";
	return `${bytes(p.done_bytes)}${of}${rate}${left}`;
}

function Told({ pull: p }: { pull: Pull }) {
	switch (p.phase) {
		case "asking":
			return <span class="muted">asking the hub {p.note}</span>;
		case "downloading":
			return <span class="muted">{p.note || howFar(p)}</span>;
		case "checking":
			return <span class="muted">checking what came</span>;
		case "choosing":
			return <span class="muted">which one?</span>;
		case "done":
			return (
				<span>
					<Mark tone="good" /> registered as <a href={path.model(p.model)}>{p.model}</a>
				</span>
			);
		case "canceled":
			return <span class="muted">canceled; what is there is kept for the next try</span>;
		case "failed":
			return <span class="trouble bad">{p.error}</span>;
	}
}

function Download({ pull: p }: { pull: Pull }) {
	const runs = p.phase === "asking" || p.phase === "downloading" || p.phase === "checking";
	const again = p.phase === "failed" || p.phase === "canceled";
	const known = p.total_bytes > 0 && p.phase !== "asking";
	return (
		<li>
			<strong>{p.source}</strong>
			<span class="buttons">
				{again && (
					<button type="button" class="small" onClick={() => void ask(p.source)}>
						Try again
					</button>
				)}
				<button
					type="button"
					class="small"
					aria-label={`${runs ? "Cancel" : "Dismiss"} ${p.source}`}
					onClick={() => void drop(p)}
				>
					{runs ? "Cancel" : "Dismiss"}
				</button>
			</span>
			{runs && (
				<Progress
					value={known ? p.done_bytes / p.total_bytes : -1}
					label={`Download of ${p.source}`}
				/>
			)}
			<Told pull={p} />
			{p.phase === "choosing" && <Choices pull={p} />}
		</li>
	);
}

export function Downloads() {
	const [wanted, setWanted] = useState("");
	const input = useRef<HTMLInputElement>(null);
	const get = async (event: Event) => {
		event.preventDefault();
		if (await ask(wanted)) {
			setWanted("");
		}
		input.current?.focus();
	};
	return (
		<section class="card downloads" aria-label="Get a model">
			<h2>Get a model</h2>
			<form class="inline" onSubmit={get}>
				<label>
					Repository of the hub
					<input
						ref={input}
						required
						pattern="[^\s\/:]+\/[^\s\/:]+(:\S+)?"
						placeholder="Qwen/Qwen3-4B-GGUF"
						title="ORG/REPO, or ORG/REPO:QUANTISATION"
						autocomplete="off"
						spellcheck={false}
						value={wanted}
						onInput={(event) => setWanted(event.currentTarget.value.trim())}
					/>
				</label>
				<button class="primary">
					<Icon name="down" />
					Get
				</button>
			</form>
			{pulls.value.length > 0 && (
				<ul>
					{pulls.value.map((p) => (
						<Download key={p.id} pull={p} />
					))}
				</ul>
			)}
		</section>
	);
}
