/* SPDX-License-Identifier: MIT */
/*
 * States: SPAWNING (the shim's first line) -> CONNECTING -> TALKING -> ENDED. A connection that
 * breaks leads to CLEANING: on another thread the shim's lock is tried. If it can be had, the shim
 * is dead and shim_lock has ended the engine; if not, the shim lives and is dialed again.
 */
#include "host/keeper.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/agent_inside.h"
#include "io/child.h"

#define KEEPER_REDIAL_MS 200
#define KEEPER_LOG_MAX_BYTES (8u << 20) /* of one log file */
#define KEEPER_OUT_MAX_BYTES (4 * SHIM_LINE_MAX_BYTES)

enum keeper_state {
	KEEPER_SPAWNING,
	KEEPER_CONNECTING,
	KEEPER_TALKING,
	KEEPER_CLEANING,
	KEEPER_ENDED
};

struct keeper {
	struct supervisor *supervisor; /* not to be touched once closed */
	char *run_folder;
	uint16_t port;
	enum keeper_state state;
	bool said_hello; /* the engine ran: its end is an exit */
	bool closed;
	bool cleaning; /* the job runs: a closed keeper waits for it */
	struct child *shim;
	struct conn *conn; /* SPAWNING: the shim's stdout; then its socket */
	struct lines lines;
	struct timer timer; /* to dial again; SPAWNING: to tell why there is no shim */
	struct err err;	    /* of the spawn, or of the job */
};

static void connect_shim(struct keeper *k);
static void on_shim_message(struct keeper *k, const struct shim_message *m);

/* Ending: the callback comes last, and whoever gets it may close the keeper in it */

static void drop_conn(struct keeper *k)
{
	conn_close(k->conn);
	k->conn = NULL;
	lines_finish(&k->lines);
}

static void end_lost(struct keeper *k)
{
	k->state = KEEPER_ENDED;
	drop_conn(k);
	supervisor_on_lost(k->supervisor, &k->err);
}

static void keeper_free(void *arg)
{
	struct keeper *k = arg;

	free(k->run_folder);
	free(k);
}

/* Cleaning up after a shim that is gone */

static void clean_work(void *arg)
{
	struct keeper *k = arg;
	int fd;

	if (shim_lock(k->run_folder, k->port, 0, &fd, &k->err) == 0) {
		shim_unlock(k->run_folder, k->port, fd);
	}
}

static void clean_done(void *arg)
{
	struct keeper *k = arg;

	k->cleaning = false;
	if (k->closed) {
		keeper_free(k);
	} else if (k->err.code != 0) {
		log_warn("port %u: %s", k->port, k->err.text);
		timer_start(&k->timer, KEEPER_REDIAL_MS);
	} else if (k->said_hello) {
		on_shim_message(k, &(struct shim_message){ .verb = SHIM_EXIT, .number = -SIGKILL });
	} else {
		err_set(&k->err, ERR_NOT_FOUND, "the shim on port %u is gone", k->port);
		end_lost(k);
	}
}

static void clean_up(struct keeper *k)
{
	drop_conn(k);
	k->state = KEEPER_CLEANING;
	k->cleaning = true;
	k->err = (struct err){ 0 };
	loop_work(k->timer.loop, clean_work, clean_done, k);
}

/* Talking */

static void say(struct keeper *k, const struct shim_message *m)
{
	struct buf line;

	buf_init(&line, SHIM_LINE_MAX_BYTES);
	if (shim_encode(m, &line) != 0 || conn_write(k->conn, buf_span(&line)) != 0) {
		log_warn("port %u: the shim does not take what it is told", k->port);
	}
	buf_finish(&line);
}

static void on_shim_message(struct keeper *k, const struct shim_message *m)
{
	if (m->verb == SHIM_HELLO) {
		k->said_hello = true;
	} else if (m->verb == SHIM_EXIT) {
		k->state = KEEPER_ENDED;
	}
	supervisor_on_shim(k->supervisor, m);
}

static void on_shim_data(void *user, struct span data)
{
	struct keeper *k = user;
	struct shim_message m;
	struct err err = { 0 };
	struct span line;
	int status = lines_add(&k->lines, data);

	while (status == 0 && k->state == KEEPER_TALKING && !k->closed &&
	       lines_next(&k->lines, &line)) {
		status = shim_decode(line, &m, &err);
		if (status == 0) {
			on_shim_message(k, &m);
		} else if (status == ERR_NOT_FOUND) {
			status = 0; /* a newer shim's verb */
		}
	}
	if (status != 0) {
		log_error("port %u: what the shim says is not the protocol: %s", k->port, err.text);
		clean_up(k);
	}
}

static void on_shim_end(void *user, int status)
{
	struct keeper *k = user;

	(void)status;
	if (k->state == KEEPER_ENDED) {
		drop_conn(k);
	} else {
		log_warn("port %u: the shim closed its socket", k->port);
		clean_up(k);
	}
}

static const struct conn_callbacks shim_callbacks = { .on_data = on_shim_data,
						      .on_end = on_shim_end };

static void on_shim_connect(void *user, int status)
{
	struct keeper *k = user;

	if (status != 0) {
		clean_up(k);
		return;
	}
	k->state = KEEPER_TALKING;
	lines_init(&k->lines, SHIM_LINE_MAX_BYTES);
	conn_set_out_max(k->conn, KEEPER_OUT_MAX_BYTES);
	conn_start(k->conn, &shim_callbacks, k);
}

static void connect_shim(struct keeper *k)
{
	char *path = shim_path(k->run_folder, k->port, "sock");

	k->state = KEEPER_CONNECTING;
	k->conn = conn_dial_unix(k->timer.loop, path, on_shim_connect, k);
	free(path);
}

/* Spawning: one line on stdout */

static void on_spawn_data(void *user, struct span data)
{
	struct keeper *k = user;
	struct span line;

	if (lines_add(&k->lines, data) != 0 || !lines_next(&k->lines, &line)) {
		return;
	}
	if (span_is(line, "ok")) {
		drop_conn(k);
		connect_shim(k);
		return;
	}
	if (span_has_prefix(line, "error: ")) {
		line = span_from(line, strlen("error: "));
	}
	err_set(&k->err, ERR_ENGINE_FAILED, "%.*s", SPAN_ARG(line));
	end_lost(k);
}

static void on_spawn_end(void *user, int status)
{
	struct keeper *k = user;

	(void)status;
	err_set(&k->err, ERR_ENGINE_FAILED, "the shim for port %u ended before its engine ran",
		k->port);
	end_lost(k);
}

static const struct conn_callbacks spawn_callbacks = { .on_data = on_spawn_data,
						       .on_end = on_spawn_end };

static void on_timer(struct timer *timer)
{
	struct keeper *k = CONTAINER_OF(timer, struct keeper, timer);

	if (k->state == KEEPER_SPAWNING) {
		end_lost(k);
	} else {
		connect_shim(k);
	}
}

static struct keeper *keeper_create(struct supervisor *s, uint16_t port)
{
	struct keeper *k = mem_alloc(sizeof(*k));

	k->supervisor = s;
	k->run_folder = mem_strdup(s->agent->options.paths->run);
	k->port = port;
	timer_init(&k->timer, s->agent->loop, on_timer);
	return k;
}

static struct child *spawn_shim(struct keeper *k)
{
	const struct agent *a = k->supervisor->agent;
	char *const *engine = k->supervisor->plan.argv;
	char *log = mem_printf("%s/%s.log", a->options.paths->logs, k->supervisor->server.id);
	char port[8], log_max[16], lease[16];
	const char *const own[] = { a->options.shim_path,
				    k->run_folder,
				    port,
				    k->supervisor->server.id,
				    log,
				    log_max,
				    lease };
	size_t engine_argc = 0;
	const char **argv;
	struct child *child;

	while (engine[engine_argc] != NULL) {
		engine_argc++;
	}
	snprintf(port, sizeof(port), "%u", k->port);
	snprintf(log_max, sizeof(log_max), "%u", KEEPER_LOG_MAX_BYTES);
	snprintf(lease, sizeof(lease), "%u", a->options.shim_lease_s);
	argv = mem_alloc((ARRAY_LEN(own) + engine_argc + 1) * sizeof(*argv));
	memcpy(argv, own, sizeof(own));
	memcpy(argv + ARRAY_LEN(own), engine, engine_argc * sizeof(*argv));
	child = child_start(a->loop,
			    &(struct child_options){
				    .argv = argv,
				    .env = (const char *const *)a->engine_env,
				    .folder = k->run_folder,
				    .stdio = { CHILD_NULL, CHILD_PIPE, CHILD_INHERIT },
				    .new_session = true,
			    },
			    &k->err);
	free(argv);
	free(log);
	return child;
}

/* The interface */

struct keeper *keeper_spawn(struct supervisor *s)
{
	struct keeper *k = keeper_create(s, s->server.port);

	k->state = KEEPER_SPAWNING;
	k->shim = spawn_shim(k);
	if (k->shim == NULL) {
		timer_start(&k->timer, 0);
		return k;
	}
	lines_init(&k->lines, SHIM_LINE_MAX_BYTES);
	k->conn = child_take_pipe(k->shim, 1);
	conn_start(k->conn, &spawn_callbacks, k);
	return k;
}

struct keeper *keeper_adopt(struct supervisor *s, uint16_t port)
{
	struct keeper *k = keeper_create(s, port);

	connect_shim(k);
	return k;
}

void keeper_signal(struct keeper *k, int signum)
{
	if (k->state == KEEPER_TALKING) {
		say(k, &(struct shim_message){ .verb = SHIM_SIGNAL, .number = signum });
	} else if (k->state == KEEPER_SPAWNING && signum == SIGKILL && k->shim != NULL) {
		child_kill(k->shim, SIGKILL);
	}
}

void keeper_tell(struct keeper *k, enum shim_verb verb, struct span text)
{
	if (k->state == KEEPER_TALKING) {
		say(k, &(struct shim_message){ .verb = verb, .text = text });
	}
}

void keeper_close(struct keeper *k)
{
	if (k == NULL || k->closed) {
		return;
	}
	k->closed = true;
	timer_stop(&k->timer);
	if (k->state == KEEPER_ENDED && k->conn != NULL) {
		say(k, &(struct shim_message){ .verb = SHIM_RELEASE });
		conn_close_gracefully(k->conn, KEEPER_REDIAL_MS);
		k->conn = NULL;
	}
	drop_conn(k);
	child_close(k->shim);
	if (!k->cleaning) {
		loop_defer(k->timer.loop, keeper_free, k);
	}
}
