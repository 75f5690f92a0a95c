// SPDX-License-Identifier: MIT
//
// The four instruments above the fleet: memory, speed, requests, host.
import { computed } from "@preact/signals";
import { bytes, gib, NONE, speed } from "../format.ts";
import {
	activeInAll,
	connection,
	host,
	memoryInAll,
	queuedInAll,
	servers,
	speedInAll,
	totalSpeeds,
} from "../live.ts";
import type { Host } from "../types.ts";
import { Mark, Spark, type Tone } from "../ui/parts.tsx";

// As a text, so that the bar is drawn anew only when a part of it has changed.
const users = computed(() => {
	const all = servers.value.filter((s) => s.memory_bytes > 0);
	return JSON.stringify(all.map((s) => [s.name, s.memory_bytes]));
});

function MemoryGauge({ h }: { h: Host | null }) {
	const parts = JSON.parse(users.value) as [name: string, memoryBytes: number][];
	const budget = h?.memory_budget_bytes ?? 0;
	const titles = parts.map(([name, memoryBytes]) => `${name}: ${bytes(memoryBytes)}`);
	return (
		<div class="gauge">
			<h2>Memory</h2>
			<p class="figure">
				{gib(memoryInAll.value)}
				<small>{budget > 0 ? ` of ${gib(budget)} GiB` : " GiB"}</small>
			</p>
			<div class="stack" role="img" aria-label={titles.join(", ") || "none in use"}>
				{parts.map(([name, memoryBytes], i) => (
					<span
						key={name}
						title={titles[i]}
						style={{ width: budget > 0 ? `${(memoryBytes / budget) * 100}%` : "0" }}
					/>
				))}
			</div>
		</div>
	);
}

function SpeedGauge() {
	const now = speedInAll.value;
	return (
		<div class="gauge">
			<h2>Generation</h2>
			<p class="figure">
				{now > 0 ? speed(now) : "0"}
				<small> tok/s</small>
			</p>
			<Spark values={totalSpeeds} />
		</div>
	);
}

function RequestGauge() {
	const queued = queuedInAll.value;
	return (
		<div class="gauge">
			<h2>Requests</h2>
			<p class="figure">
				{activeInAll}
				<small> active</small>
			</p>
			<p class="under">{queued > 0 ? `${queued} waiting` : "none waiting"}</p>
		</div>
	);
}

export function linkTone(h: Host): Tone {
	if (connection.value !== "live") {
		return "off";
	}
	if (h.link.state === "up") {
		return "good";
	}
	return h.link.state === "connecting" ? "busy" : "bad";
}

export function channelText(h: Host): string {
	const lease = h.lease_s > 0 ? `, lease ${h.lease_s} s` : "";
	return `${h.channel} ${h.link.state}${lease}`;
}

export function deviceText(h: Host): string {
	const [first, ...rest] = h.devices;
	if (!first) {
		return "CPU only";
	}
	return rest.length > 0 ? `${first.name} +${rest.length}` : first.name;
}

function HostGauge({ h }: { h: Host | null }) {
	if (!h) {
		return (
			<div class="gauge">
				<h2>Host</h2>
				<p class="figure">{NONE}</p>
			</div>
		);
	}
	return (
		<div class="gauge host">
			<h2>Host {h.name}</h2>
			<p class="figure text">{deviceText(h)}</p>
			<p class="under" title={h.engine || h.engine_error}>
				<Mark tone={linkTone(h)} />
				{channelText(h)}
				{" · "}
				{h.engine || h.engine_error || "no engine"}
			</p>
		</div>
	);
}

export function Gauges() {
	const h = host.value;
	return (
		<section class="gauges" aria-label="Instruments">
			<MemoryGauge h={h} />
			<SpeedGauge />
			<RequestGauge />
			<HostGauge h={h} />
		</section>
	);
}
