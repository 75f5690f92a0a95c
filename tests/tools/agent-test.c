/* SPDX-License-Identifier: MIT */
/*
 * agent-test BUILD_FOLDER DEMO_MODEL [CASE...]: drives a real `ronzal agent` over its sockets and
 * says "ok NAME", "skip NAME: why" or "not ok NAME: why" for each case. Engines are the scripted
 * fake-engine; one case wants a real one in RONZAL_TEST_ENGINE. RONZAL_TEST_FULL=1 runs the long
 * forms. Every case runs in a process of its own, with a folder and an agent of its own.
 */
#define _XOPEN_SOURCE 700 /* realpath: glibc hides it from POSIX.1-2008 alone */

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
#include "link/unix.h"
#include "os/proc.h"

#define PORT_MIN 19300
#define MODELS_MAX 8
#define WAIT_MS 15000
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
};

static const char *build_folder, *demo_model, *ronzal;

/* Failing */

static void end_agent(struct world *w, int signum)
{
	if (w->agent > 0) {
		kill(w->agent, signum);
		waitpid(w->agent, NULL, 0);
		w->agent = 0;
	}
}

/* Shims that a failed case leaves behind end their engines when they are told to end. */
static void end_shims(const struct world *w)
{
	char run[128];
	DIR *folder;
	struct dirent *entry;
	uint16_t port;

	snprintf(run, sizeof(run), "%s/home/run", w->home);
	folder = opendir(run);
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		struct shim_identity id;
		struct buf text;
		char *path = fs_join(run, entry->d_name);

		buf_init(&text, SHIM_IDENTITY_MAX_BYTES);
		if (shim_port_of(entry->d_name, "id", &port) && fs_read(path, &text, NULL) == 0 &&
		    shim_identity_parse(span_trim(buf_span(&text)), &id) == 0) {
			proc_signal(id.shim, SIGTERM);
		}
		buf_finish(&text);
		free(path);
	}
	if (folder != NULL) {
		closedir(folder);
	}
}

static void expect_at(struct world *w, bool is_so, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void expect_at(struct world *w, bool is_so, int line, const char *format, ...)
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

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static int rounds(int in_a_test, int in_full)
{
	return getenv("RONZAL_TEST_FULL") != NULL ? in_full : in_a_test;
}

/* Files */

static void write_text(struct world *w, const char *name, const char *text)
{
	char *path = fs_join(w->home, name);

	EXPECT(w, fs_replace(path, span_of(text), 0600, NULL) == 0);
	free(path);
}

static void copy_demo(struct world *w, const char *name)
{
	struct buf bytes;
	char *path = fs_join(w->home, name);

	buf_init(&bytes, 64u << 20);
	EXPECT(w, fs_read(demo_model, &bytes, NULL) == 0);
	EXPECT(w, fs_replace(path, buf_span(&bytes), 0600, NULL) == 0);
	buf_finish(&bytes);
	free(path);
}

static void save_registry(struct world *w)
{
	struct buf text;

	buf_init(&text, 1u << 20);
	buf_printf(&text, "{\"models\":{%s}}", buf_text(&w->registry));
	write_text(w, "registry.json", buf_text(&text));
	buf_finish(&text);
}

/* settings: more members of the registry's entry, each with a comma before it. */
static void add_model(struct world *w, const char *id, const char *script, const char *settings)
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

/* The agent */

static pid_t run_ronzal(struct world *w, const char *const *argv, int out_fd)
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

static void start_agent(struct world *w)
{
	const char *const argv[] = { "ronzal", "agent", NULL };

	w->agent = run_ronzal(w, argv, -1);
}

/* Its exit code; its output goes into a pipe, as sshd's children have it, and is thrown away. */
static int run_piped(struct world *w, const char *const *argv)
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

static void set_up(struct world *w)
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

static void remove_home(struct world *w)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", w->home, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

/* The link */

static struct server *find(struct world *w, const char *id)
{
	for (int i = 0; i < w->server_count; i++) {
		if (strcmp(w->servers[i].id, id) == 0) {
			return &w->servers[i];
		}
	}
	return NULL;
}

static struct server *server(struct world *w, const char *id)
{
	struct server *s = find(w, id);

	expect_at(w, s != NULL, __LINE__, "the agent did not tell of %s", id);
	return s;
}

static void on_up(void *user)
{
	(void)user;
}

static void on_host(void *user, const struct host_info *host)
{
	struct world *w = user;

	w->host = *host;
}

static void on_server(void *user, const struct server *told)
{
	struct world *w = user;
	struct server *s = find(w, told->id);

	if (s == NULL && w->server_count < MODELS_MAX * 2) {
		s = &w->servers[w->server_count++];
	}
	if (s != NULL) {
		*s = *told;
	}
	if (told->phase == SERVER_READY) {
		w->noticed_ms = now_ms();
	}
}

static void on_progress(void *user, const char *id, float fraction, int32_t eta_ms)
{
	struct world *w = user;

	(void)eta_ms;
	expect_at(w, find(w, id) != NULL && fraction <= 1, __LINE__, "progress of %s", id);
}

static void on_removed(void *user, const char *id)
{
	struct world *w = user;

	struct server *gone = server(w, id);

	w->server_count--;
	*gone = w->servers[w->server_count];
}

static void on_synced(void *user)
{
	struct world *w = user;

	w->is_synced = true;
}

static void on_log(void *user, const char *id, struct span line, uint64_t dropped)
{
	struct world *w = user;

	(void)id;
	(void)line;
	w->log_lines++;
	w->log_dropped += dropped;
}

static void on_down(void *user, const struct err *why)
{
	struct world *w = user;

	w->is_synced = false;
	w->down = *why;
}

static const struct link_callbacks callbacks = { .on_up = on_up,
						 .on_host = on_host,
						 .on_server = on_server,
						 .on_progress = on_progress,
						 .on_removed = on_removed,
						 .on_synced = on_synced,
						 .on_log = on_log,
						 .on_down = on_down };

/* Runs the loop in slices until `is_so`. */
static void on_slice(struct timer *t)
{
	loop_stop(t->loop);
}

typedef bool predicate(struct world *w);

static bool wait_for(struct world *w, predicate *is_so, int ms)
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

static bool synced(struct world *w)
{
	return w->is_synced;
}

static bool replied(struct world *w)
{
	return w->owed == 0;
}

static bool never(struct world *w)
{
	(void)w;
	return false;
}

static void watch(struct world *w, int ms)
{
	wait_for(w, never, ms);
}

static bool all_in(struct world *w, enum server_phase phase)
{
	for (int i = 0; i < w->server_count; i++) {
		if (w->servers[i].phase != phase) {
			return false;
		}
	}
	return w->server_count > 0;
}

static bool all_ready(struct world *w)
{
	return all_in(w, SERVER_READY);
}

static bool all_stopped(struct world *w)
{
	return all_in(w, SERVER_STOPPED);
}

static bool all_failed(struct world *w)
{
	return all_in(w, SERVER_FAILED);
}

static bool all_loading(struct world *w)
{
	return all_in(w, SERVER_LOADING);
}

static struct link *dial(struct world *w, const char *socket_name, const char *controller)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/home/run/%s", w->home, socket_name);
	return link_unix_create(w->loop, path, controller, "agent-test", &callbacks, w);
}

static void attach(struct world *w, const char *controller)
{
	w->link = dial(w, "agent.sock", controller);
	EXPECT(w, wait_for(w, synced, WAIT_MS));
}

static void on_reply(void *user, const struct link_reply *reply)
{
	struct world *w = user;

	w->owed--;
	w->reply = reply->err;
	if (reply->count > 0) {
		w->result = reply->results[0];
	}
}

static void ask(struct world *w, enum verb verb, const char *id, uint32_t drain_ms,
		uint32_t deadline_ms)
{
	struct link_request r = { .verb = verb,
				  .ids = &id,
				  .count = id != NULL ? 1 : 0,
				  .drain_ms = drain_ms,
				  .deadline_ms = deadline_ms };

	w->owed++;
	link_send(w->link, &r, on_reply, w);
}

static int get(struct world *w, enum verb verb, const char *id)
{
	ask(w, verb, id, 0, 0);
	EXPECT(w, wait_for(w, replied, 60000));
	return w->reply.code;
}

/* Every engine has ended, and the agent with them. */
static void shut_down(struct world *w)
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
}

static void begin(struct world *w)
{
	start_agent(w);
	attach(w, "");
}

/* Engines seen from outside */

static bool is_running(pid_t pid)
{
	struct proc p;

	return proc_identify(pid, &p) == 0;
}

static int open_stream(struct world *w, const struct server *s, const char *key)
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

static void take_key(struct world *w, const char *id, char key[WIRE_KEY_MAX_BYTES])
{
	EXPECT(w, get(w, VERB_CREDENTIALS, id) == 0);
	EXPECT(w, w->result.err.code == 0);
	snprintf(key, WIRE_KEY_MAX_BYTES, "%s", w->result.key);
}

/* Cases */

static void starts_all_enabled_models_together(struct world *w)
{
	add_model(w, "a", "health_delay_ms 400\n", "");
	add_model(w, "b", "health_delay_ms 400\n", "");
	add_model(w, "c", "health_delay_ms 400\n", "");
	begin(w);
	double begun_ms = now_ms();

	EXPECT(w, get(w, VERB_START, NULL) == 0);
	EXPECT(w, all_ready(w));
	EXPECT(w, now_ms() - begun_ms < 1100);
	EXPECT(w, server(w, "a")->receipt.verdict == RECEIPT_CPU);
	EXPECT(w, server(w, "b")->receipt.context_tokens == 4096);
	EXPECT(w, server(w, "c")->load_ms >= 400);
	EXPECT(w, get(w, VERB_STOP, NULL) == 0);
	EXPECT(w, all_stopped(w));
	shut_down(w);
}

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static long number_of(struct world *w, const char *name)
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

/* From the engine's first 200, which it notes itself, to the link's READY. */
static void readiness_is_noticed_at_once(struct world *w)
{
	enum { SAMPLES_MAX = 100 };
	double late_ms[SAMPLES_MAX];
	int count = rounds(15, SAMPLES_MAX);

	add_model(w, "m", "", "");
	begin(w);
	for (int i = 0; i < count; i++) {
		char script[64];

		snprintf(script, sizeof(script), "health_delay_ms %d\n", 150 + i * 37 % 211);
		write_text(w, "models/m.gguf.fake", script);
		EXPECT(w, get(w, VERB_RESTART, "m") == 0);
		late_ms[i] = w->noticed_ms - (double)number_of(w, "models/m.gguf.ready");
	}
	qsort(late_ms, (size_t)count, sizeof(late_ms[0]), compare_doubles);
	printf("# noticed after %.0f ms median, %.0f ms p99 of %d\n", late_ms[count / 2],
	       late_ms[count - 1 - count / 100], count);
	EXPECT(w, late_ms[count / 2] <= 20);
	EXPECT(w, late_ms[count - 1 - count / 100] <= 60);
	shut_down(w);
}

static void a_killed_agent_is_replaced_without_a_reload(struct world *w)
{
	pid_t a, b;

	add_model(w, "a", "", "");
	add_model(w, "b", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	a = server(w, "a")->pid;
	b = server(w, "b")->pid;
	for (int i = 0; i < rounds(5, 50); i++) {
		end_agent(w, i % 2 == 0 ? SIGKILL : SIGTERM);
		w->is_synced = false;
		start_agent(w);
		EXPECT(w, wait_for(w, synced, WAIT_MS));
		EXPECT(w, all_ready(w));
		EXPECT(w, server(w, "a")->pid == a && server(w, "b")->pid == b);
		EXPECT(w, server(w, "a")->receipt.verdict == RECEIPT_CPU);
		EXPECT(w, server(w, "a")->starts == 1);
	}
	EXPECT(w, get(w, VERB_CREDENTIALS, "a") == 0 && w->result.key[0] != '\0');
	shut_down(w);
	EXPECT(w, !is_running(a) && !is_running(b));
}

static bool restarted(struct world *w)
{
	return all_ready(w) && w->servers[0].restarts > 0 && w->servers[0].error[0] == '\0';
}

static bool in_backoff(struct world *w)
{
	return w->servers[0].phase == SERVER_BACKOFF;
}

static void a_killed_engine_is_started_again_and_the_reason_told(struct world *w)
{
	pid_t pid;

	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	pid = server(w, "m")->pid;
	kill(pid, SIGKILL);
	EXPECT(w, wait_for(w, in_backoff, 2000));
	EXPECT(w, strstr(server(w, "m")->error, "SIGKILL") != NULL);
	EXPECT(w, wait_for(w, restarted, WAIT_MS));
	EXPECT(w, server(w, "m")->pid != pid);
	shut_down(w);
}

static void a_killed_shim_takes_its_engine_along_and_both_come_back(struct world *w)
{
	char path[256];
	struct shim_identity id;
	struct buf text;
	pid_t pid;

	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	pid = server(w, "m")->pid;
	snprintf(path, sizeof(path), "%s/home/run/shim-%d.id", w->home, PORT_MIN);
	buf_init(&text, SHIM_IDENTITY_MAX_BYTES);
	EXPECT(w, fs_read(path, &text, NULL) == 0);
	EXPECT(w, shim_identity_parse(span_trim(buf_span(&text)), &id) == 0);
	buf_finish(&text);
	kill(id.shim.pid, SIGKILL);
	EXPECT(w, wait_for(w, restarted, WAIT_MS));
	EXPECT(w, !is_running(pid));
	shut_down(w);
}

static void a_crash_loop_backs_off_and_fails_with_the_reason(struct world *w)
{
	struct rusage before, after;
	double begun_ms;

	add_model(w, "m", "exit_after_ms 50\nhealth_delay_ms 1000\n", "");
	begin(w);
	getrusage(RUSAGE_CHILDREN, &before);
	begun_ms = now_ms();
	EXPECT(w, get(w, VERB_START, NULL) == ERR_ENGINE_FAILED);
	EXPECT(w, all_failed(w));
	EXPECT(w, server(w, "m")->starts == 5);
	EXPECT(w, now_ms() - begun_ms > 9000);
	EXPECT(w, strstr(server(w, "m")->error, "exit code 1") != NULL);
	EXPECT(w, server(w, "m")->next_step[0] != '\0');
	shut_down(w);
	getrusage(RUSAGE_CHILDREN, &after);
	printf("# agent's CPU over %.0f s of crashes: %ld ms\n", (now_ms() - begun_ms) / 1000,
	       (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000 +
		       (after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1000);
}

static void a_hopeless_engine_is_not_tried_again(struct world *w)
{
	char text[256];

	snprintf(text, sizeof(text), "log %s/death.log\nexit_after_ms 50\nhealth_delay_ms 1000\n",
		 w->home);
	write_text(w, "death.log",
		   "llama_model_load: error loading model: unknown model architecture: 'x'\n");
	add_model(w, "m", text, "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == ERR_NO_ENGINE);
	EXPECT(w, server(w, "m")->phase == SERVER_FAILED && server(w, "m")->starts == 1);
	shut_down(w);
}

static void an_engine_that_ignores_term_is_killed_in_time(struct world *w)
{
	double begun_ms;

	add_model(w, "deaf", "ignore_term 1\n", "");
	add_model(w, "frozen", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	kill(server(w, "frozen")->pid, SIGSTOP);
	begun_ms = now_ms();
	EXPECT(w, get(w, VERB_STOP, NULL) == 0);
	EXPECT(w, now_ms() - begun_ms < 3600);
	EXPECT(w, all_stopped(w));
	shut_down(w);
}

static void a_grandchild_that_holds_stdout_is_gone_after_the_stop(struct world *w)
{
	double begun_ms;
	pid_t pid;

	add_model(w, "m", "grandchild 1\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	pid = (pid_t)number_of(w, "models/m.gguf.grandchild");
	EXPECT(w, is_running(pid));
	begun_ms = now_ms();
	EXPECT(w, get(w, VERB_STOP, NULL) == 0);
	EXPECT(w, now_ms() - begun_ms < 4000);
	for (int i = 0; i < 100 && is_running(pid); i++) {
		watch(w, 10); /* it was killed, not waited for: it is not the shim's child */
	}
	EXPECT(w, !is_running(pid));
	shut_down(w);
}

static void another_program_on_the_port_is_named_and_left_alone(struct world *w)
{
	struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(PORT_MIN) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	add_model(w, "m", "", "");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
	EXPECT(w, bind(fd, (struct sockaddr *)&where, sizeof(where)) == 0 && listen(fd, 1) == 0);
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == ERR_BUSY);
	EXPECT(w, strstr(server(w, "m")->error, "agent-test") != NULL);
	EXPECT(w, strstr(server(w, "m")->error, "19300") != NULL);
	close(fd);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	shut_down(w);
}

static void a_port_that_proves_nothing_is_not_ready(struct world *w)
{
	add_model(w, "open", "any_key 1\n", "");
	add_model(w, "shut", "refuse_key 1\n", "");
	add_model(w, "odd", "health_status 404\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == ERR_ENGINE_FAILED);
	EXPECT(w, all_failed(w));
	EXPECT(w, strstr(server(w, "open")->error, "wrong key") != NULL);
	EXPECT(w, strstr(server(w, "shut")->error, "refuses the key") != NULL);
	EXPECT(w, server(w, "odd")->pid == 0);
	shut_down(w);
}

static void stops_and_starts_that_cross_are_idempotent(struct world *w)
{
	add_model(w, "m", "health_delay_ms 3000\n", "");
	begin(w);
	ask(w, VERB_START, "m", 0, 0);
	EXPECT(w, wait_for(w, all_loading, WAIT_MS));
	EXPECT(w, get(w, VERB_STOP, "m") == 0);
	EXPECT(w, all_stopped(w));
	EXPECT(w, get(w, VERB_STOP, "m") == 0);
	write_text(w, "models/m.gguf.fake", "ignore_term 1\n");
	EXPECT(w, get(w, VERB_START, "m") == 0);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	EXPECT(w, server(w, "m")->starts == 2);
	ask(w, VERB_STOP, "m", 0, 0);
	ask(w, VERB_STOP, "m", 0, 0);
	watch(w, 200);
	EXPECT(w, server(w, "m")->phase == SERVER_STOPPING);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	EXPECT(w, server(w, "m")->phase == SERVER_READY && server(w, "m")->starts == 3);
	shut_down(w);
}

static void stops_in_mid_stream_keep_their_deadline(struct world *w)
{
	char key[WIRE_KEY_MAX_BYTES];
	double worst_ms = 0;

	add_model(w, "m", "events 1000000\nevent_delay_ms 5\n", "");
	begin(w);
	for (int i = 0; i < rounds(5, 100); i++) {
		double begun_ms;
		int fd;

		EXPECT(w, get(w, VERB_START, "m") == 0);
		take_key(w, "m", key);
		fd = open_stream(w, server(w, "m"), key);
		begun_ms = now_ms();
		ask(w, VERB_STOP, "m", 1000, 7000);
		EXPECT(w, wait_for(w, replied, 8000) && w->reply.code == 0);
		EXPECT(w, all_stopped(w));
		worst_ms = now_ms() - begun_ms > worst_ms ? now_ms() - begun_ms : worst_ms;
		close(fd);
	}
	printf("# slowest stop in mid-stream: %.0f ms\n", worst_ms);
	EXPECT(w, worst_ms < 7000);
	shut_down(w);
}

static void a_drain_ends_when_the_last_stream_does(struct world *w)
{
	char key[WIRE_KEY_MAX_BYTES];
	double begun_ms;
	int fd;

	add_model(w, "m", "events 20\nevent_delay_ms 25\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	take_key(w, "m", key);
	fd = open_stream(w, server(w, "m"), key);
	begun_ms = now_ms();
	ask(w, VERB_STOP, "m", 10000, 20000);
	EXPECT(w, wait_for(w, replied, 8000) && w->reply.code == 0);
	EXPECT(w, now_ms() - begun_ms > 300 && now_ms() - begun_ms < 3000);
	close(fd);
	shut_down(w);
}

static void require_gpu_fails_a_start_on_the_cpu(struct world *w)
{
	add_model(w, "m", "", ",\"require_gpu\":true");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == ERR_ENGINE_FAILED);
	EXPECT(w, server(w, "m")->phase == SERVER_FAILED);
	EXPECT(w, strstr(server(w, "m")->error, "require_gpu") != NULL);
	EXPECT(w, server(w, "m")->pid == 0);
	shut_down(w);
}

static void a_model_that_does_not_fit_is_refused_with_the_sum(struct world *w)
{
	setenv("RONZAL_MEMORY_BUDGET_MIB", "1", 1);
	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == ERR_NO_MEMORY);
	EXPECT(w, server(w, "m")->starts == 0 && server(w, "m")->estimate_bytes > 0);
	shut_down(w);
}

static void models_outside_the_roots_are_refused(struct world *w)
{
	char link_path[256], target[256];

	add_model(w, "linked", "", "");
	add_model(w, "fifo", "", "");
	add_model(w, "gone", "", "");
	snprintf(link_path, sizeof(link_path), "%s/models/linked.gguf", w->home);
	snprintf(target, sizeof(target), "%s/outside.gguf", w->home);
	rename(link_path, target);
	EXPECT(w, symlink(target, link_path) == 0);
	snprintf(link_path, sizeof(link_path), "%s/models/fifo.gguf", w->home);
	unlink(link_path);
	EXPECT(w, mkfifo(link_path, 0600) == 0);
	snprintf(link_path, sizeof(link_path), "%s/models/gone.gguf", w->home);
	unlink(link_path);
	begin(w);
	EXPECT(w, get(w, VERB_START, "linked") == ERR_DENIED);
	EXPECT(w, get(w, VERB_START, "fifo") != 0);
	EXPECT(w, get(w, VERB_START, "gone") == ERR_NOT_FOUND);
	EXPECT(w, all_failed(w));
	shut_down(w);
}

static void a_broken_registry_leaves_the_last_good_one_in_force(struct world *w)
{
	static const char *const broken[] = { "", "{\"models\":{\"m\":", "[]", "\xff\xfe" };

	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		write_text(w, "registry.json", broken[i]);
		EXPECT(w, get(w, VERB_RELOAD, NULL) == 0);
		EXPECT(w, w->host.registry_error[0] != '\0');
		EXPECT(w, server(w, "m")->phase == SERVER_READY);
		EXPECT(w, get(w, VERB_RESTART, "m") == 0);
	}
	end_agent(w, SIGKILL);
	w->is_synced = false;
	start_agent(w);
	EXPECT(w, wait_for(w, synced, WAIT_MS));
	watch(w, 300);
	EXPECT(w, get(w, VERB_RESTART, "m") == 0);
	save_registry(w);
	EXPECT(w, get(w, VERB_RELOAD, NULL) == 0);
	watch(w, 100);
	EXPECT(w, w->host.registry_error[0] == '\0');
	shut_down(w);
}

static bool gone_from_list(struct world *w)
{
	return find(w, "m") == NULL;
}

static void a_model_taken_from_the_registry_leaves_once_it_is_stopped(struct world *w)
{
	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	write_text(w, "registry.json", "{\"models\":{}}");
	EXPECT(w, get(w, VERB_RELOAD, NULL) == 0);
	watch(w, 100);
	EXPECT(w, server(w, "m")->phase == SERVER_READY);
	EXPECT(w, get(w, VERB_STOP, "m") == 0);
	EXPECT(w, wait_for(w, gone_from_list, 2000));
	EXPECT(w, get(w, VERB_START, "m") == ERR_NOT_FOUND);
	shut_down(w);
}

static bool is_down(struct world *w)
{
	return w->down.code != 0;
}

static void a_lost_controllers_servers_stop_after_its_lease(struct world *w)
{
	struct link *controller;
	double lost_ms;

	setenv("RONZAL_CONTROLLER_LEASE_S", "2", 1);
	add_model(w, "a", "", "");
	add_model(w, "b", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "b") == 0); /* a person's: it stays */
	link_close(w->link);
	w->is_synced = false;
	attach(w, "controller-1");
	EXPECT(w, get(w, VERB_START, "a") == 0);
	EXPECT(w, server(w, "a")->by_controller && !server(w, "b")->by_controller);
	link_close(w->link);
	w->is_synced = false;
	watch(w, 1000);
	attach(w, "controller-1"); /* back in time */
	watch(w, 1500);
	EXPECT(w, all_ready(w));
	controller = w->link;
	w->down = (struct err){ 0 };
	w->link = dial(w, "agent.sock", "controller-2");
	EXPECT(w, wait_for(w, is_down, 2000) && w->down.code == ERR_BUSY);
	link_close(w->link);
	link_close(controller);
	lost_ms = now_ms();
	w->is_synced = false;
	attach(w, "");
	while (server(w, "a")->phase == SERVER_READY && now_ms() - lost_ms < 5000) {
		watch(w, 20);
	}
	EXPECT(w, now_ms() - lost_ms > 1900);
	EXPECT(w, now_ms() - lost_ms < 3000);
	watch(w, 500);
	EXPECT(w, server(w, "a")->phase == SERVER_STOPPED);
	EXPECT(w, server(w, "b")->phase == SERVER_READY);
	shut_down(w);
}

static void a_second_agent_says_so_and_leaves(struct world *w)
{
	const char *const argv[] = { "ronzal", "agent", NULL };

	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, run_piped(w, argv) == err_exit_code(ERR_BUSY));
	EXPECT(w, get(w, VERB_START, "m") == 0);
	shut_down(w);
}

static void the_one_shot_form_exits_by_what_came_of_it(struct world *w)
{
	const char *const start[] = { "ronzal", "start", "--stdio", NULL };
	const char *const stop[] = { "ronzal", "stop", "--stdio", NULL };

	add_model(w, "m", "health_delay_ms 100\n", "");
	begin(w);
	EXPECT(w, run_piped(w, start) == 0);
	watch(w, 50);
	EXPECT(w, server(w, "m")->phase == SERVER_READY && !server(w, "m")->by_controller);
	EXPECT(w, run_piped(w, stop) == 0);
	watch(w, 50);
	EXPECT(w, all_stopped(w));
	write_text(w, "models/m.gguf.fake", "refuse_key 1\n");
	EXPECT(w, run_piped(w, start) == err_exit_code(ERR_ENGINE_FAILED));
	shut_down(w);
}

static int dial_raw(struct world *w, const char *name)
{
	struct sockaddr_un where = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(where.sun_path, sizeof(where.sun_path), "%s/home/run/%s", w->home, name);
	EXPECT(w, connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0);
	return fd;
}

static bool answers(int fd, const char *words, int ms)
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

static void say_raw(struct world *w, int fd, const char *text)
{
	EXPECT(w, write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

#define RAW_HELLO "{\"type\":\"hello\",\"version\":1,\"who\":\"raw\"}\n"

static void bad_input_ends_that_session_and_no_other(struct world *w)
{
	static const char *const bad[] = {
		"\n",
		"GET / HTTP/1.1\r\n\r\n",
		"{\"type\":\"start\"}\n",
		"{\"type\":\"hello\",\"version\":99,\"version_min\":99}\n",
		RAW_HELLO "{\"type\":\"start\",\"models\":[7]}\n",
		RAW_HELLO "{}\n"
	};
	char *flood = mem_alloc(200001);

	add_model(w, "m", "", "");
	begin(w);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int fd = dial_raw(w, "control.sock");

		say_raw(w, fd, bad[i]);
		EXPECT(w, answers(fd, "\"bye\"", 2000));
		close(fd);
	}
	memset(flood, 'x', 200000);
	int fd = dial_raw(w, "control.sock");

	EXPECT(w, write(fd, flood, 200000) > 0);
	EXPECT(w, answers(fd, "\"bye\"", 2000));
	close(fd);
	fd = dial_raw(w, "control.sock");
	say_raw(w, fd, RAW_HELLO "{\"type\":\"shutdown\",\"seq\":1}\n");
	EXPECT(w, answers(fd, "DENIED", 2000));
	close(fd);
	free(flood);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	shut_down(w);
}

static long status_number(pid_t pid, const char *field)
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

static void a_peer_that_never_reads_harms_nobody(struct world *w)
{
	long before_kib;
	int fds[8];

	add_model(w, "m", "log_count 200000\n", "");
	begin(w);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial_raw(w, "control.sock");
		say_raw(w, fds[i], RAW_HELLO "{\"type\":\"subscribe\"}\n");
	}
	watch(w, 100);
	before_kib = status_number(w->agent, "VmRSS");
	link_follow_logs(w->link, NULL, 0, 0);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	watch(w, 1500);
	EXPECT(w, get(w, VERB_STOP, "m") == 0);
	printf("# agent with %zu peers that never read: %ld KiB, before %ld KiB\n", ARRAY_LEN(fds),
	       status_number(w->agent, "VmRSS"), before_kib);
	EXPECT(w,
	       !MEASURES_MEMORY || status_number(w->agent, "VmRSS") < before_kib + 8 * 512 + 1024);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		close(fds[i]);
	}
	shut_down(w);
}

static void logs_come_with_their_tail_and_live(struct world *w)
{
	const char *id = "m";

	add_model(w, "m", "log_count 1000\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	watch(w, 300);
	link_follow_logs(w->link, &id, 1, 10);
	watch(w, 200);
	EXPECT(w, w->log_lines == 10);
	EXPECT(w, get(w, VERB_RESTART, "m") == 0);
	watch(w, 500);
	EXPECT(w, w->log_lines + w->log_dropped > 1000);
	shut_down(w);
}

static void an_idle_agent_rests(struct world *w)
{
	long switches, kib;

	add_model(w, "a", "", "");
	add_model(w, "b", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	link_close(w->link);
	watch(w, 2000);
	switches = status_number(w->agent, "voluntary_ctxt_switches");
	watch(w, 5000);
	switches = status_number(w->agent, "voluntary_ctxt_switches") - switches;
	kib = status_number(w->agent, "VmRSS");
	printf("# idle agent with two engines: %ld KiB, %ld wake-ups in 5 s\n", kib, switches);
	EXPECT(w, switches <= 5);
	EXPECT(w, !MEASURES_MEMORY || kib < 8192);
	w->is_synced = false;
	attach(w, "");
	shut_down(w);
}

static void the_real_engine_is_proved_stopped_and_adopted(struct world *w)
{
	char key[WIRE_KEY_MAX_BYTES];
	double begun_ms;
	pid_t pid;
	int fd;

	setenv("RONZAL_ENGINE", getenv("RONZAL_TEST_ENGINE"), 1);
	add_model(w, "m", "", ",\"ctx_size\":2048");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	EXPECT(w, server(w, "m")->receipt.verdict != RECEIPT_UNKNOWN);
	EXPECT(w, server(w, "m")->receipt.context_tokens > 0);
	pid = server(w, "m")->pid;
	end_agent(w, SIGKILL);
	w->is_synced = false;
	start_agent(w);
	EXPECT(w, wait_for(w, synced, WAIT_MS));
	EXPECT(w, server(w, "m")->phase == SERVER_READY && server(w, "m")->pid == pid);
	take_key(w, "m", key);
	fd = open_stream(w, server(w, "m"), key);
	begun_ms = now_ms();
	ask(w, VERB_STOP, "m", 1000, 7000);
	EXPECT(w, wait_for(w, replied, 8000) && w->reply.code == 0);
	printf("# a real engine in mid-stream stopped after %.0f ms\n", now_ms() - begun_ms);
	EXPECT(w, !is_running(pid));
	close(fd);
	shut_down(w);
}

#define CASE(name) \
	{ \
#name, name \
	}
static const struct test_case {
	const char *name;
	void (*run)(struct world *w);
} cases[] = {
	CASE(starts_all_enabled_models_together),
	CASE(readiness_is_noticed_at_once),
	CASE(a_killed_agent_is_replaced_without_a_reload),
	CASE(a_killed_engine_is_started_again_and_the_reason_told),
	CASE(a_killed_shim_takes_its_engine_along_and_both_come_back),
	CASE(a_crash_loop_backs_off_and_fails_with_the_reason),
	CASE(a_hopeless_engine_is_not_tried_again),
	CASE(an_engine_that_ignores_term_is_killed_in_time),
	CASE(a_grandchild_that_holds_stdout_is_gone_after_the_stop),
	CASE(another_program_on_the_port_is_named_and_left_alone),
	CASE(a_port_that_proves_nothing_is_not_ready),
	CASE(stops_and_starts_that_cross_are_idempotent),
	CASE(stops_in_mid_stream_keep_their_deadline),
	CASE(a_drain_ends_when_the_last_stream_does),
	CASE(require_gpu_fails_a_start_on_the_cpu),
	CASE(a_model_that_does_not_fit_is_refused_with_the_sum),
	CASE(models_outside_the_roots_are_refused),
	CASE(a_broken_registry_leaves_the_last_good_one_in_force),
	CASE(a_model_taken_from_the_registry_leaves_once_it_is_stopped),
	CASE(a_lost_controllers_servers_stop_after_its_lease),
	CASE(a_second_agent_says_so_and_leaves),
	CASE(the_one_shot_form_exits_by_what_came_of_it),
	CASE(bad_input_ends_that_session_and_no_other),
	CASE(a_peer_that_never_reads_harms_nobody),
	CASE(logs_come_with_their_tail_and_live),
	CASE(an_idle_agent_rests),
	CASE(the_real_engine_is_proved_stopped_and_adopted),
};

static bool run_case(const struct test_case *c)
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

int main(int argc, char **argv)
{
	bool all_passed = true;
	char path[4096];

	if (argc < 3) {
		fprintf(stderr, "usage: agent-test BUILD_FOLDER DEMO_MODEL [CASE...]\n");
		return 2;
	}
	build_folder = realpath(argv[1], NULL);
	demo_model = realpath(argv[2], NULL);
	snprintf(path, sizeof(path), "%s/ronzal", build_folder != NULL ? build_folder : "");
	ronzal = path;
	if (demo_model == NULL || access(ronzal, X_OK) != 0) {
		fprintf(stderr, "agent-test: no %s, or no %s\n", ronzal, argv[2]);
		return 2;
	}
	log_setup("agent-test", LOG_ERROR, STDERR_FILENO);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
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
