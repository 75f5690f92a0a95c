// SPDX-License-Identifier: MIT
//
// Chat with a model through the gateway. The conversation outlives a change of view and a reload of
// the tab, nothing more: it is kept in the tab's session storage and nowhere else.
import { batch, effect, signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { ApiError } from "../api.ts";
import { complete, requestBody, type Message, type Sampling, type Stats } from "../completion.ts";
import { count, duration, speed } from "../format.ts";
import { live, servers } from "../live.ts";
import { Markdown } from "../markdown.tsx";
import { path } from "../router.ts";
import type { Server } from "../types.ts";
import { Icon } from "../ui/icons.tsx";
import { Empty } from "../ui/parts.tsx";
import { StateWord } from "../ui/server.tsx";
import { AsCode } from "./chat-code.tsx";

const STORED = "ronzal.chat";
const AT_END_PX = 40;
const isWide = matchMedia("(min-width: 861px)").matches;

interface Turn {
	id: number;
	role: "user" | "assistant";
	content: string;
	reasoning: string;
	model: string;
	state: "writing" | "done" | "stopped" | "failed";
	error: string;
	nextStep: string;
	stats: Stats | null;
}

interface Kept {
	turns: Turn[];
	system: string;
	sampling: Sampling;
	model: string;
}

const BLANK: Kept = {
	turns: [],
	system: "",
	sampling: { temperature: "", top_p: "", max_tokens: "", seed: "" },
	model: "",
};

// What was being written when the tab was reloaded has ended there.
function restore(): Kept {
	try {
		const kept = JSON.parse(sessionStorage.getItem(STORED) ?? "null") as Kept | null;
		if (!kept) {
			return BLANK;
		}
		const turns = kept.turns.map((t) =>
			t.state === "writing" ? { ...t, state: "stopped" as const } : t,
		);
		return { ...BLANK, ...kept, turns };
	} catch {
		return BLANK;
	}
}

const kept = restore();
const turns = signal<Turn[]>(kept.turns);
const system = signal(kept.system);
const sampling = signal<Sampling>(kept.sampling);
const chosen = signal(kept.model);
const draft = signal("");
const writing = signal<AbortController | null>(null);
let lastId = Math.max(0, ...kept.turns.map((t) => t.id));

function keep(): void {
	const all: Kept = {
		turns: turns.value,
		system: system.value,
		sampling: sampling.value,
		model: chosen.value,
	};
	try {
		sessionStorage.setItem(STORED, JSON.stringify(all));
	} catch {
		// Full: the conversation is then lost with the tab, as it would be without storage.
	}
}

effect(() => {
	// Not at every token: once an answer has ended.
	if (writing.value === null) {
		keep();
	}
});

/* Asking */

function change(id: number, part: Partial<Turn>): void {
	turns.value = turns.value.map((t) => (t.id === id ? { ...t, ...part } : t));
}

function messages(): Message[] {
	const first: Message[] =
		system.value.trim() === "" ? [] : [{ role: "system", content: system.value }];
	const said = turns.value.filter((t) => t.content !== "");
	return [...first, ...said.map(({ role, content }) => ({ role, content }))];
}

function add(role: Turn["role"], content: string, state: Turn["state"]): number {
	const id = ++lastId;
	const blank = { reasoning: "", error: "", nextStep: "", stats: null };
	turns.value = [...turns.value, { id, role, content, state, model: chosen.value, ...blank }];
	return id;
}

// Pieces are gathered and drawn once per frame.
function gather(id: number) {
	let content = "";
	let reasoning = "";
	let frame = 0;
	const show = () => {
		frame = 0;
		change(id, { content, reasoning });
	};
	return {
		add(delta: { content: string; reasoning: string }) {
			content += delta.content;
			reasoning += delta.reasoning;
			frame ||= requestAnimationFrame(show);
		},
		end(part: Partial<Turn>) {
			cancelAnimationFrame(frame);
			change(id, { content, reasoning, ...part });
		},
	};
}

async function answer(): Promise<void> {
	const abort = new AbortController();
	const body = requestBody(chosen.value, messages(), sampling.value);
	const id = add("assistant", "", "writing");
	const pieces = gather(id);
	writing.value = abort;
	try {
		const stats = await complete(body, abort.signal, pieces.add);
		pieces.end({ state: "done", stats });
	} catch (error) {
		if (abort.signal.aborted) {
			pieces.end({ state: "stopped" });
		} else {
			const nextStep = error instanceof ApiError ? error.nextStep : "";
			pieces.end({ state: "failed", error: (error as Error).message, nextStep });
		}
	}
	writing.value = null;
}

function send(): void {
	const text = draft.value.trim();
	if (text === "" || chosen.value === "" || writing.value) {
		return;
	}
	batch(() => {
		draft.value = "";
		add("user", text, "done");
	});
	void answer();
}

function regenerate(): void {
	turns.value = turns.value.slice(0, -1);
	void answer();
}

function clear(): void {
	writing.value?.abort();
	turns.value = [];
	keep();
}

/* Showing */

function Numbers({ stats }: { stats: Stats }) {
	const parts = [
		stats.tokens !== null && `${count(stats.tokens)} tokens`,
		stats.tokensPerSecond !== null && `${speed(stats.tokensPerSecond)} tok/s`,
		`first token ${duration(stats.firstTokenMs)}`,
		stats.finish === "length" && "cut at the token limit",
	];
	return <>{parts.filter(Boolean).join(" · ")}</>;
}

function Waiting({ model }: { model: string }) {
	const server = live(model)?.server.value;
	const starts = server && server.phase !== "ready";
	return (
		<p class="muted waiting">
			{starts
				? `${model} is ${server.phase}; the answer follows by itself`
				: "reading the prompt"}
		</p>
	);
}

function Ending({ turn, isLast }: { turn: Turn; isLast: boolean }) {
	return (
		<footer>
			<span class="muted">
				{turn.stats && <Numbers stats={turn.stats} />}
				{turn.state === "stopped" && "stopped"}
			</span>
			{isLast && turn.state !== "writing" && (
				<button type="button" class="small" onClick={regenerate}>
					<Icon name="restart" />
					Regenerate
				</button>
			)}
		</footer>
	);
}

function Answer({ turn, isLast }: { turn: Turn; isLast: boolean }) {
	const empty = turn.content === "" && turn.reasoning === "";
	return (
		<article class="turn assistant" aria-label={`Answer of ${turn.model}`}>
			<header>{turn.model}</header>
			{turn.reasoning !== "" && (
				<details class="reasoning">
					<summary>Thinking</summary>
					<Markdown text={turn.reasoning} />
				</details>
			)}
			{turn.state === "writing" && empty && <Waiting model={turn.model} />}
			<div class="prose">
				<Markdown text={turn.content} />
			</div>
			{turn.state === "failed" && (
				<p class="trouble" role="alert">
					<Icon name="warn" /> {turn.error} <span class="next">{turn.nextStep}</span>
				</p>
			)}
			<Ending turn={turn} isLast={isLast} />
		</article>
	);
}

function Conversation() {
	const end = useRef<HTMLDivElement>(null);
	const stuck = useRef(true);
	const list = turns.value;
	useEffect(() => {
		const onScroll = () => {
			const root = document.documentElement;
			stuck.current = root.scrollHeight - root.scrollTop - root.clientHeight < AT_END_PX;
		};
		addEventListener("scroll", onScroll, { passive: true });
		return () => removeEventListener("scroll", onScroll);
	}, []);
	useLayoutEffect(() => {
		if (stuck.current) {
			end.current?.scrollIntoView({ block: "end" });
		}
	}, [list]);
	return (
		<div class="conversation" role="log" aria-live="off" aria-busy={writing.value !== null}>
			{list.length === 0 && <Empty title="Say something to begin." />}
			{list.map((turn, i) =>
				turn.role === "user" ? (
					<article key={turn.id} class="turn user" aria-label="You">
						{turn.content}
					</article>
				) : (
					<Answer key={turn.id} turn={turn} isLast={i === list.length - 1} />
				),
			)}
			<div ref={end} class="end" />
		</div>
	);
}

function fit(area: HTMLTextAreaElement | null): void {
	if (area) {
		area.style.height = "auto";
		area.style.height = `${area.scrollHeight + 2}px`;
	}
}

function Composer() {
	const area = useRef<HTMLTextAreaElement>(null);
	const text = draft.value;
	useLayoutEffect(() => fit(area.current), [text]);
	useEffect(() => area.current?.focus({ preventScroll: true }), []);
	const onKey = (event: KeyboardEvent) => {
		if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
			event.preventDefault();
			send();
		} else if (event.key === "Escape") {
			writing.value?.abort();
		}
	};
	return (
		<form
			class="composer"
			onSubmit={(event) => {
				event.preventDefault();
				send();
			}}
		>
			<textarea
				ref={area}
				rows={1}
				aria-label="Message"
				placeholder={isWide ? "Message (Enter sends, Shift+Enter makes a line)" : "Message"}
				value={text}
				onInput={(event) => (draft.value = event.currentTarget.value)}
				onKeyDown={onKey}
			/>
			{writing.value ? (
				<button type="button" class="stop" onClick={() => writing.value?.abort()}>
					<Icon name="stop" />
					Stop
				</button>
			) : (
				<button class="primary" disabled={text.trim() === "" || chosen.value === ""}>
					<Icon name="send" />
					Send
				</button>
			)}
		</form>
	);
}

const KNOBS: [keyof Sampling, string, string][] = [
	["temperature", "Temperature", "0.05"],
	["top_p", "Top p", "0.05"],
	["max_tokens", "Tokens at most", "1"],
	["seed", "Seed", "1"],
];

function order(a: Server, b: Server): number {
	return Number(b.phase === "ready") - Number(a.phase === "ready");
}

function Side() {
	const list = [...servers.value].sort(order);
	const server = list.find((s) => s.id === chosen.value);
	return (
		<aside aria-label="Model and sampling">
			<label>
				Model
				<select
					value={chosen.value}
					onChange={(event) => (chosen.value = event.currentTarget.value)}
				>
					{!server && <option value={chosen.value}>{chosen.value || "none"}</option>}
					{list.map((s) => (
						<option key={s.id} value={s.id}>
							{s.name}
							{s.phase === "ready" ? "" : ` (${s.phase})`}
						</option>
					))}
				</select>
			</label>
			{server && (
				<p class="chosen">
					<StateWord server={server} /> <a href={path.model(server.id)}>details</a>
				</p>
			)}
			<details open={isWide}>
				<summary>System prompt and sampling</summary>
				<label>
					System prompt
					<textarea
						rows={3}
						value={system.value}
						onInput={(event) => (system.value = event.currentTarget.value)}
					/>
				</label>
				<div class="knobs">
					{KNOBS.map(([name, text, step]) => (
						<label key={name}>
							{text}
							<input
								type="number"
								min="0"
								step={step}
								placeholder="default"
								value={sampling.value[name]}
								onInput={(event) =>
									(sampling.value = {
										...sampling.value,
										[name]: event.currentTarget.value,
									})
								}
							/>
						</label>
					))}
				</div>
			</details>
			<div class="buttons">
				<AsCode body={() => requestBody(chosen.value, messages(), sampling.value)} />
				<button type="button" disabled={turns.value.length === 0} onClick={clear}>
					New chat
				</button>
			</div>
		</aside>
	);
}

export function Chat({ id }: { id: string }) {
	useEffect(() => {
		if (id !== "") {
			chosen.value = id;
		}
	}, [id]);
	const fallback = servers.value.find((s) => s.phase === "ready") ?? servers.value[0];
	useEffect(() => {
		if (chosen.value === "" && id === "" && fallback) {
			chosen.value = fallback.id;
		}
	}, [fallback?.id]);
	return (
		<>
			<h1 class="sr">Chat</h1>
			<div class="chat">
				<div class="talk">
					<Conversation />
					<Composer />
				</div>
				<Side />
			</div>
		</>
	);
}
