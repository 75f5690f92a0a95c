// SPDX-License-Identifier: MIT
//
// Lines over time, drawn by uPlot, which is loaded with the first chart. The legend is ours: a list
// that can be read without seeing the lines.
import { useEffect, useRef, useState } from "preact/hooks";
import type uPlot from "uplot";
import { NONE } from "../format.ts";
import { isDark } from "../theme.ts";

const HEIGHT_PX = 220;
export const SERIES_MAX = 8; // colours in style.css

export interface Series {
	name: string;
	values: (number | null)[];
	summary: string; // for the legend
}

interface ChartProps {
	label: string;
	seconds: number[]; // of each value, Unix time
	series: Series[];
	format: (value: number) => string;
	clock: (seconds: number) => string;
}

function colour(name: string): string {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(format: (value: number) => string): uPlot.Axis {
	return {
		stroke: colour("--muted"),
		grid: { stroke: colour("--line"), width: 1 },
		ticks: { show: false },
		font: "11px system-ui",
		values: (_, splits) => splits.map(format),
		size: 64,
	};
}

function options(
	width: number,
	{ series, format, clock }: ChartProps,
	onCursor: (at: number | null) => void,
): uPlot.Options {
	return {
		width,
		height: HEIGHT_PX,
		legend: { show: false },
		cursor: { y: false, points: { size: 6 } },
		scales: { y: { range: (_, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
		axes: [{ ...axis(clock), size: 26 }, axis(format)],
		hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)] },
		series: [
			{},
			...series.map((s, i) => ({
				label: s.name,
				stroke: colour(`--series-${i + 1}`),
				width: 1.5,
				points: { show: s.values.filter((v) => v !== null).length < 3 },
			})),
		],
	};
}

export function Chart(props: ChartProps) {
	const box = useRef<HTMLDivElement>(null);
	const plot = useRef<uPlot | null>(null);
	const [cursor, setCursor] = useState<number | null>(null);
	const { seconds, series, label, format, clock } = props;
	const data = [seconds, ...series.map((s) => s.values)] as uPlot.AlignedData;
	const newest = useRef({ props, data });
	newest.current = { props, data };
	const names = series.map((s) => s.name).join("\n");
	const dark = isDark.value;
	useEffect(() => {
		let gone = false;
		const element = box.current!;
		const observer = new ResizeObserver(() =>
			plot.current?.setSize({ width: element.clientWidth, height: HEIGHT_PX }),
		);
		void import("uplot").then(({ default: UPlot }) => {
			if (!gone) {
				const { props: now, data: values } = newest.current;
				plot.current = new UPlot(
					options(element.clientWidth, now, setCursor),
					values,
					element,
				);
				observer.observe(element);
			}
		});
		return () => {
			gone = true;
			observer.disconnect();
			plot.current?.destroy();
			plot.current = null;
		};
	}, [label, names, dark]);
	useEffect(() => plot.current?.setData(data), [data]);
	const at = cursor === null ? undefined : seconds[cursor];
	const said = (s: Series) => {
		const value = at === undefined ? undefined : s.values[cursor!];
		return typeof value === "number" ? format(value) : at === undefined ? s.summary : NONE;
	};
	return (
		<figure class="chart">
			<div ref={box} class="plot" role="img" aria-label={label} />
			<figcaption>
				<span class="muted">{at === undefined ? "In all" : clock(at)}</span>
				{series.map((s, i) => (
					<span key={s.name}>
						<i class={`series-${i + 1}`} />
						{s.name} <span class="muted">{said(s)}</span>
					</span>
				))}
			</figcaption>
		</figure>
	);
}
