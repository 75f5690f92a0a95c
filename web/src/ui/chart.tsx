// SPDX-License-Identifier: MIT
//
// Lines over time, drawn by uPlot, which is loaded with the first chart. The legend is ours: a list
// that can be read without seeing the lines.
import { useEffect, useRef } from "preact/hooks";
import type uPlot from "uplot";
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
}

function colour(name: string): string {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(format?: (value: number) => string): uPlot.Axis {
	const made: uPlot.Axis = {
		stroke: colour("--muted"),
		grid: { stroke: colour("--line"), width: 1 },
		ticks: { show: false },
		font: "11px system-ui",
	};
	if (format) {
		made.values = (_, splits) => splits.map(format);
		made.size = 64;
	}
	return made;
}

function options(width: number, { series, format }: ChartProps): uPlot.Options {
	return {
		width,
		height: HEIGHT_PX,
		legend: { show: false },
		cursor: { y: false, points: { size: 6 } },
		scales: { y: { range: (_, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
		axes: [axis(), axis(format)],
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
	const { seconds, series, label } = props;
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
				plot.current = new UPlot(options(element.clientWidth, now), values, element);
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
	return (
		<figure class="chart">
			<div ref={box} class="plot" role="img" aria-label={label} />
			<figcaption>
				{series.map((s, i) => (
					<span key={s.name}>
						<i class={`series-${i + 1}`} />
						{s.name} <span class="muted">{s.summary}</span>
					</span>
				))}
			</figcaption>
		</figure>
	);
}
