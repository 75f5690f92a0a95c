/* SPDX-License-Identifier: MIT */
/*
 * What agent-test and agent-peer-test share: a real `ronzal agent` in a folder of its own, a link
 * to it, and waiting. Every case runs in a process of its own, says "ok NAME", "skip NAME: why" or
 * "not ok NAME: why", and leaves its folder behind when it failed. Define _XOPEN_SOURCE before.
 */
#ifndef AGENT_HARNESS_H
#define AGENT_HARNESS_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/shim.h"
#include "io/timer.h"
#include "link/link.h"
#include "os/proc.h"

#define PORT_MIN 19300
#define MODELS_MAX 8
#define WAIT_MS 30000 /* ends what would never end; nothing here measures a busy machine */
#ifdef __SANITIZE_ADDRESS__
#define MEASURES_MEMORY false /* the sanitizer's own bookkeeping is larger than what is measured */
#else
#define MEASURES_MEMORY true
#endif

struct world {
	const char *name;
	char home[64];
	struct buf registry;
	int model_count;
	const char *engine;
	pid_t agent;
	struct loop *loop;
	struct link *link;
	struct timer deadline;
	struct server servers[MODELS_MAX * 2];
	int server_count;
	struct host_info host;
	bool is_synced;
	int owed; /* replies that are still to come */
	struct err reply, down;
	struct wire_result result; /* the reply's first */
	uint64_t log_lines, log_dropped;
	double noticed_ms; /* when READY was told last, by CLOCK_MONOTONIC */
	uint32_t kills;	   /* of engines, by the case */
	int descriptors;   /* of the agent, counted by the case */
	double backoff_ms; /* ... and BACKOFF, with the error of that time */
	char backoff_error[SERVER_TEXT_MAX_BYTES];
};

static const char *build_folder, *demo_model, *ronzal; /* of the one program that includes this */

/* Failing */

static inline void end_agent(struct world *w, int signum)
{
	if (w->agent > 0) {
		kill(w->agent, signum);
		waitpid(w->agent, NULL, 0);
		w->agent = 0;
	}
}

/* Shims that a failed case leaves behind end their engines when they are told to end. */
static inline void end_shims(const struct world *w)
{
	char run[128];
	DIR *folder;
	struct dirent *entry;
	uint16_t port;

	snprintf(run, sizeof(run), "%s/home/run", w->home);
	folder = opendir(run);
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		struct shim_identity id;

		if (shim_port_of(entry->d_name, "id", &port) &&
		    shim_identity_read(run, port, &id) == 0) {
			proc_signal(id.shim, SIGTERM);
		}
	}
	if (folder != NULL) {
		closedir(folder);
	}
}

static inline void expect_at(struct world *w, bool is_so, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static inline void expect_at(struct world *w, bool is_so, int line, const char *format, ...)
{
	char why[1024];
	va_list args;

	if (is_so) {
		return;
	}
	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	printf("not ok %s: %s (line %d, see %s)\n", w->name, why, line, w->home);
	fflush(stdout);
	end_agent(w, SIGKILL);
	end_shims(w);
	_exit(1);
}

#define EXPECT(w, condition) expect_at(w, condition, __LINE__, "%s", #condition)

static inline double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static inline int rounds(int in_a_test, int in_full)
{
	return getenv("RONZAL_TEST_FULL") != NULL ? in_full : in_a_test;
}

/* Files */

static inline void write_text(struct world *w, const char *name, const char *text)
{
	char *path = fs_join(w->home, name);

	EXPECT(w, fs_replace(path, span_of(text), 0600, NULL) == 0);
	free(path);
}

static inline void copy_demo(struct world *w, const char *name)
{
	struct buf bytes;
	char *path = fs_join(w->home, name);

	buf_init(&bytes, 64u << 20);
	EXPECT(w, fs_read(demo_model, &bytes, NULL) == 0);
	EXPECT(w, fs_replace(path, buf_span(&bytes), 0600, NULL) == 0);
	buf_finish(&bytes);
	free(path);
}

static inline void save_registry(struct world *w)
{
	struct buf text;

	buf_init(&text, 1u << 20);
	buf_printf(&text, "{\"models\":{%s}}", buf_text(&w->registry));
	write_text(w, "registry.json", buf_text(&text));
	buf_finish(&text);
}

/* settings: more members of the registry's entry, each with a comma before it. */
static inline void add_model(struct world *w, const char *id, const char *script,
			     const char *settings)
{
	char name[256];

	snprintf(name, sizeof(name), "models/%s.gguf", id);
	copy_demo(w, name);
	snprintf(name, sizeof(name), "models/%s.gguf.fake", id);
	write_text(w, name, script);
	buf_printf(&w->registry,
		   "%s\"%s\":{\"file_path\":\"/models/%s.gguf\",\"model_id\":\"%s\","
		   "\"port\":%d,\"enabled\":true%s}",
		   w->model_count > 0 ? "," : "", id, id, id, PORT_MIN + w->model_count, settings);
	w->model_count++;
	save_registry(w);
}

static inline int count_entries(const char *folder_path)
{
	DIR *folder = opendir(folder_path);
	struct dirent *entry;
	int count = 0;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		count += entry->d_name[0] != '.';
	}
	if (folder != NULL) {
		closedir(folder);
	}
	return count;
}

/* The agent */

static inline pid_t run_ronzal(struct world *w, const char *const *argv, int out_fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		char *log = fs_join(w->home, "agent.log");
		int err_fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		int null_fd = open("/dev/null", O_RDWR);

		dup2(null_fd, 0);
		dup2(out_fd >= 0 ? out_fd : null_fd, 1);
		dup2(err_fd, 2);
		for (int fd = 3; fd < 1024; fd++) {
			close(fd);
		}
		execv(ronzal, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

static inline void start_agent(struct world *w)
{
	const char *const argv[] = { "ronzal", "agent", NULL };

	w->agent = run_ronzal(w, argv, -1);
}

/* Its exit code; its output goes into a pipe, as sshd's children have it, and is thrown away. */
static inline int run_piped(struct world *w, const char *const *argv)
{
	char bytes[4096];
	int status, ends[2];
	pid_t pid;

	EXPECT(w, pipe(ends) == 0);
	pid = run_ronzal(w, argv, ends[1]);
	close(ends[1]);
	while (read(ends[0], bytes, sizeof(bytes)) > 0) {
	}
	close(ends[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void set_up(struct world *w)
{
	char path[256];

	snprintf(w->home, sizeof(w->home), "/tmp/agent-test.XXXXXX");
	EXPECT(w, mkdtemp(w->home) != NULL);
	snprintf(path, sizeof(path), "%s/models", w->home);
	mkdir(path, 0700);
	setenv("RONZAL_MODEL_ROOTS", path, 1);
	snprintf(path, sizeof(path), "%s/registry.json", w->home);
	setenv("RONZAL_REGISTRY", path, 1);
	snprintf(path, sizeof(path), "%s/home", w->home);
	setenv("RONZAL_HOME", path, 1);
	snprintf(path, sizeof(path), "%d", PORT_MIN);
	setenv("RONZAL_ENGINE_PORT_MIN", path, 1);
	snprintf(path, sizeof(path), "%d", PORT_MIN + 99);
	setenv("RONZAL_ENGINE_PORT_MAX", path, 1);
	setenv("RONZAL_BIND", "127.0.0.1", 1);
	setenv("RONZAL_SHIM_LEASE_S", "10", 1);
	snprintf(path, sizeof(path), "%s/tests/tools/fake-engine", build_folder);
	setenv("RONZAL_ENGINE", path, 1);
	buf_init(&w->registry, 1u << 20);
	w->loop = loop_create();
}

static inline void remove_home(struct world *w)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", w->home, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

/* The link */

static inline struct server *find(struct world *w, const char *id)
{
	for (int i = 0; i < w->server_count; i++) {
		if (strcmp(w->servers[i].id, id) == 0) {
			return &w->servers[i];
		}
	}
	return NULL;
}

static inline struct server *server(struct world *w, const char *id)
{
	struct server *s = find(w, id);

	expect_at(w, s != NULL, __LINE__, "the agent did not tell of %s", id);
	return s;
}

static inline void on_up(void *user)
{
	(void)user;
}

static inline void on_server(struct world *w, const struct server *told)
{
	struct server *s = find(w, told->id);

	if (s == NULL && w->server_count < MODELS_MAX * 2) {
		s = &w->servers[w->server_count++];
	}
	if (s != NULL) {
		*s = *told;
	}
	if (told->phase == SERVER_READY) {
		w->noticed_ms = now_ms();
	} else if (told->phase == SERVER_BACKOFF) {
		w->backoff_ms = now_ms();
		memcpy(w->backoff_error, told->error, sizeof(w->backoff_error));
	}
}

static inline void on_event(void *user, const struct wire_event *e)
{
	struct world *w = user;
	struct server *gone;

	switch (e->type) {
	case EVENT_HOST:
		w->host = e->host;
		break;
	case EVENT_SERVER:
		on_server(w, &e->server);
		break;
	case EVENT_PROGRESS:
		expect_at(w, find(w, e->progress.id) != NULL && e->progress.fraction <= 1, __LINE__,
			  "progress of %s", e->progress.id);
		break;
	case EVENT_REMOVED:
		gone = server(w, e->removed.id);
		*gone = w->servers[--w->server_count];
		break;
	case EVENT_SYNCED:
		w->is_synced = true;
		break;
	case EVENT_LOG:
		w->log_lines++;
		w->log_dropped += e->log.dropped;
		break;
	case EVENT_HELLO:
	case EVENT_REPLY:
	case EVENT_BYE:
		break;
	}
}

static inline void on_down(void *user, const struct err *why)
{
	struct world *w = user;

	w->is_synced = false;
	w->down = *why;
}

static const struct link_callbacks callbacks = { on_up, on_event, on_down };

/* Runs the loop in slices until `is_so`. */
static inline void on_slice(struct timer *t)
{
	loop_stop(t->loop);
}

typedef bool predicate(struct world *w);

static inline bool wait_for(struct world *w, predicate *is_so, int ms)
{
	double until_ms = now_ms() + ms;

	timer_init(&w->deadline, w->loop, on_slice);
	while (!is_so(w) && now_ms() < until_ms) {
		timer_start(&w->deadline, 2);
		loop_run(w->loop);
	}
	timer_stop(&w->deadline);
	return is_so(w);
}

static inline bool synced(struct world *w)
{
	return w->is_synced;
}

static inline bool replied(struct world *w)
{
	return w->owed == 0;
}

static inline bool never(struct world *w)
{
	(void)w;
	return false;
}

static inline void watch(struct world *w, int ms)
{
	wait_for(w, never, ms);
}

static inline bool all_in(struct world *w, enum server_phase phase)
{
	for (int i = 0; i < w->server_count; i++) {
		if (w->servers[i].phase != phase) {
			return false;
		}
	}
	return w->server_count > 0;
}

static inline bool all_ready(struct world *w)
{
	return all_in(w, SERVER_READY);
}

static inline bool all_stopped(struct world *w)
{
	return all_in(w, SERVER_STOPPED);
}

static inline bool all_failed(struct world *w)
{
	return all_in(w, SERVER_FAILED);
}

static inline bool all_loading(struct world *w)
{
	return all_in(w, SERVER_LOADING);
}

static inline struct link *dial(struct world *w, const char *socket_name, const char *controller)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/home/run/%s", w->home, socket_name);
	return link_unix_create(w->loop, path, controller, "agent-test", &callbacks, w);
}

static inline void attach(struct world *w, const char *controller)
{
	w->link = dial(w, "agent.sock", controller);
	EXPECT(w, wait_for(w, synced, WAIT_MS));
}

static inline void on_reply(void *user, const struct wire_reply *reply)
{
	struct world *w = user;

	w->owed--;
	w->reply = reply->err;
	if (reply->count > 0) {
		w->result = reply->results[0];
	}
}

static inline void ask(struct world *w, enum verb verb, const char *id, uint32_t drain_ms,
		       uint32_t deadline_ms)
{
	struct wire_request r = { .verb = verb,
				  .ids = &id,
				  .id_count = id != NULL ? 1 : 0,
				  .drain_ms = drain_ms,
				  .deadline_ms = deadline_ms };

	w->owed++;
	link_send(w->link, &r, on_reply, w);
}

static inline int get(struct world *w, enum verb verb, const char *id)
{
	ask(w, verb, id, 0, 0);
	EXPECT(w, wait_for(w, replied, 4 * WAIT_MS));
	return w->reply.code;
}

/* How many processes have `text` in their command line. */
static inline int processes_with(const char *text)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		char path[300], line[4096];
		int fd;

		snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
		fd = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? open(path, O_RDONLY) : -1;
		if (fd >= 0) {
			ssize_t got = read(fd, line, sizeof(line) - 1);

			for (ssize_t i = 0; i + 1 < got; i++) {
				line[i] = line[i] == '\0' ? ' ' : line[i];
			}
			line[got > 0 ? got : 0] = '\0';
			found += strstr(line, text) != NULL;
			close(fd);
		}
	}
	if (folder != NULL) {
		closedir(folder);
	}
	return found;
}

/* Shims and engines name the case's folder in their arguments. */
static inline bool nothing_is_left(struct world *w)
{
	return processes_with(w->home) == 0;
}

/* Every engine has ended, and the agent with them: there is no orphan, whatever the case did. */
static inline void shut_down(struct world *w)
{
	int status;

	if (get(w, VERB_SHUTDOWN, NULL) == 0) {
		double until_ms = now_ms() + WAIT_MS;

		while (waitpid(w->agent, &status, WNOHANG) == 0 && now_ms() < until_ms) {
			watch(w, 10);
		}
	}
	EXPECT(w, kill(w->agent, 0) != 0);
	EXPECT(w, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	w->agent = 0;
	link_close(w->link);
	EXPECT(w, wait_for(w, nothing_is_left, WAIT_MS));
}

static inline void begin(struct world *w)
{
	start_agent(w);
	attach(w, "");
}

/* Engines seen from outside */

static inline bool is_running(pid_t pid)
{
	struct proc p;

	return proc_identify(pid, &p) == 0;
}

static inline int open_stream(struct world *w, const struct server *s, const char *key)
{
	struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(s->port) };
	static const char body[] = "{\"prompt\":\"Once upon a time\",\"n_predict\":100000,"
				   "\"stream\":true,\"ignore_eos\":true}";
	char request[1024];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int len = snprintf(request, sizeof(request),
			   "POST /completion HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
			   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			   key, sizeof(body) - 1, body);

	inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
	EXPECT(w, connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0);
	EXPECT(w, write(fd, request, (size_t)len) == len);
	EXPECT(w, read(fd, request, sizeof(request) - 1) > 12);
	EXPECT(w, strncmp(request, "HTTP/1.1 200", 12) == 0);
	return fd;
}

static inline void take_key(struct world *w, const char *id, char key[WIRE_KEY_MAX_BYTES])
{
	EXPECT(w, get(w, VERB_CREDENTIALS, id) == 0);
	EXPECT(w, w->result.err.code == 0);
	snprintf(key, WIRE_KEY_MAX_BYTES, "%s", w->result.key);
}

static inline long number_of(struct world *w, const char *name)
{
	char *path = fs_join(w->home, name);
	struct buf text;
	long number;

	buf_init(&text, 64);
	EXPECT(w, fs_read(path, &text, NULL) == 0);
	number = strtol(buf_text(&text), NULL, 10);
	buf_finish(&text);
	free(path);
	return number;
}

static inline int dial_raw(struct world *w, const char *name)
{
	struct sockaddr_un where = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(where.sun_path, sizeof(where.sun_path), "%s/home/run/%s", w->home, name);
	EXPECT(w, connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0);
	return fd;
}

static inline bool answers(int fd, const char *words, int ms)
{
	char text[65536];
	size_t len = 0;
	double until_ms = now_ms() + ms;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (now_ms() < until_ms && len < sizeof(text) - 1) {
		ssize_t got =
			poll(&p, 1, 50) > 0 ? read(fd, text + len, sizeof(text) - 1 - len) : 0;

		len += got > 0 ? (size_t)got : 0;
		text[len] = '\0';
		if (strstr(text, words) != NULL) {
			return true;
		}
		if (got < 0 || (got == 0 && p.revents & POLLHUP)) {
			return false;
		}
	}
	return false;
}

static inline void say_raw(struct world *w, int fd, const char *text)
{
	EXPECT(w, write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

#define RAW_HELLO "{\"type\":\"hello\",\"version\":1,\"who\":\"raw\"}\n"

static inline long status_number(pid_t pid, const char *field)
{
	char path[64], line[256];
	long number = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, field, strlen(field)) == 0) {
			number = strtol(line + strlen(field) + 1, NULL, 10);
		}
	}
	if (f != NULL) {
		fclose(f);
	}
	return number;
}

/* Running the cases */

#define CASE(name) \
	{ \
#name, name \
	}
struct test_case {
	const char *name;
	void (*run)(struct world *w);
};

static inline bool run_case(const struct test_case *c)
{
	bool is_real = strstr(c->name, "the_real_engine") != NULL;
	int status;
	pid_t pid;

	if (is_real && getenv("RONZAL_TEST_ENGINE") == NULL) {
		printf("skip %s: no llama-server here (scripts/engine.sh)\n", c->name);
		return true;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct world *w = mem_alloc(sizeof(*w));

		w->name = c->name;
		set_up(w);
		c->run(w);
		watch(w, 50);
		buf_finish(&w->registry);
		loop_destroy(w->loop);
		remove_home(w);
		printf("ok %s\n", c->name);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status)) {
		printf("not ok %s: the test itself died of signal %d\n", c->name, WTERMSIG(status));
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static inline int run_cases(int argc, char **argv, const struct test_case *cases, size_t count)
{
	bool all_passed = true;
	char path[4096];

	if (argc < 3) {
		fprintf(stderr, "usage: %s BUILD_FOLDER DEMO_MODEL [CASE...]\n", argv[0]);
		return 2;
	}
	build_folder = realpath(argv[1], NULL);
	demo_model = realpath(argv[2], NULL);
	snprintf(path, sizeof(path), "%s/ronzal", build_folder != NULL ? build_folder : "");
	ronzal = path;
	if (demo_model == NULL || access(ronzal, X_OK) != 0) {
		fprintf(stderr, "no %s, or no %s\n", ronzal, argv[2]);
		return 2;
	}
	log_setup("agent-test", LOG_ERROR, STDERR_FILENO);
	for (size_t i = 0; i < count; i++) {
		bool is_wanted = argc == 3;

		for (int k = 3; k < argc; k++) {
			is_wanted = is_wanted || strstr(cases[i].name, argv[k]) != NULL;
		}
		if (is_wanted && !run_case(&cases[i])) {
			all_passed = false;
		}
	}
	return all_passed ? 0 : 1;
}

#endif
