// SPDX-License-Identifier: MIT
//
// What is said about one server in a row of the fleet and at the head of its own page.
import { useComputed, type ReadonlySignal } from "@preact/signals";
import { act, ALL, pending } from "../actions.ts";
import { age, bytes, NONE, parameters, speed as speedText, tokens } from "../format.ts";
import { live, modelOf, now } from "../live.ts";
import { path } from "../router.ts";
import type { Model, Server } from "../types.ts";
import { Icon } from "./icons.tsx";
import { Bar, Mark, Progress, Spark, toneOf } from "./parts.tsx";

const RUNNING = new Set(["starting", "loading", "ready", "draining", "stopping", "unknown"]);

export function isRunning(server: Server): boolean {
	return RUNNING.has(server.phase);
}

export function StateWord({ server }: { server: Server }) {
	return (
		<span class={`state ${toneOf(server)}`}>
			<Mark tone={toneOf(server)} />
			{server.phase}
		</span>
	);
}

function factsLine(model: Model | undefined): string {
	if (!model) {
		return "";
	}
	const billions = model.size_params ? model.size_params * 1e9 : 0;
	const size = model.facts?.parameters ?? billions;
	const quant = model.facts?.quantization ?? model.quantization;
	const family = model.facts?.architecture ?? model.family;
	return [family, size ? parameters(size) : null, quant?.toUpperCase()]
		.filter(Boolean)
		.join(" · ");
}

// Its own component: a second's tick redraws this text and not the row.
function Since({ text, unixMs }: { text: string; unixMs: number }) {
	return (
		<>
			{text} {age(now.value - unixMs)}
		</>
	);
}

function Retry({ server }: { server: Server }) {
	const since = now.value - (live(server.id)?.heardMs ?? now.value);
	return <>Next try in {age(server.retry_ms - since)}.</>;
}

function Loading({ server }: { server: Server }) {
	const { progress, eta_ms: eta } = server;
	const percent = progress >= 0 ? ` ${Math.round(progress * 100)} %` : "";
	const left = eta >= 0 ? `, about ${age(eta)}` : "";
	return (
		<span class="loading">
			<Progress value={progress} label={`${server.name} loads`} />
			<span>
				{server.phase}
				{percent}
				{left}
			</span>
		</span>
	);
}

// The second line of a row: what there is to know right now, most urgent first.
export function Detail({ server }: { server: Server }) {
	const { phase, error, next_step: step } = server;
	if (phase === "starting" || phase === "loading") {
		return <Loading server={server} />;
	}
	const tone = toneOf(server);
	if (error !== "" && (phase === "failed" || phase === "backoff" || phase === "stopped")) {
		return (
			<span class={`trouble ${tone}`} title={`${error} ${step}`}>
				{error} {phase === "backoff" && <Retry server={server} />}{" "}
				{step && <span class="next">{step}</span>}
			</span>
		);
	}
	if (phase === "ready" && server.receipt.why !== "") {
		return (
			<span class={`trouble ${tone}`} title={server.receipt.why}>
				{server.receipt.why}
			</span>
		);
	}
	const facts = factsLine(modelOf(server.id));
	return (
		<span class="muted">
			{facts}
			{facts && phase !== "stopped" && " · "}
			{phase === "ready" && <Since text="up" unixMs={server.ready_unix_ms} />}
			{phase === "unknown" && <Since text="not heard of for" unixMs={server.phase_unix_ms} />}
			{(phase === "draining" || phase === "stopping") && phase}
			{server.restart_needed && <em> · restart to apply the new settings</em>}
		</span>
	);
}

export function Context({ server }: { server: Server }) {
	const granted = server.receipt.context_tokens;
	if (isRunning(server) && granted > 0) {
		return <>{tokens(granted)}</>;
	}
	const set = modelOf(server.id)?.settings["ctx_size"];
	return <span class="muted">{typeof set === "number" && set > 0 ? tokens(set) : NONE}</span>;
}

export function Memory({ server, budget }: { server: Server; budget: number }) {
	if (server.memory_bytes === 0) {
		const text = server.estimate_bytes > 0 ? `≈ ${bytes(server.estimate_bytes)}` : NONE;
		return <span class="muted">{text}</span>;
	}
	const share = budget > 0 ? server.memory_bytes / budget : 0;
	return (
		<span class="memory">
			{bytes(server.memory_bytes)}
			<Bar value={share} label={`Memory of ${server.name} in the budget`} />
		</span>
	);
}

export function Speed({ id }: { id: string }) {
	const entry = live(id);
	if (!entry) {
		return null;
	}
	return (
		<span class="speed">
			<Figure of={entry.speed} />
			<Spark values={entry.speeds} />
		</span>
	);
}

// Bound to its signal, as the sparkline is: all models may change every second.
function Figure({ of }: { of: ReadonlySignal<number> }) {
	const text = useComputed(() => (of.value > 0 ? speedText(of.value) : NONE));
	const tone = useComputed(() => (of.value > 0 ? "" : "muted"));
	return <span class={tone}>{text}</span>;
}

export function Busy({ server }: { server: Server }) {
	const entry = live(server.id);
	const active = entry?.active.value ?? 0;
	const queued = entry?.queued.value ?? 0;
	const slots = server.receipt.slots;
	if (server.phase !== "ready" && active + queued === 0) {
		return <span class="muted">{NONE}</span>;
	}
	return (
		<span class={active + queued > 0 ? "" : "muted"}>
			{active}
			{slots > 0 && `/${slots}`}
			{queued > 0 && <span class="queued"> +{queued}</span>}
		</span>
	);
}

export function Actions({ server }: { server: Server }) {
	const asked = pending.value.get(server.id) ?? pending.value.get(ALL);
	const running = isRunning(server) || server.phase === "backoff";
	const ending = server.phase === "stopping" || server.phase === "draining";
	const main = running ? "stop" : "start";
	return (
		<span class="actions">
			<button
				type="button"
				class="small icon-only"
				aria-label={`Restart ${server.name}`}
				title="Restart"
				disabled={asked !== undefined || !isRunning(server) || ending}
				onClick={() => act(server, "restart")}
			>
				<Icon name="restart" />
			</button>
			<button
				type="button"
				class="small main"
				aria-label={`${main === "stop" ? "Stop" : "Start"} ${server.name}`}
				disabled={asked !== undefined || ending}
				onClick={() => act(server, main)}
			>
				<Icon name={main === "stop" ? "stop" : "play"} />
				{ending ? "stopping" : main}
			</button>
			<a
				class="button small icon-only"
				href={path.chat(server.id)}
				aria-label={`Chat with ${server.name}`}
				title="Chat"
			>
				<Icon name="chat" />
			</a>
		</span>
	);
}
