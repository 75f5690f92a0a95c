// SPDX-License-Identifier: MIT
//
// A server's log, live. Only the lines in sight are in the document, so a long log costs nothing.
// Lines come many at a time: they are gathered and shown once per frame.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api } from "../api.ts";
import { count } from "../format.ts";
import { openStream } from "../stream.ts";
import { Icon } from "../ui/icons.tsx";
import { Segments } from "../ui/parts.tsx";

const TAIL_LINES = 1_000;
const KEPT_LINES = 20_000;
const LINE_PX = 18; // as in style.css
const SPARE_LINES = 12; // drawn above and below what is in sight

type Level = "error" | "warn" | "info" | "debug";
type Least = "debug" | "info" | "warn" | "error";

interface Line {
	n: number;
	text: string;
	level: Level;
}

const RANKS: Record<Level, number> = { debug: 0, info: 1, warn: 2, error: 3 };
const LETTERS: Record<string, Level> = { D: "debug", I: "info", W: "warn", E: "error" };

// "0.00.085.203 W text", else by what the line says.
function levelOf(text: string): Level {
	const letter = /^[\d.]+ ([DIWE]) /.exec(text)?.[1];
	if (letter) {
		return LETTERS[letter]!;
	}
	if (/\b(error|failed|fatal|abort)/i.test(text)) {
		return "error";
	}
	return /\bwarn/i.test(text) ? "warn" : "info";
}

/* Reading */

interface Reading {
	lines: Line[];
	dropped: number;
	state: "connecting" | "live" | "away";
}

const NOTHING: Reading = { lines: [], dropped: 0, state: "connecting" };

// Follows a log from the mount to the unmount; a stream that breaks is opened anew from its tail.
function follow(id: string, onReading: (reading: Reading) => void): () => void {
	let reading = NOTHING;
	let fresh: Line[] = [];
	let n = 0;
	let frame = 0;
	const show = (change: Partial<Reading>) => {
		reading = { ...reading, ...change };
		onReading(reading);
	};
	const flush = () => {
		frame = 0;
		const lines = [...reading.lines, ...fresh].slice(-KEPT_LINES);
		fresh = [];
		show({ lines });
	};
	const add = (text: string) => {
		fresh.push({ n: ++n, text, level: levelOf(text) });
		frame ||= requestAnimationFrame(flush);
	};
	const close = openStream(api.logUrl(id, TAIL_LINES, true), {
		names: ["log", "lagged"],
		onOpen() {
			fresh = [];
			show({ ...NOTHING, state: "live" });
		},
		onEvent(name, data) {
			if (name === "log") {
				add((data as { line: string }).line);
			} else {
				show({ dropped: reading.dropped + (data as { dropped: number }).dropped });
			}
		},
		onLost: () => show({ state: "away" }),
	});
	return () => {
		close();
		cancelAnimationFrame(frame);
	};
}

/* Showing */

function Marked({ text, find }: { text: string; find: string }) {
	const at = find === "" ? -1 : text.toLowerCase().indexOf(find);
	if (at < 0) {
		return <>{text}</>;
	}
	return (
		<>
			{text.slice(0, at)}
			<mark>{text.slice(at, at + find.length)}</mark>
			{text.slice(at + find.length)}
		</>
	);
}

interface LinesProps {
	lines: Line[];
	find: string;
	following: boolean;
	onFollowing: (following: boolean) => void;
}

function Lines({ lines, find, following, onFollowing }: LinesProps) {
	const box = useRef<HTMLDivElement>(null);
	const [top, setTop] = useState(0);
	const [height, setHeight] = useState(400);
	useEffect(() => {
		const element = box.current!;
		const observer = new ResizeObserver(() => setHeight(element.clientHeight));
		observer.observe(element);
		return () => observer.disconnect();
	}, []);
	useEffect(() => {
		if (following && box.current) {
			box.current.scrollTop = box.current.scrollHeight;
		}
	}, [lines, following, height]);
	const onScroll = ({ currentTarget: element }: { currentTarget: HTMLElement }) => {
		setTop(element.scrollTop);
		const end = element.scrollHeight - element.scrollTop - element.clientHeight < LINE_PX * 2;
		if (end !== following) {
			onFollowing(end);
		}
	};
	const from = Math.max(0, Math.floor(top / LINE_PX) - SPARE_LINES);
	const to = Math.ceil((top + height) / LINE_PX) + SPARE_LINES;
	return (
		<div
			ref={box}
			class="lines"
			tabIndex={0}
			role="log"
			aria-live="off"
			aria-label="Log lines"
			onScroll={onScroll}
		>
			<div style={{ height: `${lines.length * LINE_PX}px` }}>
				<div style={{ transform: `translateY(${from * LINE_PX}px)` }}>
					{lines.slice(from, to).map((line) => (
						<div key={line.n} class={`line ${line.level}`}>
							<Marked text={line.text} find={find} />
						</div>
					))}
				</div>
			</div>
		</div>
	);
}

const LEASTS = [
	["debug", "All"],
	["info", "Info"],
	["warn", "Warnings"],
	["error", "Errors"],
] as const;

function summary(reading: Reading, shown: number, paused: number | null): string {
	const parts = [`${count(shown)} of ${count(reading.lines.length)} lines`];
	if (reading.dropped > 0) {
		parts.push(`${count(reading.dropped)} left out`);
	}
	if (paused !== null) {
		parts.push("paused");
	}
	parts.push(reading.state);
	return parts.join(" · ");
}

export function Log({ id }: { id: string }) {
	const [reading, setReading] = useState(NOTHING);
	const [find, setFind] = useState("");
	const [least, setLeast] = useState<Least>("debug");
	const [following, setFollowing] = useState(true);
	const [paused, setPaused] = useState<number | null>(null); // the last line shown
	useEffect(() => follow(id, setReading), [id]);
	const needle = find.toLowerCase();
	const lines = useMemo(
		() =>
			reading.lines.filter(
				(line) =>
					RANKS[line.level] >= RANKS[least] &&
					(paused === null || line.n <= paused) &&
					(needle === "" || line.text.toLowerCase().includes(needle)),
			),
		[reading.lines, needle, least, paused],
	);
	const last = reading.lines.at(-1)?.n ?? 0;
	const waiting = paused === null ? 0 : last - paused;
	return (
		<section class="card wide log" aria-label="Log">
			<header>
				<h2>Log</h2>
				<input
					type="search"
					placeholder="Find in the log"
					aria-label="Find in the log"
					value={find}
					onInput={(event) => setFind(event.currentTarget.value)}
				/>
				<Segments label="Least level" value={least} choices={LEASTS} onChange={setLeast} />
				<button
					type="button"
					class="small"
					aria-pressed={paused !== null}
					onClick={() => {
						setPaused(paused === null ? last : null);
						setFollowing(true);
					}}
				>
					<Icon name={paused === null ? "pause" : "play"} />
					{paused === null ? "Pause" : `Go on (${count(waiting)} new)`}
				</button>
				<a class="button small" href={api.logUrl(id, 10_000, false)} download={`${id}.log`}>
					<Icon name="down" />
					Download
				</a>
				<span class="muted">{summary(reading, lines.length, paused)}</span>
			</header>
			<Lines lines={lines} find={needle} following={following} onFollowing={setFollowing} />
		</section>
	);
}
