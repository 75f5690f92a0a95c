/* SPDX-License-Identifier: MIT */
/*
 * A server's life as a pure function: (state, event, now) -> (state, actions, deadline).
 * Nothing here waits, signals or reads a clock; the supervisor performs the actions, feeds back
 * what came of them, and sends FSM_TIMER when deadline_ms is reached.
 *
 * Contract with the supervisor: after FSM_SPAWN comes either SPAWN_FAILED, or SPAWNED (again each
 * time that its shim was lost and found) and one day EXITED; after FSM_PREFLIGHT comes PREFLIGHT_OK
 * or PREFLIGHT_FAILED unless FSM_CANCEL_PREFLIGHT was asked for. Every event is allowed in every
 * phase: those that mean nothing there change nothing.
 */
#ifndef HOST_FSM_H
#define HOST_FSM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/server.h"

/* X(name): what happened */
#define FSM_EVENT_TABLE(X) \
	X(START)   /* somebody wants it to run */ \
	X(STOP)	   /* somebody wants it to end: drain_ms, deadline_ms */ \
	X(RESTART) /* STOP, then START, also when it fails meanwhile */ \
	X(PREFLIGHT_OK) \
	X(PREFLIGHT_FAILED) /* for a reason that trying again does not cure */ \
	X(SPAWNED)	    /* the engine runs; it is loading from now on */ \
	X(SPAWN_FAILED)	    /* it never ran */ \
	X(PROVED)	    /* it answers, and it is ours */ \
	X(DISPROVED)	    /* not ours, or not on the GPU that is required */ \
	X(ALIVE)	    /* it answered, or was seen to work */ \
	X(DRAINED)	    /* no request runs on it any more */ \
	X(EXITED)	    /* the engine is gone */ \
	X(ADOPTED)	    /* found running under its shim: ready says whether it was */ \
	X(WOKE)		    /* the machine slept: phase timers begin anew */ \
	X(TIMER)	    /* deadline_ms is reached */

#define FSM_EVENT_ENUM(name) FSM_##name,
enum fsm_event_type { FSM_EVENT_TABLE(FSM_EVENT_ENUM) };
#undef FSM_EVENT_ENUM

const char *fsm_event_name(enum fsm_event_type type);

struct fsm_event {
	enum fsm_event_type type;
	uint32_t drain_ms;    /* STOP, RESTART */
	uint32_t deadline_ms; /* ... the whole stop; 0: drain_ms + limits->stop_ms */
	bool hopeless;	      /* EXITED, SPAWN_FAILED: trying again is no use */
	bool ready;	      /* ADOPTED */
	uint32_t random;      /* any 32 bits, for the jitter */
};

/* What is to be done, as bits, in this order. */
enum fsm_action {
	FSM_ACT_CANCEL_PREFLIGHT = 1 << 0,
	FSM_ACT_STOP_PROBING = 1 << 1,
	FSM_ACT_PREFLIGHT = 1 << 2,
	FSM_ACT_SPAWN = 1 << 3,
	FSM_ACT_PROBE = 1 << 4, /* watch /health, then prove its identity */
	FSM_ACT_DRAIN = 1 << 5, /* watch its slots; say DRAINED when all are idle */
	FSM_ACT_TERM = 1 << 6,
	FSM_ACT_KILL = 1 << 7,
	FSM_ACT_RELEASE = 1 << 8, /* the engine is gone: let its shim go */
	FSM_ACT_SAVE = 1 << 9,	  /* the phase of a running engine changed: keep it with its shim */
	FSM_ACT_WATCH = 1 << 10,  /* ask it now and then; say ALIVE when it answers */
};

struct fsm_limits {
	uint32_t preflight_ms;	 /* a check may take that long (network file systems) */
	uint32_t spawn_ms;	 /* shim and engine up */
	uint32_t load_ms;	 /* from the spawn to ready */
	uint32_t hang_ms;	 /* ready without being ALIVE for that long: ended; 0: never */
	uint32_t stop_ms;	 /* a stop whose asker gave no deadline */
	uint32_t backoff_min_ms; /* before the second try; doubles from there, +-25 % */
	uint32_t backoff_max_ms;
	uint32_t stable_ms;	   /* ready for that long: earlier deaths are forgotten */
	uint32_t quick_deaths_max; /* that many in a row: failed */
};

#define FSM_TERM_AGAIN_MS 1500 /* a llama-server that streams ignores the first TERM for 30 s */
#define FSM_KILL_MS 3000       /* after the first TERM */
#define FSM_KILL_AGAIN_MS 2000
#define FSM_REAP_MS 300 /* of a stop's deadline kept for the KILL to take effect */

/* What follows once the engine is gone. */
enum fsm_then { FSM_THEN_STOPPED, FSM_THEN_START, FSM_THEN_BACKOFF, FSM_THEN_FAILED };

/* STARTING is first a check, then a spawn; STOPPING climbs from TERM to KILL. */
enum fsm_step {
	FSM_STEP_NONE,
	FSM_STEP_CHECK,
	FSM_STEP_SPAWN,
	FSM_STEP_TERM,
	FSM_STEP_TERM_AGAIN,
	FSM_STEP_KILL
};

struct fsm {
	enum server_phase phase; /* never UNKNOWN */
	enum fsm_step step;
	enum fsm_then then;   /* DRAINING, STOPPING */
	bool has_engine;      /* from FSM_ACT_SPAWN to EXITED or SPAWN_FAILED */
	uint32_t deaths;      /* quick ones in a row */
	uint64_t deadline_ms; /* when FSM_TIMER is due; 0: never. Set in every transient phase */
	uint64_t stop_by_ms;  /* DRAINING, STOPPING: the asker's deadline */
	uint64_t kill_at_ms;  /* STOPPING */
	uint64_t ready_ms;
};

void fsm_init(struct fsm *f); /* STOPPED */

/* Applies one event and returns the actions (bits of enum fsm_action). */
unsigned fsm_step(struct fsm *f, const struct fsm_event *event, uint64_t now_ms,
		  const struct fsm_limits *limits);

#endif
