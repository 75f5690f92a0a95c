/* SPDX-License-Identifier: MIT */
/*
 * asked (here or on the host) -> told -> asked again after a moment ... -> ended -> registered
 *
 * An entry leaves the list at once when it is dropped, and its memory once nothing is under way.
 */
#include "backend/pulls.h"

#include <stdio.h>
#include <stdlib.h>

#include "backend/events.h"
#include "base/mem.h"
#include "fetch/hub.h"
#include "io/timer.h"
#include "model/scan.h"

#define ASK_MS 500
#define AWAY_MS 5000 /* the host is not there: asked again so often */

struct pulls {
	const struct backend *backend;
	const char *model_root; /* for the thread; NULL: /models itself */
	struct desk *desk;
	struct list entries;
	uint64_t last_id;
	size_t busy; /* entries that wait for an answer */
	bool is_closed;
};

struct entry {
	struct list link;
	struct pulls *pulls;
	struct pull pull;
	struct timer timer;
	bool has_begun, is_busy, is_dropped;
};

/* Waits for an answer that always comes. */
static void hold(struct entry *e)
{
	e->is_busy = true;
	e->pulls->busy++;
}

/* It came: whether the entry is still wanted. */
static bool resume(struct entry *e)
{
	struct pulls *p = e->pulls;
	bool is_wanted = !e->is_dropped;

	e->is_busy = false;
	p->busy--;
	if (!is_wanted) {
		free(e);
	}
	if (p->is_closed && p->busy == 0) {
		free(p);
	}
	return is_wanted;
}

/* The model that came into the registry */

static int add_model(void *user, struct registry *r, struct err *err)
{
	struct entry *e = user;
	const char *root = e->pulls->model_root; /* the registry says /models for it */

	return scan_add(r, e->pull.path, e->pull.mmproj_path, root != NULL ? root : "/models",
			e->pull.model, err);
}

static void on_added(void *user, const struct err *err)
{
	struct entry *e = user;
	struct pulls *p = e->pulls;

	if (!resume(e)) {
		return;
	}
	e->pull.phase = PULL_DONE;
	if (err->code != 0) {
		pull_fail(&e->pull, err);
	}
	events_pulls(p->backend->events);
}

/* Asking how it is */

static void take(struct entry *e, const struct pull *now)
{
	struct pulls *p = e->pulls;
	char id[sizeof(e->pull.id)];

	memcpy(id, e->pull.id, sizeof(id));
	e->pull = *now;
	memcpy(e->pull.id, id, sizeof(id));
	if (now->phase == PULL_DONE) {
		e->pull.phase = PULL_CHECKING; /* it is done when it can be started */
		hold(e);
		fleet_edit(p->backend->fleet, add_model, on_added, e);
	} else if (pull_phase_is_running(now->phase)) {
		timer_start(&e->timer, ASK_MS);
	}
	events_pulls(p->backend->events);
}

/* The host being away is no verdict on the download. */
static void take_error(struct entry *e, const struct err *err)
{
	if (err->code == ERR_UNAVAILABLE && e->has_begun) {
		span_copy(span_of(err->text), e->pull.note, sizeof(e->pull.note));
		timer_start(&e->timer, AWAY_MS);
	} else {
		pull_fail(&e->pull, err);
	}
	events_pulls(e->pulls->backend->events);
}

static void on_reply(void *user, const struct wire_reply *reply)
{
	struct entry *e = user;

	if (!resume(e)) {
		return;
	}
	if (reply->err.code != 0) {
		take_error(e, &reply->err);
	} else if (reply->pull != NULL) {
		e->has_begun = true;
		take(e, reply->pull);
	}
}

static struct memory_machine machine_of(const struct fleet *f)
{
	uint64_t engines_bytes = 0;

	FLEET_EACH (m, f) {
		engines_bytes += m->server.memory_bytes;
	}
	return puller_machine(fleet_host(f), engines_bytes);
}

static void ask_host(const struct entry *e, bool cancel, link_reply_fn *on_answer, void *user)
{
	struct wire_request r = { .verb = VERB_PULL,
				  .begin = !e->has_begun && !cancel,
				  .none = cancel };

	memcpy(r.source, e->pull.source, sizeof(r.source));
	fleet_ask(e->pulls->backend->fleet, &r, on_answer, user);
}

static void on_timer(struct timer *t)
{
	struct entry *e = CONTAINER_OF(t, struct entry, timer);
	struct pulls *p = e->pulls;
	const struct pull *now;
	struct err err = { 0 };

	if (fleet_is_on_host(p->backend->fleet)) {
		hold(e);
		ask_host(e, false, on_reply, e);
	} else if (desk_ask(p->desk, e->pull.source, e->has_begun ? DESK_TELL : DESK_BEGIN,
			    machine_of(p->backend->fleet), &now, &err) != 0) {
		take_error(e, &err);
	} else {
		e->has_begun = true;
		take(e, now);
	}
}

/* Requests */

static void on_canceled(void *user, const struct wire_reply *reply)
{
	(void)user;
	(void)reply;
}

static void drop(struct entry *e)
{
	struct pulls *p = e->pulls;
	const struct pull *none;

	timer_stop(&e->timer);
	if (e->has_begun && fleet_is_on_host(p->backend->fleet) && !p->is_closed) {
		ask_host(e, true, on_canceled, NULL);
	} else if (e->has_begun) {
		desk_ask(p->desk, e->pull.source, DESK_CANCEL, (struct memory_machine){ 0 }, &none,
			 NULL);
	}
	list_remove(&e->link);
	e->is_dropped = true;
	if (!e->is_busy) {
		free(e);
	}
}

int pulls_start(struct pulls *p, const char *source, const struct pull **ret_pull, struct err *err)
{
	struct entry *same = NULL, *oldest = NULL;
	struct span repo, name;
	size_t count = 0;

	if (!hub_source(span_of(source), &repo, &name)) {
		return err_set(err, ERR_INVALID,
			       "model: \"%.200s\" is neither ORG/REPO nor ORG/REPO:QUANT", source);
	}
	LIST_EACH (struct entry, e, link, &p->entries) {
		count++;
		same = strcmp(e->pull.source, source) == 0 ? e : same;
		oldest = oldest == NULL && !pull_phase_is_running(e->pull.phase) ? e : oldest;
	}
	if (same != NULL && pull_phase_is_running(same->pull.phase)) {
		return err_set(err, ERR_BUSY, "%s is being downloaded already", source);
	}
	if (same == NULL && count >= PULLS_MAX) {
		same = oldest;
	}
	if (count >= PULLS_MAX && same == NULL) {
		return err_set(err, ERR_BUSY, "%zu downloads are asked for already", count);
	}
	if (same != NULL) {
		drop(same);
	}
	struct entry *e = mem_alloc(sizeof(*e));

	e->pulls = p;
	pull_init(&e->pull, source);
	snprintf(e->pull.id, sizeof(e->pull.id), "%llu", (unsigned long long)++p->last_id);
	timer_init(&e->timer, p->backend->loop, on_timer);
	timer_start(&e->timer, 0);
	list_append(&p->entries, &e->link);
	*ret_pull = &e->pull;
	events_pulls(p->backend->events);
	return 0;
}

int pulls_drop(struct pulls *p, const char *id, struct err *err)
{
	LIST_EACH (struct entry, e, link, &p->entries) {
		if (strcmp(e->pull.id, id) == 0) {
			drop(e);
			events_pulls(p->backend->events);
			return 0;
		}
	}
	return err_set(err, ERR_NOT_FOUND,
		       "there is no download '%s'\nGET /api/models/pulls lists them", id);
}

void pulls_write(const struct pulls *p, struct json_writer *w)
{
	jsonw_object(w);
	jsonw_member_array(w, "pulls");
	LIST_EACH (struct entry, e, link, &p->entries) {
		pull_write(w, &e->pull);
	}
	jsonw_end(w);
}

/* Life */

struct pulls *pulls_create(const struct backend *b)
{
	struct pulls *p = mem_alloc(sizeof(*p));

	p->backend = b;
	p->model_root = b->options.model_roots[0];
	p->desk = desk_create(b->loop, &b->options.downloads, b->options.cache_ram_mib);
	list_init(&p->entries);
	return p;
}

void pulls_close(struct pulls *p)
{
	if (p == NULL) {
		return;
	}
	p->is_closed = true;
	LIST_EACH (struct entry, e, link, &p->entries) {
		drop(e);
	}
	desk_close(p->desk);
	if (p->busy == 0) {
		free(p);
	}
}
