// SPDX-License-Identifier: MIT
//
// Keys, the host, what is missing for the GPU, and what a container needs to use all this.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { api } from "../api.ts";
import { age, bytes, moment, NONE } from "../format.ts";
import { connection, host, now, servers } from "../live.ts";
import { setTheme, theme, type Theme } from "../theme.ts";
import type { Host, Key } from "../types.ts";
import { Icon } from "../ui/icons.tsx";
import { attempt } from "../ui/notices.tsx";
import { Bar, Dialog, Facts, Mark, Segments, Snippet } from "../ui/parts.tsx";
import { channelText, linkTone } from "./gauges.tsx";

const keys = signal<Key[] | null>(null);
const lastUses = signal<Record<string, number | null>>({});
// The secret of a key that was just made, for the snippet; gone with the page.
const newest = signal<{ name: string; secret: string } | null>(null);

async function fetchKeys(): Promise<void> {
	await attempt("Keys", async () => {
		keys.value = (await api.keys()).keys;
		for (const { name } of keys.value) {
			lastUses.value = { ...lastUses.value, [name]: await api.lastUse(name) };
		}
	});
}

/* Keys */

function Revoke({ named }: { named: Key }) {
	const [asking, setAsking] = useState(false);
	const revoke = async () => {
		await attempt(`Revoke ${named.name}`, () => api.revokeKey(named.id));
		await fetchKeys();
	};
	return (
		<>
			<button type="button" class="small" onClick={() => setAsking(true)}>
				Revoke<span class="sr"> {named.name}</span>
			</button>
			{asking && (
				<Dialog title={`Revoke ${named.name}?`} onClose={() => setAsking(false)}>
					<p>Whoever uses it is refused from now on. It cannot be brought back.</p>
					<form method="dialog" class="buttons" onSubmit={() => void revoke()}>
						<button class="primary">Revoke</button>
					</form>
				</Dialog>
			)}
		</>
	);
}

function KeyTable({ list }: { list: Key[] }) {
	return (
		<div class="scroll" tabIndex={0} role="region" aria-label="Table of keys">
			<table class="plain keys">
				<thead>
					<tr>
						<th scope="col">Name</th>
						<th scope="col">Models</th>
						<th scope="col">Made</th>
						<th scope="col">Last used</th>
						<th scope="col">
							<span class="sr">Revoke</span>
						</th>
					</tr>
				</thead>
				<tbody>
					{list.map((k) => (
						<tr key={k.id}>
							<td>{k.name}</td>
							<td>{k.models.length === 0 ? "all" : k.models.join(", ")}</td>
							<td>{moment(k.made_unix_ms)}</td>
							<td>{lastUses.value[k.name] ? moment(lastUses.value[k.name]!) : NONE}</td>
							<td>
								<Revoke named={k} />
							</td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

function AddKey() {
	const [name, setName] = useState("");
	const [models, setModels] = useState<string[]>([]);
	const add = async (event: Event) => {
		event.preventDefault();
		await attempt(`Key ${name}`, async () => {
			const { secret } = await api.addKey(name, models);
			newest.value = { name, secret };
			setName("");
			setModels([]);
		});
		await fetchKeys();
	};
	const toggle = (id: string) =>
		setModels(models.includes(id) ? models.filter((m) => m !== id) : [...models, id]);
	return (
		<form class="add-key" onSubmit={add}>
			<div class="inline">
				<label>
					Name of a new key
					<input
						required
						pattern="[A-Za-z0-9][A-Za-z0-9._\-]{0,63}"
						title="letters, digits, dot, dash, underscore"
						placeholder="my-app"
						autocomplete="off"
						value={name}
						onInput={(event) => setName(event.currentTarget.value)}
					/>
				</label>
				<button class="primary">Make key</button>
			</div>
			<details>
				<summary>
					{models.length === 0 ? "For all models" : `For ${models.join(", ")}`}
				</summary>
				<div class="checks">
					{servers.value.map((s) => (
						<label key={s.id} class="check">
							<input
								type="checkbox"
								checked={models.includes(s.id)}
								onChange={() => toggle(s.id)}
							/>
							{s.name}
						</label>
					))}
				</div>
			</details>
		</form>
	);
}

function Keys() {
	const isLive = connection.value === "live";
	useEffect(() => {
		if (isLive) {
			void fetchKeys();
		}
	}, [isLive]);
	const list = keys.value;
	return (
		<section class="card" aria-label="Keys">
			<h2>Keys for clients</h2>
			{list && list.length > 0 && <KeyTable list={list} />}
			{list?.length === 0 && <p class="muted">None yet. Loopback needs none.</p>}
			<AddKey />
			{newest.value && (
				<div class="secret" role="status">
					<p>The key {newest.value.name}. It is shown this once: copy it now.</p>
					<Snippet text={newest.value.secret} label="The new key" />
				</div>
			)}
		</section>
	);
}

/* Host */

function Since({ h }: { h: Host }) {
	return (
		<>
			<Mark tone={linkTone(h)} /> {channelText(h)}, since{" "}
			{age(now.value - h.link.since_unix_ms)}
		</>
	);
}

const MODES: Record<Host["mode"], string> = {
	true: "engines on the host (USE_EXTERNAL_SERVERS=true)",
	false: "engines in the container, on the CPU (USE_EXTERNAL_SERVERS=false)",
	auto: "the host when it is there, else the container (USE_EXTERNAL_SERVERS=auto)",
	native: "everything on this machine (ronzal up)",
};

function Devices({ h }: { h: Host }) {
	if (h.devices.length === 0) {
		return <>none: engines run on the CPU</>;
	}
	return (
		<ul class="devices">
			{h.devices.map((d) => {
				const used = d.total_bytes - d.free_bytes;
				return (
					<li key={d.id}>
						{d.name} ({d.id}): {bytes(used)} of {bytes(d.total_bytes)} used
						<Bar
							value={d.total_bytes > 0 ? used / d.total_bytes : 0}
							label={`Memory of ${d.name}`}
						/>
					</li>
				);
			})}
		</ul>
	);
}

function HostCard({ h }: { h: Host }) {
	return (
		<section class="card" aria-label="Host">
			<h2>Host</h2>
			<Facts
				rows={[
					["Name", h.name],
					["Mode", MODES[h.mode]],
					["Channel", <Since h={h} />],
					...(h.link.error
						? [["Trouble", `${h.link.error} ${h.link.next_step}`] as [string, string]]
						: []),
					["Engine", h.engine || h.engine_error || NONE],
					["Engine's place", <span class="path">{h.engine_path || NONE}</span>],
					["Devices", <Devices h={h} />],
					[
						"Main memory",
						`${bytes(h.memory_available_bytes)} free of ${bytes(h.memory_total_bytes)}`,
					],
					["Budget for models", bytes(h.memory_budget_bytes)],
				]}
			/>
		</section>
	);
}

function GpuHelp({ h }: { h: Host }) {
	if (!h.gpu_help) {
		return null;
	}
	return (
		<section class="card" aria-label="GPU">
			<h2>
				<Icon name="warn" /> For the GPU
			</h2>
			<p>{h.gpu_help.message}</p>
			{h.gpu_help.command && (
				<Snippet text={h.gpu_help.command} label="Command for the GPU" />
			)}
		</section>
	);
}

/* Containers */

type Form = "python" | "compose" | "env";

const FORMS = [
	["python", "Python"],
	["compose", "docker-compose"],
	["env", "Environment"],
] as const;

function containerText(form: Form, base: string, key: string): string {
	switch (form) {
		case "python":
			return `from openai import OpenAI

client = OpenAI(base_url="${base}", api_key="${key}")`;
		case "compose":
			return `environment:
  - OPENAI_BASE_URL=${base}
  - OPENAI_API_KEY=${key}`;
		case "env":
			return `OPENAI_BASE_URL=${base}\nOPENAI_API_KEY=${key}`;
	}
}

function Containers({ h }: { h: Host }) {
	const [form, setForm] = useState<Form>("python");
	const key = newest.value?.secret ?? "THE KEY";
	return (
		<section class="card" aria-label="Containers">
			<h2>From a container</h2>
			<Segments label="Form" value={form} choices={FORMS} onChange={setForm} />
			<Snippet text={containerText(form, h.base_url, key)} label="For a container" />
			{!newest.value && <p class="muted">Make a key above to have it filled in.</p>}
		</section>
	);
}

const THEMES = [
	["system", "As the system"],
	["light", "Light"],
	["dark", "Dark"],
] as const;

export function SettingsView() {
	const h = host.value;
	return (
		<>
			<h1 class="sr">Settings</h1>
			<div class="cards two">
				<div class="column">
					<Keys />
					{h && <Containers h={h} />}
				</div>
				<div class="column">
					{h && <GpuHelp h={h} />}
					{h && <HostCard h={h} />}
					<section class="card" aria-label="Colours">
						<h2>Colours</h2>
						<Segments<Theme>
							label="Colours"
							value={theme.value}
							choices={THEMES}
							onChange={setTheme}
						/>
					</section>
				</div>
			</div>
		</>
	);
}
