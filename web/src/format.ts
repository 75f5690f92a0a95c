// SPDX-License-Identifier: MIT
//
// Figures as people read them. A figure that is not known is a dash.

export const NONE = "–";

export function bytes(n: number): string {
	if (n < 1024) {
		return `${n} B`;
	}
	const units = ["KiB", "MiB", "GiB", "TiB"];
	let value = n;
	let unit = -1;
	do {
		value /= 1024;
		unit++;
	} while (value >= 1024 && unit < units.length - 1);
	return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

export function gib(n: number): string {
	return (n / 2 ** 30).toFixed(1);
}

// 32768 -> "32k", 5000 -> "5,000"
export function tokens(n: number): string {
	return n >= 1024 && n % 1024 === 0 ? `${n / 1024}k` : count(n);
}

export function count(n: number): string {
	return n.toLocaleString("en-US");
}

// 8_030_000_000 -> "8.0 B"
export function parameters(n: number): string {
	if (n >= 1e9) {
		return `${(n / 1e9).toFixed(1)} B`;
	}
	return n >= 1e6 ? `${(n / 1e6).toFixed(1)} M` : count(n);
}

export function speed(n: number): string {
	return n >= 100 ? n.toFixed(0) : n.toFixed(1);
}

// For spans that were measured: "0.11 s", "4.2 s", "1 min 12 s"
export function duration(ms: number): string {
	if (ms < 1000) {
		return `${Math.round(ms)} ms`;
	}
	if (ms < 10_000) {
		return `${(ms / 1000).toFixed(2)} s`;
	}
	if (ms < 60_000) {
		return `${(ms / 1000).toFixed(1)} s`;
	}
	return age(ms);
}

// For time that goes by: "12 s", "3 min", "3 h 12 min", "2 d 4 h"
export function age(ms: number): string {
	const s = Math.max(0, Math.round(ms / 1000));
	if (s < 60) {
		return `${s} s`;
	}
	const min = Math.floor(s / 60);
	if (min < 60) {
		return `${min} min`;
	}
	const h = Math.floor(min / 60);
	return h < 48 ? `${h} h ${min % 60} min` : `${Math.floor(h / 24)} d ${h % 24} h`;
}

export function clock(unixMs: number): string {
	return new Date(unixMs).toLocaleTimeString("en-GB");
}

export function day(unixMs: number): string {
	return new Date(unixMs).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

export function moment(unixMs: number): string {
	const today = day(Date.now()) === day(unixMs);
	return today ? clock(unixMs) : `${day(unixMs)}, ${clock(unixMs)}`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
	return `${count(n)} ${n === 1 ? one : many}`;
}
