/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"

static void getters_answer_not_there_for_anything_wrong(void **state)
{
	struct json *json =
		json_parse(SPAN_LIT("{\"n\":4.0,\"f\":4.5,\"big\":18446744073709551615,\"b\":true,"
				    "\"s\":\"a\\u0000b\",\"z\":null,\"l\":[1,2],\"o\":{\"x\":-7}}"),
			   NULL);
	const struct json_value *root = json_root(json);
	int64_t i = 4711;
	double d = 0;
	bool b = false;
	struct span s = { NULL, 0 };

	(void)state;
	assert_true(json_to_i64(json_get(root, "n"), &i) && i == 4);
	assert_false(json_to_i64(json_get(root, "f"), &i));
	assert_false(json_to_i64(json_get(root, "big"), &i));
	assert_int_equal(i, 4);
	assert_true(json_to_double(json_get(root, "f"), &d) && d == 4.5);
	assert_true(json_to_bool(json_get(root, "b"), &b) && b);
	assert_true(json_to_span(json_get(root, "s"), &s) && s.len == 3);
	assert_false(json_to_span(json_get(root, "z"), &s));
	assert_int_equal(json_type(json_get(root, "z")), JSON_NULL);
	assert_int_equal(json_type(json_get(root, "none")), JSON_NONE);
	assert_int_equal(json_i64_at(json_get(json_get(root, "o"), "none"), "x", 5), 5);
	assert_int_equal(json_i64_at(json_get(root, "o"), "x", 5), -7);
	assert_int_equal(json_count(json_get(root, "l")), 2);
	assert_int_equal(json_count(root), 8);
	assert_int_equal(json_count(NULL), 0);
	assert_string_equal(json_text_at(root, "n", "fallback"), "fallback");
	json_destroy(json);
	json_destroy(NULL);
}

static void what_is_not_json_is_refused_with_its_place(void **state)
{
	static const char *const bad[] = { "",
					   "{",
					   "{\"a\":1,}",
					   "[1 2]",
					   "nul",
					   "\"\xff\"",
					   "NaN",
					   "01",
					   "{}x",
					   "'a'",
					   "{\"a\":1 /* c */}",
					   "\"\\ud800\"",
					   "{\"a\":1.}",
					   "{\"a\":+1}",
					   "\"\x01\"",
					   "\"\\x\"",
					   "\"\xc0\x80\"",
					   "{\"a\" 1}",
					   "{,}",
					   "\"\\u12\"" };
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (json_parse(span_of(bad[i]), &err) != NULL) {
			fail_msg("accepted: %s", bad[i]);
		}
		assert_int_equal(err.code, ERR_INVALID);
		assert_int_equal(strncmp(err.text, "not JSON at byte ", 17), 0);
	}
}

static void depth_is_bounded_for_reading(void **state)
{
	char text[2 * 10000];
	struct err err;

	(void)state;
	memset(text, '[', 10000);
	memset(text + 10000, ']', 10000);
	assert_null(json_parse((struct span){ text, sizeof(text) }, &err));
	assert_string_equal(err.text, "JSON is nested deeper than 64");
	struct json *json = json_parse((struct span){ text + 10000 - 64, 128 }, &err);
	assert_non_null(json);
	json_destroy(json);
	assert_null(json_parse((struct span){ text + 10000 - 65, 130 }, &err));
	json = json_parse(
		SPAN_LIT("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
			 "[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[[\""),
		&err);
	assert_non_null(json); /* brackets in a string nest nothing */
	json_destroy(json);
}

/* One value every two bytes: a tree of eight times the text. */
static void a_text_of_nothing_but_values_is_refused_in_bounded_memory(void **state)
{
	size_t len = 24u << 20;
	char *text = mem_alloc(len);
	struct err err;

	(void)state;
	for (size_t i = 0; i < len; i += 2) {
		text[i] = ',';
		text[i + 1] = '0';
	}
	text[0] = '[';
	text[len - 1] = ']';
	text[len - 2] = ' ';
	assert_null(json_parse((struct span){ text, len }, &err));
	assert_int_equal(err.code, ERR_INVALID);
	struct json *json = json_parse((struct span){ text + len - 4, 4 }, &err);
	assert_null(json);
	memset(text + 1, ' ', len - 3);
	json = json_parse((struct span){ text, len }, &err);
	assert_non_null(json);
	json_destroy(json);
	free(text);
}

static void iterating_visits_members_in_order(void **state)
{
	struct json *json = json_parse(SPAN_LIT("{\"a\":1,\"b\":[10,[11],12],\"c\":{}}"), NULL);
	char keys[8] = "";
	size_t count = 0;

	(void)state;
	JSON_EACH (it, json_root(json)) {
		keys[count++] = it.key.ptr[0];
	}
	assert_string_equal(keys, "abc");
	struct json_iter it = json_iter(json_get(json_root(json), "b"));

	for (count = 0; json_next(&it); count++) {
		assert_null(it.key.ptr);
	}
	assert_int_equal(count, 3);
	it = json_iter(NULL);
	assert_false(json_next(&it));
	json_destroy(json);
}

static void the_writer_escapes_and_separates(void **state)
{
	struct json_writer w;
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	jsonw_init(&w, &out);
	jsonw_object(&w);
	jsonw_member_text(&w, "a\"b", "x\\y\n\x01\x7f");
	jsonw_member_span(&w, "bad", SPAN_LIT("\xff\xc3\xa4"));
	jsonw_member_text(&w, "none", NULL);
	jsonw_key(&w, "list");
	jsonw_array(&w);
	jsonw_i64(&w, INT64_MIN);
	jsonw_u64(&w, UINT64_MAX);
	jsonw_double(&w, 1.25, 1);
	jsonw_double(&w, (double)NAN, 1);
	jsonw_double(&w, -(double)INFINITY, 1);
	jsonw_bool(&w, false);
	jsonw_end(&w);
	jsonw_key(&w, "raw");
	jsonw_raw(&w, SPAN_LIT("{\"k\":[]}"));
	assert_int_equal(jsonw_end_all(&w), 0);
	assert_string_equal(
		buf_text(&out),
		"{\"a\\\"b\":\"x\\\\y\\n\\u0001\\u007f\",\"bad\":\"\xef\xbf\xbd\xc3\xa4\","
		"\"none\":null,\"list\":[-9223372036854775808,18446744073709551615,1.2,"
		"null,null,false],\"raw\":{\"k\":[]}}");
	buf_finish(&out);
}

static void a_value_that_was_read_is_written_the_same(void **state)
{
	static const char text[] = "{\"a\":[1,-2,3.5,1e300,true,null,\"\\u00e4\\n\"],\"o\":{\"p\":{"
				   "},\"q\":[]},\"\":0}";
	struct json *json = json_parse(SPAN_LIT(text), NULL);
	struct json_writer w;
	struct buf out, again;

	(void)state;
	buf_init(&out, 1000);
	buf_init(&again, 1000);
	jsonw_init(&w, &out);
	jsonw_value(&w, json_root(json));
	assert_int_equal(jsonw_end_all(&w), 0);
	json_destroy(json);
	json = json_parse(buf_span(&out), NULL);
	assert_non_null(json);
	jsonw_init(&w, &again);
	jsonw_value(&w, json_root(json));
	assert_string_equal(buf_text(&out), buf_text(&again));
	assert_non_null(strstr(buf_text(&out), "\xc3\xa4"));
	json_destroy(json);
	buf_finish(&out);
	buf_finish(&again);
}

static void pretty_output_has_one_member_a_line(void **state)
{
	struct json_writer w;
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	jsonw_init(&w, &out);
	w.pretty = true;
	jsonw_object(&w);
	jsonw_member_i64(&w, "a", 1);
	jsonw_key(&w, "l");
	jsonw_array(&w);
	jsonw_bool(&w, true);
	jsonw_end(&w);
	jsonw_key(&w, "e");
	jsonw_object(&w);
	assert_int_equal(jsonw_end_all(&w), 0);
	assert_string_equal(buf_text(&out),
			    "{\n  \"a\": 1,\n  \"l\": [\n    true\n  ],\n  \"e\": {}\n}");
	buf_finish(&out);
}

static void a_full_buffer_fails_the_writer_for_good(void **state)
{
	struct json_writer w;
	struct buf out;

	(void)state;
	buf_init(&out, 10);
	jsonw_init(&w, &out);
	jsonw_object(&w);
	jsonw_member_text(&w, "key", "much too long");
	jsonw_member_i64(&w, "b", 1);
	assert_int_equal(jsonw_end_all(&w), ERR_FULL);
	assert_true(out.len <= 10);
	buf_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(getters_answer_not_there_for_anything_wrong),
		cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
		cmocka_unit_test(depth_is_bounded_for_reading),
		cmocka_unit_test(a_text_of_nothing_but_values_is_refused_in_bounded_memory),
		cmocka_unit_test(iterating_visits_members_in_order),
		cmocka_unit_test(the_writer_escapes_and_separates),
		cmocka_unit_test(a_value_that_was_read_is_written_the_same),
		cmocka_unit_test(pretty_output_has_one_member_a_line),
		cmocka_unit_test(a_full_buffer_fails_the_writer_for_good),
	};
	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
