/* SPDX-License-Identifier: MIT */
/*
 * A fleet without links: models are put into phases by hand, requests to start are noted and
 * replied to by hand. Included by one file of a program; it takes the place of backend/fleet.c.
 */
#ifndef FAKE_FLEET_H
#define FAKE_FLEET_H

#include <stdio.h>
#include <stdlib.h>

#include "backend/fleet.h"
#include "base/mem.h"

#define FAKE_REPLIES_MAX 16

struct fleet {
	struct list models, listeners;
	struct registry registry;
	struct err link_err;
	int starts;
	char started[SERVER_ID_MAX_BYTES]; /* the last one */
	struct {
		link_reply_fn *on_reply;
		void *user;
	} due[FAKE_REPLIES_MAX];
	int due_count;
};

static void fake_init(struct fleet *f, const char *registry_text)
{
	struct err err;

	*f = (struct fleet){ .starts = 0 };
	list_init(&f->models);
	list_init(&f->listeners);
	ENSURE(registry_parse(&f->registry, span_of(registry_text), 1024, 65535, &err) == 0);
	for (size_t i = 0; i < f->registry.count; i++) {
		struct fleet_model *m = mem_alloc(sizeof(*m));

		span_copy(span_of(f->registry.models[i].id), m->server.id, sizeof(m->server.id));
		span_copy(span_of(f->registry.models[i].name), m->server.name,
			  sizeof(m->server.name));
		m->server.enabled = f->registry.models[i].enabled;
		list_append(&f->models, &m->link);
	}
}

static void fake_finish(struct fleet *f)
{
	FLEET_EACH (m, f) {
		free(m);
	}
	registry_finish(&f->registry);
}

struct fleet_model *fleet_find(const struct fleet *f, struct span id_or_alias)
{
	const struct model *named = registry_find(&f->registry, id_or_alias);

	LIST_EACH (struct fleet_model, m, link, &f->models) {
		if (named != NULL && strcmp(named->id, m->server.id) == 0) {
			return m;
		}
	}
	return NULL;
}

/* Puts a model into a phase, with an endpoint on this machine when port is not 0, and tells. */
static void fake_set(struct fleet *f, const char *id, enum server_phase phase, uint16_t port)
{
	struct fleet_model *m = fleet_find(f, span_of(id));

	m->server.phase = phase;
	m->has_endpoint = port != 0;
	m->port = port;
	memcpy(m->address, "127.0.0.1", sizeof("127.0.0.1"));
	memcpy(m->key, "engine-key", sizeof("engine-key"));
	LIST_EACH (struct fleet_listener, l, link, &f->listeners) {
		l->on_model(l, m);
	}
}

void fleet_listen(struct fleet *f, struct fleet_listener *l)
{
	list_append(&f->listeners, &l->link);
}

const struct list *fleet_models(const struct fleet *f)
{
	return &f->models;
}

const struct registry *fleet_registry(const struct fleet *f)
{
	return &f->registry;
}

const struct err *fleet_link_error(const struct fleet *f)
{
	return &f->link_err;
}

void fleet_ask(struct fleet *f, const struct wire_request *request, link_reply_fn *on_reply,
	       void *user)
{
	ENSURE(request->verb == VERB_START && request->id_count == 1);
	ENSURE(f->due_count < FAKE_REPLIES_MAX);
	f->starts++;
	span_copy(span_of(request->ids[0]), f->started, sizeof(f->started));
	f->due[f->due_count].on_reply = on_reply;
	f->due[f->due_count++].user = user;
}

void fleet_request_ended(struct fleet *f, struct fleet_model *m)
{
	(void)f;
	ENSURE(m->active < UINT32_MAX / 2 && m->queued < UINT32_MAX / 2);
}

#endif
