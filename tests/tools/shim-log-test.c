/* SPDX-License-Identifier: MIT */
/* shim-log-test SHIM [CASE...]: what a shim tells its agents and keeps in its log. */
#define _XOPEN_SOURCE 700 /* realpath: glibc hides it from POSIX.1-2008 alone */

#include <sys/resource.h>

#include "shim-harness.h"

static void an_engine_runs_is_logged_and_its_exit_told(void)
{
	struct agent a;
	pid_t shim = start_shim("5", "echo one; echo two >&2; printf half; read x; exit 7");
	struct proc engine;

	attach(&a);
	await(&a, SHIM_HELLO);
	engine = a.m.hello.engine;
	await_log(&a, "one");
	await_log(&a, "two");
	await_log(&a, "half"); /* the end of output completes a line; stdin is empty: read fails */
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == 7);
	CHECK(kill(shim, 0) == 0 && has_file("sock"));
	release(&a, shim);
	check_all_gone(engine);
	CHECK(strcmp(read_text("log"), "one\ntwo\nhalf") == 0);
}

static void exit_status_waits_for_a_later_agent(void)
{
	struct shim_identity id;
	struct agent a;
	pid_t shim = start_shim("60", "echo last words; exit 9");

	CHECK(shim_identity_read(run_folder, PORT, &id) == 0);
	wait_gone(id.engine);
	nap(300);
	attach(&a);
	await_log(&a, "last words");
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == 9);
	release(&a, shim);
}

static void a_note_survives_agents(void)
{
	char *blob = mem_alloc(SHIM_NOTE_MAX_BYTES);
	struct agent a, b;
	pid_t shim = start_shim("60", "sleep 60");

	for (size_t i = 0; i < SHIM_NOTE_MAX_BYTES; i++) {
		blob[i] = "a\\\0\xff"[i % 4];
	}
	attach_and_greet(&a);
	say(&a, &(struct shim_message){ .verb = SHIM_NOTE, .text = SPAN_LIT("first") });
	say(&a, &(struct shim_message){ .verb = SHIM_NOTE, .text = { blob, SHIM_NOTE_MAX_BYTES } });
	say(&a, &(struct shim_message){ .verb = SHIM_LOG, .text = SPAN_LIT("stored") });
	await_log(&a, "stored");
	attach_and_greet(&b); /* a newer agent replaces the older */
	CHECK(next_line(&b) && b.m.verb == SHIM_NOTE);
	CHECK(span_equal(b.m.text, (struct span){ blob, SHIM_NOTE_MAX_BYTES }));
	do {
	} while (next_line(&a));
	end_shim(shim);
}

static void nonsense_closes_the_connection_and_harms_nothing(void)
{
	static const char *const lines[] = { "signal HUP\n", "exit -999\n", "note\n", "log\n",
					     "hello 1\n" };
	struct agent a;
	pid_t shim = start_shim("60", "sleep 60");
	struct proc engine = attach_and_greet(&a);

	CHECK(write(a.fd, "future verb\n\n", 13) == 13); /* skipped, for newer agents */
	say(&a, &(struct shim_message){ .verb = SHIM_LOG, .text = SPAN_LIT("still here") });
	await_log(&a, "still here");
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		CHECK(write(a.fd, lines[i], strlen(lines[i])) == (ssize_t)strlen(lines[i]));
		do {
		} while (next_line(&a));
		detach(&a);
		attach_and_greet(&a);
	}
	char *flood = mem_alloc(3 * SHIM_LINE_MAX_BYTES);
	memset(flood, 'x', 3 * SHIM_LINE_MAX_BYTES);
	fcntl(a.fd, F_SETFL, 0);
	signal(SIGPIPE, SIG_IGN);
	ssize_t put = write(a.fd, flood, 3 * SHIM_LINE_MAX_BYTES);
	(void)put;
	do {
	} while (next_line(&a));
	CHECK(proc_is_alive(engine));
	end_shim(shim);
	CHECK(strstr(read_text("log"), "ronzal: the agent sent a malformed signal line") != NULL);
}

static void a_slow_agent_loses_lines_that_are_counted(void)
{
	struct agent a;
	uint64_t lines = 0, dropped = 0;
	pid_t shim = start_shim(
		"60",
		"i=0; while [ $i -lt 300 ]; do i=$((i+1)); head -c 6000 /dev/zero | tr '\\0' x; "
		"echo; done; echo done; sleep 60");
	int64_t until = now_ms() + WAIT_MS;

	attach_and_greet(&a);
	for (char *log = NULL; log == NULL || strstr(log, "done\n") == NULL; nap(50)) {
		free(log);
		log = read_text("log"); /* the engine is not held up by us */
		CHECK(now_ms() < until);
	}
	do {
		CHECK(next_line(&a));
		lines += a.m.verb == SHIM_LOG;
		dropped += a.m.verb == SHIM_DROPPED ? (uint64_t)a.m.number : 0;
		CHECK(a.m.verb != SHIM_LOG || a.m.text.len <= SHIM_LOG_LINE_MAX_BYTES);
	} while (lines + dropped < 301);
	CHECK_MSG(dropped > 100 && lines > 20, "%d lines, %d dropped", (int)lines, (int)dropped);
	end_shim(shim);
}

static void a_log_is_rotated_and_the_head_of_the_run_kept(void)
{
	const char *engine[] = {
		"/bin/sh", "-c",
		"echo head; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); "
		"echo $i 0123456789012345678901234567890123456789012345678901234567;"
		" done; echo tail",
		NULL
	};
	struct agent a;
	struct started s;
	struct stat st;

	CHECK(fs_replace("log", SPAN_LIT("the run before\n"), 0600, NULL) == 0);
	CHECK(fs_replace("log.2", SPAN_LIT("very old\n"), 0600, NULL) == 0);
	s = start_shim_with("5", "65536", engine);
	CHECK_MSG(strcmp(s.line, "ok") == 0, "%s", s.line);
	attach(&a);
	await(&a, SHIM_EXIT);
	CHECK(strncmp(read_text("log.1"), "head\n", 5) == 0);
	char *last = read_text("log"), *before = read_text("log.2");
	char *end = mem_printf("%s%s", before, last); /* a piece may begin anywhere in a line */
	CHECK(span_has_suffix(span_of(end), "\ntail\n"));
	CHECK(strstr(before, "very old") == NULL);
	for (int i = 0; i < 3; i++) {
		char name[8];
		snprintf(name, sizeof(name), i == 0 ? "log" : "log.%d", i);
		CHECK(stat(name, &st) == 0 && st.st_size <= 65536 && (st.st_mode & 0777) == 0600);
	}
	end_shim(s.pid);
	pid_t shim = start_shim("5", "echo fresh; sleep 60");
	attach_and_greet(&a);
	await_log(&a, "fresh");
	CHECK(strcmp(read_text("log"), "fresh\n") == 0);
	CHECK(strcmp(read_text("log.1"), last) == 0);
	CHECK(access("log.2", F_OK) != 0);
	end_shim(shim);
}

static void a_disk_that_fails_never_stops_the_engine(void)
{
	struct agent a;
	struct rlimit small = { .rlim_cur = 4096, .rlim_max = RLIM_INFINITY };
	struct rlimit before;

	CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
	CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
	pid_t shim =
		start_shim("60", "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line $i "
				 "012345678901234567890123456789012345678901234567890123456789;"
				 " done; echo all said; sleep 60");
	CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
	attach_and_greet(&a);
	await_log(&a, "all said");
	CHECK(strlen(read_text("log")) == 4096);
	CHECK(truncate("log", 0) == 0);
	say(&a, &(struct shim_message){ .verb = SHIM_LOG, .text = SPAN_LIT("room again") });
	await_log(&a, "room again");
	char *log = read_text("log");
	CHECK_MSG(strstr(log, " bytes are missing here: File too large\nroom again\n") != NULL,
		  "the log is: %s", log);
	end_shim(shim);
}

static void a_log_that_is_a_link_or_fifo_is_not_followed(void)
{
	struct agent a;

	CHECK(mkdir("inner", 0700) == 0 && symlink("inner/target", "log.x") == 0);
	CHECK(mkfifo("log", 0600) == 0);
	pid_t shim = start_shim("60", "echo hello; sleep 60");
	attach_and_greet(&a);
	await_log(&a, "hello");
	CHECK(strcmp(read_text("log"), "hello\n") == 0); /* the FIFO was moved aside */
	unlink("log");
	end_shim(shim);
	CHECK(access("inner/target", F_OK) != 0);
}

static const struct test_case cases[] = {
	CASE(an_engine_runs_is_logged_and_its_exit_told, NULL),
	CASE(exit_status_waits_for_a_later_agent, NULL),
	CASE(a_note_survives_agents, NULL),
	CASE(nonsense_closes_the_connection_and_harms_nothing, NULL),
	CASE(a_slow_agent_loses_lines_that_are_counted, NULL),
	CASE(a_log_is_rotated_and_the_head_of_the_run_kept, NULL),
	CASE(a_disk_that_fails_never_stops_the_engine, NULL),
	CASE(a_log_that_is_a_link_or_fifo_is_not_followed, NULL),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, ARRAY_LEN(cases));
}
