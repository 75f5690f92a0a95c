/* SPDX-License-Identifier: MIT */
#include "cli/relay.h"

#include <unistd.h>

#include "base/lines.h"
#include "base/mem.h"
#include "io/conn.h"
#include "io/timer.h"

#define RELAY_LINGER_MS 2000

struct relay {
	struct loop *loop;
	struct conn *agent, *in, *out;
	struct timer silence;
	struct lines lines; /* of the agent, to find the bye */
	const char *once;
	bool spoke; /* the other side, or we for it */
	int exit;   /* -1 until the bye */
	struct err err;
};

static void finish(struct relay *r)
{
	timer_stop(&r->silence);
	conn_close(r->agent);
	conn_close(r->in);
	conn_close_gracefully(r->out, RELAY_LINGER_MS);
	r->agent = r->in = r->out = NULL;
}

static void fail(struct relay *r, int code, const char *what)
{
	if (r->exit < 0 && r->err.code == 0) {
		err_set(&r->err, code, "%s", what);
	}
	finish(r);
}

/* The hello of somebody who only wants it done. */
static void speak_once(struct relay *r)
{
	struct wire_request hello = { .verb = VERB_HELLO,
				      .version = WIRE_VERSION,
				      .version_min = WIRE_VERSION_MIN,
				      .who = "ssh" };
	struct buf line;

	if (!r->spoke) {
		r->spoke = true;
		span_copy(span_of(r->once), hello.once, sizeof(hello.once));
		buf_init(&line, WIRE_LINE_MAX_BYTES);
		ENSURE(wire_request_encode(&hello, &line) == 0);
		conn_write(r->agent, buf_span(&line));
		buf_finish(&line);
	}
}

static void on_silence(struct timer *t)
{
	speak_once(CONTAINER_OF(t, struct relay, silence));
}

/* Passes bytes on; the slow side stops the fast side. */
static void pass(struct relay *r, struct conn *from, struct conn *to, struct span data)
{
	if (conn_write(to, data) != 0) {
		fail(r, ERR_CLOSED, "the other side closed the channel");
	} else if (conn_kept(to) > 0) {
		conn_pause(from);
	}
}

static void on_in_data(void *user, struct span data)
{
	struct relay *r = user;

	r->spoke = true;
	timer_stop(&r->silence);
	pass(r, r->in, r->agent, data);
}

static void on_in_end(void *user, int status)
{
	struct relay *r = user;

	(void)status;
	timer_stop(&r->silence);
	conn_close(r->in);
	r->in = NULL;
	if (r->spoke) {
		finish(r); /* the controller is gone: its lease begins to run */
	} else {
		speak_once(r);
	}
}

static void on_out_drain(void *user)
{
	struct relay *r = user;

	if (r->agent != NULL) {
		conn_resume(r->agent);
	}
}

/* Remembers the exit code of a bye; all other lines are not looked at. */
static void look_for_bye(struct relay *r, struct span data)
{
	struct wire_event event;
	struct span line;

	if (lines_add(&r->lines, data) != 0) { /* too long for a bye: look behind it */
		lines_finish(&r->lines);
		lines_init(&r->lines, WIRE_LINE_MAX_BYTES);
	}
	while (lines_next(&r->lines, &line)) {
		if (span_has(line, "\"bye\"") && wire_event_decode(line, &event, NULL) == 0) {
			r->exit = event.type == EVENT_BYE ? event.bye.exit : r->exit;
			wire_event_finish(&event);
		}
	}
}

static void on_agent_data(void *user, struct span data)
{
	struct relay *r = user;

	look_for_bye(r, data);
	pass(r, r->agent, r->out, data);
	if (r->exit >= 0) {
		finish(r);
	}
}

static void on_agent_end(void *user, int status)
{
	(void)status;
	fail(user, ERR_CLOSED, "the agent closed the channel before it was done");
}

static void on_agent_drain(void *user)
{
	struct relay *r = user;

	if (r->in != NULL) {
		conn_resume(r->in);
	}
}

static void on_out_end(void *user, int status)
{
	(void)status;
	fail(user, ERR_CLOSED, "the other side closed the channel");
}

static const struct conn_callbacks in_calls = { on_in_data, on_in_end, NULL };
static const struct conn_callbacks out_calls = { NULL, on_out_end, on_out_drain };
static const struct conn_callbacks agent_calls = { on_agent_data, on_agent_end, on_agent_drain };

static void on_connect(void *user, int status)
{
	struct relay *r = user;

	if (status != 0) {
		fail(r, ERR_NO_AGENT,
		     "the agent is not running on this machine. Start it: ronzal service install "
		     "(in your login session), or ronzal agent");
		return;
	}
	conn_start(r->agent, &agent_calls, r);
	/* only written to: it may be a pipe, or stdin too */
	conn_set_callbacks(r->out, &out_calls, r);
	if (r->in == NULL) {
		speak_once(r);
		return;
	}
	conn_start(r->in, &in_calls, r);
	timer_start(&r->silence, WIRE_SILENCE_MS);
}

int relay_run(const char *socket_path, const char *once, int *ret_exit, struct err *err)
{
	struct relay r = { .loop = loop_create(), .once = once, .exit = -1 };

	lines_init(&r.lines, WIRE_LINE_MAX_BYTES);
	timer_init(&r.silence, r.loop, on_silence);
	r.in = conn_of_fd(r.loop, dup(STDIN_FILENO), NULL); /* /dev/null is no stream: no input */
	r.out = conn_of_fd(r.loop, dup(STDOUT_FILENO), &r.err);
	if (r.out != NULL) {
		r.agent = conn_dial_unix(r.loop, socket_path, on_connect, &r);
	} else {
		finish(&r);
	}
	loop_run(r.loop);
	lines_finish(&r.lines);
	loop_destroy(r.loop);
	if (r.exit >= 0) {
		*ret_exit = r.exit;
		return 0;
	}
	return r.err.code != 0 ? err_set(err, r.err.code, "%s", r.err.text) : ERR_CLOSED;
}
