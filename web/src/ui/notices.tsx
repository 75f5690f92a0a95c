// SPDX-License-Identifier: MIT
//
// What went wrong after a click: a sentence and the next step, over the page, so nothing moves.
// Success is not announced here: the fleet shows it.
import { signal } from "@preact/signals";
import { ApiError } from "../api.ts";
import { Icon } from "./icons.tsx";

const NOTICES_MAX = 4;

interface Notice {
	id: number;
	title: string;
	text: string;
	nextStep: string;
	bad: boolean;
}

const notices = signal<Notice[]>([]);
let lastId = 0;

function dismiss(id: number): void {
	notices.value = notices.value.filter((n) => n.id !== id);
}

export function complain(title: string, text: string, nextStep = ""): void {
	const rest = notices.value.filter((n) => n.title !== title || n.text !== text);
	const added = { id: ++lastId, title, text, nextStep, bad: true };
	notices.value = [...rest, added].slice(-NOTICES_MAX);
}

export function tell(title: string, text: string, showMs = 6_000): void {
	const id = ++lastId;
	const added = { id, title, text, nextStep: "", bad: false };
	notices.value = [...notices.value, added].slice(-NOTICES_MAX);
	setTimeout(() => dismiss(id), showMs);
}

// For handlers: runs `work`, turns a failure into a notice. True when it went well.
export async function attempt(title: string, work: () => Promise<unknown>): Promise<boolean> {
	try {
		await work();
		return true;
	} catch (error) {
		const known = error instanceof ApiError;
		complain(
			title,
			error instanceof Error ? error.message : String(error),
			known ? error.nextStep : "",
		);
		return false;
	}
}

export function Notices() {
	return (
		<div class="notices" role="region" aria-label="Messages" aria-live="polite">
			{notices.value.map((n) => (
				<div key={n.id} class={n.bad ? "notice bad" : "notice"}>
					<Icon name={n.bad ? "warn" : "check"} />
					<div>
						<strong>{n.title}</strong>
						<p>{n.text}</p>
						{n.nextStep && <p class="next">{n.nextStep}</p>}
					</div>
					<button class="bare" aria-label="Dismiss" onClick={() => dismiss(n.id)}>
						<Icon name="cross" />
					</button>
				</div>
			))}
		</div>
	);
}
