/* SPDX-License-Identifier: MIT */
/*
 * One model's server: performs what host/fsm decides. It checks, spawns through a shim, reads the
 * engine's log into the receipt, proves readiness, drains, ends, and tells every change.
 *
 * The agent owns supervisors. It is told of changes (agent_inside.h) from the loop or from inside
 * the calls below, and must not destroy a supervisor then.
 */
#ifndef HOST_SUPERVISOR_H
#define HOST_SUPERVISOR_H

#include "host/enginelog.h"
#include "host/fsm.h"
#include "host/history.h"
#include "host/plan.h"
#include "host/preflight.h"
#include "host/shim.h"
#include "io/timer.h"
#include "model/memory.h"
#include "model/registry.h"
#include "wire/messages.h"

struct agent;

struct supervisor {
	struct server server;	   /* as supervisor_server fills it */
	const struct model *model; /* its entry of the registry as last read; NULL: there is none */
	char controller[WIRE_CONTROLLER_MAX_BYTES]; /* who started it; "" for a person */
	bool adopting; /* a shim was found; not decided yet what it keeps */
	struct enginelog log;
	struct history history;

	/* private: of supervisor.c, plan.c, keeper.c and prober.c */
	struct agent *agent;
	char key[SECRET_TEXT_BYTES]; /* of this start; "" while nothing runs */
	struct fsm fsm;
	struct timer timer;
	struct preflight *preflight; /* being checked, or checked and about to be spawned */
	bool awaits_engine;	     /* checked, but the engine's abilities are being asked */
	struct plan plan;	     /* of this start; its argv only until the spawn */
	struct keeper *keeper;
	bool is_live;	       /* the shim tells news, not what it kept */
	bool has_logged;       /* since it was seen alive */
	bool has_news;	       /* of memory, slots or speed: told by supervisor_measure */
	uint64_t alive_cpu_ms; /* of the engine, at that time */
	struct prober *prober;
	uint64_t spawned_us;
};

struct supervisor *supervisor_create(struct agent *agent, const char *id);
void supervisor_destroy(struct supervisor *s); /* engines and shims are left alone */

/* The model is borrowed until the next call. True when that changes what everybody sees. */
bool supervisor_set_model(struct supervisor *s, const struct model *model);

/* controller: who starts it, "" for a person. A start by a person ends the controller's claim. */
void supervisor_start(struct supervisor *s, const char *controller);
/* how: FSM_STOP or FSM_RESTART; deadline_ms 0: the agent's limit */
void supervisor_end(struct supervisor *s, enum fsm_event_type how, uint32_t drain_ms,
		    uint32_t deadline_ms);
/* An event without more to it: FSM_WOKE, FSM_DRAINED. */
void supervisor_tell(struct supervisor *s, enum fsm_event_type what);
/* A shim for this model was found on that port. */
void supervisor_adopt(struct supervisor *s, uint16_t port);
void supervisor_engine_known(struct supervisor *s); /* the engine was asked for its abilities */
void supervisor_measure(struct supervisor *s); /* its memory, now; tells of slots and speed too */

/* By plan.c: s->plan is made. */
void supervisor_on_planned(struct supervisor *s);
/* By keeper.c: what the shim says; or there is no shim, and no engine. */
void supervisor_on_shim(struct supervisor *s, const struct shim_message *m);
void supervisor_on_lost(struct supervisor *s, const struct err *why);
/* By prober.c */
void supervisor_on_proved(struct supervisor *s, struct span props); /* the body of /props */
void supervisor_on_disproved(struct supervisor *s, const struct err *why);
void supervisor_on_alive(struct supervisor *s); /* it answered */

/* What its engine takes of the memory, and how much of that it has not taken yet; false: none. */
bool supervisor_claim(const struct supervisor *s, struct memory_running *ret_claim,
		      uint64_t *ret_pending_bytes);
const struct server *supervisor_server(struct supervisor *s); /* with retry_ms as of now */
bool supervisor_is_idle(const struct supervisor *s); /* stopped, failed: nothing runs or will */
/* Fills key, address and port; ERR_UNAVAILABLE in ret_result->err while it is not running. */
void supervisor_credentials(const struct supervisor *s, struct wire_result *ret_result);

#endif
