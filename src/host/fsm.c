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

/* One call of fsm_step. */
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

static void enter(struct fsm *f, enum server_phase phase, enum fsm_step step, uint64_t deadline_ms)
{
	f->phase = phase;
	f->step = step;
	f->deadline_ms = deadline_ms;
}

/* The phase has all of its time from now on. */
static unsigned renew(struct step *s)
{
	const struct fsm_limits *limits = s->limits;
	uint64_t ms = s->f->phase == SERVER_READY     ? limits->hang_ms
		      : s->f->phase == SERVER_LOADING ? limits->load_ms
		      : s->f->step == FSM_STEP_SPAWN  ? limits->spawn_ms
						      : limits->preflight_ms;

	s->f->deadline_ms = ms != 0 ? s->now_ms + ms : 0;
	return 0;
}

/* Starting */

static unsigned begin_check(struct step *s)
{
	enter(s->f, SERVER_STARTING, FSM_STEP_CHECK, 0);
	renew(s);
	return FSM_ACT_PREFLIGHT;
}

static unsigned begin_spawn(struct step *s)
{
	ENSURE(!s->f->has_engine);
	s->f->has_engine = true;
	enter(s->f, SERVER_STARTING, FSM_STEP_SPAWN, 0);
	renew(s);
	return FSM_ACT_SPAWN;
}

static unsigned begin_load(struct step *s)
{
	enter(s->f, SERVER_LOADING, FSM_STEP_NONE, 0);
	renew(s);
	return FSM_ACT_PROBE;
}

static unsigned be_ready(struct step *s)
{
	s->f->ready_ms = s->now_ms;
	enter(s->f, SERVER_READY, FSM_STEP_NONE, 0);
	renew(s);
	return FSM_ACT_STOP_PROBING | (s->limits->hang_ms != 0 ? FSM_ACT_WATCH : 0);
}

static unsigned be_adopted(struct step *s)
{
	s->f->has_engine = true;
	return s->event->ready ? be_ready(s) : begin_load(s);
}

/* Ending */

/* So long before the asker's deadline, or now. */
static uint64_t before_stop_by_ms(const struct step *s, uint64_t reserve_ms)
{
	uint64_t by_ms = s->f->stop_by_ms;

	return by_ms > s->now_ms + reserve_ms ? by_ms - reserve_ms : s->now_ms;
}

static unsigned begin_term(struct step *s)
{
	uint64_t kill_at_ms = earlier(s->now_ms + FSM_KILL_MS, before_stop_by_ms(s, FSM_REAP_MS));

	s->f->kill_at_ms = kill_at_ms;
	enter(s->f, SERVER_STOPPING, FSM_STEP_TERM,
	      earlier(s->now_ms + FSM_TERM_AGAIN_MS, s->now_ms + (kill_at_ms - s->now_ms) / 2));
	return FSM_ACT_STOP_PROBING | FSM_ACT_TERM;
}

/* Nobody asked for this stop: it has all the time that it needs. */
static unsigned term_at_ease(struct step *s)
{
	s->f->stop_by_ms = s->now_ms + FSM_KILL_MS + FSM_REAP_MS;
	return begin_term(s);
}

/* It did not come up in time, or hung. */
static unsigned give_up(struct step *s)
{
	s->f->then = FSM_THEN_BACKOFF;
	return term_at_ease(s);
}

static unsigned disown(struct step *s)
{
	s->f->then = FSM_THEN_FAILED;
	return term_at_ease(s);
}

static uint64_t asked_stop_by_ms(const struct step *s)
{
	uint64_t drain_ms = earlier(s->event->drain_ms, FSM_DRAIN_MAX_MS);

	return s->now_ms +
	       (s->event->deadline_ms != 0 ? s->event->deadline_ms : drain_ms + s->limits->stop_ms);
}

static uint64_t asked_drain_end_ms(const struct step *s)
{
	return earlier(s->now_ms + earlier(s->event->drain_ms, FSM_DRAIN_MAX_MS),
		       before_stop_by_ms(s, FSM_KILL_MS + FSM_REAP_MS));
}

static unsigned term_as_asked(struct step *s)
{
	s->f->stop_by_ms = asked_stop_by_ms(s);
	return begin_term(s);
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
		f->kill_at_ms = earlier(f->kill_at_ms, before_stop_by_ms(s, FSM_REAP_MS));
		f->deadline_ms = earlier(f->deadline_ms, f->kill_at_ms);
	}
	return 0;
}

static unsigned climb(struct step *s)
{
	if (s->f->step == FSM_STEP_TERM && s->now_ms < s->f->kill_at_ms) {
		enter(s->f, SERVER_STOPPING, FSM_STEP_TERM_AGAIN, s->f->kill_at_ms);
		return FSM_ACT_TERM;
	}
	enter(s->f, SERVER_STOPPING, FSM_STEP_KILL, s->now_ms + FSM_KILL_AGAIN_MS);
	return FSM_ACT_KILL;
}

static unsigned climb_anew(struct step *s)
{
	return s->f->step != FSM_STEP_KILL ? term_at_ease(s) : 0;
}

/* The shim can be reached only now: what was sent before found nobody. */
static unsigned signal_again(struct step *s)
{
	return s->f->step == FSM_STEP_KILL ? FSM_ACT_KILL : FSM_ACT_TERM;
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

static unsigned be_failed(struct step *s)
{
	enter(s->f, SERVER_FAILED, FSM_STEP_NONE, 0);
	return 0;
}

static unsigned back_off(struct step *s)
{
	s->f->deaths++;
	if (s->f->deaths >= s->limits->quick_deaths_max) {
		return be_failed(s);
	}
	enter(s->f, SERVER_BACKOFF, FSM_STEP_NONE, s->now_ms + backoff_ms(s));
	return 0;
}

static unsigned go_on(struct step *s)
{
	switch (s->f->then) {
	case FSM_THEN_STOPPED:
		fsm_init(s->f);
		return 0;
	case FSM_THEN_START:
		s->f->deaths = 0;
		return begin_check(s);
	case FSM_THEN_BACKOFF:
		return back_off(s);
	case FSM_THEN_FAILED:
		return be_failed(s);
	}
	return 0;
}

static unsigned cancel_check(struct step *s)
{
	return FSM_ACT_CANCEL_PREFLIGHT | go_on(s);
}

static unsigned give_up_check(struct step *s)
{
	return FSM_ACT_CANCEL_PREFLIGHT | be_failed(s);
}

static unsigned be_gone(struct step *s)
{
	s->f->has_engine = false;
	return FSM_ACT_STOP_PROBING | FSM_ACT_RELEASE | go_on(s);
}

static unsigned die_early(struct step *s)
{
	s->f->then = s->event->hopeless ? FSM_THEN_FAILED : FSM_THEN_BACKOFF;
	return be_gone(s);
}

static unsigned die_ready(struct step *s)
{
	forgive_deaths(s);
	s->f->then = FSM_THEN_BACKOFF;
	return be_gone(s);
}

static unsigned hang(struct step *s)
{
	forgive_deaths(s);
	return give_up(s);
}

/* The policy: what answers each event in each phase. Those that are not here change nothing. */

typedef unsigned handler(struct step *s);

static handler *const policy[SERVER_UNKNOWN + 1][ARRAY_LEN(event_names)] = {
	[SERVER_STOPPED] = { [FSM_START] = go_on,
			     [FSM_RESTART] = go_on,
			     [FSM_ADOPTED] = be_adopted },
	[SERVER_STARTING] = { [FSM_STOP] = cancel_check,
			      [FSM_RESTART] = cancel_check,
			      [FSM_PREFLIGHT_OK] = begin_spawn,
			      [FSM_PREFLIGHT_FAILED] = be_failed,
			      [FSM_WOKE] = renew,
			      [FSM_TIMER] = give_up_check },
	[SERVER_LOADING] = { [FSM_STOP] = term_as_asked,
			     [FSM_RESTART] = term_as_asked,
			     [FSM_PROVED] = be_ready,
			     [FSM_DISPROVED] = disown,
			     [FSM_EXITED] = die_early,
			     [FSM_WOKE] = renew,
			     [FSM_TIMER] = give_up },
	[SERVER_READY] = { [FSM_STOP] = begin_drain,
			   [FSM_RESTART] = begin_drain,
			   [FSM_ALIVE] = renew,
			   [FSM_EXITED] = die_ready,
			   [FSM_WOKE] = renew,
			   [FSM_TIMER] = hang },
	[SERVER_DRAINING] = { [FSM_STOP] = hasten,
			      [FSM_RESTART] = hasten,
			      [FSM_DRAINED] = begin_term,
			      [FSM_EXITED] = be_gone,
			      [FSM_TIMER] = begin_term },
	[SERVER_STOPPING] = { [FSM_STOP] = hasten,
			      [FSM_RESTART] = hasten,
			      [FSM_SPAWNED] = signal_again,
			      [FSM_SPAWN_FAILED] = be_gone,
			      [FSM_EXITED] = be_gone,
			      [FSM_WOKE] = climb_anew,
			      [FSM_TIMER] = climb },
	[SERVER_BACKOFF] = { [FSM_START] = go_on,
			     [FSM_STOP] = go_on,
			     [FSM_RESTART] = go_on,
			     [FSM_TIMER] = begin_check },
	[SERVER_FAILED] = { [FSM_START] = go_on, [FSM_STOP] = go_on, [FSM_RESTART] = go_on },
};

/* STARTING is that of the check above; from the spawn on it is this one. */
static handler *const spawn_policy[ARRAY_LEN(event_names)] = {
	[FSM_STOP] = term_as_asked,	[FSM_RESTART] = term_as_asked, [FSM_SPAWNED] = begin_load,
	[FSM_SPAWN_FAILED] = die_early, [FSM_EXITED] = die_early,      [FSM_WOKE] = renew,
	[FSM_TIMER] = give_up,
};

unsigned fsm_step(struct fsm *f, const struct fsm_event *event, uint64_t now_ms,
		  const struct fsm_limits *limits)
{
	struct step s = { .f = f, .event = event, .now_ms = now_ms, .limits = limits };
	enum server_phase before = f->phase;
	handler *answer = f->step == FSM_STEP_SPAWN ? spawn_policy[event->type]
						    : policy[f->phase][event->type];
	bool is_early =
		event->type == FSM_TIMER && (f->deadline_ms == 0 || now_ms < f->deadline_ms);
	unsigned actions;

	if (event->type == FSM_STOP) {
		f->then = FSM_THEN_STOPPED;
	} else if (event->type == FSM_START || event->type == FSM_RESTART) {
		f->then = FSM_THEN_START;
	}
	actions = answer != NULL && !is_early ? answer(&s) : 0;
	if (f->has_engine && f->phase != before) {
		actions |= FSM_ACT_SAVE;
	}
	return actions;
}
