/* SPDX-License-Identifier: MIT */
/*
 * The agent's hand on one shim (host/shim.h): it spawns it or finds it running, follows the
 * engine's log, signals the engine through it, and notices the end of either.
 *
 *   keeper_spawn ─> hello ... exit      or  on_lost: the engine never ran
 *   keeper_adopt ─> hello ... exit      or  on_lost: nobody is there (any more)
 *
 * A shim that dies without a word takes its engine along: what is left of it is ended by pid and
 * start time, and then exit says -SIGKILL. exit and on_lost are the last callback.
 */
#ifndef HOST_KEEPER_H
#define HOST_KEEPER_H

#include "host/shim.h"
#include "io/loop.h"

struct keeper;

struct keeper_callbacks {
	void (*on_message)(void *user, const struct shim_message *m); /* what the shim says */
	void (*on_lost)(void *user, const struct err *why);
};

struct keeper_options {
	const char *shim_path, *run_folder;
	uint16_t port;
	const char *model;
	const char *log_path;
	uint64_t log_max_bytes;
	uint32_t lease_s;
	const char *const *engine_argv;
	const char *const *engine_env;
};

/* Both borrow the callbacks for the keeper's life and everything else during the call. */
struct keeper *keeper_spawn(struct loop *loop, const struct keeper_options *options,
			    const struct keeper_callbacks *callbacks, void *user);
struct keeper *keeper_adopt(struct loop *loop, const char *run_folder, uint16_t port,
			    const struct keeper_callbacks *callbacks, void *user);

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
