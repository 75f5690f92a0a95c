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
	struct puller *puller; /* NULL: it has ended */
	struct pull pull;
};

static struct job *job_of(struct list *link)
{
	return LIST_ITEM(link, struct job, link);
}

static void drop(struct job *j)
{
	puller_close(j->puller);
	list_remove(&j->link);
	free(j);
}

static void on_change(void *user, const struct pull *p)
{
	struct job *j = user;

	j->pull = *p; /* which goes with the puller */
	if (j->pull.phase == PULL_FAILED) {
		log_warn("%s: %s", j->pull.source, j->pull.error);
	}
	if (!pull_phase_is_running(j->pull.phase)) {
		puller_close(j->puller);
		j->puller = NULL;
	}
}

/* The oldest that has ended makes room. */
static int make_room(struct desk *d, struct err *err)
{
	struct job *oldest = NULL;
	size_t count = 0, running = 0;

	LIST_FOR_EACH (it, next, &d->jobs) {
		struct job *j = job_of(it);

		count++;
		running += j->puller != NULL;
		oldest = oldest == NULL && j->puller == NULL ? j : oldest;
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

static int begin(struct desk *d, const char *source, struct memory_machine machine,
		 struct job **ret_job, struct err *err)
{
	int status = make_room(d, err);

	if (status != 0) {
		return status;
	}
	struct job *j = mem_alloc(sizeof(*j));
	struct puller_options options = { .place = &d->place,
					  .source = source,
					  .machine = machine,
					  .cache_ram_mib = d->cache_ram_mib,
					  .on_change = on_change,
					  .user = j };

	list_append(&d->jobs, &j->link);
	pull_init(&j->pull, source);
	j->puller = puller_start(d->loop, &options, err);
	if (j->puller == NULL) {
		drop(j);
		return err->code;
	}
	*ret_job = j;
	return 0;
}

int desk_ask(struct desk *d, const char *source, enum desk_wish wish, struct memory_machine machine,
	     const struct pull **ret_pull, struct err *err)
{
	struct span repo, name;
	struct job *j = NULL;

	LIST_FOR_EACH (it, next, &d->jobs) {
		j = strcmp(job_of(it)->pull.source, source) == 0 ? job_of(it) : j;
	}
	if (j != NULL && (wish == DESK_CANCEL || (wish == DESK_BEGIN && j->puller == NULL))) {
		drop(j);
		j = NULL;
	}
	*ret_pull = NULL;
	if (!hub_source(span_of(source), &repo, &name)) {
		return err_set(err, ERR_INVALID,
			       "\"%.200s\" is neither ORG/REPO nor ORG/REPO:QUANT", source);
	}
	if (wish == DESK_CANCEL) {
		return 0;
	}
	if (j == NULL && wish == DESK_TELL) {
		return err_set(err, ERR_NOT_FOUND,
			       "%s is no longer being downloaded. Ask for it again", source);
	}
	int status = j == NULL ? begin(d, source, machine, &j, err) : 0;

	if (status == 0) {
		*ret_pull = &j->pull;
	}
	return status;
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
	LIST_FOR_EACH (it, next, &d->jobs) {
		drop(job_of(it));
	}
	free(d);
}
