// SPDX-License-Identifier: MIT
//
// Calls of the management API. Every failure becomes an ApiError: a sentence and a next step.
import type {
	Bench,
	Bucket,
	Estimate,
	Key,
	Model,
	Registry,
	Request,
	Result,
	Settings,
	Start,
} from "./types.ts";

export class ApiError extends Error {
	constructor(
		message: string,
		readonly nextStep: string,
		readonly status: number,
	) {
		super(message);
	}
}

const IS_IT_RUNNING = "Is it running? On the host: ronzal up. In Docker: docker-compose ps";

function away(): ApiError {
	return new ApiError("The backend does not answer.", IS_IT_RUNNING, 0);
}

// The backend's error form, an OpenAI error, or whatever a proxy on the way has said.
export function errorFrom(status: number, body: unknown): ApiError {
	const error = (body as { error?: { message?: unknown; next_step?: unknown } } | null)?.error;
	if (typeof error?.message === "string") {
		const known = typeof error.next_step === "string" ? error.next_step : null;
		const step = known ?? (status === 502 ? IS_IT_RUNNING : "");
		return new ApiError(error.message, step, status);
	}
	if (status === 502 || status === 503 || status === 504) {
		return away();
	}
	return new ApiError(`The backend answered ${status}.`, "", status);
}

async function call<T>(
	method: string,
	path: string,
	body?: unknown,
	signal?: AbortSignal,
): Promise<T> {
	const init: RequestInit = { method };
	if (body !== undefined) {
		init.headers = { "content-type": "application/json" };
		init.body = JSON.stringify(body);
	}
	if (signal) {
		init.signal = signal;
	}
	let response: Response;
	try {
		response = await fetch(path, init);
	} catch (error) {
		if (signal?.aborted) {
			throw error;
		}
		throw away();
	}
	if (response.status === 204) {
		return undefined as T;
	}
	const answer: unknown = await response.json().catch(() => null);
	if (!response.ok) {
		throw errorFrom(response.status, answer);
	}
	return answer as T;
}

function query(values: Record<string, string | number | undefined>): string {
	const params = new URLSearchParams();
	for (const [name, value] of Object.entries(values)) {
		if (value !== undefined && value !== "") {
			params.set(name, String(value));
		}
	}
	const text = params.toString();
	return text ? `?${text}` : "";
}

const model = (id: string) => `/api/models/${encodeURIComponent(id)}`;
const server = (id: string) => `/api/models/servers/${encodeURIComponent(id)}`;

interface Changed {
	model: Model;
	restart_needed: boolean;
}

export interface RequestFilter {
	model?: string;
	key?: string;
	failed?: "true";
	before?: number;
	limit?: number;
}

export const api = {
	registry: () => call<Registry>("GET", "/api/models/registry"),
	rescan: () =>
		call<{ added: string[]; known: number; missing: string[]; problems: string[] }>(
			"POST",
			"/api/models/rescan",
		),
	setEnabled: (id: string, enabled: boolean) =>
		call<Changed>("PUT", `${model(id)}/enabled`, { enabled }),
	setPort: (id: string, port: number) => call<Changed>("PUT", `${model(id)}/port`, { port }),
	setSettings: (id: string, settings: Settings) =>
		call<Changed>("PUT", `${model(id)}/runtime-settings`, settings),
	estimate: (id: string, settings: Settings, signal: AbortSignal) =>
		call<Estimate>("POST", `${model(id)}/estimate`, settings, signal),
	history: (id: string) => call<{ starts: Start[] }>("GET", `${model(id)}/history`),

	pull: (model: string) => call<void>("POST", "/api/models/pull", { model }),
	dropPull: (id: string) => call<void>("DELETE", `/api/models/pulls/${encodeURIComponent(id)}`),

	act: (id: string, verb: "start" | "stop" | "restart") =>
		call<{ results: Result[] }>("POST", `${server(id)}/${verb}`),
	startAll: () => call<{ results: Result[] }>("POST", "/api/models/servers/start-all"),
	stopAll: () => call<{ results: Result[] }>("POST", "/api/models/servers/stop-all"),
	logUrl: (id: string, tail: number, follow: boolean) =>
		`${server(id)}/logs?tail=${tail}&follow=${follow}`,

	requests: (filter: RequestFilter) =>
		call<{ requests: Request[] }>("GET", `/api/requests${query({ ...filter })}`),
	usage: (step: "minute" | "hour" | "day", since: number, id?: string) =>
		call<{ step_ms: number; buckets: Bucket[] }>(
			"GET",
			`/api/usage${query({ step, since_unix_ms: since, model: id })}`,
		),
	bench: (id: string) => call<{ results: Bench[] }>("GET", `/api/bench${query({ model: id })}`),

	keys: () => call<{ keys: Key[] }>("GET", "/api/keys"),
	// Of the last request with the key; null: none that is kept.
	lastUse: async (name: string) => {
		const { requests } = await api.requests({ key: name, limit: 1 });
		return requests[0]?.at_unix_ms ?? null;
	},
	addKey: (name: string, models: string[]) =>
		call<{ key: Key; secret: string }>("POST", "/api/keys", { name, models }),
	revokeKey: (id: string) => call<void>("DELETE", `/api/keys/${encodeURIComponent(id)}`),
};
