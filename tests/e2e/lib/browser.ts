// SPDX-License-Identifier: MIT
//
// The distribution's Chromium under playwright-core, and the watch kept over every page: no console
// error, no request to another host.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type Page } from "playwright-core";
import { webRoot } from "./frontend.ts";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const executablePath = process.env["CHROMIUM"] ?? PLACES.find((path) => existsSync(path));

// Why the page cannot be tested here, or false.
export function skipReason(): string | false {
	if (!executablePath) {
		return "Chromium is not installed (scripts/deps.sh --test)";
	}
	return existsSync(join(webRoot, "index.html")) ? false : "the page is not built (make web)";
}

export async function openBrowser(): Promise<Browser> {
	return chromium.launch({
		executablePath: executablePath!,
		args: [
			"--no-sandbox",
			"--disable-gpu",
			"--disable-quic",
			"--no-first-run",
			"--disable-background-networking",
			"--disable-component-update",
			"--disable-sync",
		],
	});
}

export interface Watch {
	complaints: string[]; // console errors and page errors
	foreign: string[]; // requests that left the page's own origin
}

export function watch(page: Page, origin: string): Watch {
	const seen: Watch = { complaints: [], foreign: [] };
	page.on("console", (message) => {
		if (message.type() === "error" || message.type() === "warning") {
			seen.complaints.push(message.text());
		}
	});
	page.on("pageerror", (error) => seen.complaints.push(String(error)));
	page.on("request", (request) => {
		if (!request.url().startsWith(`${origin}/`)) {
			seen.foreign.push(request.url());
		}
	});
	return seen;
}
