/* SPDX-License-Identifier: MIT */
/*
 * The history of loads, and lines cut out of a stream.
 */
#include <string.h>

#include "unit.h"

#include "base/lines.h"
#include "base/mem.h"
#include "host/history.h"

static void add_all(struct history *h, const uint32_t *loads_ms, size_t count)
{
	*h = (struct history){ 0 };
	for (size_t i = 0; i < count; i++) {
		history_add(h, loads_ms[i]);
	}
}

static void the_expected_load_is_the_median_of_the_last_five(void **state)
{
	static const uint32_t loads_ms[] = { 9000, 9001, 100, 300, 200, 5000, 250 };
	static const uint32_t expected_ms[] = { 0, 9000, 9001, 9000, 9000, 300, 300, 250 };
	struct history h;

	(void)state;
	for (size_t count = 0; count <= ARRAY_LEN(loads_ms); count++) {
		add_all(&h, loads_ms, count);
		assert_int_equal(history_expected_load_ms(&h), expected_ms[count]);
	}
	assert_int_equal(h.count, HISTORY_LOADS_MAX);
}

static void a_load_much_slower_than_those_before_is_told(void **state)
{
	struct history h = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_false(history_is_slow(&h, 60000, &err)); /* nothing to hold it against */
	add_all(&h, (const uint32_t[]){ 4000, 4000, 4000 }, 3);
	assert_false(history_is_slow(&h, 11900, &err));
	assert_int_equal(err.code, 0);
	assert_true(history_is_slow(&h, 41000, &err));
	assert_string_equal(err.text, "ready after 41.0 s, where the last starts took 4.0 s");
	add_all(&h, (const uint32_t[]){ 100 }, 1);
	assert_false(history_is_slow(&h, 1900, &err)); /* nobody minds */
}

static void it_comes_back_from_its_file_without_what_is_broken(void **state)
{
	struct history h, again;
	struct json_writer w;
	struct json *doc;
	struct buf text;

	(void)state;
	add_all(&h, (const uint32_t[]){ 250, UINT32_MAX }, 2);
	buf_init(&text, 65536);
	jsonw_init(&w, &text);
	history_write(&w, &h);
	assert_int_equal(jsonw_end_all(&w), 0);
	doc = json_parse(buf_span(&text), NULL);
	history_read(json_root(doc), &again);
	json_destroy(doc);
	assert_memory_equal(&again, &h, sizeof(h));
	doc = json_parse(SPAN_LIT("[0,-1,1.5,4294967296,\"5\",{\"load_ms\":6},7]"), NULL);
	history_read(json_root(doc), &again);
	json_destroy(doc);
	assert_int_equal(again.count, 1);
	assert_int_equal(again.loads_ms[0], 7);
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
		cmocka_unit_test(the_expected_load_is_the_median_of_the_last_five),
		cmocka_unit_test(a_load_much_slower_than_those_before_is_told),
		cmocka_unit_test(it_comes_back_from_its_file_without_what_is_broken),
		cmocka_unit_test(lines_are_the_same_however_the_bytes_come),
		cmocka_unit_test(a_line_without_end_is_refused),
	};

	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
