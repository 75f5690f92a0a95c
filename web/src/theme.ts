// SPDX-License-Identifier: MIT
//
// Light, dark, or as the system says. style.css looks at the `data-theme` of the root element.
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const STORED = "ronzal.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored(): Theme {
	const text = localStorage.getItem(STORED);
	return text === "light" || text === "dark" ? text : "system";
}

export const theme = signal<Theme>(stored());
export const isDark = signal(false);

function show(): void {
	isDark.value = theme.value === "dark" || (theme.value === "system" && system.matches);
	document.documentElement.dataset["theme"] = isDark.value ? "dark" : "light";
}

export function setTheme(next: Theme): void {
	theme.value = next;
	if (next === "system") {
		localStorage.removeItem(STORED);
	} else {
		localStorage.setItem(STORED, next);
	}
	show();
}

export function startTheme(): void {
	show();
	system.addEventListener("change", show);
}
