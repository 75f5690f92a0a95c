/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_scan.h"
#include "base/mem.h"

struct seen {
	int count, models;
	char model[64], nested[64];
};

static void on_member(void *user, const struct json_member *member)
{
	struct seen *seen = user;

	seen->count++;
	if (json_scan_key_is(member->key, "model")) {
		seen->models++;
		json_scan_text(member->value, seen->model, sizeof(seen->model));
	}
	if (json_scan_key_is(member->key, "nested")) {
		span_copy(member->value, seen->nested, sizeof(seen->nested));
	}
}

static void members_are_told_with_their_values_as_written(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(json_scan(SPAN_LIT(" {\"model\":\"q\\u00e9\\n\",\"a\":[1,{\"model\":2}],"
					    "\"nested\" : {\"model\": null} } "),
				   on_member, &seen, NULL),
			 0);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.models, 1);
	assert_string_equal(seen.model, "q\xc3\xa9\n");
	assert_string_equal(seen.nested, "{\"model\": null}");
}

static void an_escaped_key_is_the_same_key(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(json_scan(SPAN_LIT("{\"model\":\"a\",\"m\\u006fdel\":\"b\"}"), on_member,
				   &seen, NULL),
			 0);
	assert_int_equal(seen.models, 2);
}

static void what_is_not_json_is_refused_with_its_place(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"1",
		"{",
		"{}x",
		"{\"a\":NaN}",
		"{\"a\":01}",
		"{\"a\":1.}",
		"{\"a\":+1}",
		"{\"a\":\"\x01\"}",
		"{\"a\":\"\\x\"}",
		"{\"a\":\"\\ud800\"}",
		"{\"a\":\"\xff\"}",
		"{\"a\":\"\xc0\x80\"}",
		"{\"a\":tru}",
		"{\"a\" 1}",
		"{\"a\":1,}",
		"{,}",
		"{'a':1}",
		"{\"a\":\"b}",
		"{\"a\":[1,]}",
		"{\"a\":\"\\u12\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct seen seen = { 0 };
		struct err err = { 0 };

		assert_int_equal(json_scan(span_of(bad[i]), on_member, &seen, &err), ERR_INVALID);
		assert_true(err.text[0] != '\0');
	}
}

static void depth_is_bounded_in_bounded_time(void **state)
{
	size_t len = 4u << 20;
	char *text = mem_alloc(len + 1);
	struct seen seen = { 0 };

	(void)state;
	memset(text, '[', len);
	memcpy(text, "{\"a\":", 5);
	assert_int_equal(json_scan((struct span){ text, len }, on_member, &seen, NULL),
			 ERR_INVALID);
	free(text);
}

/* A short text decoded into too little room, or holding U+0000, is no text. */
static void texts_fit_or_are_refused(void **state)
{
	char text[4];

	(void)state;
	assert_true(json_scan_text(SPAN_LIT("\"abc\""), text, sizeof(text)));
	assert_string_equal(text, "abc");
	assert_false(json_scan_text(SPAN_LIT("\"abcd\""), text, sizeof(text)));
	assert_false(json_scan_text(SPAN_LIT("\"a\\u0000\""), text, sizeof(text)));
	assert_false(json_scan_text(SPAN_LIT("12"), text, sizeof(text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_told_with_their_values_as_written),
		cmocka_unit_test(an_escaped_key_is_the_same_key),
		cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
		cmocka_unit_test(depth_is_bounded_in_bounded_time),
		cmocka_unit_test(texts_fit_or_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
