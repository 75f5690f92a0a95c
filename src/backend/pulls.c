/* SPDX-License-Identifier: MIT */
/*
 * A download is gone from the list at once when it is dropped; the entry itself waits for an edit
 * of the registry that is under way.
 */
#include "backend/pulls.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "fetch/hub.h"
#include "model/scan.h"

struct pulls {
	struct pulls_options options;
	struct list entries;
	uint64_t last_id;
	size_t edits;
	bool is_closed;
};

struct entry {
	struct list link;
	struct pulls *pulls;
	struct puller *puller; /* NULL: it has ended */
	struct pull pull;
	bool is_registering, is_dropped;
};

static struct entry *entry_of(struct list *link)
{
	return LIST_ITEM(link, struct entry, link);
}

static void free_if_over(struct pulls *p)
{
	if (p->is_closed && p->edits == 0) {
		free(p);
	}
}

static void drop(struct entry *e)
{
	puller_close(e->puller);
	e->puller = NULL;
	list_remove(&e->link);
	e->is_dropped = true;
	if (!e->is_registering) {
		free(e);
	}
}

/* The model that came into the registry */

static int add_model(void *user, struct registry *r, struct err *err)
{
	struct entry *e = user;
	const char *root = e->pulls->options.model_root;
	const char *mmproj = e->pull.mmproj_path[0] != '\0' ? e->pull.mmproj_path : NULL;

	return scan_add(r, e->pull.path, mmproj, root != NULL ? root : "/models", e->pull.model,
			err);
}

static void on_added(void *user, const struct err *err)
{
	struct entry *e = user;
	struct pulls *p = e->pulls;

	p->edits--;
	e->is_registering = false;
	if (e->is_dropped) {
		free(e);
		free_if_over(p);
		return;
	}
	e->pull.phase = PULL_DONE;
	if (err->code != 0) {
		pull_fail(&e->pull, err);
		log_warn("%s: %s", e->pull.source, e->pull.error);
	}
	p->options.on_change(p->options.user);
}

static void on_pull(void *user, const struct pull *pull)
{
	struct entry *e = user;
	struct pulls *p = e->pulls;
	char id[sizeof(pull->id)];

	memcpy(id, e->pull.id, sizeof(id));
	e->pull = *pull;
	memcpy(e->pull.id, id, sizeof(id));
	if (!pull_phase_is_running(pull->phase)) {
		puller_close(e->puller);
		e->puller = NULL;
	}
	if (pull->phase == PULL_FAILED) {
		log_warn("%s: %s", pull->source, pull->error);
	}
	if (pull->phase == PULL_DONE) {
		e->pull.phase = PULL_CHECKING; /* it is done when it can be started */
		e->is_registering = true;
		p->edits++;
		fleet_edit(p->options.fleet, add_model, on_added, e);
	}
	p->options.on_change(p->options.user);
}

/* Requests */

static bool is_running(const struct entry *e)
{
	return pull_phase_is_running(e->pull.phase);
}

/* Makes room: the same source again, or the oldest that has ended. */
static int make_room(struct pulls *p, const char *source, struct err *err)
{
	struct entry *oldest = NULL;
	size_t count = 0, running = 0;

	LIST_FOR_EACH (it, next, &p->entries) {
		struct entry *e = entry_of(it);
		bool is_same = strcmp(e->pull.source, source) == 0;

		if (is_same && is_running(e)) {
			return err_set(err, ERR_BUSY, "%s is being downloaded already", source);
		}
		if (is_same) {
			drop(e);
			continue;
		}
		count++;
		running += is_running(e);
		oldest = oldest == NULL && !is_running(e) ? e : oldest;
	}
	if (running >= PULLS_RUNNING_MAX) {
		return err_set(err, ERR_BUSY,
			       "%zu downloads run already\nwait for one of them, or cancel it",
			       running);
	}
	if (count >= PULLS_MAX && oldest != NULL) {
		drop(oldest);
	}
	return 0;
}

static struct memory_machine machine_of(const struct fleet *f)
{
	uint64_t engines_bytes = 0;

	LIST_FOR_EACH (it, next, fleet_models(f)) {
		engines_bytes += LIST_ITEM(it, struct fleet_model, link)->server.memory_bytes;
	}
	return puller_machine(fleet_host(f), engines_bytes);
}

int pulls_start(struct pulls *p, const char *source, const struct pull **ret_pull, struct err *err)
{
	const struct pulls_options *o = &p->options;
	struct span repo, name;

	if (!hub_source(span_of(source), NULL, &repo, &name)) {
		return err_set(err, ERR_INVALID,
			       "model: \"%.200s\" is neither ORG/REPO nor ORG/REPO:QUANT", source);
	}
	int status = make_room(p, source, err);

	if (status != 0) {
		return status;
	}
	struct entry *e = mem_alloc(sizeof(*e));

	e->pulls = p;
	list_init(&e->link);
	pull_init(&e->pull, source);
	snprintf(e->pull.id, sizeof(e->pull.id), "%llu", (unsigned long long)++p->last_id);
	e->puller = puller_start(o->loop,
				 &(struct puller_options){ .place = &o->place,
							   .source = e->pull.source,
							   .machine = machine_of(o->fleet),
							   .cache_ram_mib = o->cache_ram_mib,
							   .on_change = on_pull,
							   .user = e },
				 err);
	if (e->puller == NULL) {
		drop(e);
		return err->code;
	}
	list_append(&p->entries, &e->link);
	*ret_pull = &e->pull;
	o->on_change(o->user);
	return 0;
}

int pulls_drop(struct pulls *p, const char *id, struct err *err)
{
	LIST_FOR_EACH (it, next, &p->entries) {
		if (strcmp(entry_of(it)->pull.id, id) == 0) {
			drop(entry_of(it));
			p->options.on_change(p->options.user);
			return 0;
		}
	}
	return err_set(err, ERR_NOT_FOUND,
		       "there is no download '%s'\nGET /api/models/pulls lists them", id);
}

void pulls_write(const struct pulls *p, struct json_writer *w)
{
	jsonw_object(w);
	jsonw_key(w, "pulls");
	jsonw_array(w);
	LIST_FOR_EACH (it, next, &p->entries) {
		pull_write(w, &entry_of(it)->pull);
	}
	jsonw_end(w);
}

/* Life */

struct pulls *pulls_create(const struct pulls_options *options)
{
	struct pulls *p = mem_alloc(sizeof(*p));

	p->options = *options;
	list_init(&p->entries);
	return p;
}

void pulls_close(struct pulls *p)
{
	if (p == NULL) {
		return;
	}
	LIST_FOR_EACH (it, next, &p->entries) {
		drop(entry_of(it));
	}
	p->is_closed = true;
	free_if_over(p);
}
