/* SPDX-License-Identifier: MIT */
/*
 * Asks: a stop or restart takes its models out of the routes, waits until they are idle or drain_ms
 * is over, and goes to the agent then.
 */
#include <stdlib.h>

#include "backend/fleet_core.h"

#define STOP_MIN_MS 1000 /* what a drain leaves of a deadline */

struct ask {
	struct list link;
	struct fleet *fleet;
	enum verb verb;
	char id[SERVER_ID_MAX_BYTES]; /* "": all */
	bool is_sent;
	uint64_t end_ms; /* of the whole stop */
	struct timer drain;
	link_reply_fn *on_reply;
	void *user;
};

/* Asking */

static bool is_meant(const struct ask *a, const struct fleet_model *m)
{
	return a->id[0] == '\0' || strcmp(m->server.id, a->id) == 0;
}

static void mark_drain(struct ask *a, bool is_draining)
{
	ENTRY_EACH (e, &a->fleet->models) {
		if (is_meant(a, &e->pub) && e->pub.is_draining != is_draining &&
		    (!is_draining || server_phase_is_accepting(e->pub.server.phase))) {
			e->pub.is_draining = is_draining;
			fleet_refresh(a->fleet, e);
		}
	}
}

static void on_ask_reply(void *user, const struct wire_reply *reply)
{
	struct ask *a = user;
	struct fleet *f = a->fleet;
	link_reply_fn *on_reply = a->on_reply;
	void *asker = a->user;

	if (!f->is_closed) {
		mark_drain(a, false);
	}
	timer_stop(&a->drain);
	list_remove(&a->link);
	free(a);
	on_reply(asker, reply);
	fleet_release(f);
}

static void send_ask(struct ask *a)
{
	struct fleet *f = a->fleet;
	uint64_t now_ms = loop_now_ms(f->loop);
	uint64_t left_ms = a->end_ms > now_ms + STOP_MIN_MS ? a->end_ms - now_ms : STOP_MIN_MS;
	const char *id = a->id;

	timer_stop(&a->drain);
	a->is_sent = true;
	fleet_send(f, f->route,
		   &(struct wire_request){ .verb = a->verb,
					   .ids = &id,
					   .id_count = id[0] != '\0',
					   .deadline_ms = (uint32_t)left_ms },
		   on_ask_reply, a);
}

static void on_drain_over(struct timer *t)
{
	send_ask(CONTAINER_OF(t, struct ask, drain));
}

static bool is_drained(const struct ask *a)
{
	FLEET_EACH (m, a->fleet) {
		if (is_meant(a, m) && m->active > 0) {
			return false;
		}
	}
	return true;
}

void fleet_ask(struct fleet *f, const struct wire_request *request, link_reply_fn *on_reply,
	       void *user)
{
	uint32_t stop_ms = request->deadline_ms != 0 ? request->deadline_ms : f->options.stop_ms;

	if (request->verb != VERB_STOP && request->verb != VERB_RESTART) {
		link_send(f->sides[f->route].link, request, on_reply, user);
		return;
	}
	struct ask *a = mem_alloc(sizeof(*a));

	ENSURE(request->id_count <= 1);
	a->fleet = f;
	a->verb = request->verb;
	if (request->id_count > 0) {
		span_copy(span_of(request->ids[0]), a->id, sizeof(a->id));
	}
	a->on_reply = on_reply;
	a->user = user;
	a->end_ms = loop_now_ms(f->loop) + request->drain_ms + stop_ms;
	list_append(&f->asks, &a->link);
	timer_init(&a->drain, f->loop, on_drain_over);
	mark_drain(a, true);
	timer_start(&a->drain, is_drained(a) ? 0 : request->drain_ms);
}

void fleet_request_ended(struct fleet *f, struct fleet_model *m)
{
	(void)m;
	LIST_EACH (struct ask, a, link, &f->asks) {
		if (!a->is_sent && is_drained(a)) {
			timer_start(&a->drain, 0);
		}
	}
	fleet_sweep(f, false);
}

/* A stop that was asked for is not lost with us. */
void fleet_close_asks(struct fleet *f)
{
	LIST_EACH (struct ask, a, link, &f->asks) {
		if (!a->is_sent) {
			send_ask(a);
		}
	}
}
