/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/mem.h"
#include "cli/term.h"

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	struct table t;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	table_init(&t, "NAME\tPORT\tFILE");
	table_row(&t, TERM_PLAIN, "%s\t%u\t%s", "l\xc3\xa4ma", 8080u, "a");
	table_row(&t, TERM_RED, "x");
	table_cell(&t, "%d", 7);
	table_cell(&t, "%s", "");
	table_print(&t, &out);
	assert_string_equal(buf_text(&out), "NAME  PORT  FILE\n"
					    "l\xc3\xa4ma  8080  a\n"
					    "x     7     \n");
	buf_finish(&out);
}

static void sizes_and_spans_are_short(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = { { 0, "-" },
		      { 1u << 20, "1.0 MiB" },
		      { 680u << 20, "680 MiB" },
		      { UINT64_C(51) << 29, "25.5 GiB" } };
	static const struct {
		uint64_t ms;
		const char *text;
	} spans[] = { { 110, "0.11 s" },
		      { 45000, "45 s" },
		      { 100000, "1m40s" },
		      { 11520000, "3h12m" },
		      { 183600000, "2d03h" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_string_equal(term_bytes(sizes[i].bytes).text, sizes[i].text);
	}
	for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
		assert_string_equal(term_duration(spans[i].ms).text, spans[i].text);
	}
}

static void a_bar_is_full_empty_or_not_known(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 256);
	term_bar(&out, 0.5f, 2);
	term_bar(&out, -1.0f, 1);
	assert_string_equal(buf_text(&out), "\xe2\x96\x88\xe2\x96\x91\xc2\xb7");
	buf_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(sizes_and_spans_are_short),
		cmocka_unit_test(a_bar_is_full_empty_or_not_known),
	};

	return cmocka_run_group_tests_name("term", tests, NULL, NULL);
}
