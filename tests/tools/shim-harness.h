/* SPDX-License-Identifier: MIT */
/*
 * What shim-test and shim-log-test share: real shims with real processes as engines, and an agent's
 * end of their socket. Every case runs in a process of its own with its own folder and says "ok
 * NAME", "skip NAME: why" or "not ok NAME: why"; whatever it leaves behind is found by the shims'
 * identity files and ended. Define _XOPEN_SOURCE before.
 */
#ifndef SHIM_HARNESS_H
#define SHIM_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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
/* No case measures how fast a busy machine is: these only end what would never end. */
#define CASE_LIMIT_S 120
#define WAIT_MS 20000
#define ARGS_MAX 16

static const char *shim_program;
static int verdict_fd; /* where a case says why it failed */

static inline _Noreturn void fail(int line, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline _Noreturn void fail(int line, const char *format, ...)
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

static inline int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void nap(int ms)
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

static inline struct started start_shim_with(const char *lease, const char *log_max,
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

static inline pid_t start_shim(const char *lease, const char *script)
{
	const char *engine[] = { "/bin/sh", "-c", script, NULL };
	struct started s = start_shim_with(lease, "1000000", engine);

	CHECK_MSG(strcmp(s.line, "ok") == 0, "the shim said: %s", s.line);
	return s.pid;
}

static inline int wait_exit(pid_t pid)
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

static inline void wait_gone(struct proc p)
{
	for (int64_t until = now_ms() + WAIT_MS; proc_is_alive(p); nap(5)) {
		CHECK_MSG(now_ms() < until, "process %d lives on", (int)p.pid);
	}
}

static inline void end_shim(pid_t pid)
{
	kill(pid, SIGTERM);
	CHECK(wait_exit(pid) == 0);
}

/* An agent's end of the socket */

struct agent {
	int fd;
	struct buf in;
	char line[SHIM_LINE_MAX_BYTES]; /* that m borrows from */
	struct shim_message m;
};

static inline void attach(struct agent *a)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *path = shim_path(run_folder, PORT, "sock");

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	free(path);
	buf_init(&a->in, SHIM_LINE_MAX_BYTES + 1024);
	a->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(connect(a->fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
}

static inline void detach(struct agent *a)
{
	close(a->fd);
	buf_finish(&a->in);
}

/* false at the end of the connection. */
static inline bool next_line(struct agent *a)
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

static inline void await(struct agent *a, enum shim_verb verb)
{
	do {
		CHECK_MSG(next_line(a), "the shim closed the connection");
	} while (a->m.verb != verb);
}

static inline void await_log(struct agent *a, const char *text)
{
	do {
		await(a, SHIM_LOG);
	} while (!span_is(a->m.text, text));
}

static inline void say(struct agent *a, const struct shim_message *m)
{
	struct buf line;

	buf_init(&line, SHIM_LINE_MAX_BYTES);
	CHECK(shim_encode(m, &line) == 0);
	CHECK(write(a->fd, line.data, line.len) == (ssize_t)line.len);
	buf_finish(&line);
}

static inline void say_signal(struct agent *a, int signum)
{
	say(a, &(struct shim_message){ .verb = SHIM_SIGNAL, .number = signum });
}

static inline void release(struct agent *a, pid_t shim)
{
	say(a, &(struct shim_message){ .verb = SHIM_RELEASE });
	CHECK(wait_exit(shim) == 0);
}

static inline struct proc attach_and_greet(struct agent *a)
{
	attach(a);
	CHECK(next_line(a) && a->m.verb == SHIM_HELLO);
	CHECK(a->m.hello.version == SHIM_VERSION && a->m.hello.port == PORT);
	CHECK(strcmp(a->m.hello.model, "tiny") == 0);
	CHECK(proc_is_alive(a->m.hello.engine));
	return a->m.hello.engine;
}

static inline bool has_file(const char *suffix)
{
	char *path = shim_path(run_folder, PORT, suffix);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static inline void check_all_gone(struct proc engine)
{
	CHECK(!proc_is_alive(engine));
	CHECK(!has_file("sock") && !has_file("id") && !has_file("lock"));
}

static inline char *read_text(const char *path)
{
	struct buf text;
	struct err err;

	buf_init(&text, 32u << 20);
	CHECK_MSG(fs_read(path, &text, &err) == 0, "%s", err.text);
	buf_add(&text, "", 0);
	return buf_detach(&text);
}

/* Running the cases */

#define CASE(name, lack) \
	{ \
#name, name, lack \
	}
struct test_case {
	const char *name;
	void (*run)(void);
	const char *(*lack)(
		void); /* why it cannot be run here, or NULL; NULL: it runs everywhere */
};

static inline void remove_folder(const char *folder)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", folder, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

/* A case that failed may leave a shim: end it and its engine. */
static inline void end_leftovers(void)
{
	struct shim_identity id;

	if (shim_identity_read(run_folder, PORT, &id) == 0) {
		proc_signal(id.shim, SIGKILL);
		proc_signal_group(id.engine, SIGKILL);
	}
}

static inline bool run_case(const struct test_case *c)
{
	char why[600] = "";
	int status, verdict[2];
	char folder[] = "/tmp/shim-test.XXXXXX";
	const char *lack = c->lack != NULL ? c->lack() : NULL;

	if (lack != NULL) {
		printf("skip %s: %s\n", c->name, lack);
		return true;
	}
	run_folder = mkdtemp(folder);
	if (run_folder == NULL || pipe(verdict) != 0) {
		printf("not ok %s: no folder or pipe\n", c->name);
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
		c->run();
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
		printf("ok %s\n", c->name);
	} else {
		printf("not ok %s: %s\n", c->name,
		       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : why);
	}
	fflush(stdout);
	return status == 0;
}

static inline int run_cases(int argc, char **argv, const struct test_case *cases, size_t count)
{
	bool all_passed = true;

	if (argc < 2) {
		fprintf(stderr, "usage: %s SHIM [CASE...]\n", argv[0]);
		return 2;
	}
	shim_program = realpath(argv[1], NULL);
	if (shim_program == NULL) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	for (size_t i = 0; i < count; i++) {
		bool is_wanted = argc == 2;

		for (int k = 2; k < argc; k++) {
			is_wanted = is_wanted || strstr(cases[i].name, argv[k]) != NULL;
		}
		if (is_wanted && !run_case(&cases[i])) {
			all_passed = false;
		}
	}
	return all_passed ? 0 : 1;
}

#endif
