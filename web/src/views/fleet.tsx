// SPDX-License-Identifier: MIT
//
// Home: one row a model, the instruments above it, and the two buttons that start and stop all.
import { computed, signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { actAll, ALL, pending, rescan, setEnabled } from "../actions.ts";
import { plural } from "../format.ts";
import { activeInAll, host, live, order, registry, servers, synced } from "../live.ts";
import { path } from "../router.ts";
import type { Host, Server } from "../types.ts";
import { Icon } from "../ui/icons.tsx";
import { tell } from "../ui/notices.tsx";
import { Dialog, Empty, Mark, Segments, Switch, toneOf, type Tone } from "../ui/parts.tsx";
import { DeviceBadge } from "../ui/receipt.tsx";
import {
	Actions,
	Busy,
	Context,
	Detail,
	isRunning,
	Memory,
	Speed,
	StateWord,
} from "../ui/server.tsx";
import { Downloads } from "./downloads.tsx";
import { Gauges } from "./gauges.tsx";

type Show = "all" | "running" | "enabled" | "trouble";

const SHOWS = [
	["all", "All"],
	["running", "Running"],
	["enabled", "Enabled"],
	["trouble", "Trouble"],
] as const;

const find = signal("");
const show = signal<Show>("all");

function isTrouble(server: Server): boolean {
	const tone = toneOf(server);
	return tone === "warn" || tone === "bad";
}

function isShown(server: Server): boolean {
	const text = `${server.id} ${server.name}`.toLowerCase();
	if (!text.includes(find.value.toLowerCase())) {
		return false;
	}
	switch (show.value) {
		case "all":
			return true;
		case "running":
			return isRunning(server);
		case "enabled":
			return server.enabled;
		case "trouble":
			return isTrouble(server);
	}
}

// A text, so that rows are redrawn only when the set of them changes.
const shownIds = computed(() =>
	servers.value
		.filter(isShown)
		.map((s) => s.id)
		.join("\n"),
);
const shown = computed(() => (shownIds.value === "" ? [] : shownIds.value.split("\n")));

/* Start and stop all */

function StartAll() {
	const asked = pending.value.get(ALL);
	const coming = servers.value.filter((s) => s.phase === "starting" || s.phase === "loading");
	const startable = servers.value.filter((s) => s.enabled && !isRunning(s));
	const rest = startable.length === 0;
	const text = rest && coming.length > 0 ? `STARTING ${coming.length}` : "START ALL ENABLED";
	return (
		<button
			type="button"
			class="primary start-all"
			disabled={asked !== undefined || rest}
			title={rest ? "Every enabled model runs" : ""}
			onClick={() => actAll("start")}
		>
			<Icon name="play" />
			{text}
		</button>
	);
}

function StopAll() {
	const [asking, setAsking] = useState(false);
	const asked = pending.value.get(ALL);
	const running = servers.value.filter((s) => isRunning(s) || s.phase === "backoff");
	const ending = running.filter((s) => s.phase === "stopping" || s.phase === "draining");
	const active = activeInAll.value;
	const idle = asked !== undefined || running.length === ending.length;
	return (
		<>
			<button
				type="button"
				disabled={idle}
				onClick={() => (active > 0 ? setAsking(true) : actAll("stop"))}
			>
				<Icon name="stop" />
				{ending.length > 0 ? `STOPPING ${ending.length}` : "STOP ALL"}
			</button>
			{asking && (
				<Dialog title="Stop all servers?" onClose={() => setAsking(false)}>
					<p>
						{plural(active, "answer is", "answers are")} being written. They get 3
						seconds to end, then they are cut off and their callers are told so.
					</p>
					<form method="dialog" class="buttons" onSubmit={() => void actAll("stop")}>
						<button class="primary">Stop all</button>
					</form>
				</Dialog>
			)}
		</>
	);
}

function Rescan() {
	const [busy, setBusy] = useState(false);
	const run = async () => {
		setBusy(true);
		const said = await rescan();
		setBusy(false);
		if (said) {
			tell("Rescan", said);
		}
	};
	return (
		<button type="button" disabled={busy} onClick={run}>
			<Icon name="scan" />
			{busy ? "scanning" : "Rescan"}
		</button>
	);
}

/* Counts */

const COUNTED: [Tone, string, (s: Server) => boolean][] = [
	["good", "ready", (s) => s.phase === "ready"],
	["busy", "busy", (s) => toneOf(s) === "busy"],
	["warn", "to look at", (s) => toneOf(s) === "warn"],
	["bad", "failed", (s) => s.phase === "failed"],
	["off", "stopped", (s) => s.phase === "stopped"],
];

function Counts() {
	return (
		<p class="counts">
			{COUNTED.map(([tone, word, holds]) => {
				const n = servers.value.filter(holds).length;
				return (
					n > 0 && (
						<span key={word}>
							<Mark tone={tone} />
							{n} {word}
						</span>
					)
				);
			})}
		</p>
	);
}

function Filter() {
	const input = useRef<HTMLInputElement>(null);
	useEffect(() => {
		const onKey = (event: KeyboardEvent) => {
			const typing = (event.target as HTMLElement).matches("input, textarea, select");
			if (event.key === "/" && !typing && !document.querySelector("dialog[open]")) {
				event.preventDefault();
				input.current?.focus();
			}
		};
		addEventListener("keydown", onKey);
		return () => removeEventListener("keydown", onKey);
	}, []);
	return (
		<div class="filter">
			<input
				ref={input}
				type="search"
				placeholder="Find a model"
				aria-label="Find a model"
				aria-keyshortcuts="/"
				value={find.value}
				onInput={(event) => (find.value = event.currentTarget.value)}
			/>
			<Segments
				label="Show"
				value={show.value}
				choices={SHOWS}
				onChange={(value) => (show.value = value)}
			/>
		</div>
	);
}

/* The table */

function Row({ id }: { id: string }) {
	const entry = live(id);
	if (!entry) {
		return null;
	}
	const server = entry.server.value;
	const budget = host.value?.memory_budget_bytes ?? 0;
	return (
		<tr role="row" class={`row ${toneOf(server)}`} data-model={id}>
			<td role="cell" class="c-on">
				<Switch
					on={server.enabled}
					label={`${server.name} enabled`}
					onChange={(on) => setEnabled(server, on)}
				/>
			</td>
			<td role="cell" class="c-name">
				<a href={path.model(id)}>{server.name}</a>
			</td>
			<td role="cell" class="c-state">
				<StateWord server={server} />
			</td>
			<td role="cell" class="c-device">
				<DeviceBadge server={server} />
			</td>
			<td role="cell" class="c-port num">
				:{server.port}
			</td>
			<td role="cell" class="c-context num">
				<Context server={server} />
			</td>
			<td role="cell" class="c-memory num">
				<Memory server={server} budget={budget} />
			</td>
			<td role="cell" class="c-speed num">
				<Speed id={id} />
			</td>
			<td role="cell" class="c-busy num">
				<Busy server={server} />
			</td>
			<td role="cell" class="c-detail">
				<Detail server={server} />
			</td>
			<td role="cell" class="c-actions">
				<Actions server={server} />
			</td>
		</tr>
	);
}

const COLUMNS = [
	["on", "On"],
	["name", "Model"],
	["state", "State"],
	["device", "Device"],
	["port", "Port"],
	["context", "Context"],
	["memory", "Memory"],
	["speed", "tok/s"],
	["busy", "Busy"],
	["detail", "Detail"],
	["actions", "Actions"],
] as const;

const HIDDEN = new Set(["detail", "actions"]);

function Table() {
	return (
		<table role="table" class="fleet" aria-label="Models">
			<thead role="rowgroup">
				<tr role="row">
					{COLUMNS.map(([name, text]) => (
						<th
							key={name}
							role="columnheader"
							scope="col"
							class={HIDDEN.has(name) ? "sr" : `c-${name}`}
						>
							{text}
						</th>
					))}
				</tr>
			</thead>
			<tbody role="rowgroup">
				{shown.value.map((id) => (
					<Row key={id} id={id} />
				))}
			</tbody>
		</table>
	);
}

function Nothing() {
	if (!synced.value) {
		return <Empty title="Waiting for the backend …" />;
	}
	if (order.value.length > 0) {
		return <Empty title="No model is like that.">Change what is shown above.</Empty>;
	}
	return (
		<Empty title="No models yet.">
			Put GGUF files below the model folder and press Rescan, or get one from the hub.
		</Empty>
	);
}

function Problems() {
	const problems = registry.value?.problems ?? [];
	if (problems.length === 0) {
		return null;
	}
	return (
		<details class="problems">
			<summary>
				<Mark tone="warn" />
				{plural(problems.length, "entry", "entries")} of the registry refused
			</summary>
			<ul>
				{problems.map((p) => (
					<li key={p.id + p.text}>{p.text}</li>
				))}
			</ul>
		</details>
	);
}

function hostTrouble({ fallback, link }: Host): string {
	if (fallback) {
		return "The host is away: the container's CPU answers for it, slower.";
	}
	if (link.state === "up") {
		return "";
	}
	return `External server not running: ${link.error || `the channel is ${link.state}`}`;
}

function HostTrouble() {
	const h = host.value;
	const text = h ? hostTrouble(h) : "";
	if (!h || text === "") {
		return null;
	}
	return (
		<div class="banner" role="alert">
			<Icon name="warn" />
			<div>
				<strong>{text}</strong>
				{h.link.next_step && <p class="next">{h.link.next_step}</p>}
			</div>
		</div>
	);
}

export function Fleet() {
	return (
		<>
			<h1 class="sr">Fleet</h1>
			<HostTrouble />
			<Gauges />
			<div class="toolbar">
				<StartAll />
				<StopAll />
				<Rescan />
				<Counts />
				<Filter />
			</div>
			{shown.value.length > 0 ? <Table /> : <Nothing />}
			<Problems />
			<Downloads />
		</>
	);
}
