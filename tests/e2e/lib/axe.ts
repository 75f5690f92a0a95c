// SPDX-License-Identifier: MIT
//
// axe-core in a page, past its content security policy: the script is evaluated, not loaded.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface Violation {
	id: string;
	help: string;
	nodes: { html: string; failureSummary: string }[];
}

// What is wrong, one line for each rule and its first place; empty when nothing is.
export async function violations(page: Page): Promise<string[]> {
	await page.evaluate(source);
	const found = await page.evaluate(async () => {
		const { axe } = window as unknown as {
			axe: { run: (options: object) => Promise<{ violations: Violation[] }> };
		};
		const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
		return (await axe.run({ runOnly: tags })).violations;
	});
	return found.map((v) => {
		const [first] = v.nodes;
		return `${v.id}: ${v.help} (${v.nodes.length}): ${first?.html} ${first?.failureSummary}`;
	});
}
