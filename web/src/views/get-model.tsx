// SPDX-License-Identifier: MIT
//
// Getting a model from the hub: what a repository offers, what of it fits, and the downloads.
import { useState } from "preact/hooks";
import { api } from "../api.ts";
import { age, bytes } from "../format.ts";
import { pulls } from "../live.ts";
import { path } from "../router.ts";
import type { Offer, Pull } from "../types.ts";
import { Icon } from "../ui/icons.tsx";
import { attempt } from "../ui/notices.tsx";
import { Dialog, Mark, Progress, type Tone } from "../ui/parts.tsx";

const VERDICTS: Record<Offer["verdict"], [Tone, string]> = {
	fits: ["good", "fits"],
	tight: ["warn", "tight"],
	"too-large": ["bad", "too large"],
};

function Offers({ repository, offers }: { repository: string; offers: Offer[] }) {
	return (
		<table class="plain" aria-label="Offers">
			<thead>
				<tr>
					<th scope="col">Quantisation</th>
					<th scope="col" class="num">
						File
					</th>
					<th scope="col" class="num">
						Memory
					</th>
					<th scope="col">Here</th>
					<th scope="col">
						<span class="sr">Download</span>
					</th>
				</tr>
			</thead>
			<tbody>
				{offers.map((o) => (
					<tr key={o.quantization}>
						<td>{o.quantization}</td>
						<td class="num">{bytes(o.file_bytes)}</td>
						<td class="num">{bytes(o.memory_bytes)}</td>
						<td>
							<Mark tone={VERDICTS[o.verdict][0]} /> {VERDICTS[o.verdict][1]}
						</td>
						<td>
							<button
								type="button"
								class="small"
								aria-label={`Download ${o.quantization}`}
								onClick={() =>
									attempt("Download", () =>
										api.pull(`${repository}:${o.quantization}`),
									)
								}
							>
								<Icon name="down" />
							</button>
						</td>
					</tr>
				))}
			</tbody>
		</table>
	);
}

function pullText(p: Pull): string {
	const of = p.total_bytes > 0 ? ` of ${bytes(p.total_bytes)}` : "";
	const left = p.eta_ms >= 0 ? `, ${age(p.eta_ms)} left` : "";
	return `${p.state} ${bytes(p.received_bytes)}${of}, ${bytes(p.bytes_per_second)}/s${left}`;
}

function Download({ pull: p }: { pull: Pull }) {
	const runs = p.state === "waiting" || p.state === "downloading" || p.state === "checking";
	const share = p.total_bytes > 0 ? p.received_bytes / p.total_bytes : -1;
	return (
		<li>
			<strong>{p.source}</strong>
			{runs && <Progress value={share} label={`Download of ${p.source}`} />}
			{runs && <span class="muted">{pullText(p)}</span>}
			{p.state === "done" && <a href={path.model(p.model_id)}>{p.model_id}</a>}
			{p.state === "canceled" && <span class="muted">canceled; what is there is kept</span>}
			{p.state === "failed" && (
				<span class="trouble">
					{p.error} <span class="next">{p.next_step}</span>
				</span>
			)}
			{runs && (
				<button
					type="button"
					class="small"
					onClick={() => attempt("Cancel the download", () => api.cancelPull(p.id))}
				>
					Cancel
				</button>
			)}
		</li>
	);
}

function Form() {
	const [repository, setRepository] = useState("");
	const [offered, setOffered] = useState<{ repository: string; offers: Offer[] } | null>(null);
	const [busy, setBusy] = useState(false);
	const look = async (event: Event) => {
		event.preventDefault();
		setBusy(true);
		await attempt(`Offers of ${repository}`, async () => {
			const { offers } = await api.offers(repository);
			setOffered({ repository, offers });
		});
		setBusy(false);
	};
	return (
		<>
			<form class="inline" onSubmit={look}>
				<label>
					Repository
					<input
						required
						pattern="[^\s\/]+\/[^\s\/:]+"
						placeholder="Qwen/Qwen3-4B-GGUF"
						title="ORG/REPO"
						value={repository}
						onInput={(event) => setRepository(event.currentTarget.value.trim())}
					/>
				</label>
				<button class="primary" disabled={busy}>
					{busy ? "looking" : "Show what there is"}
				</button>
			</form>
			{offered && <Offers {...offered} />}
			{pulls.value.length > 0 && (
				<ul class="pulls">
					{pulls.value.map((p) => (
						<Download key={p.id} pull={p} />
					))}
				</ul>
			)}
		</>
	);
}

export function GetModel() {
	const [open, setOpen] = useState(false);
	return (
		<>
			<button type="button" onClick={() => setOpen(true)}>
				<Icon name="plus" />
				Get a model
			</button>
			{open && (
				<Dialog title="Get a model" onClose={() => setOpen(false)}>
					<Form />
				</Dialog>
			)}
		</>
	);
}
