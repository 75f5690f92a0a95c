/* SPDX-License-Identifier: MIT */
/*
 * The downloads of this machine, known by what they were asked for as: those that run, and the last
 * ones that ended. Asked now and then how they are; the agent and the backend each have one.
 */
#ifndef FETCH_DESK_H
#define FETCH_DESK_H

#include "fetch/puller.h"

#define DESK_RUNNING_MAX 4
#define DESK_MAX 16

struct desk;

/* Text borrowed for the desk's life. */
struct desk *desk_create(struct loop *loop, const struct puller_place *place,
			 uint32_t cache_ram_mib);
void desk_close(struct desk *d); /* ends what runs; NULL is fine */

enum desk_wish {
	DESK_TELL,   /* how it is */
	DESK_BEGIN,  /* download it, unless it runs */
	DESK_CANCEL, /* end and forget it */
};

/*
 * ORG/REPO or ORG/REPO:NAME, nothing else. *ret_pull is borrowed until the loop turns; NULL when
 * canceled. ERR_INVALID, ERR_NOT_FOUND, ERR_BUSY, or why no download can be run.
 */
int desk_ask(struct desk *d, const char *source, enum desk_wish wish, struct memory_machine machine,
	     const struct pull **ret_pull, struct err *err);

#endif
