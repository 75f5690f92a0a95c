// SPDX-License-Identifier: MIT
//
// The small parts that the views are made of.
import { useComputed, type ReadonlySignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { SPEEDS_KEPT } from "../live.ts";
import type { Phase, Server } from "../types.ts";
import { Icon } from "./icons.tsx";

/* State: a shape, a colour and a word */

export type Tone = "good" | "busy" | "warn" | "bad" | "off";

const TONES: Record<Phase, Tone> = {
	stopped: "off",
	starting: "busy",
	loading: "busy",
	ready: "good",
	draining: "busy",
	stopping: "busy",
	backoff: "warn",
	failed: "bad",
	unknown: "warn",
};

export function toneOf(server: Server): Tone {
	const misplaced = server.phase === "ready" && !server.receipt.wanted;
	return misplaced ? "warn" : TONES[server.phase];
}

export function Mark({ tone }: { tone: Tone }) {
	return (
		<svg class={`mark ${tone}`} viewBox="0 0 16 16" aria-hidden="true">
			{tone === "good" && <circle cx="8" cy="8" r="5" />}
			{tone === "off" && <circle class="hollow" cx="8" cy="8" r="4.2" />}
			{tone === "busy" && (
				<>
					<circle class="hollow" cx="8" cy="8" r="4.2" />
					<path d="M8 3.8a4.2 4.2 0 0 1 0 8.4z" />
				</>
			)}
			{tone === "warn" && <path d="M8 2.6l5.8 10.4H2.2z" />}
			{tone === "bad" && <path class="hollow thick" d="M4 4l8 8M12 4l-8 8" />}
		</svg>
	);
}

/* Bars */

interface BarProps {
	value: number; // 0..1
	label: string;
	tone?: Tone;
}

export function Bar({ value, label, tone = "good" }: BarProps) {
	const share = Math.min(1, Math.max(0, value));
	return (
		<span
			class={`bar ${tone}`}
			role="meter"
			aria-label={label}
			aria-valuemin={0}
			aria-valuemax={100}
			aria-valuenow={Math.round(share * 100)}
		>
			<span style={{ transform: `scaleX(${share})` }} />
		</span>
	);
}

export function Progress({ value, label }: { value: number; label: string }) {
	const known = value >= 0;
	return (
		<span
			class={known ? "progress" : "progress unknown"}
			role="progressbar"
			aria-label={label}
			aria-valuemin={0}
			aria-valuemax={100}
			{...(known ? { "aria-valuenow": Math.round(value * 100) } : {})}
		>
			<span style={{ transform: known ? `scaleX(${value})` : "none" }} />
		</span>
	);
}

/* Sparkline: newest at the right edge, scaled to its own highest value */

const SPARK_HEIGHT = 160;
const SPARK_EDGE = 10; // room for the line's own width

// In whole units, which are quick to write.
function sparkPath(values: number[]): string {
	const top = Math.max(...values, 1e-9);
	const scale = (SPARK_HEIGHT - 2 * SPARK_EDGE) / top;
	let path = "";
	values.forEach((v, i) => {
		const x = SPEEDS_KEPT - values.length + i;
		const y = SPARK_HEIGHT - SPARK_EDGE - Math.round(v * scale);
		path += `${i === 0 ? "M" : "L"}${x} ${y}`;
	});
	return path;
}

// The path is bound to its signal: new values change the attribute and draw nothing else anew.
export function Spark({ values }: { values: ReadonlySignal<number[]> }) {
	const path = useComputed(() => sparkPath(values.value));
	return (
		<svg
			class="spark"
			viewBox={`0 0 ${SPEEDS_KEPT - 1} ${SPARK_HEIGHT}`}
			preserveAspectRatio="none"
			aria-hidden="true"
		>
			<path d={path} />
		</svg>
	);
}

/* Controls */

interface SwitchProps {
	on: boolean;
	label: string;
	onChange: (on: boolean) => void;
}

export function Switch({ on, label, onChange }: SwitchProps) {
	return (
		<button
			type="button"
			class="switch"
			role="switch"
			aria-checked={on}
			aria-label={label}
			title={label}
			onClick={() => onChange(!on)}
		>
			<span />
		</button>
	);
}

interface CopyProps {
	text: string;
	label?: string;
}

export function Copy({ text, label = "Copy" }: CopyProps) {
	const [said, setSaid] = useState("");
	const timer = useRef<ReturnType<typeof setTimeout>>();
	useEffect(() => () => clearTimeout(timer.current), []);
	const copy = async () => {
		try {
			await navigator.clipboard.writeText(text);
			setSaid("Copied");
		} catch {
			setSaid("Not allowed: select and copy by hand");
		}
		clearTimeout(timer.current);
		timer.current = setTimeout(() => setSaid(""), 2_000);
	};
	return (
		<button type="button" class="small copy" onClick={copy}>
			<Icon name={said === "Copied" ? "check" : "copy"} />
			<span aria-live="polite">{said || label}</span>
		</button>
	);
}

export function Snippet({ text, label }: { text: string; label: string }) {
	return (
		<div class="snippet">
			<pre tabIndex={0} aria-label={label}>
				<code>{text}</code>
			</pre>
			<Copy text={text} />
		</div>
	);
}

interface SegmentsProps<T extends string> {
	label: string;
	value: T;
	choices: readonly (readonly [T, string])[];
	onChange: (value: T) => void;
}

// A row of choices of which one holds.
export function Segments<T extends string>({ label, value, choices, onChange }: SegmentsProps<T>) {
	return (
		<div class="segments" role="group" aria-label={label}>
			{choices.map(([choice, text]) => (
				<button
					key={choice}
					type="button"
					aria-pressed={choice === value}
					onClick={() => onChange(choice)}
				>
					{text}
				</button>
			))}
		</div>
	);
}

interface DialogProps {
	title: string;
	onClose: () => void;
	children: ComponentChildren;
}

export function Dialog({ title, onClose, children }: DialogProps) {
	const ref = useRef<HTMLDialogElement>(null);
	useEffect(() => {
		ref.current?.showModal();
	}, []);
	return (
		<dialog
			ref={ref}
			aria-label={title}
			onClose={onClose}
			onClick={(event) => event.target === ref.current && ref.current?.close()}
		>
			<div class="dialog">
				<header>
					<h2>{title}</h2>
					<button class="bare" aria-label="Close" onClick={() => ref.current?.close()}>
						<Icon name="cross" />
					</button>
				</header>
				{children}
			</div>
		</dialog>
	);
}

export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
	return (
		<dl class="facts">
			{rows.map(([name, value]) => (
				<div key={name}>
					<dt>{name}</dt>
					<dd>{value}</dd>
				</div>
			))}
		</dl>
	);
}

interface EmptyProps {
	title: string;
	isWholeView?: boolean; // then its title is the view's
	children?: ComponentChildren;
}

export function Empty({ title, isWholeView = false, children }: EmptyProps) {
	const Title = isWholeView ? "h1" : "strong";
	return (
		<div class="empty">
			<Title>{title}</Title>
			{children}
		</div>
	);
}
