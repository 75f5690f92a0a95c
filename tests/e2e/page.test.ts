// SPDX-License-Identifier: MIT
//
// The page on the real stack: `ronzal up`, real llama-servers, the demo model, Chromium. One person's
// visit from the first look to STOP ALL; each test goes on where the one before it ended.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Browser, Locator, Page } from "playwright-core";
import { violations } from "./lib/axe.ts";
import { openBrowser, skipReason, watch, type Watch } from "./lib/browser.ts";
import { repository, STEP_MAX_MS, until } from "./lib/frontend.ts";
import { inSlices, stackSkipReason, startStack, type Stack } from "./lib/page-stack.ts";

const ENGINE_PORT = 19610;
const MODEL = "ronzal-demo";

interface Expected {
	cases: { prompt: string; reply: string }[];
}

const expected = JSON.parse(
	readFileSync(join(repository, "demo/expected.json"), "utf8"),
) as Expected;

const skip = skipReason() || stackSkipReason();

let browser: Browser;
let stack: Stack;
let page: Page;
let seen: Watch;

async function go(hash: string): Promise<void> {
	await page.evaluate((to) => (location.hash = to), hash);
}

const row = (id: string): Locator => page.locator(`tr[data-model="${id}"]`);

async function waitForPhase(id: string, phase: string): Promise<void> {
	await row(id).locator(".state", { hasText: phase }).waitFor();
}

async function pidOf(id: string): Promise<number> {
	return (await stack.servers()).find((s) => s.id === id)!.pid;
}

async function say(text: string): Promise<void> {
	await page.getByLabel("Message", { exact: true }).fill(text);
	await page.keyboard.press("Enter");
}

const lastAnswer = (): Locator => page.locator(".turn.assistant").last();

before(async () => {
	if (skip) {
		return;
	}
	stack = await startStack(ENGINE_PORT);
	browser = await openBrowser();
	page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
	page.setDefaultTimeout(STEP_MAX_MS);
	seen = watch(page, stack.url);
	await page.goto(stack.url);
});

after(async () => {
	await browser?.close();
	await stack?.close();
});

describe("a visit", { skip }, () => {
	test("stop_all_then_start_all_enabled_brings_every_model_to_ready", async () => {
		await waitForPhase(MODEL, "ready");
		await page.getByRole("button", { name: "STOP ALL" }).click();
		await waitForPhase(MODEL, "stopped");
		await waitForPhase("ronzal-demo-2", "stopped");
		await page.getByRole("button", { name: "START ALL ENABLED" }).click();
		await waitForPhase(MODEL, "ready");
		await waitForPhase("ronzal-demo-2", "ready");
		assert.ok((await pidOf(MODEL)) > 0);
	});

	test("the_receipt_shows_its_evidence", async () => {
		await row(MODEL).locator("button.badge").click();
		const dialog = page.getByRole("dialog");
		await dialog.getByText("Evidence").waitFor();
		await dialog.getByText("llama-server").first().waitFor();
		await page.keyboard.press("Escape");
	});

	test("chat_streams_the_model's_own_words_and_says_how_fast", async () => {
		const { prompt, reply } = expected.cases[3]!;
		await row(MODEL).getByRole("link", { name: "Chat" }).click();
		await page.getByLabel("Temperature").fill("0");
		await say(prompt);
		await lastAnswer().getByText("tok/s").waitFor();
		assert.equal((await lastAnswer().locator(".prose").innerText()).trim(), reply);
		await lastAnswer()
			.getByText(/\d+ tokens · [\d.]+ tok\/s · first token/)
			.waitFor();
	});

	test("an_answer_can_be_stopped_and_asked_for_again", async () => {
		const pid = await pidOf(MODEL);
		const stop = page.getByRole("button", { name: "Stop", exact: true });
		// On a busy machine the whole answer may have come in one slice: then once more.
		await until("an answer is caught in its middle", async () => {
			await page.getByRole("button", { name: "New chat" }).click();
			process.kill(pid, "SIGSTOP");
			try {
				await say("tell me a story about a fox");
				await inSlices(pid, () => lastAnswer().locator(".prose p").first().isVisible());
				const isCaught = await stop.isVisible();
				if (isCaught) {
					await stop.click();
					await lastAnswer().getByText("stopped").waitFor();
				}
				return isCaught;
			} finally {
				process.kill(pid, "SIGCONT");
			}
		});
		await until("the engine is free", async () =>
			(await stack.servers()).every((s) => s.active_requests === 0),
		);
		await page.getByLabel("Tokens at most").fill("12");
		await page.getByRole("button", { name: "Regenerate" }).click();
		await lastAnswer().getByText("12 tokens · ").waitFor();
		await lastAnswer().getByText("cut at the token limit").waitFor();
		await page.getByLabel("Tokens at most").fill("");
	});

	test("requests_are_listed_with_their_figures", async () => {
		await go("#/activity");
		const first = page.locator(".requests tbody tr").first();
		await first.getByText("chat/completions").waitFor();
		await first.getByText("200").waitFor();
		await page.locator(".requests .state", { hasText: "caller left" }).waitFor();
	});

	test("a_changed_context_is_what_the_engine_grants_after_the_restart", async () => {
		await go(`#/models/${MODEL}`);
		await page.getByLabel("Context", { exact: true }).fill("512");
		await page.getByLabel("Parallel slots").fill("1");
		await page.getByText("Fits.").waitFor();
		const before = await pidOf(MODEL);
		await page.getByRole("button", { name: "Save and restart" }).click();
		await until("another process", async () => {
			const pid = await pidOf(MODEL);
			return pid > 0 && pid !== before;
		});
		await page.getByLabel("Receipt").getByText("512 tokens").waitFor();
	});

	test("the_log_follows_an_engine_that_is_killed_and_comes_back", async () => {
		const lines = page.getByLabel("Log lines");
		await lines.getByText("listening").first().waitFor();
		process.kill(await pidOf(MODEL), "SIGKILL");
		await page.locator(".model-head .state", { hasText: /backoff|starting|loading/ }).waitFor();
		await page.locator(".model-head .state", { hasText: "ready" }).waitFor();
		await page.getByLabel("Starts").or(page.getByText("1 after a crash")).first().waitFor();
		await page
			.getByLabel("Past starts")
			.getByText(/signal 9|killed/i)
			.first()
			.waitFor();
		await page.getByLabel("Find in the log").fill("listening");
		await until(
			"two starts in the log",
			async () => (await lines.locator("mark").count()) >= 2,
		);
		await page.getByLabel("Find in the log").fill("");
	});

	test("a_disabled_model_stays_disabled_after_a_reload", async () => {
		await go("#/");
		const toggle = row("ronzal-demo-2").getByRole("switch");
		await toggle.click();
		await until("stored", async () =>
			(await stack.servers()).some((s) => s.id === "ronzal-demo-2" && !s.enabled),
		);
		await page.reload();
		await row("ronzal-demo-2").waitFor();
		assert.equal(await toggle.getAttribute("aria-checked"), "false");
		await toggle.click();
	});

	test("a_model_comes_from_the_hub_and_is_one_of_the_fleet", async () => {
		await page.getByLabel("Repository of the hub").fill("good/smoke");
		await page.keyboard.press("Enter");
		const downloads = page.getByLabel("Get a model");
		const link = downloads.getByText("registered as").getByRole("link");
		const id = await link.innerText();
		await row(id).locator(".state", { hasText: "stopped" }).waitFor();
		await page.getByRole("button", { name: "Dismiss good/smoke" }).click();
		await link.waitFor({ state: "detached" });
		await fetch(`${stack.url}/api/models/${id}`, { method: "DELETE" });
		await row(id).waitFor({ state: "detached" });
	});

	test("what_the_hub_refuses_is_said_with_what_to_do", async () => {
		await page.getByLabel("Repository of the hub").fill("gated/smoke");
		await page.keyboard.press("Enter");
		await page.getByLabel("Get a model").getByText("HF_TOKEN").waitFor();
		await page.getByRole("button", { name: "Dismiss gated/smoke" }).click();
	});

	test("a_key_is_made_shown_once_and_revoked", async () => {
		await go("#/settings");
		await page.getByLabel("Name of a new key").fill("visitor");
		await page.getByRole("button", { name: "Make key" }).click();
		const secret = await page.getByLabel("The new key").innerText();
		const models = await fetch(`${stack.url}/v1/models`, {
			headers: { authorization: `Bearer ${secret.trim()}` },
		});
		assert.equal(models.status, 200);
		await page.getByLabel("For a container").getByText(secret.trim()).waitFor();
		await page.getByRole("button", { name: "Revoke visitor" }).click();
		await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
		await page.getByRole("cell", { name: "visitor", exact: true }).waitFor({ state: "detached" });
	});

	for (const [name, hash] of Object.entries({
		fleet: "#/",
		model: `#/models/${MODEL}`,
		chat: "#/chat",
		activity: "#/activity",
		settings: "#/settings",
	})) {
		test(`axe_finds_nothing_on_${name}`, async () => {
			for (const width of [1280, 390]) {
				for (const colorScheme of ["light", "dark"] as const) {
					await page.setViewportSize({ width, height: 860 });
					await page.emulateMedia({ colorScheme });
					await go(hash);
					await page.waitForTimeout(300);
					assert.deepEqual(await violations(page), [], `${width} ${colorScheme}`);
				}
			}
			await page.setViewportSize({ width: 1280, height: 860 });
		});
	}

	test("until_here_no_error_and_no_request_to_another_host", () => {
		assert.deepEqual(seen, { complaints: [], foreign: [] });
	});

	test("the_page_outlives_a_restart_of_the_backend", async () => {
		await go("#/");
		stack.killBackend();
		await page.getByText("The backend does not answer").waitFor();
		await page.getByText("The backend does not answer").waitFor({ state: "detached" });
		await waitForPhase(MODEL, "ready");
		assert.deepEqual(seen.foreign, []);
	});

	test("stop_all_leaves_no_engine", async () => {
		const pid = await pidOf(MODEL);
		await page.getByRole("button", { name: "STOP ALL" }).click();
		await waitForPhase(MODEL, "stopped");
		await waitForPhase("ronzal-demo-2", "stopped");
		assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
	});
});
