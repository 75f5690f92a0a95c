/* SPDX-License-Identifier: MIT */
/*
 * From a check that went well to what is to be executed: whether it fits the memory beside what
 * runs, with which settings, and the argument vector.
 */
#ifndef HOST_PLAN_H
#define HOST_PLAN_H

#include "host/supervisor.h"

struct plan {
	char **argv;			   /* one block; NULL: there is no plan */
	uint64_t host_bytes, device_bytes; /* that it will take, also when it does not fit */
	char next_step[SERVER_TEXT_MAX_BYTES];
};

/* 0; or an err with next_step: no longer in the registry (model NULL), no memory, no engine. */
int plan_make(struct plan *p, const struct supervisor_shared *shared, const struct supervisor *who,
	      const struct model *model, const struct preflight *preflight, struct err *err);
void plan_finish(struct plan *p);

#endif
