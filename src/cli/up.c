/* SPDX-License-Identifier: MIT */
/*
 * `ronzal up`: everything on this machine, in one terminal. It attaches to the agent that runs or
 * starts one, starts every enabled model, then the gateway and the page, and waits. Ctrl-C ends
 * what it started, in the reverse order: page, gateway, models, agent.
 *
 * Each part is a child process in a session of its own (the terminal's Ctrl-C is ours alone) that
 * writes to a log file. One that ends by itself is started again after a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/demo.h"
#include "cli/term.h"
#include "cli/view.h"
#include "cli/visit.h"
#include "io/child.h"
#include "io/timer.h"

#define AGENT_TRIES 50
#define AGENT_TRY_MS 100
#define PART_AGAIN_MS 2000
#define PART_UP_MS 10000
#define PART_PROBE_MS 50
#define PART_STOP_MS 9000
#define OUT_MAX_BYTES 65536

struct up;

struct part {
	struct up *up;
	const char *name; /* the command: "backend", "frontend" */
	uint16_t port;	  /* 0: none to wait for */
	struct child *child;
	struct timer again, probe;
	struct conn *dial;
	uint64_t probe_until_ms;
	bool is_up;
};

struct up {
	struct cli *cli;
	struct visit visit;
	struct part backend, frontend;
	struct loop_signal *signals[2];
	bool leaving, agent_is_ours;
	const char **started; /* ids of models that did not run before */
	size_t started_count;
	struct buf out;
	size_t drawn;
};

static void on_part_exit(void *user, int exit_code);

/* The part's log, opened for appending; -1 when it cannot be. */
static int open_log(const struct cli *cli, const char *name)
{
	char *file = mem_printf("%s.log", name);
	char *path = fs_join(cli->paths.logs, file);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	free(path);
	free(file);
	return fd;
}

static int part_start(struct part *p, struct err *err)
{
	bool is_backend = p == &p->up->backend;
	const char *argv[] = { p->up->cli->layout.program, p->name, is_backend ? "--native" : NULL,
			       NULL };
	int log = open_log(p->up->cli, p->name);

	if (log < 0) {
		return err_set_os(err, -errno, "opening %s/%s.log", p->up->cli->paths.logs,
				  p->name);
	}
	struct child_options options = { .argv = argv,
					 .stdio = { CHILD_NULL, CHILD_FD, CHILD_FD },
					 .fds = { 0, log, log },
					 .new_session = true,
					 .on_exit = on_part_exit,
					 .user = p };

	p->child = child_start(p->up->visit.loop, &options, err);
	close(log);
	return p->child != NULL ? 0 : err->code;
}

static void on_again(struct timer *t)
{
	struct part *p = CONTAINER_OF(t, struct part, again);
	struct err err;

	if (part_start(p, &err) != 0) {
		fprintf(stderr, "ronzal: %s\n", err.text);
		timer_start(&p->again, PART_AGAIN_MS);
	}
}

static void on_part_exit(void *user, int exit_code)
{
	struct part *p = user;

	child_close(p->child);
	p->child = NULL;
	if (p->up->leaving) {
		loop_stop(p->up->visit.loop);
		return;
	}
	fprintf(stderr, "ronzal: the %s ended (%s %d); starting it again. Its log: %s/%s.log\n",
		p->name, exit_code < 0 ? "signal" : "exit code",
		exit_code < 0 ? -exit_code : exit_code, p->up->cli->paths.logs, p->name);
	timer_start(&p->again, PART_AGAIN_MS);
}

/* Waiting for a part's port */

static void on_probe_result(void *user, int status)
{
	struct part *p = user;

	conn_close(p->dial);
	p->dial = NULL;
	if (status == 0 || loop_now_ms(p->up->visit.loop) > p->probe_until_ms) {
		p->is_up = status == 0;
		p->probe_until_ms = 0;
		loop_stop(p->up->visit.loop);
	} else {
		timer_start(&p->probe, PART_PROBE_MS);
	}
}

static void on_probe(struct timer *t)
{
	struct part *p = CONTAINER_OF(t, struct part, probe);

	p->dial = conn_dial_tcp(p->up->visit.loop, "127.0.0.1", p->port, on_probe_result, p);
}

/* Starts a part and waits until its port answers; the caller looks at is_up. */
static int part_bring_up(struct part *p, struct err *err)
{
	int status = part_start(p, err);

	if (status != 0) {
		return status;
	}
	p->probe_until_ms = loop_now_ms(p->up->visit.loop) + PART_UP_MS;
	on_probe(&p->probe);
	while (p->probe_until_ms != 0 && !p->up->leaving) {
		loop_run(p->up->visit.loop);
	}
	if (!p->is_up && !p->up->leaving) {
		return err_set(err, ERR_UNAVAILABLE,
			       "the %s does not answer on port %u. Why: %s/%s.log", p->name,
			       p->port, p->up->cli->paths.logs, p->name);
	}
	return 0;
}

static void part_init(struct part *p, struct up *up, const char *name, uint32_t port)
{
	*p = (struct part){ .up = up, .name = name, .port = (uint16_t)port };
	timer_init(&p->again, up->visit.loop, on_again);
	timer_init(&p->probe, up->visit.loop, on_probe);
}

/* Tells a part to end and waits for it. */
static void part_stop(struct part *p, int signum)
{
	uint64_t give_up_ms = loop_now_ms(p->up->visit.loop) + PART_STOP_MS;

	timer_stop(&p->again);
	timer_stop(&p->probe);
	conn_close(p->dial);
	p->dial = NULL;
	if (p->child != NULL) {
		child_kill(p->child, signum);
	}
	while (p->child != NULL && loop_now_ms(p->up->visit.loop) < give_up_ms) {
		loop_run(p->up->visit.loop);
	}
	child_close(p->child);
	p->child = NULL;
}

/* The agent */

static void nap(unsigned ms)
{
	struct loop *loop = loop_create();
	struct timer t;

	timer_init(&t, loop, (void (*)(struct timer *))timer_stop);
	timer_start(&t, ms);
	loop_run(loop);
	loop_destroy(loop);
}

/* Starts an agent that is nobody's child: it must be there before our visit with it is. */
static int spawn_agent(struct up *up, struct err *err)
{
	const char *argv[] = { up->cli->layout.program, "agent", NULL };
	struct loop *loop = loop_create();
	int log = open_log(up->cli, "agent");
	struct child_options options = { .argv = argv,
					 .stdio = { CHILD_NULL, CHILD_FD, CHILD_FD },
					 .fds = { 0, log, log },
					 .new_session = true };
	struct child *child = log >= 0 ? child_start(loop, &options, err) : NULL;

	if (log < 0) {
		err_set_os(err, -errno, "opening %s/agent.log", up->cli->paths.logs);
	}
	close(log);
	int status = child != NULL ? 0 : err->code;

	child_close(child);
	loop_destroy(loop);
	return status;
}

static int attach(struct up *up, struct err *err)
{
	int status = visit_open(&up->visit, up->cli, err);

	if (status != ERR_NO_AGENT) {
		return status;
	}
	up->agent_is_ours = true;
	status = spawn_agent(up, err);
	for (int i = 0; status == 0 && i < AGENT_TRIES; i++) {
		nap(AGENT_TRY_MS);
		status = visit_open(&up->visit, up->cli, err);
		if (status != ERR_NO_AGENT) {
			return status;
		}
		status = 0;
	}
	return status != 0
		       ? status
		       : err_set(err, ERR_NO_AGENT, "the agent did not come up. Why: %s/agent.log",
				 up->cli->paths.logs);
}

/* Models */

static void draw(struct visit *s, const struct server *changed)
{
	struct up *up = s->user;
	bool live = term_is_live();
	int width = 0;

	for (size_t i = 0; i < s->count; i++) {
		int len = (int)strlen(s->servers[i].id);

		width = s->servers[i].enabled && len > width ? len : width;
	}
	if (!live && changed != NULL && changed->phase == SERVER_READY) {
		view_progress_row(changed, width, &up->out);
	}
	if (live && up->drawn > 0) {
		buf_printf(&up->out, "\x1b[%zuA", up->drawn);
	}
	up->drawn = 0;
	for (size_t i = 0; live && i < s->count; i++) {
		if (s->servers[i].enabled) {
			buf_add_text(&up->out, "\x1b[2K");
			view_progress_row(&s->servers[i], width, &up->out);
			up->drawn++;
		}
	}
	term_print(&up->out);
}

static void start_models(struct up *up)
{
	struct link_request request = { .verb = VERB_START };
	struct err err = { 0 };

	up->started = mem_alloc(up->visit.count * sizeof(*up->started));
	for (size_t i = 0; i < up->visit.count; i++) {
		const struct server *server = &up->visit.servers[i];

		if (server->enabled && !server_phase_is_running(server->phase)) {
			up->started[up->started_count++] = mem_strdup(server->id);
		}
	}
	up->visit.user = up;
	up->visit.on_change = draw;
	puts("");
	draw(&up->visit, NULL);
	if (visit_ask(&up->visit, &request, &err) != 0) {
		view_status(up->visit.servers, up->visit.count, &up->out);
		term_print(&up->out);
	}
	up->visit.on_change = NULL;
}

static const char *first_ready(const struct visit *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->servers[i].phase == SERVER_READY) {
			return s->servers[i].id;
		}
	}
	return "MODEL";
}

static void print_addresses(const struct up *up)
{
	const struct config *c = &up->cli->config;

	printf("\n  page     %s%u%s\n",
	       up->frontend.is_up ? "http://localhost:" : "not built (port ", c->frontend_port,
	       up->frontend.is_up ? "" : "): run make web");
	printf("  API      http://localhost:%u/v1      (OpenAI and Anthropic clients work "
	       "unchanged)\n",
	       c->backend_port);
	printf("  try      curl -N localhost:%u/v1/chat/completions -d '{\"model\":\"%s\","
	       "\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'\n",
	       c->backend_port, first_ready(&up->visit));
	printf("  chat     %s chat %s\n\n", up->cli->layout.program, first_ready(&up->visit));
	printf("Ctrl-C stops everything ronzal started.\n");
	fflush(stdout);
}

static void on_signal(void *user)
{
	struct up *up = user;

	up->leaving = true;
	up->visit.interrupted = true;
	loop_stop(up->visit.loop);
}

/* Ends what we started: with our own agent everything, else the models that did not run before. */
static void leave(struct up *up)
{
	struct link_request request = { .verb = up->agent_is_ours ? VERB_SHUTDOWN : VERB_STOP,
					.ids = up->started,
					.count = up->started_count };
	struct err err = { 0 };

	printf("\nstopping ...\n");
	fflush(stdout);
	up->leaving = true;
	part_stop(&up->frontend, SIGTERM);
	part_stop(&up->backend, SIGTERM);
	up->visit.interrupted = false;
	if ((up->agent_is_ours || up->started_count > 0) &&
	    visit_ask(&up->visit, &request, &err) != 0 && err.code != ERR_UNAVAILABLE) {
		fprintf(stderr, "ronzal: %s\n", err.text);
	}
}

static int run_parts(struct up *up, struct err *err)
{
	int status = part_bring_up(&up->backend, err);

	if (status == 0 && !up->leaving && fs_is_folder(cli_web_root(up->cli))) {
		status = part_bring_up(&up->frontend, err);
	}
	if (status == 0 && !up->leaving) {
		print_addresses(up);
	}
	while (status == 0 && !up->leaving) {
		loop_run(up->visit.loop);
	}
	return status;
}

int command_up(struct cli *cli, struct args *args, struct err *err)
{
	struct up up = { .cli = cli };
	int status = args_check(args, 0, 0, err);

	if (status == 0) {
		status = demo_register(cli, err);
	}
	if (status == 0) {
		status = attach(&up, err);
	}
	if (status != 0) {
		return status;
	}
	buf_init(&up.out, OUT_MAX_BYTES);
	part_init(&up.backend, &up, "backend", cli->config.backend_port);
	part_init(&up.frontend, &up, "frontend", cli->config.frontend_port);
	up.signals[0] = loop_signal_start(up.visit.loop, SIGINT, on_signal, &up);
	up.signals[1] = loop_signal_start(up.visit.loop, SIGTERM, on_signal, &up);
	start_models(&up);
	status = run_parts(&up, err);
	leave(&up);
	loop_signal_close(up.signals[0]);
	loop_signal_close(up.signals[1]);
	for (size_t i = 0; i < up.started_count; i++) {
		free((char *)(uintptr_t)up.started[i]);
	}
	free(up.started);
	buf_finish(&up.out);
	visit_close(&up.visit);
	return status;
}
