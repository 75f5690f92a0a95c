/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/mem.h"
#include "cli/cli.h"

static const struct command fetch = { .name = "fetch",
				      .words = "NAME [OTHER]",
				      .flags = { "--force", "-f", "--tries=" },
				      .min = 1,
				      .max = 2 };

struct rig {
	struct cli cli;
	struct args args;
	struct err err;
};

static int read_words(struct rig *r, const char *const *argv)
{
	*r = (struct rig){ .args = { .command = &fetch } };
	config_init(&r->cli.config);
	int status = args_read(&r->args, &r->cli, argv, &r->err);

	return status;
}

#define READ(r, ...) read_words(r, (const char *const[]){ __VA_ARGS__, NULL })

static void words_flags_and_options_are_told_apart(void **state)
{
	struct rig r;

	(void)state;
	assert_int_equal(READ(&r, "one", "--tries", "3", "--json", "--backend-port=81", "--force",
			      "two"),
			 0);
	assert_int_equal(r.args.count, 2);
	assert_string_equal(r.args.items[1], "two");
	assert_string_equal(args_flag(&r.args, "--tries"), "3");
	assert_non_null(args_flag(&r.args, "--force"));
	assert_null(args_flag(&r.args, "-f"));
	assert_true(r.cli.json);
	assert_int_equal(r.cli.config.backend_port, 81);
	config_finish(&r.cli.config);
}

static void a_letter_is_short_for_the_flag_before_it(void **state)
{
	struct rig r;

	(void)state;
	assert_int_equal(READ(&r, "one", "-f"), 0);
	assert_non_null(args_flag(&r.args, "--force"));
	config_finish(&r.cli.config);
}

static void what_stands_behind_two_dashes_is_a_word(void **state)
{
	struct rig r;

	(void)state;
	assert_int_equal(READ(&r, "--tries=9", "--", "--force", "-"), 0);
	assert_string_equal(args_flag(&r.args, "--tries"), "9");
	assert_null(args_flag(&r.args, "--force"));
	assert_string_equal(r.args.items[0], "--force");
	assert_string_equal(r.args.items[1], "-");
	config_finish(&r.cli.config);
}

static void a_wrong_line_is_refused_with_what_to_say(void **state)
{
	static const struct {
		const char *argv[5], *why;
	} wrong[] = {
		{ { NULL }, "a word is missing: ronzal fetch NAME [OTHER]" },
		{ { "a", "b", "c" }, "'c' is one word too many" },
		{ { "a", "--forse" }, "--forse is not known here. Did you mean --force?" },
		{ { "a", "--jsn" }, "Did you mean --json?" },
		{ { "a", "--backendport=1" }, "Did you mean --backend_port?" },
		{ { "a", "-x" }, "-x is not known here. What is: ronzal help fetch" },
		{ { "a", "--tries" }, "--tries needs a value" },
		{ { "a", "--force=1" }, "--force takes no value" },
		{ { "a", "--backend-port", "x" }, "backend_port: \"x\" is not a number" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct rig r;

		assert_int_equal(read_words(&r, wrong[i].argv), ERR_INVALID);
		assert_non_null(strstr(r.err.text, wrong[i].why));
		config_finish(&r.cli.config);
	}
}

static void help_is_wanted_whatever_else_is_missing(void **state)
{
	struct rig r;

	(void)state;
	assert_int_equal(READ(&r, "--help"), 0);
	assert_true(r.args.wants_help);
	config_finish(&r.cli.config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_flags_and_options_are_told_apart),
		cmocka_unit_test(a_letter_is_short_for_the_flag_before_it),
		cmocka_unit_test(what_stands_behind_two_dashes_is_a_word),
		cmocka_unit_test(a_wrong_line_is_refused_with_what_to_say),
		cmocka_unit_test(help_is_wanted_whatever_else_is_missing),
	};

	return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
