// SPDX-License-Identifier: MIT
//
// The page's picture of the fleet, kept by one EventSource on /api/events.
//
// Events wait in a queue and are applied once per animation frame in one batch, the last state of
// each server only, so a busy fleet costs the page no more than a quiet one. A connection gives a
// full picture that ends with `synced`; what it did not name is then forgotten.
//
// Each server has a signal of its own, so that a change redraws one row; what changes every second
// (speed, requests) has further ones, so that it redraws one cell. `order` changes only when
// servers come or go.
import { batch, computed, signal, type Signal } from "@preact/signals";
import { api } from "./api.ts";
import { openStream } from "./stream.ts";
import type { Host, Model, Pull, Registry, Request, Server, Traffic } from "./types.ts";

const HIDDEN_FLUSH_MS = 1_000;
export const SPEEDS_KEPT = 60;
const REQUESTS_KEPT = 300;

interface Live {
	server: Signal<Server>;
	heardMs: number; // when `server` came: its spans of time count from there
	active: Signal<number>;
	queued: Signal<number>;
	speed: Signal<number>; // tokens a second, all requests together
	speeds: Signal<number[]>; // the last SPEEDS_KEPT of them, newest last
}

type Connection = "connecting" | "live" | "away";

export const connection = signal<Connection>("connecting");
export const awaySince = signal(0);
export const host = signal<Host | null>(null);
export const order = signal<string[]>([]);
export const synced = signal(false);
export const registry = signal<Registry | null>(null);
export const requests = signal<Request[]>([]); // newest first, in flight and lately ended
export const pulls = signal<Pull[]>([]);
export const totalSpeeds = signal<number[]>([]);
export const now = signal(Date.now());

const fleet = new Map<string, Live>();

export function live(id: string): Live | undefined {
	return fleet.get(id);
}

export const servers = computed<Server[]>(() =>
	order.value.map((id) => fleet.get(id)!.server.value),
);

export const activeInAll = computed(() => sumOf((entry) => entry.active.value));
export const queuedInAll = computed(() => sumOf((entry) => entry.queued.value));
export const memoryInAll = computed(() => sumOf((entry) => entry.server.value.memory_bytes));
export const speedInAll = computed(() => sumOf((entry) => entry.speed.value));

function sumOf(part: (entry: Live) => number): number {
	return order.value.reduce((sum, id) => sum + part(fleet.get(id)!), 0);
}

export function modelOf(id: string): Model | undefined {
	return registry.value?.models[id];
}

// Redraws a server at once with what was just asked for; the next event has the last word.
export function expect(id: string, change: Partial<Server>): void {
	const entry = fleet.get(id);
	if (entry) {
		entry.server.value = { ...entry.server.value, ...change };
	}
}

/* Applying events */

type Message = [name: string, data: unknown];

let queue: Message[] = [];
let flushFrame = 0;
let flushTimer: ReturnType<typeof setTimeout> | undefined;
let picture: Set<string> | null = null; // servers named since `hello`, until `synced`
let instance = "";
let orderIsStale = false;

const collator = new Intl.Collator("en", { numeric: true });

function putServer(server: Server): void {
	picture?.add(server.id);
	const entry = fleet.get(server.id);
	const heardMs = Date.now();
	if (entry) {
		entry.heardMs = heardMs;
		entry.server.value = server;
		entry.active.value = server.active_requests;
		entry.queued.value = server.queued_requests;
		return;
	}
	fleet.set(server.id, {
		server: signal(server),
		heardMs,
		active: signal(server.active_requests),
		queued: signal(server.queued_requests),
		speed: signal(0),
		speeds: signal([]),
	});
	orderIsStale = true;
}

function dropServer(id: string): void {
	orderIsStale = fleet.delete(id) || orderIsStale;
}

function endPicture(): void {
	const named = picture;
	picture = null;
	if (named) {
		[...fleet.keys()].filter((id) => !named.has(id)).forEach(dropServer);
	}
	// What was busy before and is no more has nobody to say so.
	fleet.forEach((entry) => (entry.speed.value = 0));
	synced.value = true;
	connection.value = "live";
	void refetchRegistry();
}

function pushed(list: number[], value: number): number[] {
	const from = list.length < SPEEDS_KEPT ? 0 : 1;
	return [...list.slice(from), value];
}

function putTraffic(models: Traffic[]): void {
	let sum = 0;
	for (const t of models) {
		const entry = fleet.get(t.id);
		sum += t.tokens_per_second;
		if (!entry) {
			continue;
		}
		entry.speed.value = t.tokens_per_second;
		entry.speeds.value = pushed(entry.speeds.value, t.tokens_per_second);
		entry.active.value = t.active_requests;
		entry.queued.value = t.queued_requests;
	}
	totalSpeeds.value = pushed(totalSpeeds.value, sum);
}

function putRequest(request: Request): void {
	const rest = requests.value.filter((other) => other.id !== request.id);
	const at = rest.findIndex((other) => other.id < request.id);
	rest.splice(at < 0 ? rest.length : at, 0, request);
	requests.value = rest.slice(0, REQUESTS_KEPT);
}

function apply([name, data]: Message): void {
	switch (name) {
		case "hello":
			picture = new Set();
			hello(data as { instance: string });
			break;
		case "host":
			host.value = data as Host;
			break;
		case "server":
			putServer(data as Server);
			break;
		case "progress": {
			const { id, ...change } = data as { id: string; progress: number; eta_ms: number };
			expect(id, change);
			break;
		}
		case "removed":
			dropServer((data as { id: string }).id);
			break;
		case "registry":
			void refetchRegistry();
			break;
		case "traffic":
			putTraffic((data as { models: Traffic[] }).models);
			break;
		case "request":
			putRequest(data as Request);
			break;
		case "pulls":
			pulls.value = (data as { pulls: Pull[] }).pulls;
			break;
		case "synced":
			endPicture();
			break;
		case "lagged":
			picture = new Set();
			break;
	}
}

// Requests in flight before are either named again or over without our having seen their end.
function hello({ instance: current }: { instance: string }): void {
	requests.value = requests.value.filter((r) => r.phase === "done");
	if (instance !== "" && instance !== current) {
		requests.value = [];
	}
	instance = current;
}

// Of several states of one server in a queue only the last one is worth drawing.
function withoutStale(messages: Message[]): Message[] {
	const last = new Map<string, number>();
	messages.forEach(([name, data], i) => {
		if (name === "server") {
			last.set((data as Server).id, i);
		}
	});
	return messages.filter(
		([name, data], i) => name !== "server" || last.get((data as Server).id) === i,
	);
}

function flush(): void {
	cancelAnimationFrame(flushFrame);
	clearTimeout(flushTimer);
	const messages = withoutStale(queue);
	queue = [];
	batch(() => {
		messages.forEach(apply);
		if (orderIsStale) {
			orderIsStale = false;
			order.value = [...fleet.keys()].sort(collator.compare);
		}
	});
}

// A hidden page gets no animation frames: there the timer is first.
function enqueue(name: string, data: unknown): void {
	if (queue.push([name, data]) === 1) {
		flushFrame = requestAnimationFrame(flush);
		flushTimer = setTimeout(flush, HIDDEN_FLUSH_MS);
	}
}

let registryCalls = 0;

export async function refetchRegistry(): Promise<void> {
	const mine = ++registryCalls;
	try {
		const answer = await api.registry();
		if (mine === registryCalls) {
			registry.value = answer;
		}
	} catch {
		// The event stream notices a backend that is away and asks again when it is back.
	}
}

/* The connection */

const EVENTS = [
	"hello",
	"host",
	"server",
	"removed",
	"registry",
	"progress",
	"traffic",
	"request",
	"pulls",
	"synced",
	"lagged",
];

function onLost(): void {
	if (connection.value !== "away") {
		connection.value = "away";
		awaySince.value = Date.now();
	}
}

export function startLive(): void {
	openStream("/api/events", { names: EVENTS, onEvent: enqueue, onLost });
	setInterval(() => (now.value = Date.now()), 1_000);
}
