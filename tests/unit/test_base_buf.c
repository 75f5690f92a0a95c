/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"

static void adding_takes_all_or_nothing(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	assert_int_equal(buf_add_text(&b, "abc"), 0);
	assert_int_equal(buf_add_text(&b, "def"), ERR_FULL);
	assert_string_equal(buf_text(&b), "abc");
	assert_int_equal(buf_printf(&b, "%d", 123), ERR_FULL);
	assert_int_equal(buf_printf(&b, "%d", 12), 0);
	assert_string_equal(buf_text(&b), "abc12");
	assert_int_equal(buf_room(&b), 0);
	assert_int_equal(buf_add(&b, "", 0), 0);
	assert_null(buf_reserve(&b, 1));
	buf_finish(&b);
	assert_int_equal(buf_room(&b), 5); /* the limit stays */
}

static void a_zeroed_buffer_is_empty_and_full(void **state)
{
	struct buf b = { .data = NULL };

	(void)state;
	assert_string_equal(buf_text(&b), "");
	assert_int_equal(buf_add_char(&b, 'x'), ERR_FULL);
	buf_clear(&b);
	buf_finish(&b);
	buf_finish(NULL);
}

static void bytes_come_out_in_order_through_many_moves(void **state)
{
	struct buf b;
	unsigned written = 0, read = 0;

	(void)state;
	buf_init(&b, 300);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned add = round * 7 % 83, take = round * 5 % 91;

		for (unsigned i = 0; i < add && buf_add_char(&b, (char)written) == 0; i++) {
			written++;
		}
		assert_true(b.len <= 300 && (b.len == 0 || b.data[b.len] == '\0'));
		for (unsigned i = 0; i < take && b.len > 0; i++) {
			assert_int_equal(b.data[0], (char)read);
			read++;
			buf_consume(&b, 1);
		}
	}
	assert_true(read > 100000);
	buf_finish(&b);
}

static void detaching_hands_over_text(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	char *empty = buf_detach(&b);
	assert_string_equal(empty, "");
	free(empty);
	buf_add_text(&b, "hello world");
	buf_consume(&b, 6);
	char *rest = buf_detach(&b);
	assert_string_equal(rest, "world");
	free(rest);
	buf_add_text(&b, "again");
	buf_truncate(&b, 2);
	char *whole = buf_detach(&b);
	assert_string_equal(whole, "ag");
	free(whole);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.max_bytes, 100);
	buf_finish(&b);
}

static void reserved_room_is_counted_when_used(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	char *room = buf_reserve(&b, 1000);
	assert_non_null(room);
	snprintf(room, 1001, "%s", "abc");
	assert_int_equal(b.len, 0);
	buf_added(&b, 3);
	assert_string_equal(buf_text(&b), "abc");
	buf_finish(&b);
}

static void grows_by_doubling_without_a_limit_too(void **state)
{
	struct buf b;
	int moves = 0;

	(void)state;
	buf_init(&b, SIZE_MAX);
	for (size_t room = 0; b.len < 100000;) {
		buf_add_text(&b, "0123456789");
		moves += b.block_len != room;
		room = b.block_len;
	}
	assert_true(moves < 20);
	buf_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adding_takes_all_or_nothing),
		cmocka_unit_test(a_zeroed_buffer_is_empty_and_full),
		cmocka_unit_test(bytes_come_out_in_order_through_many_moves),
		cmocka_unit_test(detaching_hands_over_text),
		cmocka_unit_test(reserved_room_is_counted_when_used),
		cmocka_unit_test(grows_by_doubling_without_a_limit_too),
	};
	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
