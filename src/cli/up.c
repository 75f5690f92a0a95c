/* SPDX-License-Identifier: MIT */
/*
 * `ronzal up`: everything on this machine, in one terminal. It attaches to the agent that runs or
 * keeps one, starts every enabled model, then the gateway and the page, and waits. Ctrl-C ends
 * what it started, in the reverse order: page, gateway, models, agent. If it is killed, they notice
 * and end by themselves (cli/daemon.h).
 *
 * Each part is a kept child in a session of its own (the terminal's Ctrl-C is ours alone) that
 * writes to a log file.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/daemon.h"
#include "cli/demo.h"
#include "cli/view.h"
#include "os/port.h"

#define PART_AGAIN_MS 2000
#define PART_UP_MS 30000
#define PART_PROBE_MS 50
#define PART_STOP_MS 9000

struct up;

struct part {
	struct up *up;
	struct kept kept;
	char *log;
	uint16_t port;
	struct timer probe;
	struct conn *dial;
	uint64_t probe_until_ms; /* 0: it is up, or was given up */
	bool is_up;
};

struct up {
	struct cli *cli;
	struct visit visit;
	struct daemon daemon; /* on the visit's loop */
	struct part agent, backend, frontend;
	bool has_agent; /* the part; else one that is not ours to start or to stop */
	bool is_leaving;
	struct wire_request models; /* those that did not run before, to start and to stop them */
};

/* Parts */

static uint32_t on_part_end(struct kept *k, int exit_code)
{
	struct part *p = CONTAINER_OF(k, struct part, kept);

	if (p->up->is_leaving || p->probe_until_ms != 0) {
		p->probe_until_ms = 0;
		loop_stop(k->loop);
	} else if (p == &p->up->agent && exit_code == err_exit_code(ERR_BUSY)) {
		fprintf(stderr, "ronzal: another agent runs now, which is left alone\n");
		p->up->has_agent = false;
		kept_stop(k, SIGTERM);
	} else {
		fprintf(stderr, "ronzal: the %s ended (%s %d); starting it again. Its log: %s\n",
			k->argv[1], exit_code < 0 ? "signal" : "exit code", abs(exit_code), k->log);
	}
	return PART_AGAIN_MS;
}

static void on_probe_result(void *user, int status)
{
	struct part *p = user;

	conn_close(p->dial);
	p->dial = NULL;
	if (status == 0 || loop_now_ms(p->kept.loop) > p->probe_until_ms) {
		p->is_up = status == 0;
		p->probe_until_ms = 0;
		loop_stop(p->kept.loop);
	} else {
		timer_start(&p->probe, PART_PROBE_MS);
	}
}

static void on_probe(struct timer *t)
{
	struct part *p = CONTAINER_OF(t, struct part, probe);

	if (p->up->is_leaving) { /* the part has had its time */
		loop_stop(p->kept.loop);
		return;
	}
	p->dial = conn_dial_tcp(p->kept.loop, "127.0.0.1", p->port, on_probe_result, p);
}

/* Starts a part and waits until its port answers. */
static int part_bring_up(struct part *p, struct err *err)
{
	kept_start(&p->kept);
	p->probe_until_ms = loop_now_ms(p->kept.loop) + PART_UP_MS;
	on_probe(&p->probe);
	while (p->probe_until_ms != 0 && !p->up->is_leaving) {
		loop_run(p->kept.loop);
	}
	return p->is_up || p->up->is_leaving
		       ? 0
		       : err_set(err, ERR_UNAVAILABLE, "the %s does not answer on port %u. Why: %s",
				 p->kept.argv[1], p->port, p->log);
}

static void part_init(struct part *p, struct up *up, const char *name, uint32_t port)
{
	*p = (struct part){ .up = up, .port = (uint16_t)port };
	p->log = mem_printf("%s/%s.log", up->cli->paths.logs, name);
	p->kept = (struct kept){ .loop = up->visit.loop,
				 .argv = { up->cli->places.program, name, "--kept",
					   p == &up->backend ? "--native" : NULL },
				 .log = p->log,
				 .on_end = on_part_end };
	timer_init(&p->probe, up->visit.loop, on_probe);
}

/* Tells a part to end and waits for it. */
static void part_stop(struct part *p)
{
	conn_close(p->dial);
	p->dial = NULL;
	kept_stop(&p->kept, SIGTERM);
	timer_start(&p->probe, PART_STOP_MS);
	while (p->kept.child != NULL && timer_is_on(&p->probe)) {
		loop_run(p->kept.loop);
	}
	timer_stop(&p->probe);
	kept_stop(&p->kept, SIGKILL);
	kept_close(&p->kept);
	free(p->log);
}

/* The agent and its models */

static int attach(struct up *up, struct err *err)
{
	struct proc agent;
	int status = visit_open(&up->visit, up->cli, err);

	if (status != ERR_NO_AGENT) {
		return status;
	}
	up->visit.loop = loop_create();
	up->has_agent = true;
	part_init(&up->agent, up, "agent", 0);
	kept_start(&up->agent.kept);
	status = service_await_agent(up->cli, &agent, err);
	return status == 0 ? visit_open_on(&up->visit, up->visit.loop, up->cli, err) : status;
}

/*
 * The end of its keeper's pipe, not a signal, tells our agent to stop its models too. One that died
 * a moment ago is started for that: the engines still run.
 */
static void stop_agent(struct up *up, struct err *err)
{
	struct proc agent;

	if (up->agent.kept.child == NULL) {
		kept_start(&up->agent.kept);
	}
	int status = service_await_agent(up->cli, &agent, err);

	kept_close(&up->agent.kept);
	if (status == 0) {
		service_await_end(up->cli, agent, err);
	}
}

static bool is_to_start(const struct server *s)
{
	return s->enabled && !server_phase_is_running(s->phase);
}

static void start_models(struct up *up)
{
	struct err err = { 0 };

	up->models.verb = VERB_START;
	visit_choose(&up->visit, NULL, 0, is_to_start, &up->models, NULL);
	puts("");
	if (up->models.id_count > 0 && view_ask(&up->visit, &up->models, &err) != 0 &&
	    err.text[0] != '\0') {
		fprintf(stderr, "ronzal: %s\n", err.text);
	}
}

static void print_addresses(const struct up *up)
{
	const struct config *c = &up->cli->config;
	const struct server *ready = visit_first_ready(&up->visit);
	const char *model = ready != NULL ? ready->id : "MODEL";

	printf("\n  page     %s%u%s\n",
	       up->frontend.is_up ? "http://localhost:" : "not built (port ", c->frontend_port,
	       up->frontend.is_up ? "" : "): run make web");
	printf("  API      http://localhost:%u/v1      (OpenAI and Anthropic clients work "
	       "unchanged)\n",
	       c->backend_port);
	printf("  try      curl -N localhost:%u/v1/chat/completions -d '{\"model\":\"%s\","
	       "\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'\n",
	       c->backend_port, model);
	printf("  chat     %s chat %s\n\n", up->cli->places.program, model);
	printf("Ctrl-C stops everything ronzal started.\n");
	fflush(stdout);
}

static void leave(struct daemon *d)
{
	struct up *up = CONTAINER_OF(d, struct up, daemon);

	up->is_leaving = true;
	up->visit.interrupted = true;
	loop_stop(up->visit.loop);
}

/* Ends what we started: with our own agent everything, else the models that did not run before. */
static void end_all(struct up *up)
{
	struct err err = { 0 };

	printf("\nstopping ...\n");
	fflush(stdout);
	up->is_leaving = true;
	part_stop(&up->frontend);
	part_stop(&up->backend);
	up->visit.interrupted = false;
	up->models.verb = VERB_STOP;
	if (up->has_agent) {
		stop_agent(up, &err);
	} else if (up->models.id_count > 0) {
		visit_ask(&up->visit, &up->models, &err);
	}
	if (err.code != 0 && err.code != ERR_UNAVAILABLE) {
		fprintf(stderr, "ronzal: %s\n", err.text);
	}
}

static int run_parts(struct up *up, struct err *err)
{
	int status = part_bring_up(&up->backend, err);

	if (status == 0 && !up->is_leaving && fs_is_folder(up->cli->places.web)) {
		status = part_bring_up(&up->frontend, err);
	}
	if (status == 0 && !up->is_leaving) {
		print_addresses(up);
	}
	while (status == 0 && !up->is_leaving) {
		loop_run(up->visit.loop);
	}
	return status;
}

/* What is there already would look as if it were ours. */
static int check_port(const char *part, uint32_t port, struct err *err)
{
	struct port_holder holder, other;
	uint16_t free_port = (uint16_t)port;

	if (port_holder_of(free_port, &holder) != 0) {
		return 0;
	}
	while (++free_port != 0 && port_holder_of(free_port, &other) == 0) {
	}
	return err_set(err, ERR_BUSY,
		       "port %u is taken by %s (pid %ld), which is left alone\n"
		       "        free the port, or: ronzal up --%s-port %u",
		       port, holder.name, (long)holder.pid, part, free_port);
}

int command_up(struct cli *cli, struct args *args, struct err *err)
{
	struct up up = { .cli = cli };
	int status = check_port("backend", cli->config.backend_port, err);

	(void)args;
	status = status != 0 ? status : check_port("frontend", cli->config.frontend_port, err);
	status = status != 0 ? status : demo_register(cli, err);
	status = status != 0 ? status : attach(&up, err);
	if (status != 0) {
		kept_close(&up.agent.kept);
		free(up.agent.log);
		visit_close(&up.visit);
		return status;
	}
	up.daemon = (struct daemon){ .loop = up.visit.loop, .leave = leave };
	daemon_listen(&up.daemon);
	if (visit_find(&up.visit, DEMO_ID) != NULL) {
		demo_print(cli);
	}
	part_init(&up.backend, &up, "backend", cli->config.backend_port);
	part_init(&up.frontend, &up, "frontend", cli->config.frontend_port);
	start_models(&up);
	status = up.is_leaving ? 0 : run_parts(&up, err);
	end_all(&up);
	daemon_left(&up.daemon);
	wire_request_finish(&up.models);
	free(up.agent.log);
	visit_close(&up.visit);
	return status;
}
