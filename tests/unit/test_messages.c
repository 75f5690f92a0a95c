/* SPDX-License-Identifier: MIT */
/*
 * Messages of the control channel: there and back, bounds, and what other versions send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/messages.h"

static struct span line_of(const struct buf *b)
{
	assert_true(b->len > 0 && b->data[b->len - 1] == '\n');
	return (struct span){ b->data, b->len - 1 };
}

static void requests_come_back_as_they_went(void **state)
{
	static const char *const ids[] = { "qwen3-4b", "gpt-oss-20b" };
	struct wire_request out = { .verb = VERB_STOP,
				    .seq = 7,
				    .ids = ids,
				    .id_count = 2,
				    .drain_ms = 3000,
				    .deadline_ms = 7000 };
	struct wire_request in;
	struct buf b;

	(void)state;
	buf_init(&b, WIRE_LINE_MAX_BYTES);
	assert_int_equal(wire_request_encode(&out, &b), 0);
	assert_int_equal(wire_request_decode(line_of(&b), &in, NULL), 0);
	assert_int_equal(in.verb, VERB_STOP);
	assert_int_equal(in.seq, 7);
	assert_int_equal(in.drain_ms, 3000);
	assert_int_equal(in.deadline_ms, 7000);
	assert_int_equal(in.id_count, 2);
	assert_string_equal(in.ids[1], "gpt-oss-20b");
	wire_request_finish(&in);
	buf_finish(&b);
}

static void hello_names_the_controller_and_the_one_shot_form(void **state)
{
	struct wire_request out = { .verb = VERB_HELLO,
				    .version = 1,
				    .version_min = 1,
				    .controller = "c-1",
				    .who = "backend",
				    .once = WIRE_ONCE_STOP };
	struct wire_request in;
	struct buf b;

	(void)state;
	buf_init(&b, WIRE_LINE_MAX_BYTES);
	assert_int_equal(wire_request_encode(&out, &b), 0);
	assert_int_equal(wire_request_decode(line_of(&b), &in, NULL), 0);
	assert_string_equal(in.controller, "c-1");
	assert_string_equal(in.who, "backend");
	assert_string_equal(in.once, "stop");
	wire_request_finish(&in);
	buf_finish(&b);
}

static void every_verb_and_event_has_its_own_type(void **state)
{
	(void)state;
	for (int v = VERB_HELLO; v <= VERB_SHUTDOWN; v++) {
		struct wire_request in, out = { .verb = (enum verb)v };
		struct buf b;

		buf_init(&b, WIRE_LINE_MAX_BYTES);
		assert_int_equal(wire_request_encode(&out, &b), 0);
		assert_int_equal(wire_request_decode(line_of(&b), &in, NULL), 0);
		assert_int_equal(in.verb, v);
		wire_request_finish(&in);
		buf_finish(&b);
	}
	for (int t = EVENT_HELLO; t <= EVENT_BYE; t++) {
		struct wire_event *in = mem_alloc(sizeof(*in)), *out = mem_alloc(sizeof(*out));
		struct buf b;

		out->type = (enum wire_event_type)t;
		if (t == EVENT_SERVER) {
			span_copy(SPAN_LIT("m"), out->server.id, sizeof(out->server.id));
		}
		buf_init(&b, WIRE_LINE_MAX_BYTES);
		assert_int_equal(wire_event_encode(out, &b), 0);
		assert_int_equal(wire_event_decode(line_of(&b), in, NULL), 0);
		assert_int_equal(in->type, t);
		wire_event_finish(in);
		buf_finish(&b);
		free(in);
		free(out);
	}
}

static void a_reply_carries_results_and_credentials(void **state)
{
	struct wire_result results[2] = {
		{ .id = "a", .port = 8080, .key = "secret", .address = "127.0.0.1" }, { .id = "b" }
	};
	struct wire_event in, out = { .type = EVENT_REPLY,
				      .reply = { .seq = 9, .results = results, .count = 2 } };
	struct buf b;

	(void)state;
	err_set(&results[1].err, ERR_NO_MEMORY, "b needs 12.4 GiB");
	err_set(&out.reply.err, ERR_NO_MEMORY, "1 of 2 models did not start");
	buf_init(&b, WIRE_LINE_MAX_BYTES);
	assert_int_equal(wire_event_encode(&out, &b), 0);
	assert_int_equal(wire_event_decode(line_of(&b), &in, NULL), 0);
	assert_int_equal(in.reply.seq, 9);
	assert_int_equal(in.reply.err.code, ERR_NO_MEMORY);
	assert_int_equal(in.reply.count, 2);
	assert_string_equal(in.reply.results[0].key, "secret");
	assert_int_equal(in.reply.results[0].port, 8080);
	assert_int_equal(in.reply.results[1].err.code, ERR_NO_MEMORY);
	assert_string_equal(in.reply.results[1].err.text, "b needs 12.4 GiB");
	wire_event_finish(&in);
	buf_finish(&b);
}

static void a_reply_that_is_too_long_loses_results_not_its_frame(void **state)
{
	struct wire_result *results = mem_alloc(WIRE_IDS_MAX * sizeof(*results));
	struct wire_event in,
		out = { .type = EVENT_REPLY,
			.reply = { .seq = 1, .results = results, .count = WIRE_IDS_MAX } };
	struct buf b;

	(void)state;
	for (int i = 0; i < WIRE_IDS_MAX; i++) {
		snprintf(results[i].id, sizeof(results[i].id), "model-%d", i);
		err_set(&results[i].err, ERR_INVALID, "%700d", i);
	}
	buf_init(&b, WIRE_LINE_MAX_BYTES);
	assert_int_equal(wire_event_encode(&out, &b), 0);
	assert_true(b.len <= WIRE_LINE_MAX_BYTES);
	assert_int_equal(wire_event_decode(line_of(&b), &in, NULL), 0);
	assert_in_range(in.reply.count, 16, WIRE_IDS_MAX - 1);
	wire_event_finish(&in);
	buf_finish(&b);
	free(results);
}

static void a_newer_side_may_add_members(void **state)
{
	struct wire_request in;

	(void)state;
	assert_int_equal(
		wire_request_decode(SPAN_LIT("{\"type\":\"start\",\"seq\":3,\"colour\":[1],"
					     "\"models\":[\"m\"]}"),
				    &in, NULL),
		0);
	assert_int_equal(in.seq, 3);
	assert_int_equal(in.id_count, 1);
	wire_request_finish(&in);
	assert_int_equal(wire_versions_agree(WIRE_VERSION + 1, WIRE_VERSION, "the agent", NULL), 0);
}

static void a_side_that_is_too_far_away_is_told_which_to_upgrade(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(wire_versions_agree(WIRE_VERSION + 2, WIRE_VERSION + 1, "the agent", &err),
			 ERR_VERSION);
	assert_non_null(strstr(err.text, "upgrade this side"));
	assert_int_equal(wire_versions_agree(0, 0, "the agent", &err), ERR_VERSION);
	assert_non_null(strstr(err.text, "upgrade the agent"));
}

static void bad_lines_are_refused_with_the_member_named(void **state)
{
	static const struct {
		const char *line;
		int code;
		const char *says;
	} cases[] = {
		{ "", ERR_INVALID, "control channel" },
		{ "hello", ERR_INVALID, "control channel" },
		{ "{\"type\":\"start\"", ERR_INVALID, "control channel" },
		{ "[]", ERR_INVALID, "type" },
		{ "{\"type\":7}", ERR_INVALID, "type" },
		{ "{\"type\":\"format_disk\"}", ERR_VERSION, "type" },
		{ "{\"type\":\"stop\",\"drain_ms\":-1}", ERR_INVALID, "drain_ms" },
		{ "{\"type\":\"stop\",\"drain_ms\":4294967296}", ERR_INVALID, "drain_ms" },
		{ "{\"type\":\"stop\",\"seq\":\"1\"}", ERR_INVALID, "seq" },
		{ "{\"type\":\"start\",\"models\":[]}", ERR_INVALID, "models" },
		{ "{\"type\":\"start\",\"models\":\"all\"}", ERR_INVALID, "models" },
		{ "{\"type\":\"start\",\"models\":[1]}", ERR_INVALID, "models" },
		{ "{\"type\":\"start\",\"models\":[\"\"]}", ERR_INVALID, "models" },
		{ "{\"type\":\"start\",\"models\":[\"a\\u0000b\"]}", ERR_INVALID, "models" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct wire_request in;
		struct err err = { 0 };

		assert_int_equal(wire_request_decode(span_of(cases[i].line), &in, &err),
				 cases[i].code);
		assert_non_null(strstr(err.text, cases[i].says));
	}
}

static void too_many_ids_and_too_long_lines_are_refused(void **state)
{
	const char *ids[WIRE_IDS_MAX + 1];
	struct wire_request in, out = { .verb = VERB_START, .ids = ids };
	struct buf b;
	char *line = mem_alloc(WIRE_LINE_MAX_BYTES + 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		ids[i] = "m";
	}
	buf_init(&b, WIRE_LINE_MAX_BYTES);
	out.id_count = WIRE_IDS_MAX + 1;
	assert_int_equal(wire_request_encode(&out, &b), ERR_FULL);
	assert_int_equal(b.len, 0);
	out.id_count = WIRE_IDS_MAX;
	assert_int_equal(wire_request_encode(&out, &b), 0);
	memset(line, ' ', WIRE_LINE_MAX_BYTES);
	assert_int_equal(wire_request_decode((struct span){ line, WIRE_LINE_MAX_BYTES }, &in, NULL),
			 ERR_INVALID);
	buf_finish(&b);
	free(line);
}

static void only_the_users_socket_may_shut_the_agent_down(void **state)
{
	(void)state;
	assert_false(verb_is_restricted(VERB_SHUTDOWN));
	assert_true(verb_is_restricted(VERB_START));
	assert_true(verb_is_restricted(VERB_CREDENTIALS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_come_back_as_they_went),
		cmocka_unit_test(hello_names_the_controller_and_the_one_shot_form),
		cmocka_unit_test(every_verb_and_event_has_its_own_type),
		cmocka_unit_test(a_reply_carries_results_and_credentials),
		cmocka_unit_test(a_reply_that_is_too_long_loses_results_not_its_frame),
		cmocka_unit_test(a_newer_side_may_add_members),
		cmocka_unit_test(a_side_that_is_too_far_away_is_told_which_to_upgrade),
		cmocka_unit_test(bad_lines_are_refused_with_the_member_named),
		cmocka_unit_test(too_many_ids_and_too_long_lines_are_refused),
		cmocka_unit_test(only_the_users_socket_may_shut_the_agent_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
