/* SPDX-License-Identifier: MIT */
#include "host/orders.h"

#include <stdlib.h>

#include "base/mem.h"
#include "host/agent_inside.h"

struct target {
	struct supervisor *server; /* NULL: there is none (any more) */
	bool is_done;
	struct wire_result result;
};

struct order {
	struct list link;
	struct wire_request request; /* no ids: all that are enabled (start) or run */
	struct session *session;     /* NULL: it left */
	char controller[WIRE_CONTROLLER_MAX_BYTES];
	uint64_t ticket;
	bool by_bye;
	bool is_open; /* granted: everything was asked of the servers */
	struct target *targets;
	size_t count;
};

static void order_free(struct order *o)
{
	list_remove(&o->link);
	wire_request_finish(&o->request);
	free(o->targets);
	free(o);
}

/* The end */

/* Whether the server got where the order wants it, or will not. */
static void judge(const struct order *o, struct target *t)
{
	const struct server *s = &t->server->server;
	bool wants_run = o->request.verb != VERB_STOP;

	switch (s->phase) {
	case SERVER_READY:
		t->is_done = true;
		break;
	case SERVER_FAILED:
		t->is_done = true;
		if (wants_run) {
			err_set(&t->result.err, s->error_code, "%s", s->error);
		}
		break;
	case SERVER_STOPPED:
		t->is_done = true;
		if (wants_run) {
			err_set(&t->result.err, ERR_CANCELED, "was stopped while it started");
		}
		break;
	case SERVER_STARTING:
	case SERVER_LOADING:
	case SERVER_BACKOFF:
		t->is_done = !wants_run; /* it was stopped, and started anew since */
		break;
	case SERVER_DRAINING:
	case SERVER_STOPPING:
	case SERVER_UNKNOWN:
		break;
	}
}

static void answer(const struct order *o)
{
	struct wire_event e = { .type = EVENT_REPLY, .reply = { .seq = o->request.seq } };
	struct wire_result *results = mem_alloc((o->count + 1) * sizeof(*results));
	struct err err = { 0 };
	size_t failed = 0, count = 0;

	for (int done = 0; done <= 1; done++) { /* failures first */
		for (size_t i = 0; i < o->count; i++) {
			if ((o->targets[i].result.err.code == 0) == done) {
				results[count++] = o->targets[i].result;
			}
		}
		failed = done ? failed : count;
	}
	if (failed > 0) {
		err_set(&err, results[0].err.code, "%s: %s", results[0].id, results[0].err.text);
	}
	if (failed > 1) {
		err_prefix(&err, "%zu of %zu models", failed, o->count);
	}
	if (o->by_bye) {
		session_bye(o->session, &err);
	} else {
		e.reply.err = err;
		e.reply.results = results;
		e.reply.count = o->count;
		if (o->request.seq != 0) {
			session_say(o->session, &e);
		}
	}
	free(results);
}

/* May free o. */
static void finish_if_done(struct order *o)
{
	for (size_t i = 0; i < o->count; i++) {
		if (!o->targets[i].is_done) {
			judge(o, &o->targets[i]);
		}
		if (!o->targets[i].is_done) {
			return;
		}
	}
	if (o->session != NULL) {
		session_flush(o->session);
		answer(o);
	}
	order_free(o);
}

/* The begin */

static void ask_server(struct order *o, struct target *t)
{
	const struct wire_request *r = &o->request;

	span_copy(span_of(t->server->server.id), t->result.id, sizeof(t->result.id));
	if (r->verb == VERB_START) {
		supervisor_start(t->server, o->controller);
	} else {
		supervisor_end(t->server, r->verb == VERB_RESTART ? FSM_RESTART : FSM_STOP,
			       r->drain_ms, r->deadline_ms);
	}
}

static void refuse_unknown(const struct agent *a, struct target *t, const char *id)
{
	const char *near = registry_nearest(catalog_registry(a->catalog), span_of(id));

	t->server = NULL;
	t->is_done = true;
	span_copy(span_of(id), t->result.id, sizeof(t->result.id));
	err_set(&t->result.err, ERR_NOT_FOUND, "model '%s' is not here%s%s%s", id,
		near != NULL ? ". Did you mean '" : "", near != NULL ? near : "",
		near != NULL ? "'?" : "");
}

static bool is_meant_by_all(enum verb verb, const struct supervisor *s)
{
	return verb == VERB_START ? s->server.enabled : !supervisor_is_idle(s);
}

/* One that left the registry can still be stopped. */
static bool is_known(enum verb verb, const struct supervisor *s)
{
	return s != NULL && (verb == VERB_STOP || s->model != NULL);
}

static void grant(struct agent *a, struct order *o)
{
	const struct wire_request *r = &o->request;
	size_t most = r->verb != VERB_RELOAD ? agent_meant_count(a, r) : 0;

	o->targets = mem_alloc((most + 1) * sizeof(*o->targets));
	for (size_t i = 0; i < most; i++) {
		struct target *t = &o->targets[o->count];

		t->server = agent_meant(a, r, i);
		if (r->id_count == 0 && !is_meant_by_all(r->verb, t->server)) {
			continue;
		}
		o->count++;
		if (r->id_count == 0 || is_known(r->verb, t->server)) {
			ask_server(o, t);
		} else {
			refuse_unknown(a, t, r->ids[i]);
		}
	}
	o->is_open = true;
	finish_if_done(o);
}

void order_take(struct agent *a, struct session *s, struct wire_request *r, bool by_bye)
{
	struct order *o = mem_alloc(sizeof(*o));

	o->request = *r;
	*r = (struct wire_request){ 0 };
	o->session = s;
	o->by_bye = by_bye;
	memcpy(o->controller, s->controller, sizeof(o->controller));
	list_append(&a->orders, &o->link);
	if (o->request.verb == VERB_STOP) {
		grant(a, o);
	} else {
		o->ticket = catalog_reload(a->catalog);
	}
}

void orders_grant(struct agent *a, uint64_t ticket)
{
	LIST_EACH (struct order, o, link, &a->orders) {
		if (!o->is_open && o->ticket <= ticket) {
			grant(a, o);
		}
	}
}

void orders_judge(struct agent *a)
{
	LIST_EACH (struct order, o, link, &a->orders) {
		if (o->is_open) {
			finish_if_done(o);
		}
	}
}

void orders_forget_server(struct agent *a, const struct supervisor *server)
{
	LIST_EACH (struct order, o, link, &a->orders) {
		for (size_t i = 0; i < o->count; i++) {
			if (o->targets[i].server == server) {
				o->targets[i].server = NULL;
				o->targets[i].is_done = true;
			}
		}
	}
	orders_judge(a);
}

void orders_forget_session(struct agent *a, const struct session *session)
{
	LIST_EACH (struct order, o, link, &a->orders) {
		if (o->session == session) {
			o->session = NULL;
		}
	}
}

void orders_destroy(struct agent *a)
{
	LIST_EACH (struct order, o, link, &a->orders) {
		order_free(o);
	}
}
