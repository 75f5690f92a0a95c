/* SPDX-License-Identifier: MIT */
#include "backend/choose.h"

static struct choose_step stay_until(uint64_t due_ms)
{
	return (struct choose_step){ CHOOSE_STAY, due_ms };
}

static struct choose_step change(struct choose *c, enum choose_route route, uint64_t now_ms)
{
	c->route = route;
	c->changed_ms = now_ms;
	return (struct choose_step){ route == CHOOSE_CPU ? CHOOSE_FALL_BACK : CHOOSE_RETURN, 0 };
}

static struct choose_step on_host_route(struct choose *c, enum choose_event event, uint64_t now_ms)
{
	uint64_t patience_ms = c->host_was_up ? c->limits.lease_ms : c->limits.first_ms;

	if (c->host_is_up) {
		return stay_until(0);
	}
	if (now_ms < c->host_since_ms + patience_ms) {
		return stay_until(c->host_since_ms + patience_ms);
	}
	if (event == CHOOSE_ENGINES_SILENT) {
		return change(c, CHOOSE_CPU, now_ms);
	}
	if (event == CHOOSE_ENGINES_ANSWER) {
		return stay_until(now_ms + c->limits.probe_ms);
	}
	return (struct choose_step){ CHOOSE_PROBE, 0 };
}

static struct choose_step on_cpu_route(struct choose *c, uint64_t now_ms)
{
	uint64_t due_ms = c->host_since_ms + c->limits.stable_ms;

	if (!c->host_is_up) {
		return stay_until(0);
	}
	if (due_ms < c->changed_ms + c->limits.pause_ms) {
		due_ms = c->changed_ms + c->limits.pause_ms;
	}
	return now_ms < due_ms ? stay_until(due_ms) : change(c, CHOOSE_HOST, now_ms);
}

struct choose_step choose_next(struct choose *c, enum choose_event event, uint64_t now_ms)
{
	if ((event == CHOOSE_HOST_UP && !c->host_is_up) ||
	    (event == CHOOSE_HOST_DOWN && c->host_is_up)) {
		c->host_is_up = event == CHOOSE_HOST_UP;
		c->host_was_up = true;
		c->host_since_ms = now_ms;
	}
	return c->route == CHOOSE_HOST ? on_host_route(c, event, now_ms) : on_cpu_route(c, now_ms);
}
