// SPDX-License-Identifier: MIT
//
// Requests, in flight and past, and what they come to over time. No prompt is ever shown: none is
// kept.
import { useEffect, useState } from "preact/hooks";
import { api, type RequestFilter } from "../api.ts";
import { age, count, duration, moment, NONE, speed } from "../format.ts";
import { connection, now, requests, servers } from "../live.ts";
import { path } from "../router.ts";
import type { Request } from "../types.ts";
import { attempt } from "../ui/notices.tsx";
import { Empty, Mark, type Tone } from "../ui/parts.tsx";
import { UsageChart } from "./usage-chart.tsx";

const PAGE = 100;

interface Filter {
	model: string;
	key: string;
	failed: boolean;
}

function isFailed(r: Request): boolean {
	return r.status >= 400;
}

function matches(r: Request, filter: Filter): boolean {
	return (
		(filter.model === "" || r.model_id === filter.model) &&
		(filter.key === "" || r.key_name === filter.key) &&
		(!filter.failed || isFailed(r))
	);
}

function asked(filter: Filter, before?: number): RequestFilter {
	return {
		model: filter.model,
		key: filter.key,
		limit: PAGE,
		...(filter.failed ? { failed: "true" as const } : {}),
		...(before === undefined ? {} : { before }),
	};
}

// What the stream has said wins over what was fetched.
function merged(past: Request[], current: Request[], filter: Filter): Request[] {
	const byId = new Map(past.map((r) => [r.id, r]));
	for (const r of current) {
		if (matches(r, filter)) {
			byId.set(r.id, r);
		}
	}
	return [...byId.values()].sort((a, b) => b.id - a.id);
}

const WORDS: Record<Request["phase"], string> = {
	queued: "waiting",
	prompt: "reading",
	generating: "writing",
	done: "done",
};

function outcome(r: Request): [Tone, string] {
	if (r.phase !== "done") {
		return ["busy", WORDS[r.phase]];
	}
	if (r.status === 499) {
		return ["off", "caller left"];
	}
	return isFailed(r) ? ["bad", String(r.status)] : ["good", String(r.status)];
}

function Elapsed({ since }: { since: number }) {
	return <>{age(now.value - since)}</>;
}

const figure = (value: number | null, format: (n: number) => string) =>
	value === null ? NONE : format(value);

function Row({ r }: { r: Request }) {
	const [tone, word] = outcome(r);
	return (
		<tr class={r.phase === "done" ? "" : "in-flight"} title={r.error}>
			<td>{moment(r.at_unix_ms)}</td>
			<td>
				<span class="state">
					<Mark tone={tone} />
					{word}
				</span>
			</td>
			<td>
				<a href={path.model(r.model_id)}>{r.model_id}</a>
			</td>
			<td>{r.key_name || NONE}</td>
			<td>{r.path.replace("/v1/", "")}</td>
			<td class="num">{figure(r.prompt_tokens, count)}</td>
			<td class="num">{figure(r.generated_tokens, count)}</td>
			<td class="num">{r.queue_ms > 0 ? duration(r.queue_ms) : NONE}</td>
			<td class="num">{figure(r.first_token_ms, duration)}</td>
			<td class="num">{figure(r.tokens_per_second, speed)}</td>
			<td class="num">
				{r.phase === "done" ? duration(r.total_ms) : <Elapsed since={r.at_unix_ms} />}
			</td>
		</tr>
	);
}

const COLUMNS: [string, boolean][] = [
	["Time", false],
	["Status", false],
	["Model", false],
	["Key", false],
	["Endpoint", false],
	["Prompt", true],
	["Tokens", true],
	["Waited", true],
	["First token", true],
	["tok/s", true],
	["Duration", true],
];

function Table({ rows }: { rows: Request[] }) {
	return (
		<div class="scroll" tabIndex={0} role="region" aria-label="Table of requests">
			<table class="plain requests" aria-label="Requests">
				<thead>
					<tr>
						{COLUMNS.map(([text, isNumber]) => (
							<th key={text} scope="col" class={isNumber ? "num" : ""}>
								{text}
							</th>
						))}
					</tr>
				</thead>
				<tbody>
					{rows.map((r) => (
						<Row key={r.id} r={r} />
					))}
				</tbody>
			</table>
		</div>
	);
}

interface FiltersProps {
	filter: Filter;
	keys: string[];
	onFilter: (filter: Filter) => void;
}

function Filters({ filter, keys, onFilter }: FiltersProps) {
	return (
		<div class="toolbar">
			<label>
				Model
				<select
					value={filter.model}
					onChange={(event) => onFilter({ ...filter, model: event.currentTarget.value })}
				>
					<option value="">all</option>
					{servers.value.map((s) => (
						<option key={s.id} value={s.id}>
							{s.name}
						</option>
					))}
				</select>
			</label>
			<label>
				Key
				<select
					value={filter.key}
					onChange={(event) => onFilter({ ...filter, key: event.currentTarget.value })}
				>
					<option value="">all</option>
					{keys.map((name) => (
						<option key={name} value={name}>
							{name}
						</option>
					))}
				</select>
			</label>
			<label class="check">
				<input
					type="checkbox"
					checked={filter.failed}
					onChange={(event) =>
						onFilter({ ...filter, failed: event.currentTarget.checked })
					}
				/>
				failed only
			</label>
		</div>
	);
}

function useKeyNames(): string[] {
	const [names, setNames] = useState<string[]>([]);
	useEffect(() => {
		api.keys().then(
			({ keys }) => setNames(keys.map((k) => k.name)),
			() => undefined, // the filter then offers none
		);
	}, []);
	return names;
}

export function Activity({ id }: { id: string }) {
	const [filter, setFilter] = useState<Filter>({ model: id, key: "", failed: false });
	const [past, setPast] = useState<Request[]>([]);
	const [more, setMore] = useState(false);
	const keys = useKeyNames();
	const fetch = async (before?: number) => {
		const got = (await api.requests(asked(filter, before))).requests;
		setPast(before === undefined ? got : [...past, ...got]);
		setMore(got.length === PAGE);
	};
	const away = connection.value === "away";
	useEffect(() => {
		if (!away) {
			void attempt("Requests", () => fetch());
		}
	}, [filter, away]);
	const rows = merged(past, requests.value, filter);
	const oldest = rows.at(-1)?.id;
	return (
		<>
			<h1 class="sr">Activity</h1>
			<UsageChart model={filter.model} />
			<Filters filter={filter} keys={keys} onFilter={setFilter} />
			{rows.length > 0 ? <Table rows={rows} /> : <Empty title="No requests yet." />}
			{more && (
				<button
					type="button"
					onClick={() => attempt("Older requests", () => fetch(oldest))}
				>
					Older
				</button>
			)}
		</>
	);
}
