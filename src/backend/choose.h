/* SPDX-License-Identifier: MIT */
/*
 * Mode "auto": which link routes, the host's or that of the container's own CPU. Pure.
 *
 * A lost channel is not a dead engine: the host keeps the routes while its engines answer. Only
 * when the lease has run out, and they don't, the CPU takes over; back when the host was up for
 * stable_ms, and not sooner than pause_ms after the last change.
 *
 *        host down for lease_ms (first_ms when it was never up) -> PROBE -> silent -> FALL_BACK
 *   HOST <------------------------------------------------------------------------------> CPU
 *        RETURN <- host up for stable_ms
 */
#ifndef BACKEND_CHOOSE_H
#define BACKEND_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

enum choose_route { CHOOSE_HOST, CHOOSE_CPU };

struct choose_limits {
	uint64_t lease_ms, first_ms, probe_ms, stable_ms, pause_ms;
};

struct choose { /* zeroed, with limits and host_since_ms: the start */
	struct choose_limits limits;
	enum choose_route route;
	bool host_is_up, host_was_up;
	uint64_t host_since_ms; /* of being up, or down */
	uint64_t changed_ms;	/* of the route; 0: never */
};

enum choose_event {
	CHOOSE_TIME, /* due_ms has come */
	CHOOSE_HOST_UP,
	CHOOSE_HOST_DOWN,
	CHOOSE_ENGINES_ANSWER, /* what a PROBE came to */
	CHOOSE_ENGINES_SILENT,
};

enum choose_action { CHOOSE_STAY, CHOOSE_PROBE, CHOOSE_FALL_BACK, CHOOSE_RETURN };

struct choose_step {
	enum choose_action action;
	uint64_t due_ms; /* when to come with CHOOSE_TIME; 0: something else will happen first */
};

struct choose_step choose_next(struct choose *c, enum choose_event event, uint64_t now_ms);

#endif
