/* SPDX-License-Identifier: MIT */
/*
 * States: NEW (not read from) -> GREETING (hello is awaited) -> ATTACHED -> GONE. Trouble found
 * while writing is told to the agent from the timer, so that nothing calls back inside a call.
 */
#include "host/session.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/agent_inside.h"

/* What one peer has to be told of one server. */
struct interest {
	struct supervisor *server;
	bool is_marked, follows, followed; /* followed: before the last session_unfollow_all */
	uint64_t dropped;		   /* log lines that it missed */
};

static void end(struct session *s)
{
	if (s->state != SESSION_GONE) {
		s->state = SESSION_GONE;
		agent_on_session_end(s->agent, s);
	}
}

static void end_soon(struct session *s)
{
	s->must_ping = false;
	timer_start(&s->timer, 0);
}

/* Saying */

static int say(struct session *s, const struct wire_event *e)
{
	struct buf line;
	int status;

	if (s->state == SESSION_GONE) {
		return 0;
	}
	buf_init(&line, WIRE_LINE_MAX_BYTES + 1);
	status = wire_event_encode(e, &line);
	if (status == 0) {
		status = conn_write(s->conn, buf_span(&line));
	}
	buf_finish(&line);
	return status;
}

void session_say(struct session *s, const struct wire_event *e)
{
	int status = say(s, e);

	if (status != 0) {
		log_warn("%s reads too slowly or not at all: %s", s->who, err_sentence(status));
		end_soon(s);
	}
}

void session_reply(struct session *s, uint64_t seq, const struct err *err)
{
	struct wire_event e = { .type = EVENT_REPLY, .reply = { .seq = seq } };

	if (seq != 0) {
		e.reply.err = *err;
		session_say(s, &e);
	}
}

void session_bye(struct session *s, const struct err *err)
{
	struct wire_event e = { .type = EVENT_BYE, .bye = { .exit = err_exit_code(err->code) } };

	e.bye.err = *err;
	session_say(s, &e);
	s->said_bye = true;
	end_soon(s);
}

static bool is_behind(const struct session *s)
{
	return conn_kept(s->conn) > SESSION_BEHIND_BYTES;
}

/* Servers */

static struct interest *interest_in(struct session *s, struct supervisor *server)
{
	for (size_t i = 0; i < s->interest_count; i++) {
		if (s->interests[i].server == server) {
			return &s->interests[i];
		}
	}
	s->interests = mem_resize(s->interests, s->interest_count + 1, sizeof(*s->interests));
	s->interests[s->interest_count] = (struct interest){ .server = server };
	return &s->interests[s->interest_count++];
}

static void tell_log(struct session *s, struct supervisor *server, struct span line,
		     uint64_t dropped)
{
	struct interest *interest = interest_in(s, server);
	struct wire_event e = { .type = EVENT_LOG };

	if (s->state != SESSION_ATTACHED || !interest->follows) {
		return;
	}
	interest->dropped += dropped;
	e.log.line = line;
	e.log.dropped = interest->dropped;
	span_copy(span_of(server->server.id), e.log.id, sizeof(e.log.id));
	if (is_behind(s) || say(s, &e) != 0) {
		interest->dropped += line.len > 0;
	} else {
		interest->dropped = 0;
	}
}

void session_flush(struct session *s)
{
	struct wire_event e = { .type = EVENT_HOST };

	if (s->state != SESSION_ATTACHED || is_behind(s)) {
		return;
	}
	if (s->host_is_marked) {
		s->host_is_marked = false;
		agent_fill_host(s->agent, &e.host);
		session_say(s, &e);
	}
	e.type = EVENT_SERVER;
	for (size_t i = 0; i < s->interest_count; i++) {
		if (is_behind(s)) {
			return;
		}
		if (s->interests[i].is_marked) {
			s->interests[i].is_marked = false;
			e.server = *supervisor_server(s->interests[i].server);
			session_say(s, &e);
		}
	}
	for (size_t i = 0; i < s->interest_count; i++) {
		if (s->interests[i].dropped > 0) { /* no line may come that would tell it */
			tell_log(s, s->interests[i].server, SPAN_LIT(""), 0);
		}
	}
	if (s->sync_is_due) {
		s->sync_is_due = false;
		session_say(s, &(struct wire_event){ .type = EVENT_SYNCED });
	}
}

void session_show_all(struct session *s)
{
	s->host_is_marked = true;
	for (size_t i = 0; i < s->agent->server_count; i++) {
		interest_in(s, s->agent->servers[i])->is_marked = true;
	}
	s->sync_is_due = true;
	session_flush(s);
}

/* Logs */

void session_follow(struct session *s, struct supervisor *server, uint32_t tail)
{
	struct interest *interest = interest_in(s, server);
	struct span lines = enginelog_tail(&server->log, interest->followed ? 0 : tail);

	interest->follows = true;
	while (lines.len > 0) {
		tell_log(s, server, span_split(&lines, '\n'), 0);
	}
}

void session_unfollow_all(struct session *s)
{
	for (size_t i = 0; i < s->interest_count; i++) {
		s->interests[i].followed = s->interests[i].follows;
		s->interests[i].follows = false;
		s->interests[i].dropped = s->interests[i].followed ? s->interests[i].dropped : 0;
	}
}

/* To all */

void sessions_tell_host(struct agent *a)
{
	LIST_EACH (struct session, s, link, &a->sessions) {
		s->host_is_marked = true;
		session_flush(s);
	}
}

void sessions_tell(struct agent *a, struct supervisor *server)
{
	LIST_EACH (struct session, s, link, &a->sessions) {
		if (s->state == SESSION_ATTACHED) {
			interest_in(s, server)->is_marked = true;
			session_flush(s);
		}
	}
}

void sessions_tell_removed(struct agent *a, struct supervisor *server)
{
	struct wire_event e = { .type = EVENT_REMOVED };

	span_copy(span_of(server->server.id), e.removed.id, sizeof(e.removed.id));
	LIST_EACH (struct session, s, link, &a->sessions) {
		struct interest *gone = interest_in(s, server);

		*gone = s->interests[--s->interest_count];
		if (s->state == SESSION_ATTACHED) {
			session_say(s, &e);
		}
	}
}

void sessions_tell_progress(struct agent *a, struct supervisor *server)
{
	struct wire_event e = { .type = EVENT_PROGRESS,
				.progress = { .fraction = server->server.progress,
					      .eta_ms = server->server.eta_ms } };

	span_copy(span_of(server->server.id), e.progress.id, sizeof(e.progress.id));
	LIST_EACH (struct session, s, link, &a->sessions) {
		if (s->state == SESSION_ATTACHED && !is_behind(s)) {
			session_say(s, &e);
		}
	}
}

void sessions_tell_log(struct agent *a, struct supervisor *server, struct span line,
		       uint64_t dropped)
{
	LIST_EACH (struct session, s, link, &a->sessions) {
		tell_log(s, server, line, dropped);
	}
}

/* Listening */

static void on_line(struct session *s, struct span line)
{
	struct wire_request r = { 0 };
	struct err err = { 0 };
	int status = wire_request_decode(line, &r, &err);

	if (s->state == SESSION_ATTACHED && s->must_ping) {
		timer_start(&s->timer, WIRE_PING_GRACE_MS);
	}
	if (status == 0 && s->state == SESSION_GREETING && r.verb != VERB_HELLO) {
		status = err_set(&err, ERR_PROTOCOL, "the first line must be hello, not %s",
				 verb_name(r.verb));
	}
	if (status == 0 && s->is_restricted && !verb_is_restricted(r.verb)) {
		err_set(&err, ERR_DENIED, "%s is not offered on this socket", verb_name(r.verb));
		session_reply(s, r.seq, &err);
	} else if (status == 0) {
		agent_on_request(s->agent, s, &r);
	} else if (status == ERR_VERSION && s->state == SESSION_ATTACHED) {
		log_warn("%s: %s", s->who, err.text); /* a newer controller's verb: skipped */
	} else {
		session_bye(s, &err);
		end(s);
	}
	wire_request_finish(&r);
}

static void on_data(void *user, struct span data)
{
	struct session *s = user;
	struct span line;
	struct err err = { 0 };

	if (lines_add(&s->lines, data) != 0) {
		err_set(&err, ERR_INVALID, "a line exceeds %d bytes", WIRE_LINE_MAX_BYTES);
		session_bye(s, &err);
		end(s);
		return;
	}
	while (s->state != SESSION_GONE && !s->said_bye && lines_next(&s->lines, &line)) {
		on_line(s, line);
	}
}

static void on_conn_end(void *user, int status)
{
	(void)status;
	end(user);
}

static void on_drain(void *user)
{
	session_flush(user);
}

static const struct conn_callbacks conn_callbacks = {
	.on_data = on_data,
	.on_end = on_conn_end,
	.on_drain = on_drain,
};

static void on_timer(struct timer *timer)
{
	struct session *s = CONTAINER_OF(timer, struct session, timer);
	struct err err = { 0 };

	if (s->state == SESSION_GREETING && !s->said_bye) {
		err_set(&err, ERR_TIMEOUT, "no hello within %d ms", WIRE_HELLO_MS);
		session_bye(s, &err);
	}
	end(s);
}

/* Life cycle */

struct session *session_start(struct agent *agent, struct conn *conn, bool is_restricted)
{
	struct session *s = mem_alloc(sizeof(*s));

	s->agent = agent;
	s->conn = conn;
	s->is_restricted = is_restricted;
	list_append(&agent->sessions, &s->link);
	timer_init(&s->timer, agent->loop, on_timer);
	lines_init(&s->lines, WIRE_LINE_MAX_BYTES);
	span_copy(SPAN_LIT("somebody"), s->who, sizeof(s->who));
	conn_set_out_max(conn, SESSION_OUT_MAX_BYTES);
	return s;
}

void session_open(struct session *s)
{
	if (s->state == SESSION_NEW) {
		s->state = SESSION_GREETING;
		timer_start(&s->timer, WIRE_HELLO_MS);
		conn_start(s->conn, &conn_callbacks, s);
	}
}

void session_attach(struct session *s, const struct wire_request *hello)
{
	s->state = SESSION_ATTACHED;
	memcpy(s->controller, hello->controller, sizeof(s->controller));
	if (hello->who[0] != '\0') {
		memcpy(s->who, hello->who, sizeof(s->who));
	}
	s->must_ping = hello->once[0] == '\0';
	timer_stop(&s->timer);
	if (s->must_ping) {
		timer_start(&s->timer, WIRE_PING_GRACE_MS);
	}
}

static void session_free(void *arg)
{
	struct session *s = arg;

	lines_finish(&s->lines);
	free(s->interests);
	free(s);
}

void session_close(struct session *s)
{
	s->state = SESSION_GONE;
	list_remove(&s->link);
	timer_stop(&s->timer);
	conn_close_gracefully(s->conn, SESSION_BYE_MS);
	loop_defer(s->agent->loop, session_free, s);
}

void session_woke(struct session *s)
{
	if (timer_is_on(&s->timer)) {
		timer_start(&s->timer, WIRE_PING_GRACE_MS);
	}
}
