// SPDX-License-Identifier: MIT
//
// Use over time, a line for each of the busiest models.
import { useEffect, useState } from "preact/hooks";
import { api } from "../api.ts";
import { clock, count, day, duration, NONE, speed } from "../format.ts";
import { connection } from "../live.ts";
import type { Bucket } from "../types.ts";
import { Chart, SERIES_MAX, type Series } from "../ui/chart.tsx";
import { Segments } from "../ui/parts.tsx";

const REFRESH_MS = 10_000;

type Span = "hour" | "day" | "month";
type Metric = "tokens" | "speed" | "first" | "requests";

const SPANS = [
	["hour", "1 h"],
	["day", "24 h"],
	["month", "30 d"],
] as const;

const METRICS = [
	["tokens", "Tokens"],
	["speed", "Speed"],
	["first", "First token"],
	["requests", "Requests"],
] as const;

const STEPS = {
	hour: ["minute", 60_000, 60],
	day: ["hour", 3_600_000, 24],
	month: ["day", 86_400_000, 30],
} as const;

// `rest` is the value of a bucket in which nothing happened.
interface Measure {
	of: (b: Bucket) => number | null;
	rest: number | null;
	format: (n: number) => string;
	unit: string;
}

const MEASURES: Record<Metric, Measure> = {
	tokens: { of: (b) => b.generated_tokens, rest: 0, format: count, unit: "tokens generated" },
	speed: {
		of: (b) => (b.generating_ms > 0 ? (b.generated_tokens / b.generating_ms) * 1000 : null),
		rest: null,
		format: speed,
		unit: "tok/s of one request, mean",
	},
	first: {
		of: (b) => b.first_token_ms_mean,
		rest: null,
		format: duration,
		unit: "to first token",
	},
	requests: { of: (b) => b.requests, rest: 0, format: count, unit: "requests" },
};

function busiest(buckets: Bucket[]): string[] {
	const sums = new Map<string, number>();
	for (const b of buckets) {
		sums.set(b.model_id, (sums.get(b.model_id) ?? 0) + b.requests);
	}
	const sorted = [...sums].sort((a, b) => b[1] - a[1]);
	return sorted.slice(0, SERIES_MAX).map(([id]) => id);
}

function summaryOf(buckets: Bucket[], metric: Metric): string {
	const sum = (of: (b: Bucket) => number) => buckets.reduce((total, b) => total + of(b), 0);
	const tokens = sum((b) => b.generated_tokens);
	switch (metric) {
		case "tokens":
			return count(tokens);
		case "requests":
			return count(sum((b) => b.requests));
		case "speed": {
			const ms = sum((b) => b.generating_ms);
			return ms > 0 ? `${speed((tokens / ms) * 1000)} tok/s` : NONE;
		}
		case "first": {
			const known = buckets.filter((b) => b.first_token_ms_mean !== null);
			const requests = known.reduce((total, b) => total + b.requests, 0);
			const ms = known.reduce((total, b) => total + b.first_token_ms_mean! * b.requests, 0);
			return requests > 0 ? duration(ms / requests) : NONE;
		}
	}
}

function seriesOf(id: string, times: number[], buckets: Bucket[], metric: Metric): Series {
	const own = buckets.filter((b) => b.model_id === id);
	const byTime = new Map(own.map((b) => [b.start_unix_ms, b]));
	const { of, rest } = MEASURES[metric];
	const values = times.map((at) => {
		const bucket = byTime.get(at);
		return bucket ? of(bucket) : rest;
	});
	return { name: id, values, summary: summaryOf(own, metric) };
}

const minuteOf = (seconds: number) => clock(seconds * 1000).slice(0, 5);
const dayOf = (seconds: number) => day(seconds * 1000);

// The starts of all buckets of a span; where days begin is the backend's to say, so they are
// counted from one that it has named.
function timesOf(buckets: Bucket[], stepMs: number, steps: number): number[] {
	const last = buckets.at(-1)?.start_unix_ms ?? Math.floor(Date.now() / stepMs) * stepMs;
	const ahead = Math.floor((Date.now() - last) / stepMs);
	const end = last + ahead * stepMs;
	return Array.from({ length: steps }, (_, i) => end - (steps - 1 - i) * stepMs);
}

function useBuckets(span: Span, model: string): Bucket[] | null {
	const [buckets, setBuckets] = useState<Bucket[] | null>(null);
	const isLive = connection.value === "live";
	useEffect(() => {
		if (!isLive) {
			return undefined;
		}
		let current = true;
		const [step, stepMs, steps] = STEPS[span];
		const fetch = () =>
			api.usage(step, Date.now() - steps * stepMs, model).then(
				(got) => current && setBuckets(got.buckets),
				() => undefined, // asked again soon
			);
		void fetch();
		const timer = setInterval(fetch, REFRESH_MS);
		return () => {
			current = false;
			clearInterval(timer);
		};
	}, [span, model, isLive]);
	return buckets;
}

export function UsageChart({ model }: { model: string }) {
	const [span, setSpan] = useState<Span>("hour");
	const [metric, setMetric] = useState<Metric>("tokens");
	const buckets = useBuckets(span, model) ?? [];
	const [, stepMs, steps] = STEPS[span];
	const times = timesOf(buckets, stepMs, steps);
	const { format, unit } = MEASURES[metric];
	const series = busiest(buckets).map((id) => seriesOf(id, times, buckets, metric));
	return (
		<section class="card usage" aria-label="Use over time">
			<header>
				<h2>Use</h2>
				<Segments label="What" value={metric} choices={METRICS} onChange={setMetric} />
				<Segments label="Time" value={span} choices={SPANS} onChange={setSpan} />
				<span class="muted">{unit}</span>
			</header>
			<Chart
				label={`${unit} by model, last ${SPANS.find(([s]) => s === span)![1]}`}
				seconds={times.map((at) => at / 1000)}
				series={series}
				format={format}
				clock={span === "month" ? dayOf : minuteOf}
			/>
		</section>
	);
}
