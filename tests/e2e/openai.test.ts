// SPDX-License-Identifier: MIT
//
// OpenAI's client library, unchanged, through the gateway to a real llama-server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { sleep } from "./lib/frontend.js";
import { expectedAnswers, skip, Stack, type Expected } from "./lib/stack.js";

const SLOT_IDLE_MAX_MS = 5000; // one, and room for a busy machine

let stack: Stack;
let client: OpenAI;
let expected: Expected;

before(async () => {
	if (!skip) {
		expected = await expectedAnswers();
		stack = await Stack.start();
		client = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: "none", maxRetries: 0 });
	}
});

after(async () => {
	await stack?.stop();
});

const hello = () => ({
	...expected.request,
	model: "ronzal-demo",
	messages: [{ role: "user" as const, content: expected.cases[0]!.prompt }],
});

test("chat_gives_the_expected_answers", { skip }, async () => {
	for (const { prompt, reply } of expected.cases.slice(0, 6)) {
		const answer = await client.chat.completions.create({
			...hello(), messages: [{ role: "user", content: prompt }],
		});
		assert.equal(answer.choices[0]?.message.content, reply, prompt);
		assert.ok(answer.usage && answer.usage.completion_tokens > 0);
	}
});

test("chat_streams_the_same_answer_without_usage_nobody_asked_for", { skip }, async () => {
	const stream = await client.chat.completions.create({ ...hello(), stream: true });
	let text = "";
	let events = 0;
	for await (const part of stream) {
		text += part.choices[0]?.delta.content ?? "";
		assert.equal(part.usage ?? null, null);
		events++;
	}
	assert.equal(text, expected.cases[0]!.reply);
	assert.ok(events > 5);
});

test("chat_streams_usage_when_asked", { skip }, async () => {
	const stream = await client.chat.completions.create({
		...hello(), stream: true, stream_options: { include_usage: true },
	});
	let tokens = 0;
	for await (const part of stream) {
		tokens = part.usage?.completion_tokens ?? tokens;
	}
	assert.ok(tokens > 5);
});

test("chat_accepts_tools", { skip }, async () => {
	const answer = await client.chat.completions.create({
		...hello(),
		max_tokens: 32,
		tools: [{
			type: "function",
			function: {
				name: "weather",
				parameters: { type: "object", properties: { city: { type: "string" } } },
			},
		}],
	});
	assert.equal(answer.choices[0]?.message.role, "assistant");
});

test("completions_and_responses_answer", { skip }, async () => {
	const text = await client.completions.create({
		model: "gpt-4o", prompt: "Once upon a time", max_tokens: 8,
	});
	assert.ok(text.choices[0]!.text.length > 0);
	const answer = await client.responses.create({
		model: "ronzal-demo", input: expected.cases[0]!.prompt, temperature: 0,
	});
	assert.equal(answer.output_text, expected.cases[0]!.reply);
	const stream = await client.responses.create({
		model: "ronzal-demo", input: expected.cases[0]!.prompt, temperature: 0, stream: true,
	});
	let delta = "";
	for await (const event of stream) {
		delta += event.type === "response.output_text.delta" ? event.delta : "";
	}
	assert.equal(delta, expected.cases[0]!.reply);
});

test("embeddings_answer", { skip }, async () => {
	const answer = await client.embeddings.create({
		model: "ronzal-embed", input: ["hello", "good morning"], encoding_format: "float",
	});
	assert.equal(answer.data.length, 2);
	assert.ok(answer.data[0]!.embedding.length > 8);
	assert.notDeepEqual(answer.data[0]!.embedding, answer.data[1]!.embedding);
	assert.ok(answer.usage.prompt_tokens > 0);
});

test("models_have_metadata", { skip }, async () => {
	const ids: string[] = [];
	for await (const model of client.models.list()) {
		ids.push(model.id);
	}
	assert.deepEqual(ids, ["ronzal-demo", "ronzal-embed", "ronzal-late"]);
	const model = (await client.models.retrieve("gpt-4o")) as unknown as Record<string, unknown>;
	assert.equal(model["id"], "ronzal-demo");
	assert.equal(model["state"], "ready");
	assert.ok(Number(model["context_length"]) > 0);
});

// The process's own time stands still once its slot is idle.
test("abort_in_mid_stream_frees_the_engines_slot", { skip }, async (t) => {
	const stream = await client.chat.completions.create({
		model: "ronzal-demo", stream: true, max_tokens: 100_000,
		messages: [{ role: "user", content: "count" }],
		...({ ignore_eos: true } as object),
	});
	for await (const _part of stream) {
		assert.equal(await stack.busySlots("ronzal-demo"), 1);
		break; // which aborts, as leaving the loop does for the library's users
	}
	const begin = performance.now();
	while ((await stack.busySlots("ronzal-demo")) > 0) {
		assert.ok(performance.now() - begin < SLOT_IDLE_MAX_MS, "the slot is still busy");
		await sleep(10);
	}
	t.diagnostic(`slot idle after ${Math.round(performance.now() - begin)} ms`);
});

test("wrong_key_and_unknown_model_are_said_in_openais_words", { skip }, async () => {
	const wrong = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: "rz-wrong", maxRetries: 0 });
	await assert.rejects(wrong.chat.completions.create(hello()), OpenAI.AuthenticationError);
	await assert.rejects(
		client.chat.completions.create({ ...hello(), model: "ronzal-dem" }),
		(error: unknown) =>
			error instanceof OpenAI.NotFoundError && error.code === "model_not_found" &&
			error.message.includes("Did you mean 'ronzal-demo'?"),
	);
	await assert.rejects(
		client.chat.completions.create({ ...hello(), model: "ronzal-late" }),
		(error: unknown) => error instanceof OpenAI.APIError && error.status === 503,
	);
});

test("a_key_opens_its_models_only", { skip }, async () => {
	const made = /rz-[\w-]{43}/.exec(await stack.ronzal("keys", "add", "one", "ronzal-demo"));
	assert.ok(made);
	const limited = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: made[0], maxRetries: 0 });
	await sleep(1100);
	assert.ok((await limited.chat.completions.create(hello())).choices.length === 1);
	await assert.rejects(
		limited.embeddings.create({ model: "ronzal-embed", input: "x" }),
		OpenAI.PermissionDeniedError,
	);
	assert.deepEqual((await limited.models.list()).data.map((m) => m.id), ["ronzal-demo"]);
});
