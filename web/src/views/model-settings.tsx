// SPDX-License-Identifier: MIT
//
// The settings of a model: a form made from the backend's own table of them, with the memory that a
// start would take, worked out anew as one types. Empty means the default.
import { useEffect, useRef, useState } from "preact/hooks";
import { act } from "../actions.ts";
import { api, ApiError } from "../api.ts";
import { bytes, gib, plural } from "../format.ts";
import { refetchRegistry, registry } from "../live.ts";
import type { Estimate, Model, Server, SettingRow, Settings, SettingValue } from "../types.ts";
import { attempt } from "../ui/notices.tsx";
import { Mark } from "../ui/parts.tsx";
import { isRunning } from "../ui/server.tsx";

const ESTIMATE_WAIT_MS = 150; // after the last key

const LABELS: Record<string, string> = {
	ctx_size: "Context",
	n_gpu_layers: "GPU layers",
	n_threads: "Threads",
	batch_size: "Batch",
	parallel: "Parallel slots",
	flash_attention: "Flash attention",
};
const FIRST = Object.keys(LABELS);

// What is typed, as text; "" is the default.
type Draft = Record<string, string>;

function toText(value: SettingValue | undefined): string {
	return value === null || value === undefined ? "" : String(value);
}

function toValue(row: SettingRow, text: string): SettingValue {
	if (text === "") {
		return null;
	}
	switch (row.kind) {
		case "int":
			return Number(text);
		case "bool":
			return text === "true";
		case "choice":
			return text;
	}
}

function fault(row: SettingRow, text: string): string {
	if (row.kind !== "int" || text === "") {
		return "";
	}
	const n = Number(text);
	if (!/^\d+$/.test(text) || n < row.min || n > row.max) {
		return `a whole number from ${row.min} to ${row.max}, or empty`;
	}
	return "";
}

function changed(rows: SettingRow[], model: Model, draft: Draft): Settings {
	const settings: Settings = {};
	for (const row of rows) {
		const text = draft[row.name];
		if (text !== undefined && text !== toText(model.settings[row.name])) {
			settings[row.name] = toValue(row, text);
		}
	}
	return settings;
}

/* One field */

interface FieldProps {
	row: SettingRow;
	text: string;
	isChanged: boolean;
	onText: (text: string) => void;
}

const OPTIONS: Record<"bool", [string, string][]> = {
	bool: [
		["true", "on"],
		["false", "off"],
	],
};

function Input({ row, text, onText, id }: FieldProps & { id: string }) {
	if (row.kind === "int") {
		return (
			<input
				id={id}
				inputMode="numeric"
				autocomplete="off"
				placeholder="default"
				value={text}
				aria-invalid={fault(row, text) !== ""}
				aria-describedby={`${id}-help`}
				onInput={(event) => onText(event.currentTarget.value.trim())}
			/>
		);
	}
	const options =
		row.kind === "bool" ? OPTIONS.bool : row.choices.map((c): [string, string] => [c, c]);
	return (
		<select
			id={id}
			value={text}
			aria-describedby={`${id}-help`}
			onChange={(event) => onText(event.currentTarget.value)}
		>
			<option value="">default</option>
			{options.map(([value, word]) => (
				<option key={value} value={value}>
					{word}
				</option>
			))}
		</select>
	);
}

function Field(props: FieldProps) {
	const { row, text, isChanged } = props;
	const id = `setting-${row.name}`;
	const wrong = fault(row, text);
	return (
		<div class={isChanged ? "field changed" : "field"}>
			<label for={id}>{LABELS[row.name] ?? row.name.replaceAll("_", " ")}</label>
			<Input {...props} id={id} />
			<small id={`${id}-help`} class={wrong ? "wrong" : ""}>
				{wrong || row.help}
			</small>
		</div>
	);
}

/* The estimate */

const PARTS = [
	["weights", "weights_bytes"],
	["KV cache", "kv_bytes"],
	["compute", "compute_bytes"],
	["other", "other_bytes"],
] as const;

interface SumProps {
	estimate: Estimate;
	onUse: (settings: Settings) => void;
}

function Sum({ estimate: e, onUse }: SumProps) {
	const scale = Math.max(e.total_bytes, e.free_bytes, 1);
	const title = PARTS.map(([name, key]) => `${name} ${bytes(e[key])}`).join(", ");
	return (
		<>
			<p class="figure">
				{gib(e.total_bytes)}
				<small> GiB of {gib(e.free_bytes)} free</small>
			</p>
			<div class="stack parts" role="img" aria-label={title}>
				{PARTS.map(([name, key]) => (
					<span
						key={name}
						title={`${name} ${bytes(e[key])}`}
						style={{ width: `${(e[key] / scale) * 100}%` }}
					/>
				))}
			</div>
			<p class="legend">
				{PARTS.map(([name, key]) => (
					<span key={name}>
						<i />
						{name} {bytes(e[key])}
					</span>
				))}
			</p>
			<p class={e.fits ? "fits" : "fits not"}>
				<Mark tone={e.fits ? "good" : "bad"} />
				{e.fits ? "Fits." : e.why}
			</p>
			{e.suggestions.map(({ text, settings }) => (
				<p key={text} class="suggestion">
					<code>{text}</code>
					{settings && (
						<button type="button" class="small" onClick={() => onUse(settings)}>
							Use
						</button>
					)}
				</p>
			))}
		</>
	);
}

function useEstimate(id: string, settings: Settings, valid: boolean) {
	const [estimate, setEstimate] = useState<Estimate | null>(null);
	const [failure, setFailure] = useState("");
	const asked = JSON.stringify(settings);
	useEffect(() => {
		if (!valid) {
			return undefined;
		}
		const abort = new AbortController();
		const timer = setTimeout(() => {
			api.estimate(id, JSON.parse(asked) as Settings, abort.signal).then(
				(got) => {
					setEstimate(got);
					setFailure("");
				},
				(error: unknown) => {
					if (error instanceof ApiError) {
						setFailure(`${error.message} ${error.nextStep}`);
					}
				},
			);
		}, ESTIMATE_WAIT_MS);
		return () => {
			clearTimeout(timer);
			abort.abort();
		};
	}, [id, asked, valid]);
	return { estimate, failure };
}

/* The form */

interface FormProps {
	server: Server;
	model: Model;
}

function ordered(rows: SettingRow[]): [SettingRow[], SettingRow[]] {
	const first = FIRST.flatMap((name) => rows.filter((r) => r.name === name));
	return [first, rows.filter((r) => !FIRST.includes(r.name))];
}

export function SettingsForm({ server, model }: FormProps) {
	const [draft, setDraft] = useState<Draft>({});
	const [busy, setBusy] = useState(false);
	const form = useRef<HTMLFormElement>(null);
	const rows = registry.value?.setting_rows ?? [];
	const [first, more] = ordered(rows);
	const settings = changed(rows, model, draft);
	const valid = rows.every((row) => fault(row, draft[row.name] ?? "") === "");
	const { estimate, failure } = useEstimate(model.id, settings, valid);
	const changes = Object.keys(settings).length;
	const running = isRunning(server);

	const save = async (restart: boolean) => {
		setBusy(true);
		const stored = await attempt(`${model.name}: save`, async () => {
			await api.setSettings(model.id, settings);
			await refetchRegistry();
			setDraft({});
		});
		setBusy(false);
		if (stored && restart) {
			await act(server, "restart");
		}
	};
	const use = (chosen: Settings) => {
		const texts = Object.entries(chosen).map(([name, value]) => [name, toText(value)]);
		setDraft({ ...draft, ...(Object.fromEntries(texts) as Draft) });
	};
	const field = (row: SettingRow) => (
		<Field
			key={row.name}
			row={row}
			text={draft[row.name] ?? toText(model.settings[row.name])}
			isChanged={row.name in settings}
			onText={(text) => setDraft({ ...draft, [row.name]: text })}
		/>
	);
	return (
		<section class="card settings" aria-label="Settings">
			<h2>Settings</h2>
			<form
				ref={form}
				noValidate
				onSubmit={(event) => {
					event.preventDefault();
					void save(running);
				}}
			>
				<div class="fields">{first.map(field)}</div>
				<details>
					<summary>More settings</summary>
					<div class="fields">{more.map(field)}</div>
				</details>
				<div class="buttons">
					<button class="primary" disabled={changes === 0 || !valid || busy}>
						{running ? "Save and restart" : "Save"}
					</button>
					{running && (
						<button
							type="button"
							disabled={changes === 0 || !valid || busy}
							onClick={() => save(false)}
						>
							Save only
						</button>
					)}
					<button type="button" disabled={changes === 0} onClick={() => setDraft({})}>
						Undo
					</button>
					<span class="muted">
						{changes > 0 &&
							`${plural(changes, "change")}${running ? ", restart needed" : ""}`}
						{changes === 0 &&
							server.restart_needed &&
							"Restart needed for what was saved"}
					</span>
				</div>
				<div class="estimate" aria-live="polite">
					<h3>Memory of a start</h3>
					{failure && <p class="trouble">{failure}</p>}
					{estimate && !failure && <Sum estimate={estimate} onUse={use} />}
					{!estimate && !failure && <p class="muted">working it out</p>}
				</div>
			</form>
		</section>
	);
}
