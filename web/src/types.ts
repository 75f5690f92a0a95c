// SPDX-License-Identifier: MIT
//
// What the management API says: docs/openapi.yaml in TypeScript. Only members that the page reads.

export type Phase =
	| "stopped"
	| "starting"
	| "loading"
	| "ready"
	| "draining"
	| "stopping"
	| "backoff"
	| "failed"
	| "unknown";

export type Verdict = "gpu" | "partial" | "cpu" | "unknown";

export interface Receipt {
	verdict: Verdict;
	wanted: boolean;
	engine: string;
	device: string;
	device_name: string;
	layers_offloaded: number;
	layers_total: number;
	device_bytes: number;
	host_bytes: number;
	context_tokens: number;
	slots: number;
	why: string;
	evidence: string[];
}

export interface Server {
	id: string;
	name: string;
	host: string;
	phase: Phase;
	enabled: boolean;
	by_controller: boolean;
	port: number;
	pid: number;
	starts: number;
	restarts: number;
	phase_unix_ms: number;
	ready_unix_ms: number;
	load_ms: number;
	progress: number;
	eta_ms: number;
	retry_ms: number;
	estimate_bytes: number;
	memory_bytes: number;
	busy_slots: number;
	tokens_per_second: number;
	receipt: Receipt;
	error_code: string | null;
	error: string;
	next_step: string;
	restart_needed: boolean;
	active_requests: number;
	queued_requests: number;
}

export interface Device {
	id: string;
	name: string;
	total_bytes: number;
	free_bytes: number;
}

export interface Host {
	name: string;
	engine: string;
	engine_path: string;
	engine_error: string;
	channel: "local" | "ssh";
	devices: Device[];
	memory_total_bytes: number;
	memory_available_bytes: number;
	memory_budget_bytes: number;
	mode: "true" | "false" | "auto" | "native";
	link: {
		state: "up" | "connecting" | "down" | "busy";
		since_unix_ms: number;
		error: string;
		next_step: string;
	};
	fallback: boolean;
	lease_s: number;
	gpu_help: { message: string; command: string } | null;
	base_url: string;
}

export type SettingValue = number | boolean | string | null;
export type Settings = Record<string, SettingValue>;

export interface SettingRow {
	name: string;
	kind: "int" | "bool" | "choice";
	min: number;
	max: number;
	choices: string[];
	help: string;
}

export interface Facts {
	architecture: string;
	parameters: number;
	layers: number;
	embedding: number;
	heads: number;
	kv_heads: number;
	context_tokens: number;
	vocabulary: number;
	experts: number;
	file_bytes: number;
	file_parts: number;
	quantization: string;
	chat_template: boolean;
	embeddings_only: boolean;
}

export interface Model {
	id: string;
	name: string;
	file_path: string;
	mmproj_path: string | null;
	family: string | null;
	quantization: string | null;
	size_params: number | null;
	enabled: boolean;
	port: number;
	aliases: string[];
	settings: Settings;
	facts: Facts | null;
	facts_error: string;
}

export interface Registry {
	models: Record<string, Model>;
	problems: { id: string; text: string }[];
	port_min: number;
	port_max: number;
	setting_rows: SettingRow[];
}

export interface Estimate {
	total_bytes: number;
	weights_bytes: number;
	kv_bytes: number;
	compute_bytes: number;
	other_bytes: number;
	device_bytes: number;
	host_bytes: number;
	free_bytes: number;
	fits: boolean;
	why: string;
	suggestions: { text: string; settings: Settings | null }[];
}

export interface Start {
	started_unix_ms: number;
	ready_unix_ms: number;
	ended_unix_ms: number;
	load_ms: number;
	exit: string;
	verdict: Verdict;
	device_name: string;
	context_tokens: number;
}

export interface Traffic {
	id: string;
	tokens_per_second: number;
	active_requests: number;
	queued_requests: number;
}

export interface Request {
	id: number;
	at_unix_ms: number;
	model_id: string;
	key_name: string;
	path: string;
	stream: boolean;
	phase: "queued" | "prompt" | "generating" | "done";
	status: number;
	prompt_tokens: number | null;
	cached_tokens: number | null;
	generated_tokens: number | null;
	queue_ms: number;
	first_token_ms: number | null;
	tokens_per_second: number | null;
	total_ms: number;
	error: string;
}

export interface Bucket {
	start_unix_ms: number;
	model_id: string;
	requests: number;
	errors: number;
	prompt_tokens: number;
	generated_tokens: number;
	generating_ms: number;
	first_token_ms_mean: number | null;
}

export interface Bench {
	model_id: string;
	at_unix_ms: number;
	machine: string;
	engine: string;
	runs: number;
	rows: {
		mode: string;
		startup: { start: "cold" | "warm"; ms: number }[];
		prompt: { tokens: number; tokens_per_second: number }[];
		generation: { streams: number; tokens_per_second: number }[];
		factor: number | null;
	}[];
}

export interface Key {
	id: string;
	name: string;
	models: string[];
	made_unix_ms: number;
}

export interface PullChoice {
	name: string;
	bytes: number;
	memory_bytes: number;
	verdict: "fits" | "tight" | "too_large" | "unknown";
}

export interface Pull {
	id: string;
	source: string;
	phase: "asking" | "choosing" | "downloading" | "checking" | "done" | "failed" | "canceled";
	done_bytes: number;
	total_bytes: number;
	bytes_per_s: number;
	eta_ms: number;
	note: string;
	model: string;
	error: string;
	choices: PullChoice[];
	best: number;
}

export interface Result {
	id: string;
	ok: boolean;
	phase: Phase;
	error_code: string | null;
	error: string;
	next_step: string;
}
