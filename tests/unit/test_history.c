/* SPDX-License-Identifier: MIT */
/*
 * The history of starts, and lines cut out of a stream.
 */
#include <string.h>

#include "unit.h"

#include "base/lines.h"
#include "base/mem.h"
#include "host/history.h"

static void the_last_fifty_starts_are_kept_in_order(void **state)
{
	struct history h = { 0 };

	(void)state;
	assert_null(history_last(&h));
	for (int64_t i = 1; i <= HISTORY_STARTS_MAX + 7; i++) {
		history_begin(&h, i)->load_ms = (uint32_t)i;
	}
	assert_int_equal(h.count, HISTORY_STARTS_MAX);
	assert_int_equal(h.starts[0].unix_ms, 8);
	assert_int_equal(history_last(&h)->unix_ms, HISTORY_STARTS_MAX + 7);
}

static void the_expected_load_is_the_median_of_those_that_came_to_an_end(void **state)
{
	static const uint32_t loads[] = { 9000, 100, 0, 300, 0, 200, 5000, 250 };
	struct history h = { 0 };

	(void)state;
	assert_int_equal(history_expected_load_ms(&h), 0);
	for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
		history_begin(&h, 1)->load_ms = loads[i];
	}
	assert_int_equal(history_expected_load_ms(&h), 250);
}

static void a_load_much_slower_than_those_before_is_told(void **state)
{
	struct history h = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_false(history_is_slow(&h, 60000, &err)); /* nothing to hold it against */
	for (int i = 0; i < 3; i++) {
		history_begin(&h, 1)->load_ms = 4000;
	}
	history_begin(&h, 1); /* of this one */
	assert_false(history_is_slow(&h, 11900, &err));
	assert_int_equal(err.code, 0);
	assert_true(history_is_slow(&h, 41000, &err));
	assert_string_equal(err.text, "ready after 41.0 s, where the last starts took 4.0 s");
	memset(&h, 0, sizeof(h));
	history_begin(&h, 1)->load_ms = 100;
	assert_false(history_is_slow(&h, 1900, &err)); /* nobody minds */
}

static void it_comes_back_from_its_file_without_what_is_broken(void **state)
{
	struct history h = { 0 }, again;
	struct json_writer w;
	struct json *doc;
	struct buf text;

	(void)state;
	*history_begin(&h, 1000) = (struct history_start){
		.unix_ms = 1000, .load_ms = 250, .exit = -9, .verdict = RECEIPT_GPU
	};
	history_begin(&h, 2000);
	buf_init(&text, 65536);
	jsonw_init(&w, &text);
	history_write(&w, &h);
	assert_int_equal(jsonw_end_all(&w), 0);
	doc = json_parse(buf_span(&text), NULL);
	history_read(json_root(doc), &again);
	json_destroy(doc);
	assert_int_equal(again.count, 2);
	assert_int_equal(again.starts[0].exit, -9);
	assert_int_equal(again.starts[0].verdict, RECEIPT_GPU);
	assert_int_equal(again.starts[1].exit, HISTORY_EXIT_NONE);
	doc = json_parse(
		SPAN_LIT("[7,{\"load_ms\":-1},{\"load_ms\":5,\"exit\":1e3,\"verdict\":9}]"), NULL);
	history_read(json_root(doc), &again);
	json_destroy(doc);
	assert_int_equal(history_expected_load_ms(&again), 5);
	history_read(NULL, &again);
	assert_int_equal(again.count, 0);
	buf_finish(&text);
}

static void lines_are_the_same_however_the_bytes_come(void **state)
{
	static const char text[] = "one\n\ntwo and more\nthree\nrest";
	static const char *const wanted[] = { "one", "", "two and more", "three" };

	(void)state;
	for (size_t piece = 1; piece < sizeof(text); piece++) {
		struct span rest = { text, sizeof(text) - 1 }, line;
		struct lines l;
		size_t count = 0;

		lines_init(&l, 64);
		while (rest.len > 0) {
			size_t len = piece < rest.len ? piece : rest.len;

			assert_int_equal(lines_add(&l, (struct span){ rest.ptr, len }), 0);
			while (lines_next(&l, &line)) {
				assert_true(span_is(line, wanted[count]));
				count++;
			}
			rest = span_from(rest, len);
		}
		assert_int_equal(count, ARRAY_LEN(wanted));
		lines_finish(&l);
	}
}

static void a_line_without_end_is_refused(void **state)
{
	struct span line;
	struct lines l;
	int status = 0;

	(void)state;
	lines_init(&l, 100);
	for (int i = 0; status == 0 && i < 1000; i++) {
		status = lines_add(&l, SPAN_LIT("xxxxxxxxxx"));
		assert_false(status == 0 && lines_next(&l, &line));
	}
	assert_int_equal(status, ERR_FULL);
	lines_finish(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_fifty_starts_are_kept_in_order),
		cmocka_unit_test(the_expected_load_is_the_median_of_those_that_came_to_an_end),
		cmocka_unit_test(a_load_much_slower_than_those_before_is_told),
		cmocka_unit_test(it_comes_back_from_its_file_without_what_is_broken),
		cmocka_unit_test(lines_are_the_same_however_the_bytes_come),
		cmocka_unit_test(a_line_without_end_is_refused),
	};

	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
