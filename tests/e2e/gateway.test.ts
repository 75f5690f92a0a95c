// SPDX-License-Identifier: MIT
//
// What clients see when engines stop, die and come back under them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { sleep } from "./lib/frontend.js";
import { skip, Stack } from "./lib/stack.js";

let stack: Stack;

before(async () => {
	if (!skip) {
		stack = await Stack.start();
	}
});

after(async () => {
	await stack?.stop();
});

const chat = (more: object = {}) => ({
	model: "ronzal-demo", max_tokens: 4, messages: [{ role: "user", content: "hello" }], ...more,
});
const endless = { stream: true, max_tokens: 100_000, ignore_eos: true };

// Reads until the stream ends or breaks; whether it ended well.
async function readAll(answer: Response, onPart: () => void): Promise<[string, boolean]> {
	const decoder = new TextDecoder();
	let text = "";
	try {
		for await (const part of answer.body!) {
			text += decoder.decode(part as Uint8Array, { stream: true });
			onPart();
		}
		return [text, true];
	} catch {
		return [text, false];
	}
}

test("llama_servers_own_endpoints_answer", { skip }, async () => {
	const answer = await stack.post("/tokenize", { model: "ronzal-demo", content: "hello" });
	const { tokens } = (await answer.json()) as { tokens: number[] };
	assert.ok(tokens.length > 0);
	const back = await stack.post("/detokenize", { model: "ronzal-demo", tokens });
	assert.deepEqual(await back.json(), { content: "hello" });
	for (const path of ["/slots", "/props", "/lora-adapters", "/v1/slots/0"]) {
		assert.equal((await stack.post(path, {})).status, 404, path);
	}
});

test("bad_bodies_get_a_sentence", { skip }, async () => {
	for (const [body, status, said] of [
		["{", 400, "not JSON"],
		["[]", 400, "object"],
		['{"model":"ronzal-demo","model":"x"}', 400, "stands twice"],
		['{"messages":[]}', 400, "'model' is missing"],
		['{"model":"ronzal-demo","lora":[]}', 400, "'lora'"],
	] as const) {
		const answer = await stack.post("/v1/chat/completions", body);
		assert.equal(answer.status, status, body);
		assert.match(((await answer.json()) as { error: { message: string } }).error.message,
			new RegExp(said));
	}
});

test("engine_killed_in_mid_stream_ends_with_an_error_event_and_comes_back", { skip }, async () => {
	const pid = await stack.enginePid("ronzal-demo");
	const answer = await stack.post("/v1/chat/completions", chat(endless));
	let parts = 0;
	const [text, endedWell] = await readAll(answer, () => {
		if (++parts === 3) {
			process.kill(pid, "SIGKILL");
		}
	});
	assert.equal(endedWell, false);
	assert.doesNotMatch(text, /\[DONE\]/);
	assert.match(text, /data: \{"error":\{"message":"model 'ronzal-demo' broke off/);
	const next = await stack.post("/v1/chat/completions", chat());
	assert.equal(next.status, 200);
	await next.json();
	assert.notEqual(await stack.enginePid("ronzal-demo"), pid);
});

test("stopped_model_is_started_by_the_request_that_needs_it", { skip }, async () => {
	await stack.ronzal("stop", "ronzal-demo");
	await stack.until("stopped", "ronzal-demo");
	const answers = await Promise.all(
		[1, 2, 3, 4].map(() => stack.post("/v1/chat/completions", chat())),
	);
	assert.deepEqual(answers.map((a) => a.status), [200, 200, 200, 200]);
});

test("no_request_is_lost_by_a_restart_that_meets_it", { skip }, async () => {
	const restart = stack.ronzal("restart", "ronzal-demo");
	const seen: Promise<string>[] = [];
	for (let i = 0; i < 20; i++) {
		seen.push(
			stack.post("/v1/chat/completions", chat()).then(async (a) => {
				const text = await a.text();
				return a.status === 200 ? "answered" : text;
			}),
		);
		await sleep(50);
	}
	await restart;
	assert.deepEqual([...new Set(await Promise.all(seen))], ["answered"]);
});
