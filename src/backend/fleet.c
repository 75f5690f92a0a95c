/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "backend/fleet_core.h"
#include "model/registry_edit.h"

#define LOOK_MS 2000 /* how often the registry's file is looked at */

struct entry *fleet_entry(const struct fleet *f, const char *id)
{
	ENTRY_EACH (e, &f->models) {
		if (strcmp(e->pub.server.id, id) == 0) {
			return e;
		}
	}
	return NULL;
}

struct entry *fleet_add_entry(struct fleet *f, const char *id)
{
	struct entry *e = mem_alloc(sizeof(*e));

	span_copy(span_of(id), e->pub.server.id, sizeof(e->pub.server.id));
	list_append(&f->models, &e->pub.link);
	return e;
}

void fleet_sweep(struct fleet *f, bool all)
{
	ENTRY_EACH (e, &f->gone) {
		if (all || e->pub.active + e->pub.queued == 0) {
			list_remove(&e->pub.link);
			free(e);
		}
	}
}

/* What everybody sees */

void fleet_refresh(struct fleet *f, struct entry *e)
{
	const struct model *m = registry_find(&f->registry, span_of(e->pub.server.id));
	const struct report *r = &e->reports[f->route];
	struct server *s = &e->pub.server;

	if (r->known) {
		*s = r->server;
	} else {
		struct server none = { .progress = -1, .eta_ms = -1 };

		none.receipt.layers_offloaded = none.receipt.layers_total = -1;
		memcpy(none.id, s->id, sizeof(none.id));
		memcpy(none.host, f->sides[f->route].host.name, sizeof(none.host));
		none.phase_unix_ms = s->phase_unix_ms != 0 ? s->phase_unix_ms : loop_unix_ms();
		*s = none;
	}
	e->pub.restart_needed = false;
	if (m != NULL) {
		span_copy(span_of(m->name), s->name, sizeof(s->name));
		s->enabled = m->enabled;
		s->port = server_phase_is_running(s->phase) ? s->port : m->port;
		e->pub.restart_needed =
			e->has_started && server_phase_is_running(s->phase) &&
			(e->started_port != m->port ||
			 memcmp(&e->started, &m->settings, sizeof(e->started)) != 0);
	}
	if (e->pub.is_draining && server_phase_is_accepting(s->phase)) {
		s->phase = SERVER_DRAINING;
	}
	e->pub.has_endpoint = r->has_endpoint;
	e->pub.port = r->port;
	memcpy(e->pub.address, r->address, sizeof(e->pub.address));
	memcpy(e->pub.key, r->key, sizeof(e->pub.key));
	TELL(f, on_model, (l_, &e->pub));
}

bool fleet_remove_unknown(struct fleet *f, struct entry *e)
{
	if (registry_find(&f->registry, span_of(e->pub.server.id)) != NULL ||
	    e->reports[SIDE_HOST].known || e->reports[SIDE_LOCAL].known) {
		return false;
	}
	list_remove(&e->pub.link);
	list_append(&f->gone, &e->pub.link);
	feed_drop(&e->pub.topic);
	e->pub.has_endpoint = false;
	TELL(f, on_removed, (l_, e->pub.server.id));
	fleet_sweep(f, false);
	return true;
}

/* The registry's file */

/* Models in the order of the file; behind them those that only a link knows. */
static void arrange(struct fleet *f)
{
	for (size_t i = f->registry.count; i > 0; i--) {
		const char *id = f->registry.models[i - 1].id;

		ENSURE(id != NULL);
		struct entry *e = fleet_entry(f, id);

		e = e != NULL ? e : fleet_add_entry(f, id);
		list_remove(&e->pub.link);
		list_append(f->models.next, &e->pub.link); /* to the front */
	}
}

static void load_registry(struct fleet *f)
{
	struct registry fresh = { 0 };
	struct err err = { 0 };
	int status = registry_load(&fresh, f->options.registry_path, f->options.port_min,
				   f->options.port_max, &err);

	if (status == -ENOENT) {
		registry_init_empty(&fresh, f->options.port_min, f->options.port_max);
		status = 0;
	}
	f->registry_err = (struct err){ 0 };
	if (status != 0) {
		log_error("%s", err.text);
		f->registry_err = err;
		f->registry_err.code = status;
	} else {
		registry_finish(&f->registry);
		f->registry = fresh;
		arrange(f);
		ENTRY_EACH (e, &f->models) {
			if (!fleet_remove_unknown(f, e)) {
				fleet_refresh(f, e);
			}
		}
	}
	TELL(f, on_registry, (l_));
}

bool fleet_look(struct fleet *f)
{
	bool changed = fs_changed(f->options.registry_path, &f->stamp);

	if (changed) {
		load_registry(f);
	}
	return changed;
}

void fleet_send(struct fleet *f, int side, const struct wire_request *r, link_reply_fn *on_reply,
		void *user)
{
	f->pending++;
	link_send(f->sides[side].link, r, on_reply, user);
}

/* Agents read the file by themselves at a start only. */
static void tell_agents(struct fleet *f)
{
	for (int i = 0; i < SIDES; i++) {
		if (f->sides[i].link != NULL && f->sides[i].state == FLEET_UP) {
			fleet_send(f, i, &(struct wire_request){ .verb = VERB_RELOAD },
				   fleet_on_ignored, f);
		}
	}
}

/* Changes: one at a time, on another thread, which touches nothing but its edit */

struct edit {
	struct list link;
	struct fleet *fleet;
	fleet_edit_fn *change;
	fleet_edited_fn *on_done;
	void *user;
	struct err err;
};

static void change_file(void *arg)
{
	struct edit *e = arg;
	const struct fleet_options *o = &e->fleet->options;
	struct registry_edit file;
	int status =
		registry_edit_begin(&file, o->registry_path, o->port_min, o->port_max, &e->err);

	if (status != 0) {
		return;
	}
	status = e->change(e->user, &file.registry, &e->err);
	if (status == 0) {
		registry_edit_commit(&file, &e->err);
	} else {
		registry_edit_abandon(&file);
		e->err.code = status;
	}
}

static void next_edit(struct fleet *f);

static void on_changed_file(void *arg)
{
	struct edit *e = arg;
	struct fleet *f = e->fleet;

	list_remove(&e->link);
	next_edit(f);
	if (!f->is_closed && fleet_look(f)) {
		tell_agents(f);
	}
	e->on_done(e->user, &e->err);
	free(e);
	fleet_release(f);
}

static void next_edit(struct fleet *f)
{
	if (!list_is_empty(&f->edits)) {
		loop_work(f->loop, change_file, on_changed_file,
			  LIST_ITEM(f->edits.next, struct edit, link));
	}
}

void fleet_edit(struct fleet *f, fleet_edit_fn *change, fleet_edited_fn *on_done, void *user)
{
	bool is_first = list_is_empty(&f->edits);
	struct edit *e = mem_alloc(sizeof(*e));

	e->fleet = f;
	e->change = change;
	e->on_done = on_done;
	e->user = user;
	list_append(&f->edits, &e->link);
	f->pending++;
	if (is_first) {
		next_edit(f);
	}
}

static void on_look(struct timer *t)
{
	struct fleet *f = CONTAINER_OF(t, struct fleet, look);

	timer_start(t, LOOK_MS);
	if (fleet_look(f)) {
		tell_agents(f);
	}
}

/* Replies that are due keep the memory */

void fleet_release(struct fleet *f)
{
	f->pending--;
	if (f->is_closed && f->pending == 0) {
		free(f);
	}
}

bool fleet_is_on_host(const struct fleet *f)
{
	return f->route == SIDE_HOST;
}

void fleet_on_ignored(void *user, const struct wire_reply *reply)
{
	struct fleet *f = user;

	if (reply->err.code != 0 && !f->is_closed) {
		log_warn("%s", reply->err.text);
	}
	fleet_release(f);
}

/* Looking */

void fleet_listen(struct fleet *f, struct fleet_listener *l)
{
	list_append(&f->listeners, &l->link);
}

const struct list *fleet_models(const struct fleet *f)
{
	return &f->models;
}

struct fleet_model *fleet_find(const struct fleet *f, struct span id_or_alias)
{
	const struct model *m = registry_find(&f->registry, id_or_alias);
	char id[SERVER_ID_MAX_BYTES];

	span_copy(m != NULL ? span_of(m->id) : id_or_alias, id, sizeof(id));
	struct entry *e = fleet_entry(f, id);

	return e != NULL ? &e->pub : NULL;
}

const struct registry *fleet_registry(const struct fleet *f)
{
	return &f->registry;
}

const struct err *fleet_registry_error(const struct fleet *f)
{
	return &f->registry_err;
}

const struct host_info *fleet_host(const struct fleet *f)
{
	return &f->sides[f->route].host;
}

const struct err *fleet_link_error(const struct fleet *f)
{
	return &f->link_err;
}

struct fleet_state fleet_state(const struct fleet *f)
{
	bool has_host = f->sides[SIDE_HOST].link != NULL;
	const struct side *s = &f->sides[has_host ? SIDE_HOST : SIDE_LOCAL];

	bool is_fallback = has_host && f->route == SIDE_LOCAL;

	return (struct fleet_state){ s->state, s->since_unix_ms, is_fallback,
				     is_fallback ? link_error(s->link) : &f->link_err };
}

/* Life */

struct fleet *fleet_create(struct loop *loop, const struct fleet_options *options, struct err *err)
{
	struct fleet *f = mem_alloc(sizeof(*f));

	f->loop = loop;
	f->options = *options;
	f->route =
		options->mode == FLEET_HOST || options->mode == FLEET_AUTO ? SIDE_HOST : SIDE_LOCAL;
	list_init(&f->models);
	list_init(&f->gone);
	list_init(&f->listeners);
	list_init(&f->asks);
	list_init(&f->edits);
	registry_init_empty(&f->registry, options->port_min, options->port_max);
	if (fleet_open_sides(f, err) != 0) {
		registry_finish(&f->registry);
		free(f);
		return NULL;
	}
	timer_init(&f->look, loop, on_look);
	fleet_look(f);
	timer_start(&f->look, LOOK_MS);
	return f;
}

void fleet_close(struct fleet *f)
{
	if (f == NULL) {
		return;
	}
	f->is_closed = true;
	timer_stop(&f->look);
	fleet_close_asks(f);
	fleet_close_sides(f);
	ENTRY_EACH (e, &f->models) {
		list_remove(&e->pub.link);
		list_append(&f->gone, &e->pub.link);
	}
	fleet_sweep(f, true);
	registry_finish(&f->registry);
	f->pending++;
	fleet_release(f);
}
