/* SPDX-License-Identifier: MIT */
/* Answers of a real llama-server (build 11669 with the demo model), and hostile ones. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/api.h"
#include "engine_data.h"
#include "unit.h"

static struct buf answer(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "api/%s", name);
	return engine_data(path);
}

static void props_say_what_was_granted(void **state)
{
	(void)state;
	struct api_props p;
	struct err err = { 0 };
	struct buf body = answer("props.json");

	assert_int_equal(api_props_read(buf_span(&body), &p, &err), 0);
	assert_int_equal(p.context_tokens, 512); /* 2048 asked for, 4 slots */
	assert_int_equal(p.slots, 4);
	buf_finish(&body);
}

static void busy_slots_are_counted(void **state)
{
	(void)state;
	uint32_t busy;
	struct buf body = answer("slots-busy.json");

	assert_int_equal(api_slots_read(buf_span(&body), &busy, NULL), 0);
	assert_int_equal(busy, 1);
	buf_finish(&body);
	body = answer("slots.json");
	assert_int_equal(api_slots_read(buf_span(&body), &busy, NULL), 0);
	assert_int_equal(busy, 0);
	buf_finish(&body);
	assert_int_equal(api_slots_read(SPAN_LIT("[{\"is_processing\":true},{},3]"), &busy, NULL),
			 0);
	assert_int_equal(busy, 1);
}

static void bad_answers_are_protocol_errors_that_name_the_path(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "nul", "[1,", "\"x\"", "{\"a\":1}}" };
	uint32_t busy;
	struct api_props p = { .slots = 77 };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct err err = { 0 };

		assert_int_equal(api_props_read(span_of(texts[i]), &p, &err), ERR_PROTOCOL);
		assert_int_equal(err.code, ERR_PROTOCOL);
		assert_non_null(strstr(err.text, "/props"));
		assert_int_equal(api_slots_read(span_of(texts[i]), &busy, &err), ERR_PROTOCOL);
		assert_non_null(strstr(err.text, "/slots"));
	}
	assert_int_equal(p.slots, 77);

	char *large = mem_alloc(API_BODY_MAX_BYTES + 1);
	struct err err = { 0 };

	assert_int_equal(api_props_read((struct span){ large, API_BODY_MAX_BYTES + 1 }, &p, &err),
			 ERR_PROTOCOL);
	assert_non_null(strstr(err.text, "longer"));
	free(large);

	/* Odd members are as if they were not there. */
	assert_int_equal(
		api_props_read(SPAN_LIT("{\"total_slots\":-4,"
					"\"default_generation_settings\":{\"n_ctx\":1e99}}"),
			       &p, NULL),
		0);
	assert_int_equal(p.slots, 0);
	assert_int_equal(p.context_tokens, 0);
}

static struct api_usage scan(struct span text)
{
	struct api_usage u;

	api_usage_init(&u);
	api_usage_scan(&u, text);
	return u;
}

static void usage_is_found_in_every_dialect(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		int64_t prompt, completion, cached;
		double prompt_ms;
	} rows[] = {
		{ "chat.json", 13, 12, 0, 9.041 },	{ "chat.sse", 13, 6, 12, 1.377 },
		{ "chat-usage.sse", 13, 6, 12, 1.354 }, { "completions.json", 2, 6, 1, 1.035 },
		{ "completions.sse", 2, 6, 1, 1.008 },	{ "responses.json", 13, 6, 12, -1 },
		{ "responses.sse", 13, 6, 12, 1.112 },	{ "messages.json", 13, 6, 12, -1 },
		{ "messages.sse", 13, 6, 12, -1 },	{ "rerank.json", 6, -1, -1, -1 },
		{ "embeddings.json", 2, -1, -1, -1 },	{ "embed-err.json", -1, -1, -1, -1 },
		{ "props.json", -1, -1, -1, -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf text = answer(rows[i].name);
		struct api_usage u = scan(buf_span(&text));

		if (u.prompt_tokens != rows[i].prompt ||
		    u.completion_tokens != rows[i].completion ||
		    u.cached_tokens != rows[i].cached || u.prompt_ms != rows[i].prompt_ms) {
			fail_msg("%s: %ld %ld %ld", rows[i].name, (long)u.prompt_tokens,
				 (long)u.completion_tokens, (long)u.cached_tokens);
		}
		buf_finish(&text);
	}
}

/* Events come one by one: what each says adds up to what the whole says. */
static void usage_of_single_events_adds_up(void **state)
{
	(void)state;
	static const char *const names[] = { "chat.sse", "chat-usage.sse", "completions.sse",
					     "responses.sse", "messages.sse" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct buf text = answer(names[i]);
		struct api_usage whole = scan(buf_span(&text)), by_event;
		struct span rest = buf_span(&text);

		api_usage_init(&by_event);
		while (rest.ptr != NULL) {
			api_usage_scan(&by_event, span_split(&rest, '\n'));
		}
		assert_memory_equal(&by_event, &whole, sizeof(whole));
		buf_finish(&text);
	}
}

/* Chat bodies say it behind the text, lists of vectors before them. */
static void part_of_a_long_body_that_holds_usage_suffices(void **state)
{
	(void)state;
	struct buf chat = answer("chat.json"), vectors = answer("embeddings.json");
	struct span tail = span_from(buf_span(&chat), chat.len / 2);

	assert_true(scan(tail).prompt_tokens == 13);
	assert_true(scan(tail).predicted_ms == 7.817);
	assert_true(scan((struct span){ vectors.data, 256 }).prompt_tokens == 2);
	assert_true(scan(span_from(buf_span(&vectors), 256)).prompt_tokens == -1);
	buf_finish(&chat);
	buf_finish(&vectors);
}

static void generated_text_cannot_pose_as_usage(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"{\"content\":\"{\\\"usage\\\":{\\\"prompt_tokens\\\":999}}\"}",
		"{\"content\":\"\\\"usage\\\": {\",\"prompt_tokens\":999}",
		"{\"usage\":\"{\\\"prompt_tokens\\\":999}\"}",
		"{\"usage\":null}",
		"{\"usage\":{\"prompt_tokens\":999",
		"{\"usage\":{\"prompt_tokens\":-999}}",
		"{\"usage\":{\"prompt_tokens\":\"999\"}}",
		"{\"usage\":[{\"prompt_tokens\":999}]}",
		"{\"usage\":",
		"\"usage\"",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_true(scan(span_of(texts[i])).prompt_tokens == -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(props_say_what_was_granted),
		cmocka_unit_test(busy_slots_are_counted),
		cmocka_unit_test(bad_answers_are_protocol_errors_that_name_the_path),
		cmocka_unit_test(usage_is_found_in_every_dialect),
		cmocka_unit_test(usage_of_single_events_adds_up),
		cmocka_unit_test(part_of_a_long_body_that_holds_usage_suffices),
		cmocka_unit_test(generated_text_cannot_pose_as_usage),
	};

	return cmocka_run_group_tests_name("engine_api", tests, NULL, NULL);
}
