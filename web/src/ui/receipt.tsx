// SPDX-License-Identifier: MIT
//
// Where a model's layers really are: the badge in a row, and the evidence behind it.
import { useState } from "preact/hooks";
import { bytes, count, NONE } from "../format.ts";
import type { Receipt, Server, Verdict } from "../types.ts";
import { Icon } from "./icons.tsx";
import { Dialog, Facts } from "./parts.tsx";

const WORDS: Record<Verdict, string> = {
	gpu: "gpu",
	partial: "part gpu",
	cpu: "cpu",
	unknown: "?",
};

const SENTENCES: Record<Verdict, string> = {
	gpu: "All layers run on the GPU.",
	partial: "Some layers run on the GPU, the rest on the CPU.",
	cpu: "No layer runs on a GPU.",
	unknown: "The engine's log does not say where the layers are.",
};

function layers(r: Receipt): string {
	return r.layers_total < 0 ? NONE : `${r.layers_offloaded} of ${r.layers_total}`;
}

export function ReceiptFacts({ receipt: r }: { receipt: Receipt }) {
	return (
		<>
			<p class={r.wanted ? "verdict" : "verdict unwanted"}>
				{!r.wanted && <Icon name="warn" />}
				<span>
					<strong>{SENTENCES[r.verdict]}</strong> {r.why}
				</span>
			</p>
			<Facts
				rows={[
					["Device", r.device ? `${r.device_name || r.device} (${r.device})` : "CPU"],
					["Layers on the GPU", layers(r)],
					["Memory on devices", r.device_bytes ? bytes(r.device_bytes) : NONE],
					["Main memory", r.host_bytes ? bytes(r.host_bytes) : NONE],
					[
						"Context of a slot",
						r.context_tokens ? `${count(r.context_tokens)} tokens` : NONE,
					],
					["Slots", r.slots || NONE],
					["Engine", r.engine || NONE],
				]}
			/>
			<h3>Evidence from the engine's log</h3>
			{r.evidence.length > 0 ? (
				<pre class="evidence" tabIndex={0} aria-label="Evidence">
					{r.evidence.join("\n")}
				</pre>
			) : (
				<p class="muted">None yet.</p>
			)}
		</>
	);
}

export function DeviceBadge({ server }: { server: Server }) {
	const [open, setOpen] = useState(false);
	const r = server.receipt;
	if (server.phase !== "ready" && server.phase !== "draining" && server.phase !== "unknown") {
		return <span class="badge none">{NONE}</span>;
	}
	const partial = r.verdict === "partial" && r.layers_total > 0;
	const word = partial ? `gpu ${r.layers_offloaded}/${r.layers_total}` : WORDS[r.verdict];
	return (
		<>
			<button
				type="button"
				class={`badge ${r.verdict}${r.wanted ? "" : " unwanted"}`}
				aria-label={`${word}${r.wanted ? "" : ", not what was wanted"}. Show the receipt`}
				onClick={() => setOpen(true)}
			>
				{!r.wanted && <Icon name="warn" />}
				{word}
			</button>
			{open && (
				<Dialog title={`Receipt of ${server.name}`} onClose={() => setOpen(false)}>
					<ReceiptFacts receipt={r} />
				</Dialog>
			)}
		</>
	);
}
