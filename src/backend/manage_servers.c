/* SPDX-License-Identifier: MIT */
/*
 * Servers: their states, and orders (start, stop, restart). An order is a call that the fleet holds
 * until its reply; what its client hears before that is what `wait` says.
 */
#include <stdio.h>
#include <stdlib.h>

#include "backend/manage_core.h"
#include "backend/show.h"
#include "base/mem.h"

#define WAIT_MAX_S 600
#define DRAIN_MAX_MS 600000

void handle_servers(struct call *c)
{
	const struct fleet *fleet = c->backend->fleet;
	int64_t total = 0, ready = 0;

	FLEET_EACH (m, fleet) {
		total++;
		ready += m->server.phase == SERVER_READY;
	}
	jsonw_object(&c->w);
	jsonw_member_i64(&c->w, "total_servers", total);
	jsonw_member_i64(&c->w, "ready_servers", ready);
	jsonw_member_array(&c->w, "servers");
	FLEET_EACH (m, fleet) {
		show_server(&c->w, m);
	}
	call_reply(c, 200);
}

/* Orders */

static void write_result(struct json_writer *w, const char *id, const struct server *s,
			 const struct err *why)
{
	bool has_own = s != NULL && s->error_code == why->code && s->error[0] != '\0';

	jsonw_object(w);
	jsonw_member_text(w, "id", id);
	jsonw_member_bool(w, "ok", why->code == 0);
	jsonw_member_text(w, "phase", server_phase_name(s != NULL ? s->phase : SERVER_STOPPED));
	jsonw_member_text(w, "error_code", why->code != 0 ? err_name(why->code) : NULL);
	if (why->code != 0 && has_own) {
		jsonw_member_text(w, "error", s->error);
		jsonw_member_text(w, "next_step", s->next_step);
	} else {
		show_error(w, "error", why);
	}
	jsonw_end(w);
}

/* reply NULL: it has only begun. */
static void answer_order(struct call *c, const struct wire_reply *reply)
{
	static const struct err fine = { 0 };

	jsonw_object(&c->w);
	jsonw_member_array(&c->w, "results");
	for (size_t i = 0; i < c->id_count; i++) {
		const struct fleet_model *m = fleet_find(c->backend->fleet, span_of(c->ids[i]));
		const struct err *why = &fine;

		for (size_t k = 0; reply != NULL && k < reply->count; k++) {
			if (strcmp(reply->results[k].id, c->ids[i]) == 0) {
				why = &reply->results[k].err;
			}
		}
		write_result(&c->w, c->ids[i], m != NULL ? &m->server : NULL, why);
	}
	call_reply(c, reply != NULL ? 200 : 202);
}

static void on_order_reply(void *user, const struct wire_reply *reply)
{
	struct call *c = user;

	timer_stop(&c->timer);
	if (!call_resume(c)) {
		return;
	}
	if (reply->err.code != 0 && reply->count == 0) {
		call_fail(c, &reply->err);
	} else {
		answer_order(c, reply);
	}
}

static void on_wait_over(struct timer *t)
{
	struct call *c = CONTAINER_OF(t, struct call, timer);

	if (c->x != NULL) {
		answer_order(c, NULL);
	}
}

static void collect_ids(struct call *c)
{
	FLEET_EACH (m, c->backend->fleet) {
		bool is_one_of_all = c->verb == VERB_START
					     ? m->server.enabled
					     : server_phase_is_running(m->server.phase);

		if (c->id[0] != '\0' ? strcmp(m->server.id, c->id) == 0 : is_one_of_all) {
			c->ids = mem_resize(c->ids, c->id_count + 1, sizeof(*c->ids));
			memcpy(c->ids[c->id_count++], m->server.id, sizeof(m->server.id));
		}
	}
}

static enum verb verb_of(const struct manage_route *route)
{
	const char *word = strrchr(route->path, '/') + 1;

	return strncmp(word, "stop", 4) == 0	  ? VERB_STOP
	       : strncmp(word, "restart", 7) == 0 ? VERB_RESTART
						  : VERB_START;
}

void handle_order(struct call *c)
{
	struct fleet *fleet = c->backend->fleet;
	const struct err *down = fleet_link_error(fleet);
	uint64_t wait_s, drain_ms;

	c->verb = verb_of(c->route);
	if (!call_query_number(c, "wait", WAIT_MAX_S, 0, &wait_s) ||
	    !call_query_number(c, "drain_ms", DRAIN_MAX_MS, c->backend->options.fleet.drain_ms,
			       &drain_ms)) {
		return;
	}
	if (down->code != 0) {
		call_fail(c, down);
		return;
	}
	if (c->id[0] != '\0' && call_model(c) == NULL) {
		return;
	}
	collect_ids(c);
	if (c->id_count == 0) {
		answer_order(c, &(struct wire_reply){ .count = 0 });
		return;
	}
	const char *id = c->id;
	struct wire_request request = { .verb = c->verb,
					.ids = &id,
					.id_count = c->id[0] != '\0',
					.drain_ms = (uint32_t)drain_ms };

	c->is_held = true;
	fleet_ask(fleet, &request, on_order_reply, c);
	if (wait_s == 0) {
		answer_order(c, NULL);
	} else {
		c->timer.fn = on_wait_over;
		timer_start(&c->timer, wait_s * 1000);
	}
}
