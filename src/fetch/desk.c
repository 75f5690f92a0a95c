/* SPDX-License-Identifier: MIT */
#include "fetch/desk.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "fetch/hub.h"

struct desk {
	struct loop *loop;
	struct puller_place place;
	uint32_t cache_ram_mib;
	struct list jobs; /* oldest first */
};

struct job {
	struct list link;
	struct puller *puller;
};

static bool is_running(const struct job *j)
{
	return pull_phase_is_running(puller_pull(j->puller)->phase);
}

static void drop(struct job *j)
{
	puller_close(j->puller);
	list_remove(&j->link);
	free(j);
}

static void on_change(void *user, const struct pull *p)
{
	(void)user;
	if (p->phase == PULL_FAILED) {
		log_warn("%s: %s", p->source, p->error);
	}
}

/* The oldest that has ended makes room. */
static int make_room(struct desk *d, struct err *err)
{
	struct job *oldest = NULL;
	size_t count = 0, running = 0;

	LIST_EACH (struct job, j, link, &d->jobs) {
		count++;
		running += is_running(j);
		oldest = oldest == NULL && !is_running(j) ? j : oldest;
	}
	if (running >= DESK_RUNNING_MAX) {
		return err_set(err, ERR_BUSY,
			       "%zu downloads run already. Wait for one of them, or cancel it",
			       running);
	}
	if (count >= DESK_MAX) {
		drop(oldest);
	}
	return 0;
}

static struct job *begin(struct desk *d, const char *source, struct memory_machine machine,
			 struct err *err)
{
	struct puller_options options = { .place = &d->place,
					  .source = source,
					  .machine = machine,
					  .cache_ram_mib = d->cache_ram_mib,
					  .on_change = on_change };
	struct puller *puller =
		make_room(d, err) == 0 ? puller_start(d->loop, &options, err) : NULL;

	if (puller == NULL) {
		return NULL;
	}
	struct job *j = mem_alloc(sizeof(*j));

	j->puller = puller;
	list_append(&d->jobs, &j->link);
	return j;
}

int desk_ask(struct desk *d, const char *source, enum desk_wish wish, struct memory_machine machine,
	     const struct pull **ret_pull, struct err *err)
{
	struct span repo, name;
	struct job *j = NULL;

	*ret_pull = NULL;
	if (!hub_source(span_of(source), &repo, &name)) {
		return err_set(err, ERR_INVALID,
			       "\"%.200s\" is neither ORG/REPO nor ORG/REPO:QUANT", source);
	}
	LIST_EACH (struct job, each, link, &d->jobs) {
		j = strcmp(puller_pull(each->puller)->source, source) == 0 ? each : j;
	}
	if (j != NULL && (wish == DESK_CANCEL || (wish == DESK_BEGIN && !is_running(j)))) {
		drop(j);
		j = NULL;
	}
	if (wish == DESK_CANCEL) {
		return 0;
	}
	if (j == NULL && wish == DESK_TELL) {
		return err_set(err, ERR_NOT_FOUND,
			       "%s is no longer being downloaded. Ask for it again", source);
	}
	j = j != NULL ? j : begin(d, source, machine, err);
	if (j == NULL) {
		return err->code;
	}
	*ret_pull = puller_pull(j->puller);
	return 0;
}

struct desk *desk_create(struct loop *loop, const struct puller_place *place,
			 uint32_t cache_ram_mib)
{
	struct desk *d = mem_alloc(sizeof(*d));

	*d = (struct desk){ loop, *place, cache_ram_mib, { 0 } };
	list_init(&d->jobs);
	return d;
}

void desk_close(struct desk *d)
{
	if (d == NULL) {
		return;
	}
	LIST_EACH (struct job, j, link, &d->jobs) {
		drop(j);
	}
	free(d);
}
