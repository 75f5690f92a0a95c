/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/options.h"

static void later_sources_win(void **state)
{
	struct config c;
	const char *const environment[] = { "RONZAL_BACKEND_PORT=8002", "PATH=/bin",
					    "RONZAL_HOME=/x", "USE_EXTERNAL_SERVERS=auto", NULL };
	const char *const argv[] = { "--hostapi-port=9191", "--backend-port",  "8003",
				     "--allow-pull",	    "--no-allow-pull", NULL };
	int at = 0;

	(void)state;
	config_init(&c);
	assert_int_equal(c.backend_port, 8000);
	assert_int_equal(c.use_external_servers, EXTERNAL_FALSE);
	assert_int_equal(config_read_text(&c,
					  SPAN_LIT("# a comment\r\n\nbackend_port = 8001\r\n"
						   "model-roots=/a:/b c "),
					  "host.conf", NULL),
			 0);
	assert_int_equal(c.backend_port, 8001);
	assert_string_equal(c.model_roots, "/a:/b c");
	assert_int_equal(config_read_environment(&c, environment, NULL), 0);
	assert_int_equal(c.backend_port, 8002);
	assert_int_equal(c.use_external_servers, EXTERNAL_AUTO);
	while (argv[at] != NULL) {
		assert_int_equal(config_read_flag(&c, argv, &at, NULL), 0);
	}
	assert_int_equal(c.backend_port, 8003);
	assert_int_equal(c.hostapi_port, 9191);
	assert_false(c.allow_pull);
	config_finish(&c);
}

static void bad_values_name_place_value_and_bounds(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "backend_port = 70000",
		  "f:1: backend_port: \"70000\" is not a number in 1..65535" },
		{ "\nbackend_port = -1", "f:2: backend_port: \"-1\"" },
		{ "backend_port =", "f:1: backend_port: \"\"" },
		{ "allow_pull = maybe", "f:1: allow_pull: \"maybe\" is neither on nor off" },
		{ "bakend_port = 1", "Did you mean backend_port?" },
		{ "use_external_servers = maybe",
		  "f:1: use_external_servers: \"maybe\" is none of true, false, auto" },
		{ "xyzzy = 1", "ronzal help options" },
		{ "no equals sign", "key = value" },
		{ "engine = a\x01", "control character" },
	};
	struct config c;

	(void)state;
	config_init(&c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { 0 };

		assert_int_equal(config_read_text(&c, span_of(cases[i].text), "f", &err),
				 ERR_INVALID);
		assert_non_null(strstr(err.text, cases[i].says));
	}
	config_finish(&c);
}

static void a_bad_line_leaves_everything_as_it_was(void **state)
{
	struct config c;

	(void)state;
	config_init(&c);
	assert_int_equal(config_read_text(&c, SPAN_LIT("engine = /a\nbackend_port = 1\nbad"), "f",
					  NULL),
			 ERR_INVALID);
	assert_int_equal(c.backend_port, 8000);
	assert_string_equal(c.engine, "");
	config_finish(&c);
}

static void flags_say_what_is_missing(void **state)
{
	const char *const unknown[] = { "--bind-adress", NULL };
	const char *const lonely[] = { "--engine", NULL };
	struct err err = { 0 };
	struct config c;
	int at = 0;

	(void)state;
	config_init(&c);
	assert_int_equal(config_read_flag(&c, unknown, &at, &err), ERR_NOT_FOUND);
	assert_int_equal(config_read_flag(&c, lonely, &at, &err), ERR_INVALID);
	assert_non_null(strstr(err.text, "needs a value"));
	assert_int_equal(at, 0);
	config_finish(&c);
}

static void a_printed_file_reads_back_the_same(void **state)
{
	struct config c, again;
	struct buf text;

	(void)state;
	config_init(&c);
	config_init(&again);
	buf_init(&text, 65536);
	assert_int_equal(
		config_read_text(&c, SPAN_LIT("engine = /a b\nshim_lease_s = 9\n"), "f", NULL), 0);
	config_print_file(&text, &c);
	assert_int_equal(config_read_text(&again, buf_span(&text), "printed", NULL), 0);
	assert_string_equal(again.engine, "/a b");
	assert_int_equal(again.shim_lease_s, 9);
	buf_finish(&text);
	config_finish(&c);
	config_finish(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(later_sources_win),
		cmocka_unit_test(bad_values_name_place_value_and_bounds),
		cmocka_unit_test(a_bad_line_leaves_everything_as_it_was),
		cmocka_unit_test(flags_say_what_is_missing),
		cmocka_unit_test(a_printed_file_reads_back_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
