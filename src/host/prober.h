/* SPDX-License-Identifier: MIT */
/*
 * Asks one engine over HTTP, at the address that is advertised: is it loaded, is it ours, is it
 * idle. Loaded and ours is: /health 200, then /props 200 with this start's key and 401 with a wrong
 * one; a 200 alone proves no identity.
 *
 * While it loads it is asked every PROBER_FAST_MS, less often in a long load, and at once when the
 * log moves (prober_nudge). Whether it lives is asked by /slots, which its main loop answers, one
 * question at a time however long that takes.
 */
#ifndef HOST_PROBER_H
#define HOST_PROBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "http/client.h"

#define PROBER_FAST_MS 10
#define PROBER_SLOW_MS 35
#define PROBER_SLOW_AFTER 50 /* asks every 1/50 of the load's time so far, between the two */
#define PROBER_NUDGE_MS 2
#define PROBER_DRAIN_MS 100

struct prober_callbacks {
	void (*on_proved)(void *user, struct span props); /* the body of /props */
	void (*on_disproved)(void *user, const struct err *why);
	void (*on_idle)(void *user);  /* no slot works any more */
	void (*on_alive)(void *user); /* it answered */
};

struct prober;

enum prober_aim {
	PROBE_LOAD,  /* ends with on_proved or on_disproved */
	PROBE_DRAIN, /* ends with on_idle; never, when the engine does not tell its slots */
	PROBE_LIFE,  /* on_alive every life_ms */
};

struct prober_options {
	enum prober_aim aim;
	struct client *client;
	const char *address; /* numeric */
	uint16_t port;
	const char *key;
	uint32_t life_ms;
	const struct prober_callbacks *callbacks;
	void *user;
};

/* Texts are borrowed for the prober's life. */
struct prober *prober_start(struct loop *loop, const struct prober_options *options);
void prober_nudge(struct prober *p); /* NULL is fine */
void prober_close(struct prober *p); /* at any time, also inside its callbacks; NULL is fine */

#endif
