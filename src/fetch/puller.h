/* SPDX-License-Identifier: MIT */
/*
 * A download as an object: runs ronzal-fetch and tells how it goes. What is on the disk outlives
 * it; whoever starts the same again goes on there.
 */
#ifndef FETCH_PULLER_H
#define FETCH_PULLER_H

#include "io/loop.h"
#include "model/memory.h"
#include "wire/pull.h"

/* Where downloads go and by what; text borrowed for the puller's life. */
struct puller_place {
	const char *program; /* ronzal-fetch */
	const char *cache;   /* the hub's */
	const char *folder;  /* for files that are no hub's */
};

struct puller_options {
	const struct puller_place *place;
	const char *source;
	struct memory_machine machine; /* that is to run it */
	uint32_t cache_ram_mib;
	/* At each change; once it no longer runs, for the last time. */
	void (*on_change)(void *user, const struct pull *p);
	void *user;
};

/* A machine with all its engines (engines_bytes of memory) stopped. */
struct memory_machine puller_machine(const struct host_info *h, uint64_t engines_bytes);

struct puller;

/* NULL when ronzal-fetch cannot be run. */
struct puller *puller_start(struct loop *loop, const struct puller_options *options,
			    struct err *err);
const struct pull *puller_pull(const struct puller *p); /* how it is; goes with the puller */
void puller_close(struct puller *p); /* ends a download that runs; NULL is fine */

#endif
