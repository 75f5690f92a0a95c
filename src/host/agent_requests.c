/* SPDX-License-Identifier: MIT */
/*
 * Controllers: who may attach, and what they may ask for.
 *
 * Lease: FREE -> HELD (session) -> ORPHANED (timer) -> FREE, and then what that controller started
 * is stopped; back in time it is HELD again. A person is no controller and has no lease.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "host/agent_inside.h"
#include "os/memory.h"

/* The lease of the one controller */

static void on_lease_over(struct timer *timer)
{
	struct lease *lease = CONTAINER_OF(timer, struct lease, timer);
	struct agent *a = CONTAINER_OF(lease, struct agent, lease);

	log_warn("controller %s did not come back within %u s: what it started is stopped",
		 lease->controller, a->options.controller_lease_s);
	for (size_t i = 0; i < a->server_count; i++) {
		if (strcmp(a->servers[i]->controller, lease->controller) == 0) {
			supervisor_end(a->servers[i], FSM_STOP, AGENT_STOP_DRAIN_MS, 0);
		}
	}
	lease->controller[0] = '\0';
}

void agent_orphan_lease(struct agent *a, const char *controller)
{
	if (a->lease.controller[0] == '\0' || strcmp(a->lease.controller, controller) == 0) {
		span_copy(span_of(controller), a->lease.controller, sizeof(a->lease.controller));
		a->lease.session = NULL;
		timer_start(&a->lease.timer, (uint64_t)a->options.controller_lease_s * 1000);
	}
}

void agent_lease_init(struct agent *a)
{
	timer_init(&a->lease.timer, a->loop, on_lease_over);
}

/* 0, or ERR_BUSY while another controller is there or may come back. */
static int take_lease(struct agent *a, struct session *s, const char *controller, struct err *err)
{
	struct lease *lease = &a->lease;
	struct session *former = lease->session;

	if (controller[0] == '\0') {
		return 0;
	}
	if (lease->controller[0] != '\0' && strcmp(lease->controller, controller) != 0) {
		return err_set(err, ERR_BUSY,
			       former != NULL ? "another controller is attached (%s)"
					      : "another controller is away and may come back (%s)",
			       former != NULL ? former->who : lease->controller);
	}
	span_copy(span_of(controller), lease->controller, sizeof(lease->controller));
	timer_stop(&lease->timer);
	lease->session = s;
	if (former != NULL) {
		struct err replaced = { 0 };

		err_set(&replaced, ERR_BUSY, "replaced by a newer connection of this controller");
		session_bye(former, &replaced);
		orders_forget_session(a, former);
		session_close(former);
	}
	return 0;
}

/* Sessions */

void agent_on_session_end(struct agent *a, struct session *s)
{
	if (a->lease.session == s) {
		log_warn("controller %s is gone", a->lease.controller);
		agent_orphan_lease(a, a->lease.controller);
	}
	orders_forget_session(a, s);
	session_close(s);
}

static void greet(struct agent *a, struct session *s, const struct wire_request *r)
{
	struct wire_event e = { .type = EVENT_HELLO,
				.hello = { .version = WIRE_VERSION,
					   .version_min = WIRE_VERSION_MIN,
					   .restricted = s->is_restricted } };
	struct err err = { 0 };
	char who[WIRE_CONTROLLER_MAX_BYTES + 8];

	snprintf(who, sizeof(who), "%s", r->who[0] != '\0' ? r->who : "this side");
	if (wire_versions_agree(r->version, r->version_min, who, &err) != 0 ||
	    take_lease(a, s, r->controller, &err) != 0) {
		session_bye(s, &err);
		session_close(s);
		return;
	}
	span_copy(span_of(a->options.version), e.hello.agent, sizeof(e.hello.agent));
	session_attach(s, r);
	session_say(s, &e);
	session_show_all(s);
	timer_start(&a->sweep, 0);
}

static void credentials(struct agent *a, struct session *s, const struct wire_request *r)
{
	struct wire_result *results = mem_alloc(WIRE_IDS_MAX * sizeof(*results));
	struct wire_event e = { .type = EVENT_REPLY,
				.reply = { .seq = r->seq, .results = results } };
	size_t count = agent_meant_count(a, r);

	for (size_t i = 0; i < count && e.reply.count < WIRE_IDS_MAX; i++) {
		struct supervisor *server = agent_meant(a, r, i);
		struct wire_result *result = &results[e.reply.count];

		if (r->id_count == 0 && server->server.phase != SERVER_READY) {
			continue;
		}
		const char *id = server != NULL ? server->server.id : r->ids[i];

		e.reply.count++;
		span_copy(span_of(id), result->id, sizeof(result->id));
		if (server != NULL) {
			supervisor_credentials(server, result);
		} else {
			err_set(&result->err, ERR_NOT_FOUND, "model '%s' is not here", id);
		}
	}
	session_say(s, &e);
	free(results);
}

static void subscribe(struct agent *a, struct session *s, const struct wire_request *r)
{
	session_unfollow_all(s);
	for (size_t i = 0; !r->none && i < agent_meant_count(a, r); i++) {
		struct supervisor *server = agent_meant(a, r, i);

		if (server != NULL) {
			session_follow(s, server, r->tail);
		}
	}
}

static void one_shot(struct agent *a, struct session *s, const struct wire_request *hello)
{
	struct wire_request r = { .verb = VERB_STOP, .drain_ms = AGENT_STOP_DRAIN_MS };

	if (strcmp(hello->once, WIRE_ONCE_START) == 0) {
		r.verb = VERB_START;
	}
	order_take(a, s, &r, true);
}

/* What all engines together may take: as configured, else the devices' memory, else main memory. */
static uint64_t memory_budget(const struct agent *a, const struct memory *memory)
{
	uint64_t devices = 0;

	for (int i = 0; i < a->engine.abilities.device_count; i++) {
		devices += a->engine.abilities.devices[i].total_bytes;
	}
	if (a->options.memory_budget_bytes > 0) {
		return a->options.memory_budget_bytes;
	}
	return devices > 0 ? devices
			   : memory->total_bytes - memory->total_bytes / AGENT_RESERVE_PART;
}

void agent_fill_host(const struct agent *a, struct host_info *h)
{
	const struct engine *engine = &a->engine;
	struct memory memory = { 0 };

	memset(h, 0, sizeof(*h));
	memory_read(&memory);
	span_copy(span_of(a->options.host_name), h->name, sizeof(h->name));
	span_copy(span_of(engine->abilities.version), h->engine, sizeof(h->engine));
	span_copy(span_of(engine->path), h->engine_path, sizeof(h->engine_path));
	span_copy(span_of(engine->err.text), h->engine_error, sizeof(h->engine_error));
	span_copy(span_of(catalog_error(a->catalog)), h->registry_error, sizeof(h->registry_error));
	span_copy(SPAN_LIT("local"), h->channel, sizeof(h->channel));
	h->device_count = engine->abilities.device_count;
	memcpy(h->devices, engine->abilities.devices, sizeof(h->devices));
	h->memory_total_bytes = memory.total_bytes;
	h->memory_available_bytes = memory.available_bytes;
	h->memory_budget_bytes = memory_budget(a, &memory);
}

/* The machine with all its engines stopped. */
static struct memory_machine empty_machine(struct agent *a)
{
	uint64_t engines_bytes = 0;
	struct host_info h;

	agent_fill_host(a, &h);
	for (size_t i = 0; i < a->server_count; i++) {
		engines_bytes += a->servers[i]->server.memory_bytes;
	}
	return puller_machine(&h, engines_bytes);
}

/* As the registry calls it. */
static void rename_path(const struct agent *a, char path[PULL_PATH_MAX_BYTES])
{
	char *file_path = registry_file_path(a->options.model_roots[0], path);

	span_copy(span_of(file_path), path, PULL_PATH_MAX_BYTES);
	free(file_path);
}

static void pull(struct agent *a, struct session *s, const struct wire_request *r)
{
	struct wire_event e = { .type = EVENT_REPLY, .reply = { .seq = r->seq } };
	struct err *err = &e.reply.err;
	const struct pull *found = NULL;
	struct pull shown;

	if (s->is_restricted && !a->options.allow_pull) {
		err_set(err, ERR_DENIED,
			"%s downloads nothing for containers. On it: ronzal pull %s, or allow_pull "
			"= on in host.conf",
			a->options.host_name, r->source);
	} else if (desk_ask(a->desk, r->source,
			    r->none    ? DESK_CANCEL
			    : r->begin ? DESK_BEGIN
				       : DESK_TELL,
			    empty_machine(a), &found, err) == 0 &&
		   found != NULL) {
		shown = *found;
		rename_path(a, shown.path);
		rename_path(a, shown.mmproj_path);
		e.reply.pull = &shown;
	}
	session_say(s, &e);
}

void agent_on_request(struct agent *a, struct session *s, struct wire_request *r)
{
	switch (r->verb) {
	case VERB_HELLO:
		if (s->state == SESSION_ATTACHED) {
			break;
		}
		greet(a, s, r);
		if (s->state == SESSION_ATTACHED && r->once[0] != '\0') {
			one_shot(a, s, r);
		}
		break;
	case VERB_START:
	case VERB_RESTART:
	case VERB_RELOAD:
	case VERB_STOP:
		order_take(a, s, r, false);
		break;
	case VERB_CREDENTIALS:
		credentials(a, s, r);
		break;
	case VERB_SUBSCRIBE:
		subscribe(a, s, r);
		break;
	case VERB_PULL:
		pull(a, s, r);
		break;
	case VERB_PING:
	case VERB_SHUTDOWN:
		session_reply(s, r->seq, &(struct err){ 0 });
		if (r->verb == VERB_SHUTDOWN) {
			agent_leave(a, AGENT_STOP);
		}
		break;
	}
}
