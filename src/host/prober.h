/* SPDX-License-Identifier: MIT */
/*
 * Asks one engine over HTTP, at the address that is advertised: is it loaded, is it ours, is it
 * idle. Loaded and ours is: /health 200, then /props 200 with this start's key and 401 with a wrong
 * one; a 200 alone proves no identity.
 *
 * While it loads it is asked every PROBER_FAST_MS, less often in a long load, and at once when the
 * log moves (prober_nudge).
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
	void (*on_idle)(void *user); /* no slot works any more */
};

struct prober;

struct prober_options {
	struct client *client;
	const char *address; /* numeric */
	uint16_t port;
	const char *key;
	const struct prober_callbacks *callbacks;
	void *user;
};

/* Texts are copied. Ends with on_proved or on_disproved. */
struct prober *prober_watch_load(struct loop *loop, const struct prober_options *options);
/* Ends with on_idle; never, when the engine does not tell its slots. */
struct prober *prober_watch_drain(struct loop *loop, const struct prober_options *options);

void prober_nudge(struct prober *p); /* NULL is fine */
void prober_close(struct prober *p); /* at any time, also inside its callbacks; NULL is fine */

#endif
