/* SPDX-License-Identifier: MIT */
/* Lines between shim and agent, and the names of the shim's files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"
#include "host/shim.h"

static struct buf line;

static int make_bufs(void **state)
{
	(void)state;
	buf_init(&line, SHIM_LINE_MAX_BYTES);
	return 0;
}

static int free_bufs(void **state)
{
	(void)state;
	buf_finish(&line);
	return 0;
}

static void check_line(const struct shim_message *m, const char *expected)
{
	struct shim_message again;
	struct err err;

	buf_clear(&line);
	assert_int_equal(shim_encode(m, &line), 0);
	assert_string_equal(buf_text(&line), expected);
	struct span bare = { line.data, line.len - 1 };

	assert_int_equal(shim_decode(bare, &again, &err), 0);
	assert_int_equal(again.verb, m->verb);
	assert_int_equal(again.number, m->number);
	assert_true(span_equal(again.text, m->text));
	assert_int_equal(again.hello.version, m->hello.version);
	assert_string_equal(again.hello.model, m->hello.model);
	assert_int_equal(again.hello.port, m->hello.port);
	assert_int_equal(again.hello.engine.pid, m->hello.engine.pid);
	assert_true(again.hello.engine.started == m->hello.engine.started);
	assert_int_equal(again.hello.started_unix_ms, m->hello.started_unix_ms);
}

static void every_verb_has_its_line(void **state)
{
	struct shim_message hello = { .verb = SHIM_HELLO,
				      .hello = { .version = 1,
						 .model = "qwen3-4b",
						 .port = 8080,
						 .engine = { .pid = 4312, .started = UINT64_MAX },
						 .started_unix_ms = 1795459200123 } };

	(void)state;
	check_line(&hello, "hello 1 qwen3-4b 8080 4312 18446744073709551615 1795459200123\n");
	check_line(&(struct shim_message){ .verb = SHIM_NOTE, .text = SPAN_LIT("{\"a\":1}") },
		   "note {\"a\":1}\n");
	check_line(&(struct shim_message){ .verb = SHIM_LOG, .text = SPAN_LIT("a\\n b") },
		   "log a\\n b\n");
	check_line(&(struct shim_message){ .verb = SHIM_LIVE }, "live\n");
	check_line(&(struct shim_message){ .verb = SHIM_DROPPED, .number = 12 }, "dropped 12\n");
	check_line(&(struct shim_message){ .verb = SHIM_EXIT, .number = 0 }, "exit 0\n");
	check_line(&(struct shim_message){ .verb = SHIM_EXIT, .number = -9 }, "exit -9\n");
	check_line(&(struct shim_message){ .verb = SHIM_SIGNAL, .number = SIGTERM },
		   "signal TERM\n");
	check_line(&(struct shim_message){ .verb = SHIM_SIGNAL, .number = SIGKILL },
		   "signal KILL\n");
	check_line(&(struct shim_message){ .verb = SHIM_RELEASE }, "release\n");
}

static void empty_and_binary_texts_come_through(void **state)
{
	(void)state;
	check_line(&(struct shim_message){ .verb = SHIM_LOG, .text = SPAN_LIT("") }, "log \n");
	struct shim_message m = { .verb = SHIM_LOG, .text = SPAN_LIT("\0\r\xff\x1b[31m \t") };
	struct shim_message again;

	buf_clear(&line);
	assert_int_equal(shim_encode(&m, &line), 0);
	assert_int_equal(shim_decode((struct span){ line.data, line.len - 1 }, &again, NULL), 0);
	assert_true(span_equal(again.text, m.text));
}

static void malformed_lines_are_refused(void **state)
{
	static const char *const bad[] = {
		"note",
		"log",
		"live ",
		"live now",
		"release now",
		"dropped",
		"dropped -1",
		"dropped 1 ",
		"dropped  1",
		"dropped 0x1",
		"exit",
		"exit -",
		"exit 256",
		"exit -256",
		"exit 1.0",
		"signal HUP",
		"signal 9",
		"signal TERM ",
		"signal term",
		"dropped 9223372036854775808",
		"hello",
		"hello 1 m 1 1 1",
		"hello 1 m 1 0 1 1",
		"hello 1 m 65536 1 1 1",
		"hello 1  1 1 1 1",
		"hello 1 m 1 1 1 1 1",
		"hello -1 m 1 1 1 1",
		"hello 1 m 1 -1 1 1",
	};
	struct shim_message m = { .number = 4711 };
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (shim_decode(span_of(bad[i]), &m, &err) != ERR_PROTOCOL) {
			fail_msg("accepted: %s", bad[i]);
		}
	}
	assert_int_equal(m.number, 4711);
}

static void unknown_verbs_are_told_apart(void **state)
{
	static const char *const unknown[] = { "", " ", "future 1", "LOG x", "logx", "\n" };
	struct shim_message m;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		assert_int_equal(shim_decode(span_of(unknown[i]), &m, NULL), ERR_NOT_FOUND);
	}
}

static void a_note_has_a_limit_and_always_fits_a_line(void **state)
{
	char *blob = mem_alloc(SHIM_NOTE_MAX_BYTES + 1);
	struct shim_message m = { .verb = SHIM_NOTE, .text = { blob, SHIM_NOTE_MAX_BYTES } };
	struct shim_message again;

	(void)state;
	memset(blob, '\\', SHIM_NOTE_MAX_BYTES + 1);
	assert_int_equal(shim_encode(&m, &line), 0);
	assert_int_equal(shim_decode((struct span){ line.data, line.len - 1 }, &again, NULL), 0);
	assert_true(span_equal(again.text, m.text));
	memset(blob, 'x', SHIM_NOTE_MAX_BYTES + 1);
	m.text.len++;
	buf_clear(&line);
	assert_int_equal(shim_encode(&m, &line), 0);
	assert_int_equal(shim_decode((struct span){ line.data, line.len - 1 }, &again, NULL),
			 ERR_PROTOCOL);
	free(blob);
}

static void a_full_buffer_is_left_as_it_was(void **state)
{
	struct shim_message m = { .verb = SHIM_LOG, .text = SPAN_LIT("0123456789") };
	struct buf small;

	(void)state;
	for (size_t max = 0; max < sizeof("log 0123456789\n") - 1; max++) {
		buf_init(&small, max);
		assert_int_equal(shim_encode(&m, &small), ERR_FULL);
		assert_int_equal(small.len, 0);
		buf_finish(&small);
	}
}

static void an_identity_is_one_line(void **state)
{
	struct shim_identity id = { .shim = { 10, 11 }, .engine = { 12, 13 }, .model = "a.b-c_d" };
	struct shim_identity again;
	char printed[SHIM_IDENTITY_MAX_BYTES];

	(void)state;
	shim_identity_print(&id, printed);
	assert_string_equal(printed, "1 10 11 12 13 a.b-c_d\n");
	assert_int_equal(shim_identity_parse(span_of(printed), &again), 0);
	assert_int_equal(again.engine.pid, 12);
	assert_int_equal(again.shim.started, 11);
	assert_string_equal(again.model, "a.b-c_d");
	for (size_t len = 0; len < strlen("1 10 11 12 13 a"); len++) {
		assert_int_equal(shim_identity_parse((struct span){ printed, len }, &again),
				 ERR_INVALID);
	}
	assert_int_equal(shim_identity_parse(SPAN_LIT("1 10 11 0 13 m"), &again), ERR_INVALID);
}

static void files_are_named_by_port(void **state)
{
	static const char *const others[] = { "shim-.sock",   "shim-70000.sock", "shim-1.sockx",
					      "xshim-1.sock", "shim-1.lock",	 "shim-+1.sock",
					      "agent.sock",   "shim-1" };
	char *path = shim_path("/run/user/1/ronzal", 65535, "sock");
	uint16_t port = 0;

	(void)state;
	assert_string_equal(path, "/run/user/1/ronzal/shim-65535.sock");
	free(path);
	assert_true(shim_port_of("shim-8080.sock", "sock", &port));
	assert_int_equal(port, 8080);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_false(shim_port_of(others[i], "sock", &port));
	}
}

static void a_model_has_no_space_and_a_bounded_name(void **state)
{
	char name[SHIM_MODEL_MAX_BYTES];

	(void)state;
	memset(name, 'm', sizeof(name));
	assert_true(shim_model_is_valid((struct span){ name, SHIM_MODEL_MAX_BYTES - 1 }));
	assert_false(shim_model_is_valid((struct span){ name, SHIM_MODEL_MAX_BYTES }));
	assert_false(shim_model_is_valid(SPAN_LIT("")));
	assert_false(shim_model_is_valid(SPAN_LIT("a b")));
	assert_false(shim_model_is_valid(SPAN_LIT("a\nb")));
	assert_false(shim_model_is_valid(SPAN_LIT("\xc3\xa4")));
}

#define WITH_BUFS(test) cmocka_unit_test_setup_teardown(test, make_bufs, free_bufs)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BUFS(every_verb_has_its_line),
		WITH_BUFS(empty_and_binary_texts_come_through),
		WITH_BUFS(malformed_lines_are_refused),
		WITH_BUFS(unknown_verbs_are_told_apart),
		WITH_BUFS(a_note_has_a_limit_and_always_fits_a_line),
		WITH_BUFS(a_full_buffer_is_left_as_it_was),
		cmocka_unit_test(an_identity_is_one_line),
		cmocka_unit_test(files_are_named_by_port),
		cmocka_unit_test(a_model_has_no_space_and_a_bounded_name),
	};
	return cmocka_run_group_tests_name("shim wire", tests, NULL, NULL);
}
