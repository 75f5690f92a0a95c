/* SPDX-License-Identifier: MIT */
/*
 * Keeps the machine awake while engines work, by a tool of the system (os/awake.h) that runs for
 * that long and VIGIL_LINGER_MS more, so that a conversation does not start it again and again.
 */
#ifndef HOST_VIGIL_H
#define HOST_VIGIL_H

#include <stdbool.h>

#include "io/timer.h"

#define VIGIL_LINGER_MS 10000

struct vigil {
	struct loop *loop;
	const char *const *argv;
	uint32_t linger_ms;
	struct child *child; /* the tool; NULL while the machine may sleep */
	bool has_failed;     /* said once */
	struct timer linger;
};

/* argv is borrowed; an empty one: nothing is ever started. */
void vigil_init(struct vigil *v, struct loop *loop, const char *const *argv, uint32_t linger_ms);
void vigil_set(struct vigil *v, bool is_working);
void vigil_finish(struct vigil *v);

#endif
