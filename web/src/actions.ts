// SPDX-License-Identifier: MIT
//
// What a click does to servers. `pending` names what was asked for and not answered yet; states
// themselves only ever come from the backend.
import { signal } from "@preact/signals";
import { api, ApiError } from "./api.ts";
import { expect, refetchRegistry } from "./live.ts";
import type { Result, Server } from "./types.ts";
import { attempt, complain } from "./ui/notices.tsx";

type Verb = "start" | "stop" | "restart";
export const ALL = "*"; // the key in `pending` of what was asked of all servers

export const pending = signal<ReadonlyMap<string, Verb>>(new Map());

function setPending(id: string, verb: Verb | null): void {
	const next = new Map(pending.value);
	if (verb) {
		next.set(id, verb);
	} else {
		next.delete(id);
	}
	pending.value = next;
}

export async function act(server: Server, verb: Verb): Promise<boolean> {
	setPending(server.id, verb);
	const done = await attempt(`${server.name}: ${verb}`, async () => {
		const { results } = await api.act(server.id, verb);
		const refused = results.find((r) => !r.ok);
		if (refused) {
			throw new ApiError(refused.error, refused.next_step, 0);
		}
	});
	setPending(server.id, null);
	return done;
}

function complainOf(verb: string, refused: Result[]): void {
	const first = refused[0];
	if (!first) {
		return;
	}
	const others = refused.length > 1 ? ` (and ${refused.length - 1} more; see their rows)` : "";
	complain(`${first.id}: ${verb}`, `${first.error}${others}`, first.next_step);
}

export async function actAll(verb: "start" | "stop"): Promise<void> {
	setPending(ALL, verb);
	await attempt(verb === "start" ? "Start all enabled" : "Stop all", async () => {
		const { results } = await (verb === "start" ? api.startAll() : api.stopAll());
		complainOf(
			verb,
			results.filter((r) => !r.ok),
		);
	});
	setPending(ALL, null);
}

export async function setEnabled(server: Server, enabled: boolean): Promise<void> {
	expect(server.id, { enabled });
	const title = `${server.name}: ${enabled ? "enable" : "disable"}`;
	if (!(await attempt(title, () => api.setEnabled(server.id, enabled)))) {
		expect(server.id, { enabled: !enabled });
	}
}

export async function rescan(): Promise<string> {
	let said = "";
	await attempt("Rescan", async () => {
		const { added, known, missing, problems } = await api.rescan();
		await refetchRegistry();
		const gone = missing.length > 0 ? `, ${missing.length} missing: ${missing[0]}` : "";
		const first = problems.length > 0 ? `. ${problems[0]}` : "";
		said = `${added.length} new, ${known} known${gone}${first}`;
	});
	return said;
}
