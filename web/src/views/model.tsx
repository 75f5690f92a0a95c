// SPDX-License-Identifier: MIT
//
// One model: what it is, where it runs, its settings with their cost, its log, its past starts.
import { useEffect, useState } from "preact/hooks";
import { setEnabled } from "../actions.ts";
import { api } from "../api.ts";
import { age, bytes, count, duration, moment, NONE, parameters, plural, speed } from "../format.ts";
import { host, live, modelOf, now, synced } from "../live.ts";
import { path } from "../router.ts";
import type { Bench, Model, Server, Start } from "../types.ts";
import { Bar, Empty, Facts, Switch } from "../ui/parts.tsx";
import { ReceiptFacts } from "../ui/receipt.tsx";
import { Actions, Busy, Detail, Memory, Speed, StateWord } from "../ui/server.tsx";
import { Log } from "./model-log.tsx";
import { SettingsForm } from "./model-settings.tsx";

function Head({ server }: { server: Server }) {
	return (
		<header class="model-head">
			<div>
				<a class="back" href={path.fleet}>
					Fleet
				</a>
				<h1>{server.name}</h1>
				<Detail server={server} />
			</div>
			<StateWord server={server} />
			<label class="enable">
				<Switch
					on={server.enabled}
					label={`${server.name} enabled`}
					onChange={(on) => setEnabled(server, on)}
				/>
				{server.enabled ? "enabled" : "disabled"}
			</label>
			<Actions server={server} />
		</header>
	);
}

function Now({ server }: { server: Server }) {
	const { starts, restarts } = server;
	return (
		<section class="gauges now" aria-label="Now">
			<div class="gauge">
				<h2>Generation, tok/s</h2>
				<p class="figure">
					<Speed id={server.id} />
				</p>
			</div>
			<div class="gauge">
				<h2>Requests / slots</h2>
				<p class="figure">
					<Busy server={server} />
				</p>
			</div>
			<div class="gauge">
				<h2>Memory</h2>
				<p class="figure">
					<Memory server={server} budget={host.value?.memory_budget_bytes ?? 0} />
				</p>
			</div>
			<div class="gauge">
				<h2>Last load</h2>
				<p class="figure">{server.load_ms ? duration(server.load_ms) : NONE}</p>
			</div>
			<div class="gauge">
				<h2>Port</h2>
				<p class="figure">
					{server.port}
					<small>{server.pid > 0 && ` process ${server.pid}`}</small>
				</p>
			</div>
			<div class="gauge">
				<h2>Starts</h2>
				<p class="figure">
					{starts}
					<small>{restarts > 0 && ` ${restarts} after a crash`}</small>
				</p>
			</div>
		</section>
	);
}

function file(model: Model): [string, string][] {
	const f = model.facts;
	if (!f) {
		return [["Facts", model.facts_error || NONE]];
	}
	const experts: [string, string][] = f.experts > 0 ? [["Experts", count(f.experts)]] : [];
	return [
		["Architecture", f.architecture],
		["Parameters", parameters(f.parameters)],
		["Quantisation", f.quantization],
		["Trained context", `${count(f.context_tokens)} tokens`],
		["Layers × width", `${f.layers} × ${count(f.embedding)}`],
		["Heads (KV)", `${f.heads} (${f.kv_heads})`],
		...experts,
		["Vocabulary", count(f.vocabulary)],
		["Chat template", f.chat_template ? "yes" : "no"],
		["Size", `${bytes(f.file_bytes)}${f.file_parts > 1 ? ` in ${f.file_parts} files` : ""}`],
	];
}

function FileCard({ model }: { model: Model }) {
	const aliases: [string, string][] =
		model.aliases.length > 0 ? [["Aliases", model.aliases.join(", ")]] : [];
	return (
		<section class="card" aria-label="File">
			<h2>File</h2>
			<Facts rows={[["Name for clients", model.id], ...aliases, ...file(model)]} />
			<p class="path">{model.file_path}</p>
		</section>
	);
}

/* Past starts: fetched anew whenever the server's phase moves on */

function exitText(start: Start): string {
	if (start.ended_unix_ms === 0) {
		return "runs";
	}
	return start.exit || NONE;
}

function useFetched<T>(fetch: () => Promise<T>, on: unknown[]): T | null {
	const [value, setValue] = useState<T | null>(null);
	useEffect(() => {
		let current = true;
		fetch().then(
			(got) => current && setValue(got),
			() => undefined, // the away notice says it
		);
		return () => {
			current = false;
		};
	}, on);
	return value;
}

function History({ server }: { server: Server }) {
	const got = useFetched(() => api.history(server.id), [server.id, server.phase]);
	const starts = got?.starts ?? [];
	return (
		<section class="card wide" aria-label="Past starts">
			<h2>Past starts</h2>
			{starts.length === 0 ? (
				<p class="muted">None yet.</p>
			) : (
				<div class="scroll" tabIndex={0} role="region" aria-label="Table of past starts">
					<table class="plain">
						<thead>
							<tr>
								<th scope="col">Started</th>
								<th scope="col" class="num">
									Load
								</th>
								<th scope="col" class="num">
									Ran
								</th>
								<th scope="col">Device</th>
								<th scope="col" class="num">
									Context
								</th>
								<th scope="col">End</th>
							</tr>
						</thead>
						<tbody>
							{starts.map((s) => (
								<tr key={s.started_unix_ms}>
									<td>{moment(s.started_unix_ms)}</td>
									<td class="num">
										{s.ready_unix_ms ? duration(s.load_ms) : NONE}
									</td>
									<td class="num">
										{s.ended_unix_ms
											? duration(s.ended_unix_ms - s.started_unix_ms)
											: age(now.value - s.started_unix_ms)}
									</td>
									<td>
										{s.device_name
											? `${s.verdict}, ${s.device_name}`
											: s.verdict}
									</td>
									<td class="num">
										{s.context_tokens ? count(s.context_tokens) : NONE}
									</td>
									<td>{exitText(s)}</td>
								</tr>
							))}
						</tbody>
					</table>
				</div>
			)}
		</section>
	);
}

/* Measured speed: what `ronzal bench` found last */

type BenchRowOf = Bench["rows"][number];

// Of one stream.
const generation = (row: BenchRowOf) => row.generation[0]?.tokens_per_second ?? 0;

function BenchRow({ row, best }: { row: BenchRowOf; best: number }) {
	const told = [
		...row.startup.map((s) => `${s.start} start ${duration(s.ms)}`),
		...row.prompt.map((p) => `prompt of ${p.tokens}: ${speed(p.tokens_per_second)} tok/s`),
		...row.generation
			.slice(1)
			.map((g) => `${g.streams} streams: ${speed(g.tokens_per_second)} tok/s`),
	];
	return (
		<li>
			<strong>{row.mode}</strong>
			<span class="num">
				{row.factor !== null && row.factor !== 1 && `${row.factor.toFixed(1)}× `}
				{speed(generation(row))} tok/s
			</span>
			<Bar value={generation(row) / best} label={`Generation, ${row.mode}`} />
			<span class="muted">{told.join(" · ")}</span>
		</li>
	);
}

function BenchCard({ id }: { id: string }) {
	const last = useFetched(() => api.bench(id), [id])?.results[0];
	const best = Math.max(1e-9, ...(last?.rows.map(generation) ?? []));
	return (
		<section class="card" aria-label="Measured speed">
			<h2>Measured speed</h2>
			{last ? (
				<>
					<ul class="bench">
						{last.rows.map((row) => (
							<BenchRow key={row.mode} row={row} best={best} />
						))}
					</ul>
					<p class="muted">
						{moment(last.at_unix_ms)} on {last.machine}, medians of{" "}
						{plural(last.runs, "run")}
					</p>
				</>
			) : (
				<p class="muted">
					Not measured yet. In a terminal: <code>ronzal bench {id}</code>
				</p>
			)}
		</section>
	);
}

export function ModelView({ id }: { id: string }) {
	synced.value; // read, so that a model that comes later is drawn
	const entry = live(id);
	const model = modelOf(id);
	if (!entry) {
		const title = synced.value ? `There is no model ${id}.` : "Waiting for the backend …";
		return (
			<Empty title={title} isWholeView>
				<a href={path.fleet}>Back to the fleet</a>
			</Empty>
		);
	}
	const server = entry.server.value;
	return (
		<>
			<Head server={server} />
			<Now server={server} />
			<div class="cards">
				{model && <SettingsForm server={server} model={model} />}
				<section class="card" aria-label="Receipt">
					<h2>Receipt</h2>
					{server.receipt.verdict === "unknown" &&
					server.receipt.evidence.length === 0 ? (
						<p class="muted">It comes with the first start.</p>
					) : (
						<ReceiptFacts receipt={server.receipt} />
					)}
				</section>
				<div class="column">
					{model && <FileCard model={model} />}
					<BenchCard id={id} />
				</div>
				<Log id={id} />
				<History server={server} />
			</div>
		</>
	);
}
