/* SPDX-License-Identifier: MIT */
/*
 * shim-test SHIM [CASE...]: drives a real ronzal-shim with real processes as engines and says "ok
 * NAME" or "not ok NAME: why" for each case. Every case runs in a process of its own with its own
 * folder; whatever it leaves behind is found by the shims' identity files and ended.
 * RONZAL_TEST_ENGINE and RONZAL_TEST_MODEL name a llama-server and a model file for the last case.
 */
#define _XOPEN_SOURCE 700 /* realpath: glibc hides it from POSIX.1-2008 alone */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "host/shim.h"

#define PORT 19100
#define ENGINE_PORT 19101
/* No case measures how fast a busy machine is: these only end what would never end. */
#define CASE_LIMIT_S 120
#define WAIT_MS 20000
#define ARGS_MAX 16

static const char *shim_program;
static int verdict_fd; /* where a case says why it failed */

static _Noreturn void fail(int line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static _Noreturn void fail(int line, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	dprintf(verdict_fd, "line %d: %s", line, text);
	_exit(1);
}

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, "%s", #condition))
#define CHECK_MSG(condition, ...) ((condition) ? (void)0 : fail(__LINE__, __VA_ARGS__))

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap(int ms)
{
	struct timespec pause_for = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&pause_for, NULL);
}

/* Starting a shim; the case's folder is the working directory */

static char *run_folder;

struct started {
	pid_t pid;
	char line[512]; /* what it said on stdout */
};

static struct started start_shim_with(const char *lease, const char *log_max,
				      const char *const *engine)
{
	const char *argv[ARGS_MAX + 8] = { shim_program, run_folder, "19100", "tiny",
					   "log",	 log_max,    lease };
	struct started s = { .pid = -1 };
	size_t got = 0;
	int out[2];

	for (size_t i = 0; engine[i] != NULL; i++) {
		CHECK(i < ARGS_MAX);
		argv[7 + i] = engine[i];
	}
	CHECK(pipe(out) == 0);
	s.pid = fork();
	if (s.pid == 0) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execv(shim_program, (char *const *)(uintptr_t)argv);
		_exit(99);
	}
	close(out[1]);
	for (;;) {
		struct pollfd wait = { .fd = out[0], .events = POLLIN };
		CHECK(poll(&wait, 1, WAIT_MS) == 1);
		ssize_t n = read(out[0], s.line + got, sizeof(s.line) - 1 - got);
		if (n <= 0) {
			break; /* it closes its stdout after the line */
		}
		got += (size_t)n;
	}
	close(out[0]);
	CHECK(got > 0 && s.line[got - 1] == '\n');
	s.line[got - 1] = '\0';
	return s;
}

static pid_t start_shim(const char *lease, const char *script)
{
	const char *engine[] = { "/bin/sh", "-c", script, NULL };
	struct started s = start_shim_with(lease, "1000000", engine);

	CHECK_MSG(strcmp(s.line, "ok") == 0, "the shim said: %s", s.line);
	return s.pid;
}

static int wait_exit(pid_t pid)
{
	int64_t until = now_ms() + WAIT_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		CHECK_MSG(now_ms() < until, "process %d is still there after %d ms", (int)pid,
			  WAIT_MS);
		nap(5);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void wait_gone(struct proc p)
{
	for (int64_t until = now_ms() + WAIT_MS; proc_is_alive(p); nap(5)) {
		CHECK_MSG(now_ms() < until, "process %d lives on", (int)p.pid);
	}
}

/* An agent's end of the socket */

struct agent {
	int fd;
	struct buf in;
	char line[SHIM_LINE_MAX_BYTES]; /* that m borrows from */
	struct shim_message m;
};

static void attach(struct agent *a)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *path = shim_path(run_folder, PORT, "sock");

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	free(path);
	buf_init(&a->in, SHIM_LINE_MAX_BYTES + 1024);
	a->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(connect(a->fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
}

static void detach(struct agent *a)
{
	close(a->fd);
	buf_finish(&a->in);
}

/* false at the end of the connection. */
static bool next_line(struct agent *a)
{
	int64_t until = now_ms() + WAIT_MS;
	struct err err;

	for (;;) {
		size_t end = span_find_char(buf_span(&a->in), '\n');
		if (end < a->in.len) {
			memcpy(a->line, a->in.data, end);
			int status = shim_decode((struct span){ a->line, end }, &a->m, &err);
			CHECK_MSG(status == 0, "%s", err.text);
			buf_consume(&a->in, end + 1);
			return true;
		}
		struct pollfd wait = { .fd = a->fd, .events = POLLIN };
		int64_t left = until - now_ms();
		CHECK_MSG(left > 0 && poll(&wait, 1, (int)left) == 1,
			  "nothing came in %d ms; last: %.*s", WAIT_MS, SPAN_ARG(a->m.text));
		char *room = buf_reserve(&a->in, 1024);
		ssize_t got = read(a->fd, room, 1024);
		if (got <= 0) {
			return false;
		}
		buf_added(&a->in, (size_t)got);
	}
}

static void await(struct agent *a, enum shim_verb verb)
{
	do {
		CHECK_MSG(next_line(a), "the shim closed the connection");
	} while (a->m.verb != verb);
}

static void await_log(struct agent *a, const char *text)
{
	do {
		await(a, SHIM_LOG);
	} while (!span_is(a->m.text, text));
}

static void say(struct agent *a, const struct shim_message *m)
{
	struct buf line;

	buf_init(&line, SHIM_LINE_MAX_BYTES);
	CHECK(shim_encode(m, &line) == 0);
	CHECK(write(a->fd, line.data, line.len) == (ssize_t)line.len);
	buf_finish(&line);
}

static void say_signal(struct agent *a, int signum)
{
	say(a, &(struct shim_message){ .verb = SHIM_SIGNAL, .number = signum });
}

static struct proc attach_and_greet(struct agent *a)
{
	attach(a);
	CHECK(next_line(a) && a->m.verb == SHIM_HELLO);
	CHECK(a->m.hello.version == SHIM_VERSION && a->m.hello.port == PORT);
	CHECK(strcmp(a->m.hello.model, "tiny") == 0);
	CHECK(proc_is_alive(a->m.hello.engine));
	return a->m.hello.engine;
}

static bool has_file(const char *suffix)
{
	char *path = shim_path(run_folder, PORT, suffix);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static void check_all_gone(struct proc engine)
{
	CHECK(!proc_is_alive(engine));
	CHECK(!has_file("sock") && !has_file("id") && !has_file("lock"));
}

static char *read_text(const char *path)
{
	struct buf text;
	struct err err;

	buf_init(&text, 32u << 20);
	CHECK_MSG(fs_read(path, &text, &err) == 0, "%s", err.text);
	buf_add(&text, "", 0);
	return buf_detach(&text);
}

/* Cases */

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
	say(&a, &(struct shim_message){ .verb = SHIM_RELEASE });
	CHECK(wait_exit(shim) == 0);
	check_all_gone(engine);
	CHECK(strcmp(read_text("log"), "one\ntwo\nhalf") == 0);
}

static void release_does_nothing_while_the_engine_runs(void)
{
	struct agent a;
	pid_t shim = start_shim("5", "sleep 30");
	struct proc engine = attach_and_greet(&a);

	say(&a, &(struct shim_message){ .verb = SHIM_RELEASE });
	say_signal(&a, SIGTERM);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == -SIGTERM);
	say(&a, &(struct shim_message){ .verb = SHIM_RELEASE });
	CHECK(wait_exit(shim) == 0);
	check_all_gone(engine);
}

static void a_failed_exec_is_no_started_engine(void)
{
	const char *missing[] = { "/nowhere/llama-server", "--port", "1", NULL };
	const char *folder[] = { "/tmp", NULL };
	struct started s = start_shim_with("5", "1000000", missing);

	CHECK_MSG(strcmp(s.line,
			 "error: running /nowhere/llama-server: No such file or directory") == 0,
		  "it said: %s", s.line);
	CHECK(wait_exit(s.pid) == 1);
	CHECK(!has_file("sock") && !has_file("id") && !has_file("lock"));
	s = start_shim_with("5", "1000000", folder);
	CHECK_MSG(strcmp(s.line, "error: running /tmp: Permission denied") == 0, "%s", s.line);
	CHECK(wait_exit(s.pid) == 1);
}

static void bad_arguments_are_named(void)
{
	const char *engine[] = { "/bin/true", NULL };
	struct started s = start_shim_with("never", "1000000", engine);

	CHECK_MSG(strcmp(s.line, "error: LEASE_S 'never' is outside 0..86400") == 0, "%s", s.line);
	CHECK(wait_exit(s.pid) == 1);
	s = start_shim_with("5", "12", engine);
	CHECK_MSG(strcmp(s.line, "error: LOG_MAX_BYTES '12' is below 65536") == 0, "%s", s.line);
	CHECK(wait_exit(s.pid) == 1);
}

static void a_port_is_kept_by_one_shim(void)
{
	const char *engine[] = { "/bin/sleep", "30", NULL };
	char expected[128];
	struct agent a;
	pid_t shim = start_shim("5", "sleep 30");
	struct proc first = attach_and_greet(&a);
	struct started second = start_shim_with("5", "1000000", engine);

	snprintf(expected, sizeof(expected),
		 "error: port 19100 is kept by the shim of model tiny (pid %d)", (int)shim);
	CHECK_MSG(strcmp(second.line, expected) == 0, "it said: %s", second.line);
	CHECK(wait_exit(second.pid) == 1);
	CHECK(proc_is_alive(first) && has_file("sock") && has_file("id"));
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
}

static void the_next_shim_waits_for_one_whose_engine_is_gone(void)
{
	const char *engine[] = { "/bin/sleep", "60", NULL };
	struct agent a;
	pid_t first = start_shim("60", "exit 0"), releaser;

	attach(&a);
	await(&a, SHIM_EXIT);
	releaser = fork();
	if (releaser == 0) {
		nap(500);
		say(&a, &(struct shim_message){ .verb = SHIM_RELEASE });
		_exit(0);
	}
	struct started second = start_shim_with("60", "1000000", engine);
	CHECK_MSG(strcmp(second.line, "ok") == 0, "it said: %s", second.line);
	CHECK(wait_exit(releaser) == 0 && wait_exit(first) == 0);
	detach(&a);
	attach_and_greet(&a);
	kill(second.pid, SIGTERM);
	CHECK(wait_exit(second.pid) == 0);
}

static void sigterm_ends_engine_and_shim(void)
{
	struct agent a;
	pid_t shim = start_shim("60", "sleep 60");
	struct proc engine = attach_and_greet(&a);

	kill(shim, SIGTERM);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == -SIGTERM);
	CHECK(wait_exit(shim) == 0);
	check_all_gone(engine);
}

static void an_engine_that_ignores_term_is_killed_after_the_grace(void)
{
	struct agent a;
	pid_t shim =
		start_shim("60", "trap 'echo term' TERM; echo set; while :; do sleep 0.1; done");
	struct proc engine = attach_and_greet(&a);
	int64_t start;

	await_log(&a, "set");
	start = now_ms();
	kill(shim, SIGTERM);
	await_log(&a, "term");
	await_log(&a, "term");
	CHECK(now_ms() - start >= SHIM_TERM_AGAIN_MS);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == -SIGKILL);
	CHECK(now_ms() - start >= SHIM_KILL_MS);
	CHECK(wait_exit(shim) == 0);
	check_all_gone(engine);
}

static void a_stopped_engine_is_killed_after_the_grace(void)
{
	struct agent a;
	pid_t shim = start_shim("60", "sleep 60");
	struct proc engine = attach_and_greet(&a);

	kill(engine.pid, SIGSTOP);
	nap(300); /* pending together, TERM would be delivered before STOP */
	kill(shim, SIGTERM);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == -SIGKILL);
	CHECK(wait_exit(shim) == 0);
	check_all_gone(engine);
}

static void a_grandchild_that_holds_stdout_keeps_nothing(void)
{
	struct agent a;
	struct proc grandchild;
	uint64_t pid;
	pid_t shim = start_shim("60", "sleep 60 & echo $!; wait");

	attach_and_greet(&a);
	await(&a, SHIM_LOG);
	CHECK(span_to_u64(a.m.text, INT32_MAX, &pid) == 0);
	CHECK(proc_identify((pid_t)pid, &grandchild) == 0);
	say_signal(&a, SIGTERM);
	await(&a, SHIM_EXIT); /* long before the grandchild's own end */
	wait_gone(grandchild);
	say(&a, &(struct shim_message){ .verb = SHIM_RELEASE });
	CHECK(wait_exit(shim) == 0);
}

static void a_grandchild_outlives_the_leader_by_nothing(void)
{
	struct agent a;
	struct proc grandchild;
	uint64_t pid;
	pid_t shim = start_shim("60", "(trap '' TERM; exec sleep 60) & echo $!; sleep 0.5; exit 3");

	attach(&a);
	await(&a, SHIM_LOG);
	CHECK(span_to_u64(a.m.text, INT32_MAX, &pid) == 0);
	CHECK(proc_identify((pid_t)pid, &grandchild) == 0);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == 3);
	wait_gone(grandchild);
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
}

static void a_daemon_that_left_the_group_does_not_hold_the_shim(void)
{
	struct agent a;
	uint64_t pid;
	pid_t shim = start_shim("60", "setsid sleep 100 & echo $!; sleep 0.3; exit 4");

	attach(&a);
	await(&a, SHIM_LOG);
	CHECK(span_to_u64(a.m.text, INT32_MAX, &pid) == 0);
	await(&a, SHIM_EXIT); /* ... while the daemon holds the pipe */
	CHECK(a.m.number == 4 && kill((pid_t)pid, 0) == 0);
	kill((pid_t)pid, SIGKILL);
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
}

static void a_lost_agent_is_waited_for_then_the_engine_ends(void)
{
	struct agent a;
	pid_t shim = start_shim("3", "sleep 60");
	struct proc engine = attach_and_greet(&a);
	int64_t start;

	detach(&a);
	nap(500);
	CHECK(attach_and_greet(&a).started == engine.started); /* back in time: as it was */
	nap(3500);
	CHECK(proc_is_alive(engine));
	detach(&a);
	start = now_ms();
	CHECK(wait_exit(shim) == 0);
	CHECK(now_ms() - start >= 2900);
	check_all_gone(engine);
}

static void nobody_ever_connects(void)
{
	struct shim_identity id;
	pid_t shim = start_shim("3", "exec sleep 60");

	CHECK(shim_identity_read(run_folder, PORT, &id) == 0);
	CHECK(id.shim.pid == shim && proc_is_alive(id.shim) && proc_is_alive(id.engine));
	CHECK(wait_exit(shim) == 0);
	check_all_gone(id.engine);
}

static void sleep_of_the_machine_starts_the_lease_anew(void)
{
	struct agent a;
	pid_t shim = start_shim("1", "sleep 60");
	struct proc engine = attach_and_greet(&a);
	int64_t start;

	detach(&a);
	kill(shim, SIGSTOP);
	nap(1000 + SHIM_SLEEP_GAP_MS + 300);
	start = now_ms();
	kill(shim, SIGCONT);
	CHECK(wait_exit(shim) == 0);
	CHECK(now_ms() - start >= 900);
	check_all_gone(engine);
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
	say(&a, &(struct shim_message){ .verb = SHIM_RELEASE });
	CHECK(wait_exit(shim) == 0);
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
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
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
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
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
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
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
	kill(s.pid, SIGTERM);
	CHECK(wait_exit(s.pid) == 0);
	pid_t shim = start_shim("5", "echo fresh; sleep 60");
	attach_and_greet(&a);
	await_log(&a, "fresh");
	CHECK(strcmp(read_text("log"), "fresh\n") == 0);
	CHECK(strcmp(read_text("log.1"), last) == 0);
	CHECK(access("log.2", F_OK) != 0);
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
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
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
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
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
	CHECK(access("inner/target", F_OK) != 0);
}

static void sigkill_of_the_shim_leaves_nothing_for_long(void)
{
	struct agent a;
	pid_t shim = start_shim("60", "(trap '' TERM; sleep 60) & sleep 60");
	struct proc engine = attach_and_greet(&a);
	struct err err;
	int fd = -1;

	CHECK(shim_lock(run_folder, PORT, 0, &fd, &err) == ERR_BUSY);
	CHECK(strstr(err.text, "is kept by the shim of model tiny") != NULL);
	kill(shim, SIGKILL);
	wait_exit(shim);
	CHECK(has_file("sock") && has_file("id"));
	CHECK_MSG(shim_lock(run_folder, PORT, WAIT_MS, &fd, &err) == 0, "%s", err.text);
	CHECK(!proc_is_alive(engine));
	int64_t until = now_ms() + WAIT_MS;
	while (proc_signal_group(engine, 0) == 0) { /* until init has reaped the grandchildren */
		CHECK(now_ms() < until);
		nap(10);
	}
	shim_unlock(run_folder, PORT, fd);
	check_all_gone(engine);
}

static void the_next_shim_ends_what_a_dead_one_left(void)
{
	struct proc sleeper;
	struct shim_identity id = { .model = "tiny", .shim = { .pid = 999999, .started = 1 } };
	char line[SHIM_IDENTITY_MAX_BYTES];
	char *path = shim_path(run_folder, PORT, "id");
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		pause();
	}
	while (getsid(pid) != pid) {
		nap(5);
	}
	CHECK(proc_identify(pid, &sleeper) == 0);
	signal(SIGCHLD, SIG_IGN); /* as init would reap it */
	id.engine = (struct proc){ .pid = pid, .started = sleeper.started + 1 };
	shim_identity_print(&id, line);
	CHECK(fs_replace(path, span_of(line), 0600, NULL) == 0);
	signal(SIGCHLD, SIG_DFL);
	pid_t shim = start_shim("60", "sleep 60");
	CHECK(proc_is_alive(sleeper)); /* another process with that pid is not ours to end */
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
	signal(SIGCHLD, SIG_IGN);
	id.engine = sleeper;
	shim_identity_print(&id, line);
	CHECK(fs_replace(path, span_of(line), 0600, NULL) == 0);
	shim = start_shim("60", "sleep 60");
	CHECK(!proc_is_alive(sleeper));
	signal(SIGCHLD, SIG_DFL);
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
}

static void an_engine_inherits_nothing(void)
{
	struct agent a;
	sigset_t blocked;
	int leak = open("/dev/null", O_RDWR);

	CHECK(dup2(leak, 77) == 77);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	setenv("RONZAL_TEST", "passed on", 1);
	pid_t shim =
		start_shim("60", "exec /bin/sh -c 'ls /dev/fd/ | sort -n | tr \"\\n\" \" \"; echo;"
				 " echo \"$RONZAL_TEST\"; ps -o sid=,pgid= -p $$ | tr -s \" \";"
				 " grep -E \"^Sig(Blk|Ign)\" /proc/self/status; sleep 60'");
	struct proc engine = attach_and_greet(&a);
	char expected[64];

	await(&a, SHIM_LOG);
	CHECK_MSG(span_is(a.m.text, "0 1 2 3 "), "descriptors: %.*s",
		  SPAN_ARG(a.m.text)); /* 3: ls */
	await_log(&a, "passed on");
	await(&a, SHIM_LOG);
	snprintf(expected, sizeof(expected), " %d %d", (int)engine.pid, (int)engine.pid);
	CHECK_MSG(span_has_suffix(a.m.text, expected) || span_is(a.m.text, expected + 1),
		  "session and group: %.*s", SPAN_ARG(a.m.text));
	await_log(&a, "SigBlk:\t0000000000000000");
	await(&a, SHIM_LOG); /* 32 and 33 are the C library's own and cannot be set through it */
	CHECK_MSG(span_is(a.m.text, "SigIgn:\t0000000000000000") ||
			  span_is(a.m.text, "SigIgn:\t0000000180000000"),
		  "%.*s", SPAN_ARG(a.m.text));
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
}

static uint64_t context_switches(pid_t pid)
{
	char path[64];
	uint64_t count = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	char *found = strstr(read_text(path), "\nvoluntary_ctxt_switches:\t");
	CHECK(found != NULL);
	struct span rest = span_of(found + strlen("\nvoluntary_ctxt_switches:\t"));
	CHECK(span_to_u64(span_split(&rest, '\n'), UINT64_MAX, &count) == 0);
	return count;
}

/* How often it wakes in 2 s, once what it had to do before is done. */
static uint64_t wake_ups(pid_t pid)
{
	uint64_t before, now = context_switches(pid);

	do {
		before = now;
		nap(300);
		now = context_switches(pid);
	} while (now != before);
	nap(2000);
	return context_switches(pid) - before;
}

static void it_is_small_and_sleeps(void)
{
	struct agent a;
	pid_t shim =
		start_shim("60", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i "
				 "012345678901234567890123456789012345678901234567890123456789;"
				 " done; echo all said; sleep 60");
	struct proc_usage usage;
	uint64_t woken;

	attach_and_greet(&a);
	await_log(&a, "all said");
	woken = wake_ups(shim);
	CHECK_MSG(woken == 0, "%d wake-ups while idle", (int)woken);
	detach(&a);
	woken = wake_ups(shim);
	CHECK_MSG(woken == 0, "%d wake-ups without an agent", (int)woken);
	CHECK(proc_usage(shim, &usage) == 0);
	CHECK_MSG(usage.memory_bytes < 2u << 20, "%d KiB resident",
		  (int)(usage.memory_bytes >> 10));
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
}

static void the_socket_is_private(void)
{
	struct stat st;
	pid_t shim = start_shim("60", "umask; sleep 60");
	struct agent a;
	char *path = shim_path(run_folder, PORT, "sock");

	CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
	attach_and_greet(&a);
	await_log(&a, "0022"); /* the engine's is the caller's */
	kill(shim, SIGTERM);
	CHECK(wait_exit(shim) == 0);
}

static int connect_to(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static void await_log_part(struct agent *a, const char *text)
{
	do {
		await(a, SHIM_LOG);
	} while (span_find(a->m.text, text) == a->m.text.len);
}

static void a_real_llama_server_outlives_agents_and_ends_in_mid_stream(void)
{
	static const char body[] =
		"{\"prompt\":\"once\",\"stream\":true,\"n_predict\":-1,\"ignore_eos\":true}";
	char port[8], request[512], answer[4096];
	const char *engine[] = { getenv("RONZAL_TEST_ENGINE"),
				 "--model",
				 getenv("RONZAL_TEST_MODEL"),
				 "--host",
				 "127.0.0.1",
				 "--port",
				 port,
				 "--ctx-size",
				 "512",
				 "--n-gpu-layers",
				 "0",
				 "-lv",
				 "4",
				 NULL };
	struct agent a;

	snprintf(port, sizeof(port), "%d", ENGINE_PORT);
	struct started s = start_shim_with("60", "1000000", engine);
	CHECK_MSG(strcmp(s.line, "ok") == 0, "%s", s.line);
	struct proc first = attach_and_greet(&a);
	await_log_part(&a, "listening on");
	detach(&a);
	CHECK(attach_and_greet(&a).started == first.started);
	await_log_part(&a, "listening on"); /* from the ring */
	int fd = connect_to(ENGINE_PORT);
	int len = snprintf(request, sizeof(request),
			   "POST /completion HTTP/1.1\r\nHost: 127.0.0.1\r\n"
			   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			   sizeof(body) - 1, body);
	CHECK(write(fd, request, (size_t)len) == len);
	ssize_t got = read(fd, answer, sizeof(answer) - 1);
	CHECK(got > 0);
	answer[got] = '\0';
	CHECK_MSG(strncmp(answer, "HTTP/1.1 200 OK", 15) == 0, "%.80s", answer);
	kill(s.pid, SIGTERM);
	await(&a, SHIM_EXIT); /* in WAIT_MS: left alone it would stream for 30 s more */
	CHECK(wait_exit(s.pid) == 0);
	check_all_gone(first);
}

/* Runner */

/* NULL, or why a case cannot be run here. */
static const char *lacks_engine(void)
{
	return getenv("RONZAL_TEST_ENGINE") == NULL ? "no llama-server is installed" : NULL;
}

static const char *lacks_proc(void)
{
	return access("/proc/self/status", R_OK) != 0 ? "it needs Linux' /proc and setsid(1)"
						      : NULL;
}

#define CASE(name) \
	{ \
#name, name, false \
	}
static const struct {
	const char *name;
	void (*run)(void);
	const char *(*lack)(void); /* NULL: it runs everywhere */
} cases[] = {
	CASE(an_engine_runs_is_logged_and_its_exit_told),
	CASE(release_does_nothing_while_the_engine_runs),
	CASE(a_failed_exec_is_no_started_engine),
	CASE(bad_arguments_are_named),
	CASE(a_port_is_kept_by_one_shim),
	CASE(the_next_shim_waits_for_one_whose_engine_is_gone),
	CASE(sigterm_ends_engine_and_shim),
	CASE(an_engine_that_ignores_term_is_killed_after_the_grace),
	CASE(a_stopped_engine_is_killed_after_the_grace),
	CASE(a_grandchild_that_holds_stdout_keeps_nothing),
	CASE(a_grandchild_outlives_the_leader_by_nothing),
	{ "a_daemon_that_left_the_group_does_not_hold_the_shim",
	  a_daemon_that_left_the_group_does_not_hold_the_shim, lacks_proc },
	CASE(a_lost_agent_is_waited_for_then_the_engine_ends),
	CASE(nobody_ever_connects),
	CASE(sleep_of_the_machine_starts_the_lease_anew),
	CASE(exit_status_waits_for_a_later_agent),
	CASE(a_note_survives_agents),
	CASE(nonsense_closes_the_connection_and_harms_nothing),
	CASE(a_slow_agent_loses_lines_that_are_counted),
	CASE(a_log_is_rotated_and_the_head_of_the_run_kept),
	CASE(a_disk_that_fails_never_stops_the_engine),
	CASE(a_log_that_is_a_link_or_fifo_is_not_followed),
	CASE(sigkill_of_the_shim_leaves_nothing_for_long),
	CASE(the_next_shim_ends_what_a_dead_one_left),
	{ "an_engine_inherits_nothing", an_engine_inherits_nothing, lacks_proc },
	{ "it_is_small_and_sleeps", it_is_small_and_sleeps, lacks_proc },
	CASE(the_socket_is_private),
	{ "a_real_llama_server_outlives_agents_and_ends_in_mid_stream",
	  a_real_llama_server_outlives_agents_and_ends_in_mid_stream, lacks_engine },
};

static void remove_folder(const char *folder)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", folder, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

/* A case that failed may leave a shim: end it and its engine. */
static void end_leftovers(void)
{
	struct shim_identity id;

	if (shim_identity_read(run_folder, PORT, &id) == 0) {
		proc_signal(id.shim, SIGKILL);
		proc_signal_group(id.engine, SIGKILL);
	}
}

static bool run_case(size_t i)
{
	char why[600] = "";
	int status, verdict[2];
	char folder[] = "/tmp/shim-test.XXXXXX";

	const char *lack = cases[i].lack != NULL ? cases[i].lack() : NULL;

	if (lack != NULL) {
		printf("skip %s: %s\n", cases[i].name, lack);
		return true;
	}
	run_folder = mkdtemp(folder);
	if (run_folder == NULL || pipe(verdict) != 0) {
		printf("not ok %s: no folder or pipe\n", cases[i].name);
		return false;
	}
	pid_t pid = fork();
	if (pid == 0) {
		close(verdict[0]);
		fcntl(verdict[1], F_SETFD, FD_CLOEXEC);
		verdict_fd = verdict[1];
		alarm(CASE_LIMIT_S);
		umask(022);
		CHECK(chdir(folder) == 0);
		cases[i].run();
		_exit(0);
	}
	close(verdict[1]);
	waitpid(pid, &status, 0);
	ssize_t got = read(verdict[0], why, sizeof(why) - 1);
	(void)got;
	close(verdict[0]);
	end_leftovers();
	remove_folder(folder);
	if (status == 0) {
		printf("ok %s\n", cases[i].name);
	} else {
		printf("not ok %s: %s\n", cases[i].name,
		       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : why);
	}
	fflush(stdout);
	return status == 0;
}

int main(int argc, char **argv)
{
	bool all_passed = true;

	if (argc < 2) {
		fprintf(stderr, "usage: shim-test SHIM [CASE...]\n");
		return 2;
	}
	shim_program = realpath(argv[1], NULL);
	if (shim_program == NULL) {
		fprintf(stderr, "shim-test: %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bool wanted = argc == 2;
		for (int k = 2; k < argc; k++) {
			wanted = wanted || strstr(cases[i].name, argv[k]) != NULL;
		}
		if (wanted && !run_case(i)) {
			all_passed = false;
		}
	}
	return all_passed ? 0 : 1;
}
