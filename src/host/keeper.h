/* SPDX-License-Identifier: MIT */
/*
 * A supervisor's hand on one shim (host/shim.h): it spawns it or finds it running, follows the
 * engine's log, signals the engine through it, and notices the end of either. The supervisor hears
 * what the shim says by supervisor_on_shim:
 *
 *   keeper_spawn ─> hello ... exit      or  supervisor_on_lost: the engine never ran
 *   keeper_adopt ─> hello ... exit      or  supervisor_on_lost: nobody is there (any more)
 *
 * A shim that dies without a word takes its engine along: what is left of it is ended by pid and
 * start time, and then exit says -SIGKILL. After exit or lost it hears nothing more.
 */
#ifndef HOST_KEEPER_H
#define HOST_KEEPER_H

#include "host/shim.h"

struct keeper;
struct supervisor;

/* An engine by s->plan.argv on s->server.port. */
struct keeper *keeper_spawn(struct supervisor *s);
struct keeper *keeper_adopt(struct supervisor *s, uint16_t port);

/*
 * Without a connection to the shim these do nothing: ask again at its next hello. But a SIGKILL
 * goes to a shim that has not begun itself.
 */
void keeper_signal(struct keeper *k, int signum); /* SIGTERM or SIGKILL, to the engine's group */
/* A note, or a line for the log. */
void keeper_tell(struct keeper *k, enum shim_verb verb, struct span text);

/* Lets the shim go if its engine has ended, leaves both alone otherwise. NULL is fine. */
void keeper_close(struct keeper *k);

#endif
