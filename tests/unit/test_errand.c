/* SPDX-License-Identifier: MIT */
/* Real programs; errand_run's loop ends by checking that every handle is closed. */
#include "unit.h"

#include <string.h>

#include "io/errand.h"
#include "io/loop.h"

/* The result of `script`; what it wrote lands in text. */
static int run(const char *script, uint32_t limit_ms, bool with_stderr, char text[64],
	       struct err *err)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	struct buf out;
	int status = errand_run(&(struct errand_options){ .argv = argv,
							  .with_stderr = with_stderr,
							  .text_max_bytes = 32,
							  .limit_ms = limit_ms },
				&out, err);

	span_copy(buf_span(&out), text, 64);
	buf_finish(&out);
	return status;
}

static void an_errand_brings_output_and_exit_code(void **state)
{
	struct err err = { 0 };
	char text[64];

	(void)state;
	assert_int_equal(run("echo one; echo two >&2; exit 3", 60000, false, text, &err), 3);
	assert_string_equal(text, "one\n");
	assert_int_equal(run("echo one >&2; exit 0", 60000, true, text, &err), 0);
	assert_string_equal(text, "one\n");
	assert_int_equal(run("yes | head -c 100000", 60000, false, text, &err), 0);
	assert_int_equal(strlen(text), 32);
	assert_int_equal(err.code, 0);
}

static void an_errand_ends_with_its_limit_or_a_signal(void **state)
{
	struct err err = { 0 };
	uint64_t start_us = loop_now_us();
	char text[64];

	(void)state;
	assert_int_equal(run("echo begun; exec sleep 100", 500, false, text, &err), ERR_TIMEOUT);
	assert_true(loop_now_us() - start_us < 50000000);
	assert_int_equal(run("kill -9 $$", 60000, false, text, &err), ERR_CANCELED);
	assert_string_equal(err.text, "ended by signal 9");
}

static void what_cannot_be_run_is_told(void **state)
{
	const char *const argv[] = { "/no/such/program", NULL };
	struct err err = { 0 };
	struct buf out;

	(void)state;
	assert_true(errand_run(&(struct errand_options){ .argv = argv, .limit_ms = 60000 }, &out,
			       &err) < 0);
	assert_non_null(strstr(err.text, "/no/such/program"));
	buf_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_errand_brings_output_and_exit_code),
		cmocka_unit_test(an_errand_ends_with_its_limit_or_a_signal),
		cmocka_unit_test(what_cannot_be_run_is_told),
	};

	return cmocka_run_group_tests_name("errand", tests, NULL, NULL);
}
