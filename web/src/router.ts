// SPDX-License-Identifier: MIT
//
// Addresses are fragments (#/models/qwen3-4b), so that the page works wherever it is served.
import { signal } from "@preact/signals";

export type View = "fleet" | "model" | "chat" | "activity" | "settings";

interface Route {
	view: View;
	id: string; // the model's, or ""
}

function parse(hash: string): Route {
	const [, first = "", second = ""] = hash.split("/");
	const id = decodeURIComponent(second);
	switch (first) {
		case "models":
			return id ? { view: "model", id } : { view: "fleet", id: "" };
		case "chat":
			return { view: "chat", id };
		case "activity":
			return { view: "activity", id };
		case "settings":
			return { view: "settings", id: "" };
		default:
			return { view: "fleet", id: "" };
	}
}

function current(): Route {
	try {
		return parse(location.hash);
	} catch {
		return { view: "fleet", id: "" }; // not a valid escape
	}
}

export const route = signal<Route>(current());

export const path = {
	fleet: "#/",
	model: (id: string) => `#/models/${encodeURIComponent(id)}`,
	chat: (id = "") => (id ? `#/chat/${encodeURIComponent(id)}` : "#/chat"),
	activity: (id = "") => (id ? `#/activity/${encodeURIComponent(id)}` : "#/activity"),
	settings: "#/settings",
};

export function startRouter(): void {
	addEventListener("hashchange", () => {
		route.value = current();
		scrollTo(0, 0);
	});
}
