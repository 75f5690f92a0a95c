/* SPDX-License-Identifier: MIT */
/*
 * Asks one engine over HTTP, at the address that is advertised: is it loaded, is it ours, is it
 * idle. Loaded and ours is: /health 200, then /props 200 with this start's key and 401 with a wrong
 * one; a 200 alone proves no identity.
 *
 * While it loads it is asked every PROBER_FAST_MS, less often in a long load, and at once when the
 * log moves (prober_nudge). Whether it lives is asked by /slots, which its main loop answers, one
 * question at a time however long that takes.
 *
 * What comes of it the engine's supervisor hears: supervisor_on_proved and what stands behind it.
 */
#ifndef HOST_PROBER_H
#define HOST_PROBER_H

struct prober;
struct supervisor;

#define PROBER_FAST_MS 10
#define PROBER_SLOW_MS 35
#define PROBER_SLOW_AFTER 50 /* asks every 1/50 of the load's time so far, between the two */
#define PROBER_NUDGE_MS 2
#define PROBER_DRAIN_MS 100 /* between two looks at its slots: idle in both is drained */

enum prober_aim {
	PROBE_LOAD,  /* ends with proved or disproved */
	PROBE_DRAIN, /* ends with drained; never, when the engine does not tell its slots */
	PROBE_LIFE,  /* alive, again and again: twice in the time that makes one hung */
};

/* Its port and key must stay as they are until prober_close. */
struct prober *prober_start(struct supervisor *s, enum prober_aim aim);
void prober_nudge(struct prober *p); /* NULL is fine */
void prober_close(struct prober *p); /* at any time, also while it tells; NULL is fine */

#endif
