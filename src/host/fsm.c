/* SPDX-License-Identifier: MIT */
/*
 * The life of a server, as a pure function.
 *
 *              START            PREFLIGHT_OK             SPAWNED          PROVED
 *   STOPPED ──────────> STARTING ───────────> STARTING ─────────> LOADING ──────> READY
 *      ^  ^            (check) |              (spawn) |              |              | STOP, drain
 *      |  |                    v PREFLIGHT_FAILED     |              |              v
 *      |  └─STOP── FAILED <────┘<──── hopeless, or too many deaths   |           DRAINING
 *      |             ^                                |              |              |
 *      |             └───────────── BACKOFF <───── EXITED ───────────┤              |
 *      |                 TIMER: STARTING                             v              |
 *      └───────────────── EXITED ───────────────────────────────── STOPPING <───────┘
 *                                             TERM ─1.5 s─> TERM ─1.5 s─> KILL, KILL, ...
 *
 * STOPPING remembers in `then` what follows: STOPPED, STARTING (a restart, or a start that came
 * during the stop), BACKOFF (it did not load in time, or hung while READY) or FAILED (it is not
 * ours, or not on the GPU).
 */
#include "host/fsm.h"

#include "base/mem.h"

#define FSM_DRAIN_MAX_MS 3600000u

#define FSM_EVENT_NAME(name) #name,
static const char *const event_names[] = { FSM_EVENT_TABLE(FSM_EVENT_NAME) };
#undef FSM_EVENT_NAME

struct step {
	struct fsm *f;
	const struct fsm_event *event;
	uint64_t now_ms;
	const struct fsm_limits *limits;
};

const char *fsm_event_name(enum fsm_event_type type)
{
	return event_names[type];
}

void fsm_init(struct fsm *f)
{
	*f = (struct fsm){ .phase = SERVER_STOPPED };
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static unsigned enter(struct fsm *f, enum server_phase phase, enum fsm_step step,
		      uint64_t deadline_ms)
{
	f->phase = phase;
	f->step = step;
	f->deadline_ms = deadline_ms;
	return 0;
}

/* Starting */

static unsigned begin_check(struct step *s)
{
	enter(s->f, SERVER_STARTING, FSM_STEP_CHECK, s->now_ms + s->limits->preflight_ms);
	return FSM_ACT_PREFLIGHT;
}

static unsigned begin_spawn(struct step *s)
{
	ENSURE(!s->f->has_engine);
	s->f->has_engine = true;
	enter(s->f, SERVER_STARTING, FSM_STEP_SPAWN, s->now_ms + s->limits->spawn_ms);
	return FSM_ACT_SPAWN;
}

static unsigned begin_load(struct step *s)
{
	enter(s->f, SERVER_LOADING, FSM_STEP_NONE, s->now_ms + s->limits->load_ms);
	return FSM_ACT_PROBE;
}

/* Until when it has to be seen alive. */
static void watch(struct step *s)
{
	s->f->deadline_ms = s->limits->hang_ms != 0 ? s->now_ms + s->limits->hang_ms : 0;
}

static unsigned be_ready(struct step *s)
{
	s->f->ready_ms = s->now_ms;
	enter(s->f, SERVER_READY, FSM_STEP_NONE, 0);
	watch(s);
	return FSM_ACT_STOP_PROBING | (s->limits->hang_ms != 0 ? FSM_ACT_WATCH : 0);
}

static unsigned on_alive(struct step *s)
{
	if (s->f->phase == SERVER_READY) {
		watch(s);
	}
	return 0;
}

/* Ending */

/* When the KILL is due at the latest, so that the asker's deadline is kept. */
static uint64_t last_kill_ms(const struct step *s)
{
	uint64_t by_ms = s->f->stop_by_ms;

	return by_ms > s->now_ms + FSM_REAP_MS ? by_ms - FSM_REAP_MS : s->now_ms;
}

static unsigned begin_term(struct step *s)
{
	uint64_t kill_at_ms = earlier(s->now_ms + FSM_KILL_MS, last_kill_ms(s));

	s->f->kill_at_ms = kill_at_ms;
	enter(s->f, SERVER_STOPPING, FSM_STEP_TERM,
	      earlier(s->now_ms + FSM_TERM_AGAIN_MS, s->now_ms + (kill_at_ms - s->now_ms) / 2));
	return FSM_ACT_STOP_PROBING | FSM_ACT_TERM;
}

/* Nobody asked for this stop: it has all the time that it needs. */
static unsigned begin_term_for(struct step *s, enum fsm_then then)
{
	s->f->then = then;
	s->f->stop_by_ms = s->now_ms + FSM_KILL_MS + FSM_REAP_MS;
	return begin_term(s);
}

static uint64_t asked_stop_by_ms(const struct step *s)
{
	uint64_t drain_ms = earlier(s->event->drain_ms, FSM_DRAIN_MAX_MS);

	return s->now_ms +
	       (s->event->deadline_ms != 0 ? s->event->deadline_ms : drain_ms + s->limits->stop_ms);
}

static uint64_t asked_drain_end_ms(const struct step *s)
{
	uint64_t reserve_ms = FSM_KILL_MS + FSM_REAP_MS;
	uint64_t by_ms = s->f->stop_by_ms;
	uint64_t latest_ms = by_ms > s->now_ms + reserve_ms ? by_ms - reserve_ms : s->now_ms;

	return earlier(s->now_ms + earlier(s->event->drain_ms, FSM_DRAIN_MAX_MS), latest_ms);
}

static unsigned begin_drain(struct step *s)
{
	uint64_t drain_end_ms;

	s->f->stop_by_ms = asked_stop_by_ms(s);
	drain_end_ms = asked_drain_end_ms(s);
	if (drain_end_ms <= s->now_ms) {
		return begin_term(s);
	}
	enter(s->f, SERVER_DRAINING, FSM_STEP_NONE, drain_end_ms);
	return FSM_ACT_STOP_PROBING | FSM_ACT_DRAIN;
}

/* A stop during a stop may only make it shorter. */
static unsigned hasten(struct step *s)
{
	struct fsm *f = s->f;

	f->stop_by_ms = earlier(f->stop_by_ms, asked_stop_by_ms(s));
	if (f->phase == SERVER_DRAINING) {
		f->deadline_ms = earlier(f->deadline_ms, asked_drain_end_ms(s));
		return f->deadline_ms <= s->now_ms ? begin_term(s) : 0;
	}
	if (f->step != FSM_STEP_KILL) {
		f->kill_at_ms = earlier(f->kill_at_ms, last_kill_ms(s));
		f->deadline_ms = earlier(f->deadline_ms, f->kill_at_ms);
	}
	return 0;
}

static unsigned term_again(struct step *s)
{
	if (s->f->step == FSM_STEP_TERM && s->now_ms < s->f->kill_at_ms) {
		enter(s->f, SERVER_STOPPING, FSM_STEP_TERM_AGAIN, s->f->kill_at_ms);
		return FSM_ACT_TERM;
	}
	enter(s->f, SERVER_STOPPING, FSM_STEP_KILL, s->now_ms + FSM_KILL_AGAIN_MS);
	return FSM_ACT_KILL;
}

/* There is no engine (any more) */

static uint64_t backoff_ms(const struct step *s)
{
	uint64_t delay_ms = s->limits->backoff_min_ms;

	for (uint32_t i = 1; i < s->f->deaths && delay_ms < s->limits->backoff_max_ms; i++) {
		delay_ms *= 2;
	}
	delay_ms = earlier(delay_ms, s->limits->backoff_max_ms);
	delay_ms = delay_ms * 3 / 4 + s->event->random % (delay_ms / 2 + 1);
	return earlier(delay_ms, s->limits->backoff_max_ms);
}

/* It was ready for so long that what went before does not count. */
static void forgive_deaths(struct step *s)
{
	if (s->now_ms - s->f->ready_ms >= s->limits->stable_ms) {
		s->f->deaths = 0;
	}
}

static unsigned be_stopped(struct step *s)
{
	s->f->deaths = 0;
	return enter(s->f, SERVER_STOPPED, FSM_STEP_NONE, 0);
}

static unsigned be_failed(struct step *s)
{
	return enter(s->f, SERVER_FAILED, FSM_STEP_NONE, 0);
}

static unsigned go_on(struct step *s, enum fsm_then then)
{
	switch (then) {
	case FSM_THEN_STOPPED:
		return be_stopped(s);
	case FSM_THEN_START:
		return begin_check(s);
	case FSM_THEN_BACKOFF:
		s->f->deaths++;
		if (s->f->deaths >= s->limits->quick_deaths_max) {
			return be_failed(s);
		}
		return enter(s->f, SERVER_BACKOFF, FSM_STEP_NONE, s->now_ms + backoff_ms(s));
	case FSM_THEN_FAILED:
		return be_failed(s);
	}
	return 0;
}

/* Events */

static unsigned on_start(struct step *s)
{
	switch (s->f->phase) {
	case SERVER_STOPPED:
	case SERVER_BACKOFF:
	case SERVER_FAILED:
		s->f->deaths = 0;
		return begin_check(s);
	case SERVER_DRAINING:
	case SERVER_STOPPING:
		s->f->deaths = 0;
		s->f->then = FSM_THEN_START;
		return 0;
	case SERVER_STARTING:
	case SERVER_LOADING:
	case SERVER_READY:
	case SERVER_UNKNOWN:
		return 0;
	}
	return 0;
}

static unsigned on_stop(struct step *s, enum fsm_then then)
{
	struct fsm *f = s->f;

	f->then = then;
	switch (f->phase) {
	case SERVER_STOPPED:
	case SERVER_BACKOFF:
	case SERVER_FAILED:
		return go_on(s, then);
	case SERVER_STARTING:
		if (f->step == FSM_STEP_CHECK) {
			return FSM_ACT_CANCEL_PREFLIGHT | go_on(s, then);
		}
		f->stop_by_ms = asked_stop_by_ms(s);
		return begin_term(s);
	case SERVER_LOADING:
		f->stop_by_ms = asked_stop_by_ms(s);
		return begin_term(s);
	case SERVER_READY:
		return begin_drain(s);
	case SERVER_DRAINING:
	case SERVER_STOPPING:
		return hasten(s);
	case SERVER_UNKNOWN:
		return 0;
	}
	return 0;
}

static unsigned on_restart(struct step *s)
{
	s->f->deaths = 0;
	return on_stop(s, FSM_THEN_START);
}

static unsigned on_spawned(struct step *s)
{
	if (s->f->phase == SERVER_STARTING && s->f->step == FSM_STEP_SPAWN) {
		return begin_load(s);
	}
	return s->f->phase == SERVER_STOPPING ? FSM_ACT_TERM : 0; /* the first one found nobody */
}

static unsigned on_gone(struct step *s)
{
	struct fsm *f = s->f;
	enum fsm_then then = s->event->hopeless ? FSM_THEN_FAILED : FSM_THEN_BACKOFF;

	if (!f->has_engine) {
		return 0;
	}
	f->has_engine = false;
	if (f->phase == SERVER_DRAINING || f->phase == SERVER_STOPPING) {
		then = f->then;
	} else if (f->phase == SERVER_READY) {
		then = FSM_THEN_BACKOFF;
		forgive_deaths(s);
	}
	return FSM_ACT_STOP_PROBING | FSM_ACT_RELEASE | go_on(s, then);
}

static unsigned on_adopted(struct step *s)
{
	if (s->f->phase != SERVER_STOPPED) {
		return 0;
	}
	s->f->has_engine = true;
	return s->event->ready ? be_ready(s) : begin_load(s);
}

static unsigned on_woke(struct step *s)
{
	struct fsm *f = s->f;

	if (f->phase == SERVER_STARTING) {
		f->deadline_ms = s->now_ms + (f->step == FSM_STEP_CHECK ? s->limits->preflight_ms
									: s->limits->spawn_ms);
	} else if (f->phase == SERVER_LOADING) {
		f->deadline_ms = s->now_ms + s->limits->load_ms;
	} else if (f->phase == SERVER_READY) {
		watch(s);
	} else if (f->phase == SERVER_STOPPING && f->step != FSM_STEP_KILL) {
		f->stop_by_ms = s->now_ms + FSM_KILL_MS + FSM_REAP_MS;
		return begin_term(s);
	}
	return 0;
}

static unsigned on_timer(struct step *s)
{
	if (s->f->deadline_ms == 0 || s->now_ms < s->f->deadline_ms) {
		return 0;
	}
	switch (s->f->phase) {
	case SERVER_STARTING:
		if (s->f->step == FSM_STEP_CHECK) {
			return FSM_ACT_CANCEL_PREFLIGHT | be_failed(s);
		}
		return begin_term_for(s, FSM_THEN_BACKOFF);
	case SERVER_READY:
		forgive_deaths(s);
		return begin_term_for(s, FSM_THEN_BACKOFF);
	case SERVER_LOADING:
		return begin_term_for(s, FSM_THEN_BACKOFF);
	case SERVER_DRAINING:
		return begin_term(s);
	case SERVER_STOPPING:
		return term_again(s);
	case SERVER_BACKOFF:
		return begin_check(s);
	case SERVER_STOPPED:
	case SERVER_FAILED:
	case SERVER_UNKNOWN:
		return 0;
	}
	return 0;
}

static unsigned dispatch(struct step *s)
{
	const struct fsm *f = s->f;
	bool is_checking = f->phase == SERVER_STARTING && f->step == FSM_STEP_CHECK;

	switch (s->event->type) {
	case FSM_START:
		return on_start(s);
	case FSM_STOP:
		return on_stop(s, FSM_THEN_STOPPED);
	case FSM_RESTART:
		return on_restart(s);
	case FSM_PREFLIGHT_OK:
		return is_checking ? begin_spawn(s) : 0;
	case FSM_PREFLIGHT_FAILED:
		return is_checking ? be_failed(s) : 0;
	case FSM_SPAWNED:
		return on_spawned(s);
	case FSM_PROVED:
		return f->phase == SERVER_LOADING ? be_ready(s) : 0;
	case FSM_DISPROVED:
		return f->phase == SERVER_LOADING ? begin_term_for(s, FSM_THEN_FAILED) : 0;
	case FSM_ALIVE:
		return on_alive(s);
	case FSM_DRAINED:
		return f->phase == SERVER_DRAINING ? begin_term(s) : 0;
	case FSM_SPAWN_FAILED:
	case FSM_EXITED:
		return on_gone(s);
	case FSM_ADOPTED:
		return on_adopted(s);
	case FSM_WOKE:
		return on_woke(s);
	case FSM_TIMER:
		return on_timer(s);
	}
	return 0;
}

unsigned fsm_step(struct fsm *f, const struct fsm_event *event, uint64_t now_ms,
		  const struct fsm_limits *limits)
{
	struct step s = { .f = f, .event = event, .now_ms = now_ms, .limits = limits };
	enum server_phase before = f->phase;
	unsigned actions = dispatch(&s);

	if (f->has_engine && f->phase != before) {
		actions |= FSM_ACT_SAVE;
	}
	return actions;
}
