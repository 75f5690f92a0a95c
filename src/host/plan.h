/* SPDX-License-Identifier: MIT */
/*
 * From a check that went well to what is to be executed: whether it fits the memory beside what
 * runs, with which settings, and the argument vector.
 */
#ifndef HOST_PLAN_H
#define HOST_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/server.h"

struct supervisor;

struct plan {
	char **argv;			   /* one block; NULL: there is no plan */
	uint64_t host_bytes, device_bytes; /* that it will take, also when it does not fit */
	struct err err; /* code 0: all is well; no longer in the registry, no memory, no engine */
	char next_step[SERVER_TEXT_MAX_BYTES];
	struct errand *question; /* private: to llama-fit-params, on its way */
	bool was_asked;		 /* private */
};

/*
 * Makes s->plan of s->preflight and calls supervisor_on_planned once, maybe before it returns.
 * Where the error of the memory's formula could decide, the engine's own tool is asked first; the
 * model is looked up when it has answered.
 */
void plan_start(struct supervisor *s);
/* Allowed at any time, also on a zeroed plan; host_bytes and device_bytes stay. */
void plan_finish(struct plan *p);

#endif
