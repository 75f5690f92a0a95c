// SPDX-License-Identifier: MIT
//
// The page in front of what a real backend will not show on demand: a big busy fleet, every kind of
// trouble at once, hostile answers, a backend that goes away. The backend is lib/page-fixture.ts,
// the server of the page is ours.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { violations } from "./lib/axe.ts";
import { openBrowser, skipReason, watch, type Watch } from "./lib/browser.ts";
import { startFrontend, STEP_MAX_MS, until } from "./lib/frontend.ts";
import { startFixture, type Fixture } from "./lib/page-fixture.ts";
import { profile, type Profile } from "./lib/profile.ts";

const MODELS = 200;
const EVENTS_PER_SECOND = 50;
const EVENTS = 300;
const TRIES = 5; // what is measured counts when the machine has nothing else to do once
const UPDATE_MAX_MS = 10;
const FIRST_PAINT_MAX_MS = 1_000;

const skip = skipReason();

let browser: Browser;

interface Scene {
	page: Page;
	fixture: Fixture;
	seen: Watch;
}

interface SceneOptions {
	models?: number;
	hash?: string;
	context?: BrowserContextOptions;
}

// Opens the page in front of a fresh fixture, acts, and closes both whatever happens.
async function scene(options: SceneOptions, act: (scene: Scene) => Promise<void>): Promise<void> {
	const { models, hash = "#/", context: wanted } = options;
	const fixture = await startFixture(models === undefined ? {} : { models });
	const frontend = await startFrontend(fixture.url);
	const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...wanted });
	try {
		const page = await context.newPage();
		page.setDefaultTimeout(STEP_MAX_MS);
		const seen = watch(page, frontend.url);
		await page.goto(`${frontend.url}/${hash}`);
		await act({ page, fixture, seen });
	} finally {
		await context.close();
		await frontend.close();
		await fixture.close();
	}
}

function assertQuiet(seen: Watch): void {
	assert.deepEqual(seen, { complaints: [], foreign: [] });
}

before(async () => {
	if (!skip) {
		browser = await openBrowser();
	}
});

after(() => browser?.close());

describe("a big busy fleet", { skip }, () => {
	test("updates_of_200_models_take_under_10_ms_of_script", (t) =>
		scene({ models: MODELS }, async ({ page, fixture, seen }) => {
			await page
				.locator("tr[data-model]")
				.nth(MODELS - 1)
				.waitFor({ state: "attached" });
			let found = await profileOf(page, fixture);
			for (let i = 1; i < TRIES && found.frameP99Ms >= UPDATE_MAX_MS; i++) {
				t.diagnostic(`once more, p99 was ${found.frameP99Ms} ms`);
				found = await profileOf(page, fixture);
			}
			t.diagnostic(`${EVENTS} events, ${JSON.stringify(found)}`);
			assert.ok(found.frames > EVENTS / 20, "the profile saw the updates");
			assert.ok(found.frameP99Ms < UPDATE_MAX_MS, `p99 ${found.frameP99Ms} ms`);
			assertQuiet(seen);
		}));

	test("first_paint_comes_within_a_second", (t) =>
		scene({ models: MODELS }, async ({ page }) => {
			let paint = Infinity;
			for (let i = 0; i < TRIES && paint >= FIRST_PAINT_MAX_MS; i++) {
				await page.reload();
				await page.locator("tr[data-model]").first().waitFor();
				paint = await page.evaluate(
					() => performance.getEntriesByName("first-contentful-paint")[0]!.startTime,
				);
				t.diagnostic(`first contentful paint after ${paint.toFixed(0)} ms`);
			}
			assert.ok(paint < FIRST_PAINT_MAX_MS, `${paint} ms`);
		}));

	test("rows_keep_their_place_while_states_change", () =>
		scene({}, async ({ page, fixture }) => {
			const row = page.locator('tr[data-model="phi-4-mini"]');
			await row.waitFor();
			const place = await row.boundingBox();
			const server = fixture.servers.get("qwen3-4b")!;
			const error = "A long sentence about what went wrong. ".repeat(12);
			for (const phase of ["draining", "stopping", "failed", "loading", "ready"] as const) {
				fixture.send("server", { ...server, phase, error, progress: 0.4, memory_bytes: 0 });
				const shown = page.locator('tr[data-model="qwen3-4b"] .state', { hasText: phase });
				await shown.waitFor();
				assert.deepEqual(await row.boundingBox(), place, phase);
			}
		}));
});

// The page's script while events come at their rate, however slow the machine makes it.
async function profileOf(page: Page, fixture: Fixture): Promise<Profile> {
	let sent = 0;
	return profile(browser, page, async () => {
		const timer = setInterval(() => disturb(fixture, ++sent), 1000 / EVENTS_PER_SECOND);
		await until("all events sent", async () => sent >= EVENTS);
		clearInterval(timer);
	});
}

// One server's new state; once a second the traffic of all of them.
function disturb(fixture: Fixture, n: number): void {
	const all = [...fixture.servers.values()];
	const server = all[(n * 37) % all.length]!;
	const active_requests = n % 5;
	const memory_bytes = server.memory_bytes + n;
	fixture.send("server", { ...server, active_requests, memory_bytes });
	if (n % EVENTS_PER_SECOND === 0) {
		const tokens_per_second = 40 + (n % 20);
		const load = { tokens_per_second, active_requests, queued_requests: 0 };
		const models = all.map(({ id }) => ({ id, ...load }));
		fixture.send("traffic", { at_unix_ms: Date.now(), models });
	}
}

const VIEWS = {
	fleet: "#/",
	model: "#/models/qwen3-4b",
	failed_model: "#/models/qwen2.5-coder-14b",
	chat: "#/chat/qwen3-4b",
	activity: "#/activity",
	settings: "#/settings",
};

async function assertAccessible({ page, seen }: Scene): Promise<void> {
	for (const [name, hash] of Object.entries(VIEWS)) {
		await page.evaluate((to) => (location.hash = to), hash);
		await page.waitForTimeout(400);
		assert.deepEqual(await violations(page), [], name);
		const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
		assert.equal(wide, false, `${name} scrolls sideways`);
	}
	assertQuiet(seen);
}

describe("every view, every kind of trouble", { skip }, () => {
	for (const colorScheme of ["light", "dark"] as const) {
		for (const width of [1280, 390]) {
			const context = { colorScheme, viewport: { width, height: 860 } };
			test(`axe_finds_nothing_in_${colorScheme}_at_${width}_px`, () =>
				scene({ context }, assertAccessible));
		}
	}

	test("the_receipt_opens_and_closes_by_keyboard", () =>
		scene({}, async ({ page, seen }) => {
			await page.locator('tr[data-model="deepseek-r1-8b"] button.badge').focus();
			await page.keyboard.press("Enter");
			const dialog = page.getByRole("dialog");
			await dialog.getByText("no usable GPU found").waitFor();
			assert.deepEqual(await violations(page), []);
			await page.keyboard.press("Escape");
			await dialog.waitFor({ state: "detached" });
			assertQuiet(seen);
		}));

	test("what_does_not_fit_is_said_and_a_suggestion_can_be_used", () =>
		scene({ hash: "#/models/qwen3-4b" }, async ({ page }) => {
			const context = page.getByLabel("Context", { exact: true });
			await context.fill("1048576");
			await page.getByText("GiB are free").waitFor();
			await page.getByRole("button", { name: "Use", exact: true }).click();
			assert.equal(await context.inputValue(), "131072");
			await page.getByText("Fits.").waitFor();
			await context.fill("many");
			await page.getByText("a whole number from 0 to 16777216").waitFor();
			assert.ok(await page.getByRole("button", { name: "Save and restart" }).isDisabled());
		}));
});

describe("getting models", { skip }, () => {
	test("a_choice_of_a_repository_is_asked_for_and_takes_the_question's_place", () =>
		scene({}, async ({ page, fixture, seen }) => {
			const offers = page.getByRole("table", { name: "What org/offers-GGUF offers" });
			await offers.getByText("fits, best").waitFor();
			await offers.getByRole("button", { name: "Get Q8_0" }).click();
			await offers.waitFor({ state: "detached" });
			assert.deepEqual(fixture.asked, ["org/offers-GGUF:Q8_0"]);
			assertQuiet(seen);
		}));

	test("a_repository_is_asked_for_and_a_download_canceled", () =>
		scene({}, async ({ page, fixture }) => {
			await page.getByLabel("Repository of the hub").fill("ggml-org/gemma-3-1b-it-GGUF");
			await page.keyboard.press("Enter");
			await until("asked for", async () => fixture.asked.length > 0);
			assert.deepEqual(fixture.asked, ["ggml-org/gemma-3-1b-it-GGUF"]);
			const download = page.getByLabel("Download of Qwen/Qwen3-4B-GGUF:Q4_K_M");
			assert.equal(await download.getAttribute("aria-valuenow"), "44");
			await page.getByRole("button", { name: "Cancel Qwen/Qwen3-4B-GGUF:Q4_K_M" }).click();
			await download.waitFor({ state: "detached" });
		}));
});

const HOSTILE = [
	"<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>",
	"[click](javascript:window.pwned=1) [data](data:text/html,<script>1</script>)",
	"![picture](http://198.51.100.7/track.png) <iframe src=//198.51.100.7></iframe>",
	"[good](https://example.org/a?b=1)",
	"```html\n<svg onload=window.pwned=1>\n```",
	`| ${"a | ".repeat(2_000)}\n| ${"- | ".repeat(2_000)}\n| ${"b | ".repeat(2_000)}`,
	`| a | b |\n|---|---|\n${"| 1 | 2 |\n".repeat(5_000)}`,
	"> ".repeat(3_000),
	"*".repeat(20_000),
	"`".repeat(19_999),
	"[".repeat(20_000),
	"[a](".repeat(5_000),
	`${"- ".repeat(2_000)}x`,
	"*a _b ".repeat(5_000),
	"&lt;b&gt; \u202Eevil \u0000 end",
].join("\n\n");

interface Drawn {
	pwned: boolean;
	active: number; // elements that could do something
	links: (string | null)[];
	text: string;
}

function drawn(page: Page): Promise<Drawn> {
	return page.evaluate(() => {
		const active = ".turn :is(script, img, iframe, object, [onload], [onerror])";
		const links = document.querySelectorAll(".turn.assistant .prose a");
		return {
			pwned: "pwned" in window,
			active: document.querySelectorAll(active).length,
			links: [...links].map((a) => a.getAttribute("href")),
			text: document.querySelector(".turn.assistant .prose")!.textContent!,
		};
	});
}

describe("hostile answers", { skip }, () => {
	test("markdown_shows_text_and_does_nothing", (t) =>
		scene({ hash: "#/chat/qwen3-4b" }, async ({ page, fixture, seen }) => {
			fixture.setReply(HOSTILE);
			await page.getByLabel("Message", { exact: true }).fill("be hostile");
			const begun = Date.now();
			await page.keyboard.press("Enter");
			await page.getByRole("button", { name: "Regenerate" }).waitFor({ timeout: 60_000 });
			const took = Date.now() - begun;
			t.diagnostic(`${HOSTILE.length} characters took ${took} ms to stream and draw`);
			const found = await drawn(page);
			assert.equal(found.pwned, false);
			assert.equal(found.active, 0);
			assert.deepEqual(found.links, [
				"http://198.51.100.7/track.png", // the picture: a link, not loaded
				"https://example.org/a?b=1",
			]);
			assert.match(found.text, /^<script>window\.pwned = 1<\/script>/);
			assert.ok(found.text.includes("end"), "drawn to the end");
			assertQuiet(seen);
		}));
});

describe("a backend that goes away", { skip }, () => {
	test("the_page_says_so_and_recovers_by_itself", () =>
		scene({}, async ({ page, fixture }) => {
			await page.locator('tr[data-model="phi-4-mini"]').waitFor();
			await fixture.close();
			await page.getByText("The backend does not answer").waitFor();
			assert.deepEqual(await violations(page), []);
			const again = await startFixture({ port: Number(new URL(fixture.url).port) });
			again.servers.delete("phi-4-mini");
			try {
				await page.getByText("The backend does not answer").waitFor({ state: "detached" });
				await page.locator('tr[data-model="phi-4-mini"]').waitFor({ state: "detached" });
			} finally {
				await again.close();
			}
		}));
});
