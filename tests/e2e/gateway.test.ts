// SPDX-License-Identifier: MIT
//
// What clients see when engines stop, die and come back under them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
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

// The text format 0.0.4, as strictly as promtool: each family is announced once, before its
// samples, which stand together; no sample twice; histograms grow to their count.
function checkMetrics(text: string): Map<string, number> {
	const samples = new Map<string, number>();
	const types = new Map<string, string>();
	let family = "";
	assert.ok(text.endsWith("\n"));
	for (const line of text.trimEnd().split("\n")) {
		const meta = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line);
		if (meta) {
			if (meta[1] === "TYPE") {
				assert.ok(!types.has(meta[2]!), `${meta[2]} is announced twice`);
				assert.match(meta[3]!, /^(counter|gauge|histogram|summary|untyped)$/);
				types.set(meta[2]!, meta[3]!);
			}
			family = meta[2]!;
			continue;
		}
		const sample =
			/^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)$/.exec(line);
		assert.ok(sample, `not a sample: ${line}`);
		const isHistogram = types.get(family) === "histogram";
		const base = isHistogram ? sample[1]!.replace(/_(bucket|sum|count)$/, "") : sample[1]!;
		assert.equal(base, family, `${line} stands outside its family`);
		assert.ok(types.has(family), `${family} has no type`);
		assert.ok(!Number.isNaN(Number(sample[3]!.replace("+Inf", "Infinity"))), line);
		const id = sample[1]! + (sample[2] ?? "");
		assert.ok(!samples.has(id), `${id} stands twice`);
		samples.set(id, Number(sample[3]));
	}
	for (const [id, value] of samples) {
		const last = /^(\w+)_bucket\{(.*),le="\+Inf"\}$/.exec(id);
		if (last) {
			assert.equal(value, samples.get(`${last[1]}_count{${last[2]}}`), id);
			let below = 0;
			for (const [other, count] of samples) {
				if (other.startsWith(`${last[1]}_bucket{${last[2]},le=`)) {
					assert.ok(count >= below, `${other} is less than the bucket before it`);
					below = count;
				}
			}
		}
	}
	return samples;
}

test("metrics_are_well_formed_and_count_what_was_done", { skip }, async () => {
	const scrape = async () => checkMetrics(await (await fetch(`${stack.url}/metrics`)).text());
	const count = 'ronzal_request_seconds_count{model="ronzal-demo"}';
	await (await stack.post("/v1/chat/completions", chat())).text();
	const before_one = await scrape();
	await (await stack.post("/v1/chat/completions", chat())).text();
	const after_one = await scrape();
	assert.equal(after_one.get(count), before_one.get(count)! + 1);
	assert.ok([...after_one.keys()].some((id) => id.startsWith("llamacpp:")), "no engine's own");
});

// What engines print is passed on under their own names, some of which promtool finds unusual.
test("promtool_finds_nothing_wrong_but_names_that_engines_chose", { skip }, async (t) => {
	const text = await (await fetch(`${stack.url}/metrics`)).text();
	const said = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
	if (said.error) {
		t.skip("promtool is not installed: scripts/deps.sh --test");
		return;
	}
	const complaints = said.stderr.trim().split("\n");
	assert.match(text, /^ronzal_/m);
	assert.match(text, /^# TYPE llamacpp:prompt_tokens_total counter\nllamacpp:/m);
	assert.deepEqual(
		complaints.filter((line) => !/^llamacpp:.* should (not contain ':'|have "_total" suffix)$/.test(line)),
		[],
	);
});
