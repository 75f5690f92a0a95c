/* SPDX-License-Identifier: MIT */
#include "host/orders.h"

#include <stdlib.h>

#include "base/mem.h"

struct order *order_create(struct list *orders, struct session *session, struct wire_request *r)
{
	struct order *o = mem_alloc(sizeof(*o));

	o->request = *r;
	*r = (struct wire_request){ 0 };
	o->session = session;
	memcpy(o->controller, session->controller, sizeof(o->controller));
	list_append(orders, &o->link);
	return o;
}

static struct order_target *add(struct order *o, const char *id)
{
	struct order_target *t;

	if (o->count == o->room) {
		o->room = o->room * 2 + 4;
		o->targets = mem_resize(o->targets, o->room, sizeof(*o->targets));
	}
	t = &o->targets[o->count++];
	*t = (struct order_target){ 0 };
	span_copy(span_of(id), t->result.id, sizeof(t->result.id));
	return t;
}

void order_add(struct order *o, struct supervisor *server)
{
	add(o, supervisor_server(server)->id)->server = server;
}

void order_add_failure(struct order *o, const char *id, const struct err *err)
{
	struct order_target *t = add(o, id);

	t->is_done = true;
	t->result.err = *err;
}

static void order_free(struct order *o)
{
	list_remove(&o->link);
	wire_request_finish(&o->request);
	free(o->targets);
	free(o);
}

/* Whether the server got where the order wants it, or will not. */
static void judge(const struct order *o, struct order_target *t)
{
	const struct server *s = supervisor_server(t->server);
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
		session_bye(o->session, err_exit_code(err.code), &err);
	} else {
		e.reply.err = err;
		e.reply.results = results;
		e.reply.result_count = o->count;
		if (o->request.seq != 0) {
			session_say(o->session, &e);
		}
	}
	free(results);
}

static void finish_if_done(struct order *o)
{
	for (size_t i = 0; i < o->count; i++) {
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

void order_open(struct order *o)
{
	o->is_open = true;
	for (size_t i = 0; i < o->count; i++) {
		if (!o->targets[i].is_done) {
			judge(o, &o->targets[i]);
		}
	}
	finish_if_done(o);
}

void orders_judge(struct list *orders, struct supervisor *server)
{
	LIST_FOR_EACH (it, next, orders) {
		struct order *o = LIST_ITEM(it, struct order, link);
		bool changed = false;

		for (size_t i = 0; o->is_open && i < o->count; i++) {
			if (o->targets[i].server == server && !o->targets[i].is_done) {
				judge(o, &o->targets[i]);
				changed = o->targets[i].is_done;
			}
		}
		if (changed) {
			finish_if_done(o);
		}
	}
}

void orders_forget_server(struct list *orders, struct supervisor *server)
{
	LIST_FOR_EACH (it, next, orders) {
		struct order *o = LIST_ITEM(it, struct order, link);

		for (size_t i = 0; i < o->count; i++) {
			if (o->targets[i].server == server) {
				o->targets[i].server = NULL;
				o->targets[i].is_done = true;
			}
		}
		if (o->is_open) {
			finish_if_done(o);
		}
	}
}

void orders_forget_session(struct list *orders, struct session *session)
{
	LIST_FOR_EACH (it, next, orders) {
		struct order *o = LIST_ITEM(it, struct order, link);

		if (o->session == session) {
			o->session = NULL;
		}
	}
}

void orders_destroy(struct list *orders)
{
	LIST_FOR_EACH (it, next, orders) {
		order_free(LIST_ITEM(it, struct order, link));
	}
}
