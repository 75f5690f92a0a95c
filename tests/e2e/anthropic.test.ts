// SPDX-License-Identifier: MIT
//
// Anthropic's client library, unchanged, through the gateway to a real llama-server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { expectedAnswers, skip, Stack, type Expected } from "./lib/stack.js";

let stack: Stack;
let client: Anthropic;
let expected: Expected;

before(async () => {
	if (!skip) {
		expected = await expectedAnswers();
		stack = await Stack.start();
		client = new Anthropic({ baseURL: stack.url, apiKey: "none", maxRetries: 0 });
	}
});

after(async () => {
	await stack?.stop();
});

const hello = () => ({
	model: "ronzal-demo",
	max_tokens: 256,
	messages: [{ role: "user" as const, content: expected.cases[0]!.prompt }],
	...({ temperature: 0 } as object),
});

test("messages_give_the_expected_answer", { skip }, async () => {
	const answer = await client.messages.create(hello());
	assert.equal(answer.content[0]?.type === "text" && answer.content[0].text,
		expected.cases[0]!.reply);
	assert.ok(answer.usage.output_tokens > 0);
});

test("messages_stream_the_same_answer", { skip }, async () => {
	const stream = client.messages.stream(hello());
	assert.equal(await stream.finalText(), expected.cases[0]!.reply);
	assert.equal((await stream.finalMessage()).stop_reason, "end_turn");
});

test("tokens_are_counted_and_tools_accepted", { skip }, async () => {
	const { max_tokens: _unused, ...ask } = hello();
	assert.ok((await client.messages.countTokens(ask)).input_tokens > 0);
	const answer = await client.messages.create({
		...hello(),
		tools: [{ name: "weather", input_schema: { type: "object", properties: {} } }],
	});
	assert.equal(answer.role, "assistant");
});

test("abort_in_mid_stream_leaves_the_gateway_usable", { skip }, async () => {
	const stream = await client.messages.create({
		...hello(),
		stream: true,
		max_tokens: 100_000,
		...({ ignore_eos: true } as object),
	});
	let events = 0;
	for await (const _event of stream) {
		if (++events === 5) {
			break; // which aborts
		}
	}
	assert.equal(events, 5);
	assert.ok(stream.controller.signal.aborted);
	assert.ok((await client.messages.create(hello())).content.length > 0);
});

test("models_are_listed", { skip }, async () => {
	const ids: string[] = [];
	for await (const model of client.models.list()) {
		ids.push(model.id);
		assert.ok(!Number.isNaN(Date.parse(model.created_at)));
	}
	assert.deepEqual(ids, ["ronzal-demo", "ronzal-embed", "ronzal-late"]);
});

test("what_the_engine_refuses_is_said_in_anthropics_words", { skip }, async () => {
	const { messages: _missing, ...ask } = hello();
	const isSaid = (error: unknown) => {
		assert.ok(error instanceof Anthropic.BadRequestError);
		assert.equal(error.status, 400);
		assert.equal(error.type, "invalid_request_error");
		assert.ok(error.message.includes("'messages' is required"), error.message);
		return true;
	};
	await assert.rejects(client.messages.create(ask as never), isSaid);
	await assert.rejects(client.messages.countTokens(ask as never), isSaid);
});

test("wrong_key_and_unknown_model_are_said_in_anthropics_words", { skip }, async () => {
	const wrong = new Anthropic({ baseURL: stack.url, apiKey: "rz-wrong", maxRetries: 0 });
	await assert.rejects(wrong.messages.create(hello()), Anthropic.AuthenticationError);
	await assert.rejects(
		client.messages.create({ ...hello(), model: "claude" }),
		(error: unknown) =>
			error instanceof Anthropic.NotFoundError && error.message.includes("not_found_error"),
	);
});
