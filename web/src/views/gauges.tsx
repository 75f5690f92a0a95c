// SPDX-License-Identifier: MIT
//
// The four instruments above the fleet: memory, speed, requests, host.
import { bytes, gib, NONE, speed } from "../format.ts";
import { connection, host, live, order, servers, totalSpeeds } from "../live.ts";
import type { Host, Server } from "../types.ts";
import { Mark, Spark, type Tone } from "../ui/parts.tsx";

function MemoryGauge({ h }: { h: Host | null }) {
	const users = servers.value.filter((s) => s.memory_bytes > 0);
	const used = users.reduce((sum, s) => sum + s.memory_bytes, 0);
	const budget = h?.memory_budget_bytes ?? 0;
	const title = (s: Server) => `${s.name}: ${bytes(s.memory_bytes)}`;
	return (
		<div class="gauge">
			<h2>Memory</h2>
			<p class="figure">
				{gib(used)}
				<small>{budget > 0 ? ` of ${gib(budget)} GiB` : " GiB"}</small>
			</p>
			<div class="stack" role="img" aria-label={users.map(title).join(", ") || "none in use"}>
				{users.map((s) => (
					<span
						key={s.id}
						title={title(s)}
						style={{ width: budget > 0 ? `${(s.memory_bytes / budget) * 100}%` : "0" }}
					/>
				))}
			</div>
		</div>
	);
}

function SpeedGauge() {
	const now = order.value.reduce((sum, id) => sum + (live(id)?.speed.value ?? 0), 0);
	return (
		<div class="gauge">
			<h2>Generation</h2>
			<p class="figure">
				{now > 0 ? speed(now) : "0"}
				<small> tok/s</small>
			</p>
			<Spark values={totalSpeeds.value} />
		</div>
	);
}

function RequestGauge() {
	const active = servers.value.reduce((sum, s) => sum + s.active_requests, 0);
	const queued = servers.value.reduce((sum, s) => sum + s.queued_requests, 0);
	return (
		<div class="gauge">
			<h2>Requests</h2>
			<p class="figure">
				{active}
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
