// SPDX-License-Identifier: MIT
//
// The frame: header, navigation, the view that the address names.
import { effect } from "@preact/signals";
import { render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { age, gib } from "./format.ts";
import { awaySince, connection, host, live, memoryInAll, now, servers, startLive } from "./live.ts";
import { path, route, startRouter, type View } from "./router.ts";
import "./style.css";
import { setTheme, startTheme, theme, type Theme } from "./theme.ts";
import { Icon, type IconName } from "./ui/icons.tsx";
import { Notices } from "./ui/notices.tsx";
import { Mark } from "./ui/parts.tsx";
import { Activity } from "./views/activity.tsx";
import { Chat } from "./views/chat.tsx";
import { Fleet } from "./views/fleet.tsx";
import { deviceText, linkTone } from "./views/gauges.tsx";
import { ModelView } from "./views/model.tsx";
import { SettingsView } from "./views/settings.tsx";

const TABS: [View, string, string][] = [
	["fleet", "Fleet", path.fleet],
	["chat", "Chat", path.chat()],
	["activity", "Activity", path.activity()],
	["settings", "Settings", path.settings],
];

function Nav() {
	const shown = route.value.view === "model" ? "fleet" : route.value.view;
	return (
		<nav aria-label="Views">
			{TABS.map(([view, text, href]) => (
				<a key={view} href={href} {...(view === shown ? { "aria-current": "page" } : {})}>
					{text}
				</a>
			))}
		</nav>
	);
}

function HostChip() {
	const h = host.value;
	if (connection.value !== "live" || !h) {
		return (
			<span class="chip">
				<Mark tone={connection.value === "away" ? "bad" : "busy"} />
				{connection.value === "away" ? "backend away" : "connecting"}
			</span>
		);
	}
	return (
		<a class="chip" href={path.settings} title="The host">
			<Mark tone={linkTone(h)} />
			<span>{h.name}</span>
			<span class="device">{deviceText(h)}</span>
			<span>
				{gib(memoryInAll.value)} / {gib(h.memory_budget_bytes)} GiB
			</span>
		</a>
	);
}

const THEMES: Record<Theme, [Theme, IconName]> = {
	system: ["light", "system"],
	light: ["dark", "sun"],
	dark: ["system", "moon"],
};

function ThemeSwitch() {
	const [next, icon] = THEMES[theme.value];
	return (
		<button
			type="button"
			class="bare"
			aria-label={`Colours: ${theme.value}. Change to ${next}`}
			title={`Colours: ${theme.value}`}
			onClick={() => setTheme(next)}
		>
			<Icon name={icon} />
		</button>
	);
}

function Away() {
	if (connection.value !== "away") {
		return null;
	}
	return (
		<div class="away" role="status">
			<Icon name="warn" />
			<span>
				<strong>The backend does not answer</strong>
				<Gone /> Trying again by itself. What is shown here is from before.
			</span>
		</div>
	);
}

function Gone() {
	return <> for {age(now.value - awaySince.value)}.</>;
}

// Says state changes to screen readers, at most one sentence a change.
function Announcer() {
	const said = useRef<HTMLDivElement>(null);
	useEffect(() => {
		const before = new Map<string, string>();
		return effect(() => {
			for (const s of servers.value) {
				const phase = before.get(s.id);
				before.set(s.id, s.phase);
				const settled =
					s.phase === "ready" || s.phase === "stopped" || s.phase === "failed";
				if (phase !== undefined && phase !== s.phase && settled && said.current) {
					said.current.textContent = `${s.name} is ${s.phase}. ${s.error}`;
				}
			}
		});
	}, []);
	return <div ref={said} class="sr" aria-live="polite" />;
}

const NAMES: Record<View, string> = {
	fleet: "Fleet",
	model: "Model",
	chat: "Chat",
	activity: "Activity",
	settings: "Settings",
};

function Current() {
	const { view, id } = route.value;
	const main = useRef<HTMLElement>(null);
	const first = useRef(true);
	useEffect(() => {
		const name = view === "model" ? (live(id)?.server.value.name ?? id) : NAMES[view];
		document.title = `${name} · ronzal`;
		if (!first.current) {
			main.current?.focus({ preventScroll: true });
		}
		first.current = false;
	}, [view, id]);
	return (
		<main ref={main} id="main" tabIndex={-1} class={`view-${view}`}>
			{view === "fleet" && <Fleet />}
			{view === "model" && <ModelView key={id} id={id} />}
			{view === "chat" && <Chat id={id} />}
			{view === "activity" && <Activity key={id} id={id} />}
			{view === "settings" && <SettingsView />}
		</main>
	);
}

function skip(event: Event): void {
	event.preventDefault();
	document.getElementById("main")?.focus();
}

function App() {
	return (
		<div class={connection.value === "away" ? "app stale" : "app"}>
			<a class="skip" href="#main" onClick={skip}>
				Skip to the content
			</a>
			<header class="top">
				<a class="brand" href={path.fleet} aria-label="ronzal, home">
					<svg viewBox="0 0 32 32" aria-hidden="true">
						<path d="M22 27V14a6 6 0 1 0-6 6h11" />
					</svg>
					ronzal
				</a>
				<Nav />
				<HostChip />
				<ThemeSwitch />
			</header>
			<Current />
			<Away />
			<Notices />
			<Announcer />
		</div>
	);
}

startTheme();
startRouter();
startLive();
render(<App />, document.getElementById("app")!);
