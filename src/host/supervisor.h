/* SPDX-License-Identifier: MIT */
/*
 * One model's server: performs what host/fsm decides. It checks, spawns through a shim, reads the
 * engine's log into the receipt, proves readiness, drains, ends, and tells every change.
 *
 * The agent owns supervisors and what they share; callbacks come from the loop or from inside the
 * calls below, and the callee must not close the supervisor in them.
 */
#ifndef HOST_SUPERVISOR_H
#define HOST_SUPERVISOR_H

#include "engine/probe.h"
#include "host/agent.h"
#include "host/enginelog.h"
#include "host/history.h"
#include "host/preflight.h"
#include "http/client.h"
#include "model/memory.h"
#include "model/registry.h"
#include "wire/messages.h"

struct supervisor;

/* What all supervisors of an agent share. */
struct supervisor_shared {
	struct loop *loop;
	const struct agent_options *options;
	struct preflight_options preflight;
	struct client *http;
	const char *const *engine_env; /* NULL-terminated */

	/*
	 * What the engine can do, as last asked; engine_is_known is false while it is being
	 * asked.
	 */
	bool engine_is_known;
	struct engine_stamp engine_stamp;
	struct engine_abilities abilities;
	struct err engine_err;

	/* The program at preflight->engine_path is not the one that is known: ask it, then call
	 * supervisor_engine_known. */
	void (*want_engine)(void *user, const struct preflight *preflight);
	/* Whether it fits beside what runs. */
	void (*admit)(void *user, const struct supervisor *s, const struct memory_model *model,
		      const struct memory *now, struct memory_decision *ret_decision);
	void (*on_change)(void *user, struct supervisor *s);
	void (*on_progress)(void *user, struct supervisor *s);
	void (*on_log)(void *user, struct supervisor *s, struct span line, uint64_t dropped);
	void (*on_history)(void *user);
	void *user;
};

struct supervisor *supervisor_create(const struct supervisor_shared *shared, const char *id);
void supervisor_destroy(struct supervisor *s); /* engines and shims are left alone */

/*
 * Its entry of the registry as it is now, borrowed until the next call; NULL: there is none. True
 * when that changes what everybody sees.
 */
bool supervisor_set_model(struct supervisor *s, const struct model *model);
const struct model *supervisor_model(const struct supervisor *s);

/* controller: who starts it, "" for a person. A start by a person ends the controller's claim. */
void supervisor_start(struct supervisor *s, const char *controller);
enum supervisor_end { END_STOP, END_RESTART };
void supervisor_end(struct supervisor *s, enum supervisor_end how, uint32_t drain_ms,
		    uint32_t deadline_ms); /* 0: the agent's limit */
/* A shim for this model was found on that port. */
void supervisor_adopt(struct supervisor *s, uint16_t port);
void supervisor_engine_known(struct supervisor *s);
void supervisor_woke(struct supervisor *s);    /* the machine slept */
void supervisor_measure(struct supervisor *s); /* its memory, now */

/* What its engine takes of the memory, and how much of that it has not taken yet; false: none. */
bool supervisor_claim(const struct supervisor *s, struct memory_running *ret_claim,
		      uint64_t *ret_pending_bytes);
const struct server *supervisor_server(struct supervisor *s); /* with retry_ms as of now */
bool supervisor_is_idle(const struct supervisor *s);	 /* stopped, failed: nothing runs or will */
bool supervisor_is_adopting(const struct supervisor *s); /* not decided yet what it is */
const char *supervisor_controller(const struct supervisor *s); /* who started it */
struct history *supervisor_history(struct supervisor *s);
/* Fills key, address and port; ERR_UNAVAILABLE in ret_result->err while it is not running. */
void supervisor_credentials(const struct supervisor *s, struct wire_result *ret_result);
const struct enginelog *supervisor_log(const struct supervisor *s);

#endif
