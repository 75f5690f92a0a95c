// SPDX-License-Identifier: MIT
//
// `ronzal up` with a home of its own and the demo model three times: as it is, with embeddings, and
// not started until somebody asks (`ronzal-late` is enabled once the others run).
import { spawn, execFile, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { freePort, repository, ronzal, sleep } from "./frontend.js";

const UP_MAX_MS = 20_000;
const DOWN_MAX_MS = 15_000;
const TRY_MS = 50;
const GGUF_HEADER_BYTES = 24; // magic, version, counts of tensors and of key-values
const GGUF_ALIGN_BYTES = 32;
const GGUF_U32 = 4;
const GGUF_STRING = 8;

export const skip = process.env["RONZAL_ENGINE"] ? false : "no llama-server: scripts/engine.sh";

export interface Expected {
	model: string;
	request: { temperature: number; max_tokens: number };
	cases: { prompt: string; reply: string }[];
}

export async function expectedAnswers(): Promise<Expected> {
	return JSON.parse(await readFile(join(repository, "demo/expected.json"), "utf8"));
}

function ggufText(text: string): Buffer {
	const length = Buffer.alloc(8);
	length.writeBigUInt64LE(BigInt(text.length));
	return Buffer.concat([length, Buffer.from(text)]);
}

function u32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32LE(value);
	return bytes;
}

// The demo model with mean pooling, which its file does not name. Two key-values go behind the
// header; the second fills up to the alignment, so that the tensors stay where they are.
async function withPooling(): Promise<Buffer> {
	const model = await readFile(join(repository, "demo/ronzal-demo.gguf"));
	const arch = /general\.architecture.{12}(\w+?)[^\w]/s.exec(model.toString("latin1"))?.[1];
	const pooling = Buffer.concat([ggufText(`${arch}.pooling_type`), u32(GGUF_U32), u32(1)]);
	const filler = Buffer.concat([ggufText("test.filler"), u32(GGUF_STRING)]);
	const missing = -(pooling.length + filler.length + 8) & (GGUF_ALIGN_BYTES - 1);
	const header = Buffer.from(model.subarray(0, GGUF_HEADER_BYTES));
	header.writeBigUInt64LE(header.readBigUInt64LE(16) + 2n, 16);
	return Buffer.concat([
		header, pooling, filler, ggufText(" ".repeat(missing)), model.subarray(GGUF_HEADER_BYTES),
	]);
}

export class Stack {
	private constructor(
		readonly url: string,
		readonly home: string,
		readonly port: number,
		private readonly engines: Record<string, number>,
		private readonly environment: NodeJS.ProcessEnv,
		private readonly child: ChildProcess,
	) {}

	static async start(): Promise<Stack> {
		const home = await mkdtemp(join(tmpdir(), "ronzal-stack-"));
		const demo = join(repository, "demo/ronzal-demo.gguf");
		const embed = join(home, "embed.gguf");
		const [port, page, one, two, three] = await Promise.all([1, 2, 3, 4, 5].map(freePort));
		const engines = { "ronzal-demo": one!, "ronzal-embed": two!, "ronzal-late": three! };
		await writeFile(embed, await withPooling());
		await writeFile(join(home, "registry.json"), JSON.stringify({
			models: {
				"ronzal-demo": {
					file_path: demo, port: one, enabled: true, aliases: ["gpt-4o"],
					ctx_size: 4096, parallel: 2,
				},
				"ronzal-embed": { file_path: embed, port: two, enabled: true, embeddings: true },
				"ronzal-late": { file_path: demo, port: three, enabled: false },
			},
		}));
		const environment = {
			...process.env,
			RONZAL_HOME: home,
			RONZAL_REGISTRY: join(home, "registry.json"),
			RONZAL_MODEL_ROOTS: `${home}:${join(repository, "demo")}`,
			RONZAL_BACKEND_PORT: String(port),
			RONZAL_FRONTEND_PORT: String(page),
			RONZAL_ENGINE_PORT_MIN: String(Math.min(one!, two!, three!)),
			RONZAL_ENGINE_PORT_MAX: String(Math.max(one!, two!, three!)),
		};
		const child = spawn(ronzal, ["up"], { env: environment, stdio: "ignore" });
		const stack = new Stack(`http://127.0.0.1:${port}`, home, port!, engines, environment, child);
		try {
			await stack.until("ready", "ronzal-demo");
			await stack.until("ready", "ronzal-embed");
			return stack;
		} catch (error) {
			await stack.stop();
			throw error;
		}
	}

	async ronzal(...words: string[]): Promise<string> {
		return (await promisify(execFile)(ronzal, words, { env: this.environment })).stdout;
	}

	async state(model: string): Promise<string> {
		try {
			const answer = await fetch(`${this.url}/v1/models/${model}`);
			return ((await answer.json()) as { state: string }).state;
		} catch {
			return "no gateway";
		}
	}

	async until(state: string, model: string): Promise<void> {
		for (const end = Date.now() + UP_MAX_MS; (await this.state(model)) !== state; ) {
			if (Date.now() > end || this.child.exitCode !== null) {
				throw new Error(`${model} is ${await this.state(model)}, not ${state}`);
			}
			await sleep(TRY_MS);
		}
	}

	// The process that listens on the model's port, as llama-server names it in its arguments.
	async enginePid(model: string): Promise<number> {
		const port = String(this.engines[model]);
		for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
			const line = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
			const words = line.split("\0");
			if (words[words.indexOf("--port") + 1] === port && !words[0]?.endsWith("ronzal-shim")) {
				return Number(pid);
			}
		}
		throw new Error(`no process serves port ${port}`);
	}

	// From the agent, over its user's socket: the file was removed when the engine had read it.
	private async engineKey(model: string): Promise<string> {
		const agent = connect(join(this.home, "run/agent.sock"));
		agent.write('{"type":"hello","version":1,"who":"test"}\n');
		agent.write(`{"type":"credentials","seq":1,"models":["${model}"]}\n`);
		for await (const line of createInterface({ input: agent })) {
			const key = /"key":"([^"]+)"/.exec(line);
			if (key) {
				agent.destroy();
				return key[1]!;
			}
		}
		throw new Error(`the agent tells no key of ${model}`);
	}

	// Slots that generate, as the engine itself says.
	async busySlots(model: string): Promise<number> {
		const port = this.engines[model];
		const key = await this.engineKey(model);
		const answer = await fetch(`http://127.0.0.1:${port}/slots`, {
			headers: { authorization: `Bearer ${key}` },
		});
		const slots = (await answer.json()) as { is_processing: boolean }[];
		return slots.filter((slot) => slot.is_processing).length;
	}

	async post(path: string, body: unknown): Promise<Response> {
		return fetch(this.url + path, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: typeof body === "string" ? body : JSON.stringify(body),
		});
	}

	async stop(): Promise<void> {
		const ended = new Promise((done) => this.child.once("exit", done));
		this.child.kill("SIGINT");
		await Promise.race([ended, sleep(DOWN_MAX_MS).then(() => this.child.kill("SIGKILL"))]);
		await rm(this.home, { recursive: true, force: true, maxRetries: 5 });
	}
}
