/* SPDX-License-Identifier: MIT */
/*
 * The host as the agent last said it: what a fresh reader is told first, and what a slow one has
 * missed. Every change gets the next number; a reader that has seen number N is told what carries a
 * higher one, each server once, however often it changed in between. Pure.
 */
#ifndef HOSTAPI_MIRROR_H
#define HOSTAPI_MIRROR_H

#include "base/list.h"
#include "wire/server.h"

struct mirror_entry {
	struct list link;
	uint64_t change; /* number of its last change */
	struct server server;
};

struct mirror {
	struct list entries;  /* by change, the oldest first */
	uint64_t change;      /* the last number given */
	uint64_t host_change; /* 0: the host was not said yet */
	struct host_info host;
};

void mirror_init(struct mirror *m);
void mirror_finish(struct mirror *m);
void mirror_clear(struct mirror *m); /* numbers go on */

void mirror_put_host(struct mirror *m, const struct host_info *host);
void mirror_put(struct mirror *m, const struct server *server);
/* Only progress and eta; false when there is no such server. */
bool mirror_put_progress(struct mirror *m, const char *id, float fraction, int32_t eta_ms);
void mirror_remove(struct mirror *m, const char *id);

/* The oldest change behind `seen`, then the one behind that; NULL at the end. */
const struct mirror_entry *mirror_after(const struct mirror *m, uint64_t seen);
const struct mirror_entry *mirror_next(const struct mirror *m, const struct mirror_entry *e);

#endif
