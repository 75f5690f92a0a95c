/* SPDX-License-Identifier: MIT */
/* The log's lines, and errors as sentences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

static int ends[2];

static int open_log(void **state)
{
	(void)state;
	return pipe(ends);
}

static int close_log(void **state)
{
	(void)state;
	log_setup("ronzal", LOG_INFO, STDERR_FILENO);
	close(ends[0]);
	return close(ends[1]);
}

/* What one log_write put into the pipe. */
static void read_line(char line[2 * LOG_LINE_MAX_BYTES])
{
	ssize_t got = read(ends[0], line, 2 * LOG_LINE_MAX_BYTES - 1);

	assert_true(got > 0);
	line[got] = '\0';
}

static void a_line_has_time_level_and_name(void **state)
{
	char line[2 * LOG_LINE_MAX_BYTES];
	int y, mo, d, h, mi, s, ms, end = 0;

	(void)state;
	log_setup("agent", LOG_INFO, ends[1]);
	errno = ENOENT;
	log_warn("port %d is taken", 8081);
	assert_int_equal(errno, ENOENT);
	read_line(line);
	assert_int_equal(sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &y, &mo, &d, &h, &mi, &s,
				&ms, &end),
			 7);
	assert_string_equal(line + end, " warn agent: port 8081 is taken\n");
}

static void control_bytes_cannot_forge_a_line(void **state)
{
	char line[2 * LOG_LINE_MAX_BYTES];

	(void)state;
	log_setup("agent", LOG_INFO, ends[1]);
	log_info("model %s", "a\r\n2026 error\x1b[2J\x7f\t\xc3\xa4");
	read_line(line);
	assert_non_null(strstr(line, ": model a\\x0d\\x0a2026 error\\x1b[2J\\x7f\\x09\xc3\xa4\n"));
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
	char line[2 * LOG_LINE_MAX_BYTES], text[3 * LOG_LINE_MAX_BYTES];

	(void)state;
	log_setup("agent", LOG_INFO, ends[1]);
	for (int fill = 'x'; fill >= 1; fill = fill == 'x' ? 1 : 0) {
		memset(text, fill, sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		log_error("%s", text);
		read_line(line);
		assert_in_range(strlen(line), LOG_LINE_MAX_BYTES - 8, LOG_LINE_MAX_BYTES);
		assert_int_equal(line[strlen(line) - 1], '\n');
	}
}

static void levels_above_the_chosen_one_are_silent(void **state)
{
	char line[2 * LOG_LINE_MAX_BYTES];

	(void)state;
	log_setup("agent", LOG_WARN, ends[1]);
	log_info("not this");
	log_debug("nor this");
	log_warn("this");
	read_line(line);
	assert_null(strstr(line, "not this"));
	assert_non_null(strstr(line, "this\n"));
	assert_true(log_is_on(LOG_ERROR) && log_is_on(LOG_WARN) && !log_is_on(LOG_INFO));
}

static void errors_carry_code_and_sentence(void **state)
{
	struct err err = { .code = 0 };

	(void)state;
	assert_int_equal(err_set(&err, ERR_INVALID, "models.%s.port: %d", "a", 70000), ERR_INVALID);
	assert_int_equal(err_prefix(&err, "registry"), ERR_INVALID);
	assert_string_equal(err.text, "registry: models.a.port: 70000");
	assert_int_equal(err_set_os(&err, -ENOENT, "opening %s", "f"), -ENOENT);
	assert_string_equal(err.text, "opening f: No such file or directory");
	assert_int_equal(err_set(NULL, ERR_BUSY, "nobody listens"), ERR_BUSY);
	assert_int_equal(err_prefix(NULL, "x"), ERR_INTERNAL);
}

static void a_long_sentence_is_cut(void **state)
{
	char text[2 * ERR_TEXT_MAX_BYTES];
	struct err err;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set_os(&err, -EIO, "%s", text);
	err_prefix(&err, "%s", text);
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX_BYTES - 1);
}

static void codes_have_names_statuses_and_back(void **state)
{
	(void)state;
	assert_string_equal(err_name(ERR_NOT_FOUND), "NOT_FOUND");
	assert_string_equal(err_name(-EIO), "OS_ERROR");
	assert_int_equal(err_from_name("NOT_FOUND"), ERR_NOT_FOUND);
	assert_int_equal(err_from_name("not_found"), ERR_INTERNAL);
	assert_int_equal(err_http_status(ERR_UNAVAILABLE), 503);
	assert_int_equal(err_http_status(-EIO), 500);
	assert_string_equal(err_openai_type(ERR_UNAUTHENTICATED), "authentication_error");
	assert_string_equal(err_openai_type(-EIO), "server_error");
	assert_int_equal(err_exit_code(0), 0);
	assert_int_equal(err_exit_code(ERR_NOT_FOUND), 3);
	assert_int_equal(err_exit_code(-EIO), 14);
	assert_string_equal(err_sentence(-ENOENT), "No such file or directory");
#define CHECK_ROW(name, number, http, type, exit_code, text) \
	assert_int_equal(err_from_name(err_name(ERR_##name)), ERR_##name); \
	assert_in_range(exit_code, 1, 255); \
	assert_in_range(http, 400, 599);
	ERR_TABLE(CHECK_ROW)
#undef CHECK_ROW
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_has_time_level_and_name, open_log,
						close_log),
		cmocka_unit_test_setup_teardown(control_bytes_cannot_forge_a_line, open_log,
						close_log),
		cmocka_unit_test_setup_teardown(a_long_line_is_cut_and_still_ends, open_log,
						close_log),
		cmocka_unit_test_setup_teardown(levels_above_the_chosen_one_are_silent, open_log,
						close_log),
		cmocka_unit_test(errors_carry_code_and_sentence),
		cmocka_unit_test(a_long_sentence_is_cut),
		cmocka_unit_test(codes_have_names_statuses_and_back),
	};
	return cmocka_run_group_tests_name("log and err", tests, NULL, NULL);
}
