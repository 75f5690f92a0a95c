/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/span.h"

static void split_visits_every_field_empty_ones_too(void **state)
{
	static const char *const expected[] = { "a", "", "b", "" };
	struct span rest = SPAN_LIT("a,,b,");
	size_t count = 0;

	(void)state;
	while (rest.ptr != NULL) {
		struct span field = span_split(&rest, ',');
		assert_true(count < ARRAY_LEN(expected));
		assert_true(span_is(field, expected[count++]));
	}
	assert_int_equal(count, ARRAY_LEN(expected));
	assert_int_equal(span_split(&rest, ',').len, 0); /* and it stays at its end */
}

static void searching_answers_the_length_when_there_is_nothing(void **state)
{
	struct span s = SPAN_LIT("abcabd");

	(void)state;
	assert_int_equal(span_find(s, "abd"), 3);
	assert_int_equal(span_find(s, "abe"), s.len);
	assert_int_equal(span_find(s, "abcabdx"), s.len);
	assert_int_equal(span_find(s, ""), 0);
	assert_int_equal(span_find_char(s, 'c'), 2);
	assert_int_equal(span_find_char(s, 'x'), s.len);
	assert_int_equal(span_find_char((struct span){ NULL, 0 }, 'x'), 0);
}

static void parts_and_comparisons(void **state)
{
	struct span s = SPAN_LIT("Content-Length");

	(void)state;
	assert_true(span_is_nocase(s, "content-LENGTH"));
	assert_false(span_is_nocase(s, "content-lengt"));
	assert_true(span_has_prefix(s, "Content") && !span_has_prefix(s, "Content-Length2"));
	assert_true(span_has_suffix(s, "Length") && !span_has_suffix(s, "xContent-Length"));
	assert_true(span_is(span_from(s, 8), "Length"));
	assert_int_equal(span_from(s, 99).len, 0);
	assert_true(span_is(span_trim(SPAN_LIT(" \t a b\t ")), "a b"));
	assert_int_equal(span_trim(SPAN_LIT(" \t ")).len, 0);
	assert_true(span_is(span_trim(SPAN_LIT("\na")), "\na")); /* a newline is no blank */
	assert_true(span_equal((struct span){ NULL, 0 }, SPAN_LIT("")));
	assert_int_equal(span_from((struct span){ NULL, 0 }, 3).len, 0);
}

static void numbers_are_strict_and_bounded(void **state)
{
	static const char *const bad[] = { "",
					   "-1",
					   "+1",
					   " 1",
					   "1 ",
					   "0x1",
					   "1.0",
					   "1e3",
					   "18446744073709551616",
					   "99999999999999999999999" };
	uint64_t value = 4711;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(span_to_u64(span_of(bad[i]), UINT64_MAX, &value), ERR_INVALID);
	}
	assert_int_equal(value, 4711);
	assert_int_equal(span_to_u64(SPAN_LIT("18446744073709551615"), UINT64_MAX, &value), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(span_to_u64(SPAN_LIT("007"), 7, &value), 0);
	assert_int_equal(value, 7);
	assert_int_equal(span_to_u64(SPAN_LIT("8"), 7, &value), ERR_INVALID);
	assert_int_equal(span_to_u64(SPAN_LIT("70"), 69, &value), ERR_INVALID);
	assert_int_equal(span_to_u64(SPAN_LIT("65535"), 65535, &value), 0);
	assert_int_equal(span_to_u64(SPAN_LIT("65536"), 65535, &value), ERR_INVALID);
}

static void utf8_follows_the_table(void **state)
{
	static const char *const good[] = { "",
					    "abc",
					    "\xc3\xa4",
					    "\xe2\x82\xac",
					    "\xf0\x9f\xa6\x99",
					    "\xed\x9f\xbf",
					    "\xee\x80\x80",
					    "\xf4\x8f\xbf\xbf" };
	static const char *const bad[] = { "\x80",
					   "\xc3",
					   "\xc0\x80",
					   "\xc1\xbf",
					   "\xe0\x80\x80",
					   "\xed\xa0\x80",
					   "\xe2\x82",
					   "\xf0\x8f\xbf\xbf",
					   "\xf4\x90\x80\x80",
					   "\xf5\x80\x80\x80",
					   "\xff",
					   "a\xe2\x28\xa1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(span_is_utf8(span_of(good[i])));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(span_is_utf8(span_of(bad[i])));
	}
}

static const char *nearest_of(const char *word)
{
	static const char *const names[] = { "start", "status", "qwen3-4b", "gpt-oss-20b", "up" };
	struct nearest nearest = { .word = span_of(word) };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		nearest_try(&nearest, names[i]);
	}
	return nearest.name;
}

static void a_slip_is_told_from_another_word(void **state)
{
	(void)state;
	assert_string_equal(nearest_of("status"), "status");
	assert_string_equal(nearest_of("stauts"), "status"); /* swapped is one slip, not two */
	assert_string_equal(nearest_of("STRAT"), "start");
	assert_string_equal(nearest_of("qwen3-4"), "qwen3-4b");
	assert_string_equal(nearest_of("qwen"), "qwen3-4b"); /* a part of it */
	assert_string_equal(nearest_of("oss-20"), "gpt-oss-20b");
	assert_string_equal(nearest_of("pu"), "up");
	assert_null(nearest_of("llama"));
	assert_null(nearest_of("doctor"));
	assert_null(nearest_of(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_visits_every_field_empty_ones_too),
		cmocka_unit_test(searching_answers_the_length_when_there_is_nothing),
		cmocka_unit_test(parts_and_comparisons),
		cmocka_unit_test(numbers_are_strict_and_bounded),
		cmocka_unit_test(utf8_follows_the_table),
		cmocka_unit_test(a_slip_is_told_from_another_word),
	};
	return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}
