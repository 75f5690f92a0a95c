// SPDX-License-Identifier: MIT
//
// A backend that never was, for what the real one cannot show on demand: two hundred models, fifty
// events a second, a GPU, every kind of trouble, hostile answers. As much of docs/openapi.yaml as
// the page asks for; `ronzal frontend` stands in front of it (lib/frontend.ts).
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sleep } from "./frontend.ts";
import type { Host, Model, Pull, Request, Server } from "../../../web/src/types.ts";

const GIB = 2 ** 30;

export interface Fixture {
	url: string;
	servers: Map<string, Server>;
	pulls: Pull[];
	asked: string[]; // models that were asked for
	send: (event: string, data: unknown) => void;
	setReply: (text: string) => void; // what the chat's model answers
	drop: () => void; // ends all event streams
	close: () => Promise<void>;
}

function receipt(verdict: "gpu" | "cpu" | "partial" | "unknown", change = {}) {
	const gpu = verdict === "gpu" || verdict === "partial";
	return {
		verdict,
		wanted: verdict === "gpu",
		engine: "llama-server 0.7.0 (build 11669)",
		device: gpu ? "MTL0" : "",
		device_name: gpu ? "Apple M4 Pro" : "",
		layers_offloaded: verdict === "gpu" ? 37 : verdict === "partial" ? 20 : 0,
		layers_total: 37,
		device_bytes: gpu ? 4.6 * GIB : 0,
		host_bytes: gpu ? 0.5 * GIB : 5.1 * GIB,
		context_tokens: 32768,
		slots: 4,
		why: "",
		evidence: gpu
			? [
					"ggml_metal_device_init: GPU name:   MTL0 (Apple M4 Pro)",
					"load_tensors: offloaded 37/37 layers to GPU",
					"load_tensors:  MTL0_Mapped model buffer size =  2375.91 MiB",
				]
			: ["warning: no usable GPU found, --gpu-layers option will be ignored"],
		...change,
	};
}

function server(id: string, port: number, change: Partial<Server> = {}): Server {
	const now = Date.now();
	const all: Server = {
		id,
		name: id,
		host: "studio",
		phase: "ready",
		enabled: true,
		by_controller: false,
		port,
		pid: 4300 + (port % 1000),
		starts: 3,
		restarts: 0,
		phase_unix_ms: now - 11_520_000,
		ready_unix_ms: now - 11_520_000,
		load_ms: 1130,
		progress: -1,
		eta_ms: -1,
		retry_ms: 0,
		estimate_bytes: 5.0 * GIB,
		memory_bytes: 5.1 * GIB,
		busy_slots: 0,
		tokens_per_second: 0,
		receipt: receipt("gpu"),
		error_code: null,
		error: "",
		next_step: "",
		restart_needed: false,
		active_requests: 0,
		queued_requests: 0,
		...change,
	};
	return all;
}

const off = { memory_bytes: 0, pid: 0, ready_unix_ms: 0 };
const noReceipt = receipt("unknown", { wanted: true, evidence: [], context_tokens: 0, slots: 0 });

function variety(): Server[] {
	return [
		server("qwen3-4b", 8080, { active_requests: 2, queued_requests: 1 }),
		server("gpt-oss-20b", 8082, {
			...off,
			phase: "loading",
			progress: 0.62,
			eta_ms: 4000,
			receipt: noReceipt,
			estimate_bytes: 14.2 * GIB,
		}),
		server("deepseek-r1-8b", 8081, {
			memory_bytes: 8.9 * GIB,
			receipt: receipt("cpu", {
				wanted: false,
				context_tokens: 16384,
				why: "99 GPU layers were asked for, but the engine found no GPU.",
			}),
		}),
		server("qwen2.5-coder-14b", 8083, {
			...off,
			phase: "failed",
			receipt: noReceipt,
			error_code: "NO_MEMORY",
			error: "It needs 12.4 GiB, 9.8 GiB are free.",
			next_step:
				"With a context of 8192 it needs 9.1 GiB: ronzal set qwen2.5-coder-14b ctx_size=8192",
		}),
		server("mistral-small-24b", 8084, {
			memory_bytes: 7.2 * GIB,
			receipt: receipt("partial", { context_tokens: 8192, slots: 1 }),
			restart_needed: true,
		}),
		server("nomic-embed", 8085, {
			...off,
			phase: "backoff",
			retry_ms: 8000,
			receipt: noReceipt,
			error: "llama-server ended with signal 11 after 2.1 s.",
			next_step: "Look at its log.",
		}),
		server("gemma-3-12b", 8086, {
			...off,
			phase: "stopped",
			enabled: false,
			receipt: noReceipt,
			estimate_bytes: 8.3 * GIB,
		}),
		server("phi-4-mini", 8087, { ...off, phase: "stopped", receipt: noReceipt }),
	];
}

function pull(id: string, source: string, change: Partial<Pull>): Pull {
	return {
		id,
		source,
		phase: "downloading",
		done_bytes: 0,
		total_bytes: 0,
		bytes_per_s: 0,
		eta_ms: -1,
		note: "",
		model: "",
		error: "",
		choices: [],
		best: -1,
		...change,
	};
}

function everyPull(): Pull[] {
	const sized = { total_bytes: 2.5 * GIB, done_bytes: 1.1 * GIB };
	const choice = (name: string, gib: number, verdict: Pull["choices"][0]["verdict"]) => ({
		name,
		bytes: gib * GIB,
		memory_bytes: gib * 1.3 * GIB,
		verdict,
	});
	return [
		pull("p1", "Qwen/Qwen3-4B-GGUF:Q4_K_M", { ...sized, bytes_per_s: 8e7, eta_ms: 18_000 }),
		pull("p2", "org/offers-GGUF", {
			phase: "choosing",
			choices: [
				choice("Q4_K_M", 4.1, "fits"),
				choice("Q8_0", 9.3, "tight"),
				choice("BF16", 40, "too_large"),
			],
			best: 0,
		}),
		pull("p3", "org/gated", {
			phase: "failed",
			error: "the hub asks for a login: accept the terms on its page and set HF_TOKEN",
		}),
		pull("p4", "org/there:Q8_0", { phase: "done", model: "qwen3-4b" }),
		pull("p5", "org/broken-off", { ...sized, phase: "canceled" }),
	];
}

function benchRow(mode: string, speed: number, factor: number) {
	return {
		mode,
		startup: [
			{ start: "cold", ms: 34_000 / factor, spread: 0.1 },
			{ start: "warm", ms: 5_900 / factor, spread: 0.1 },
		],
		prompt: [{ tokens: 512, tokens_per_second: speed * 9, spread: 0.1 }],
		generation: [
			{ streams: 1, tokens_per_second: speed, spread: 0.1 },
			{ streams: 4, tokens_per_second: speed * 2.5, spread: 0.1 },
		],
		factor,
	};
}

function many(n: number): Server[] {
	return Array.from({ length: n }, (_, i) =>
		i % 3 === 2
			? server(`model-${i}`, 8080 + i, { ...off, phase: "stopped", receipt: noReceipt })
			: server(`model-${i}`, 8080 + i),
	);
}

function model(s: Server): Model {
	return {
		id: s.id,
		name: s.name,
		file_path: `/models/${s.id}/${s.id}-Q4_K_M.gguf`,
		mmproj_path: null,
		family: s.id.split("-")[0]!,
		quantization: "q4_k_m",
		size_params: 4,
		enabled: s.enabled,
		port: s.port,
		aliases: s.id === "qwen3-4b" ? ["small"] : [],
		settings: { ctx_size: 32768, n_gpu_layers: null, parallel: 4, flash_attention: "auto" },
		facts: {
			architecture: s.id.split("-")[0]!,
			parameters: 4_022_468_096,
			layers: 36,
			embedding: 2560,
			heads: 32,
			kv_heads: 8,
			context_tokens: 40960,
			vocabulary: 151936,
			experts: 0,
			file_bytes: 2.5e9,
			file_parts: 1,
			quantization: "Q4_K_M",
			chat_template: true,
			embeddings_only: false,
		},
		facts_error: "",
	};
}

const ROWS = [
	["ctx_size", "int", 0, 16777216, [], "in tokens; 0: the model's own"],
	["n_gpu_layers", "int", 0, 999, [], "unset: all"],
	["n_threads", "int", 1, 1024, [], "CPU threads; unset: the engine's choice"],
	["batch_size", "int", 1, 65536, [], "tokens per prompt batch"],
	["parallel", "int", 1, 64, [], "the context is divided by them"],
	["flash_attention", "choice", 0, 0, ["on", "off", "auto"], "flash attention"],
	["cache_type_k", "choice", 0, 0, ["f16", "q8_0", "q4_0"], "type of the K cache"],
	["mlock", "bool", 0, 1, [], "pin the weights in memory"],
].map(([name, kind, min, max, choices, help]) => ({ name, kind, min, max, choices, help }));

function host(): Host {
	return {
		name: "studio",
		engine: "llama-server 0.7.0 (build 11669)",
		engine_path: "/opt/homebrew/bin/llama-server",
		engine_error: "",
		channel: "ssh",
		devices: [
			{ id: "MTL0", name: "Apple M4 Pro", total_bytes: 51.8 * GIB, free_bytes: 30.5 * GIB },
		],
		memory_total_bytes: 64 * GIB,
		memory_available_bytes: 33 * GIB,
		memory_budget_bytes: 51.8 * GIB,
		mode: "auto",
		link: { state: "up", since_unix_ms: Date.now() - 11_600_000, error: "", next_step: "" },
		fallback: false,
		lease_s: 60,
		gpu_help: null,
		base_url: "http://backend:8000/v1",
	};
}

function pastRequests(): Request[] {
	return Array.from({ length: 40 }, (_, i) => ({
		id: 500 - i,
		at_unix_ms: Date.now() - 20_000 - i * 47_000,
		model_id: i % 3 === 0 ? "deepseek-r1-8b" : "qwen3-4b",
		key_name: i % 4 === 0 ? "" : "my-app",
		path: i % 5 === 4 ? "/v1/messages" : "/v1/chat/completions",
		stream: true,
		phase: "done",
		status: i === 6 ? 503 : i === 9 ? 499 : 200,
		prompt_tokens: 320 + i * 7,
		cached_tokens: 12,
		generated_tokens: 180 + ((i * 37) % 400),
		queue_ms: i % 6 === 0 ? 420 : 0,
		first_token_ms: 140 + ((i * 13) % 90),
		tokens_per_second: i % 3 === 0 ? 7.4 : 58 + (i % 7),
		total_ms: 3400 + i * 91,
		error: i === 6 ? "The engine was stopped while it answered." : "",
	}));
}

function buckets(step: number) {
	const from = Math.floor(Date.now() / step) * step;
	return Array.from({ length: 24 }, (_, i) =>
		["qwen3-4b", "deepseek-r1-8b"].map((model_id, m) => {
			const wave = 1 + Math.sin(i / 3 + m) / 2;
			const generated = Math.round(9000 * wave) / (m + 1);
			return {
				start_unix_ms: from - (23 - i) * step,
				model_id,
				requests: Math.round(24 * wave),
				errors: i === 5 ? 2 : 0,
				prompt_tokens: Math.round(20_000 * wave),
				generated_tokens: Math.round(generated),
				generating_ms: Math.round((generated / (m === 0 ? 61 : 7.4)) * 1000),
				first_token_ms_mean: 160 + 40 * wave + 300 * m,
			};
		}),
	).flat();
}

const LOG = [
	"0.00.000.118 I main: loading model",
	"0.00.085.203 I device_info:",
	"0.00.085.204 I   - MTL0    : Apple M4 Pro (53084 MiB, 53083 MiB free)",
	"0.00.120.000 I load_tensors: offloaded 37/37 layers to GPU",
	"0.00.810.771 W llama_context: n_ctx_per_seq (8192) < n_ctx_train (40960)",
	"0.01.130.004 I srv  main: server is listening on http://127.0.0.1:8080",
	"0.42.000.117 E srv  operator(): got exception: the request exceeds the available context size",
];

function estimate(settings: { ctx_size?: number | null }) {
	const kv = ((settings.ctx_size ?? 32768) / 32768) * 4.5 * GIB;
	const total = 2.4 * GIB + kv + 0.6 * GIB + 0.5 * GIB;
	const fits = total < 30 * GIB;
	return {
		total_bytes: total,
		weights_bytes: 2.4 * GIB,
		kv_bytes: kv,
		compute_bytes: 0.6 * GIB,
		other_bytes: 0.5 * GIB,
		device_bytes: total,
		host_bytes: 0,
		free_bytes: 30 * GIB,
		fits,
		why: fits ? "" : `It needs ${(total / GIB).toFixed(1)} GiB, 30.0 GiB are free.`,
		suggestions: fits
			? []
			: [
					{
						text: "ronzal set qwen3-4b ctx_size=131072",
						settings: { ctx_size: 131072 },
					},
				],
	};
}

/* HTTP */

function json(response: ServerResponse, body: unknown, status = 200): void {
	response.writeHead(status, { "content-type": "application/json" });
	response.end(JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
	let text = "";
	for await (const piece of request) {
		text += piece;
	}
	return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}

// Tokens for a short text; a long one should not take a minute.
const pieceOf = (text: string) => (text.length > 10_000 ? 400 : 8);

async function chat(response: ServerResponse, text: string): Promise<void> {
	response.writeHead(200, { "content-type": "text/event-stream" });
	const chunk = (body: object) => response.write(`data: ${JSON.stringify(body)}\n\n`);
	for (const content of text.match(new RegExp(`[\\s\\S]{1,${pieceOf(text)}}`, "g")) ?? []) {
		chunk({ choices: [{ delta: { content } }] });
		await sleep(4);
	}
	const words = text.split(/\s+/).length;
	chunk({
		choices: [{ delta: {}, finish_reason: "stop" }],
		usage: { prompt_tokens: 12, completion_tokens: words },
		timings: { predicted_n: words, predicted_per_second: 61.2 },
	});
	response.end("data: [DONE]\n\n");
}

export async function startFixture(
	options: { models?: number; port?: number } = {},
): Promise<Fixture> {
	const list = options.models ? many(options.models) : variety();
	const servers = new Map(list.map((s) => [s.id, s]));
	const pulls = options.models ? [] : everyPull();
	const asked: string[] = [];
	const streams = new Set<ServerResponse>();
	let reply = "Hello.";
	const keys = [
		{
			id: "k1",
			name: "my-app",
			models: [],
			made_unix_ms: Date.now() - 9e8,
		},
	];
	const write = (to: ServerResponse, event: string, data: unknown) =>
		to.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
	const send = (event: string, data: unknown) => streams.forEach((to) => write(to, event, data));

	function events(response: ServerResponse): void {
		response.writeHead(200, { "content-type": "text/event-stream" });
		write(response, "hello", { version: "0.1.0", instance: "fixture" });
		write(response, "host", host());
		write(response, "pulls", { pulls });
		servers.forEach((s) => write(response, "server", s));
		write(response, "synced", {});
		streams.add(response);
		response.on("close", () => streams.delete(response));
	}

	function log(response: ServerResponse): void {
		response.writeHead(200, { "content-type": "text/event-stream" });
		LOG.forEach((line) => write(response, "log", { line }));
		for (let i = 0; i < 900; i++) {
			write(response, "log", {
				line: `0.43.${String(i).padStart(3, "0")}.000 I slot update_slots: id 0 | task ${i}`,
			});
		}
		write(response, "synced", {});
	}

	const answers: Record<string, (url: URL) => unknown> = {
		"/api/models/registry": () => ({
			models: Object.fromEntries([...servers.values()].map((s) => [s.id, model(s)])),
			problems: options.models
				? []
				: [{ id: "broken", text: "models.broken.port: 70000 is outside 8080..8099" }],
			port_min: 8080,
			port_max: 8099,
			setting_rows: ROWS,
		}),
		"/api/requests": () => ({ requests: pastRequests() }),
		"/api/bench": (url) => ({
			results: [
				{
					model_id: url.searchParams.get("model"),
					at_unix_ms: Date.now() - 9e7,
					machine: "studio",
					engine: "llama-server 0.7.0 (build 11669)",
					runs: 3,
					rows: [
						benchRow("cpu", 11.3, 1),
						benchRow("gpu (MTL0)", 61.2, 5.4),
					],
				},
			],
		}),
		"/api/keys": () => ({ keys }),
		"/api/usage": (url) => {
			const step = { minute: 60_000, hour: 3_600_000, day: 86_400_000 }[
				url.searchParams.get("step") ?? "hour"
			]!;
			return { step_ms: step, buckets: buckets(step) };
		},
	};

	async function post(
		path: string,
		request: IncomingMessage,
		response: ServerResponse,
	): Promise<void> {
		const body = await bodyOf(request);
		if (path === "/v1/chat/completions") {
			await chat(response, reply);
		} else if (path === "/api/models/pull") {
			asked.push(String(body["model"]));
			json(response, {}, 202);
		} else if (path.endsWith("/estimate")) {
			json(response, estimate(body));
		} else if (path === "/api/keys") {
			const key = {
				id: `k${keys.length + 1}`,
				name: String(body["name"]),
				models: [],
				made_unix_ms: Date.now(),
			};
			keys.push(key);
			json(response, { key, secret: "rz-3f0c9d1e7b5a4426" }, 201);
		} else {
			json(response, { results: [] }, 202);
		}
	}

	const http = createServer((request, response) => {
		const url = new URL(request.url!, "http://localhost");
		const answer = answers[url.pathname];
		if (request.method === "POST" || request.method === "PUT") {
			void post(url.pathname, request, response);
		} else if (request.method === "DELETE") {
			const id = url.pathname.split("/").at(-1);
			pulls.splice(0, pulls.length, ...pulls.filter((p) => p.id !== id));
			send("pulls", { pulls });
			response.writeHead(204).end();
		} else if (url.pathname === "/api/events") {
			events(response);
		} else if (url.pathname.endsWith("/logs")) {
			log(response);
		} else if (url.pathname.endsWith("/history")) {
			const at = Date.now() - 11_520_000;
			json(response, {
				starts: [
					{
						started_unix_ms: at,
						ready_unix_ms: at + 1130,
						ended_unix_ms: 0,
						load_ms: 1130,
						exit: "",
						verdict: "gpu",
						device_name: "Apple M4 Pro",
						context_tokens: 32768,
					},
					{
						started_unix_ms: at - 9e6,
						ready_unix_ms: at - 8.99e6,
						ended_unix_ms: at - 1e6,
						load_ms: 3420,
						exit: "killed by signal 9",
						verdict: "gpu",
						device_name: "Apple M4 Pro",
						context_tokens: 32768,
					},
				],
			});
		} else if (answer) {
			json(response, answer(url));
		} else {
			json(
				response,
				{
					error: {
						message: `no ${url.pathname} here`,
						next_step: "",
						code: "NOT_FOUND",
						status: 404,
					},
				},
				404,
			);
		}
	});
	await new Promise<void>((done) => http.listen(options.port ?? 0, "127.0.0.1", done));
	const { port } = http.address() as AddressInfo;
	return {
		url: `http://127.0.0.1:${port}`,
		servers,
		pulls,
		asked,
		send,
		setReply: (text) => (reply = text),
		drop: () => streams.forEach((to) => to.destroy()),
		close: () =>
			new Promise((done) => {
				http.close(() => done());
				http.closeAllConnections();
			}),
	};
}
