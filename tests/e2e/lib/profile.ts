// SPDX-License-Identifier: MIT
//
// How long the page's script runs, by the browser's own trace.
import type { Browser, Page } from "playwright-core";

export interface Profile {
	frames: number; // animation frames in which the page drew an update
	frameMeanMs: number;
	frameP99Ms: number;
	frameMaxMs: number;
}

interface TraceEvent {
	name: string;
	ph: string;
	dur?: number; // microseconds of wall clock
	tdur?: number; // of the thread's own time, where the browser knows it
}

export async function profile(
	browser: Browser,
	page: Page,
	work: () => Promise<void>,
): Promise<Profile> {
	await browser.startTracing(page, { categories: ["devtools.timeline"] });
	await work();
	const buffer = await browser.stopTracing();
	const { traceEvents } = JSON.parse(buffer.toString()) as { traceEvents: TraceEvent[] };
	const frames = traceEvents
		.filter((e) => e.ph === "X" && e.name === "FireAnimationFrame")
		.map((e) => (e.tdur ?? e.dur ?? 0) / 1000)
		.sort((a, b) => a - b);
	return {
		frames: frames.length,
		frameMeanMs: frames.reduce((sum, ms) => sum + ms, 0) / (frames.length || 1),
		frameP99Ms: frames[Math.floor(frames.length * 0.99)] ?? 0,
		frameMaxMs: frames.at(-1) ?? 0,
	};
}
