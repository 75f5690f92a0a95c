/* SPDX-License-Identifier: MIT */
/*
 * The life of a server: scenes by name, then thousands of random lives against a model of the
 * supervisor that knows what is true (does a check run, does an engine live).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/fsm.h"

static const struct fsm_limits limits = {
	.preflight_ms = 30000,
	.spawn_ms = 10000,
	.load_ms = 600000,
	.hang_ms = 300000,
	.stop_ms = 5000,
	.backoff_min_ms = 1000,
	.backoff_max_ms = 60000,
	.stable_ms = 60000,
	.quick_deaths_max = 5,
};

static unsigned step(struct fsm *f, enum fsm_event_type type, uint64_t now_ms)
{
	return fsm_step(f, &(struct fsm_event){ .type = type }, now_ms, &limits);
}

static unsigned stop(struct fsm *f, uint32_t drain_ms, uint32_t deadline_ms, uint64_t now_ms)
{
	return fsm_step(f,
			&(struct fsm_event){ .type = FSM_STOP,
					     .drain_ms = drain_ms,
					     .deadline_ms = deadline_ms },
			now_ms, &limits);
}

static void be_loading(struct fsm *f, uint64_t now_ms)
{
	fsm_init(f);
	assert_int_equal(step(f, FSM_START, now_ms), FSM_ACT_PREFLIGHT);
	assert_int_equal(f->phase, SERVER_STARTING);
	assert_int_equal(step(f, FSM_PREFLIGHT_OK, now_ms) & ~FSM_ACT_SAVE, FSM_ACT_SPAWN);
	assert_int_equal(step(f, FSM_SPAWNED, now_ms), FSM_ACT_PROBE | FSM_ACT_SAVE);
	assert_int_equal(f->phase, SERVER_LOADING);
}

static void be_ready(struct fsm *f, uint64_t now_ms)
{
	be_loading(f, now_ms);
	assert_true(step(f, FSM_PROVED, now_ms) & FSM_ACT_SAVE);
	assert_int_equal(f->phase, SERVER_READY);
	assert_int_equal(f->deadline_ms, now_ms + limits.hang_ms);
}

static void stops_with_drain_then_term_term_kill(void **state)
{
	struct fsm f;

	(void)state;
	be_ready(&f, 1000);
	assert_true(stop(&f, 3000, 0, 2000) & FSM_ACT_DRAIN);
	assert_int_equal(f.phase, SERVER_DRAINING);
	assert_int_equal(f.deadline_ms, 5000);
	assert_true(step(&f, FSM_TIMER, 5000) & FSM_ACT_TERM);
	assert_int_equal(f.deadline_ms, 6500);
	assert_int_equal(step(&f, FSM_TIMER, 6499), 0);
	assert_int_equal(step(&f, FSM_TIMER, 6500), FSM_ACT_TERM);
	assert_int_equal(f.deadline_ms, 8000);
	assert_int_equal(step(&f, FSM_TIMER, 8000), FSM_ACT_KILL);
	assert_true(step(&f, FSM_EXITED, 8010) & FSM_ACT_RELEASE);
	assert_int_equal(f.phase, SERVER_STOPPED);
}

static void kills_within_the_deadline_that_was_given(void **state)
{
	static const uint32_t deadlines[] = { 1, 300, 500, 1000, 3300, 4000, 7000 };

	(void)state;
	for (size_t i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
		struct fsm f;
		uint64_t killed_ms = 0;

		be_ready(&f, 1000);
		stop(&f, 60000, deadlines[i], 2000);
		while (killed_ms == 0) {
			uint64_t now_ms = f.deadline_ms;
			if (step(&f, FSM_TIMER, now_ms) & FSM_ACT_KILL) {
				killed_ms = now_ms;
			}
		}
		assert_true(killed_ms <= 2000 + (uint64_t)deadlines[i]);
	}
}

static void drained_ends_the_wait_at_once(void **state)
{
	struct fsm f;

	(void)state;
	be_ready(&f, 1000);
	stop(&f, 3000, 0, 2000);
	assert_true(step(&f, FSM_DRAINED, 2100) & FSM_ACT_TERM);
	assert_int_equal(f.phase, SERVER_STOPPING);
}

static void stop_during_load_needs_no_drain(void **state)
{
	struct fsm f;

	(void)state;
	be_loading(&f, 1000);
	assert_true(stop(&f, 3000, 0, 1100) & FSM_ACT_TERM);
	step(&f, FSM_EXITED, 1101);
	assert_int_equal(f.phase, SERVER_STOPPED);
}

static void stop_during_the_check_cancels_it(void **state)
{
	struct fsm f;

	(void)state;
	fsm_init(&f);
	step(&f, FSM_START, 1000);
	assert_int_equal(stop(&f, 0, 0, 1001), FSM_ACT_CANCEL_PREFLIGHT);
	assert_int_equal(f.phase, SERVER_STOPPED);
}

static void stop_during_the_spawn_ends_the_engine_once_it_is_there(void **state)
{
	struct fsm f;

	(void)state;
	fsm_init(&f);
	step(&f, FSM_START, 1000);
	step(&f, FSM_PREFLIGHT_OK, 1000);
	assert_true(stop(&f, 0, 0, 1001) & FSM_ACT_TERM);
	assert_true(step(&f, FSM_SPAWNED, 1100) & FSM_ACT_TERM);
	step(&f, FSM_EXITED, 1200);
	assert_int_equal(f.phase, SERVER_STOPPED);
}

static void a_shim_that_is_found_again_is_told_what_it_missed(void **state)
{
	struct fsm f;

	(void)state;
	be_loading(&f, 1000);
	assert_int_equal(step(&f, FSM_SPAWNED, 1050), 0);
	stop(&f, 0, 0, 1100);
	assert_int_equal(step(&f, FSM_SPAWNED, 1200), FSM_ACT_TERM);
	step(&f, FSM_TIMER, f.deadline_ms);
	assert_int_equal(step(&f, FSM_TIMER, f.deadline_ms), FSM_ACT_KILL);
	assert_int_equal(step(&f, FSM_SPAWNED, f.deadline_ms - 1), FSM_ACT_KILL);
}

static void start_during_a_stop_starts_when_the_old_engine_is_gone(void **state)
{
	struct fsm f;

	(void)state;
	be_ready(&f, 1000);
	stop(&f, 0, 0, 2000);
	assert_int_equal(step(&f, FSM_START, 2001), 0);
	assert_int_equal(f.phase, SERVER_STOPPING);
	assert_true(step(&f, FSM_EXITED, 2100) & FSM_ACT_PREFLIGHT);
	assert_int_equal(f.phase, SERVER_STARTING);
}

static void a_second_stop_only_hastens_the_first(void **state)
{
	struct fsm f;

	(void)state;
	be_ready(&f, 1000);
	stop(&f, 10000, 20000, 2000);
	assert_int_equal(f.deadline_ms, 12000);
	stop(&f, 60000, 60000, 2500);
	assert_int_equal(f.deadline_ms, 12000);
	assert_true(stop(&f, 0, 1000, 3000) & FSM_ACT_TERM);
	assert_true(f.kill_at_ms <= 4000);
	stop(&f, 0, 100000, 3100);
	assert_true(f.kill_at_ms <= 4000);
}

static void a_crash_loop_backs_off_and_then_fails(void **state)
{
	uint64_t now_ms = 1000, last_ms = 0;
	struct fsm f;

	(void)state;
	be_loading(&f, now_ms);
	for (uint32_t death = 1; death < limits.quick_deaths_max; death++) {
		uint64_t wait_ms;

		step(&f, FSM_EXITED, now_ms);
		assert_int_equal(f.phase, SERVER_BACKOFF);
		wait_ms = f.deadline_ms - now_ms;
		assert_in_range(wait_ms, 750u << (death - 1), 1250u << (death - 1));
		assert_true(wait_ms > last_ms);
		last_ms = wait_ms;
		now_ms = f.deadline_ms;
		assert_int_equal(step(&f, FSM_TIMER, now_ms), FSM_ACT_PREFLIGHT);
		step(&f, FSM_PREFLIGHT_OK, now_ms);
		step(&f, FSM_SPAWNED, now_ms);
	}
	step(&f, FSM_EXITED, now_ms);
	assert_int_equal(f.phase, SERVER_FAILED);
	assert_int_equal(step(&f, FSM_START, now_ms), FSM_ACT_PREFLIGHT);
	assert_int_equal(f.deaths, 0);
}

static void a_long_life_forgives_earlier_deaths(void **state)
{
	struct fsm f;

	(void)state;
	be_ready(&f, 1000);
	f.deaths = limits.quick_deaths_max - 1;
	step(&f, FSM_EXITED, 1000 + limits.stable_ms);
	assert_int_equal(f.phase, SERVER_BACKOFF);
	assert_int_equal(f.deaths, 1);
}

static void a_hopeless_death_is_not_tried_again(void **state)
{
	struct fsm f;

	(void)state;
	be_loading(&f, 1000);
	fsm_step(&f, &(struct fsm_event){ .type = FSM_EXITED, .hopeless = true }, 1001, &limits);
	assert_int_equal(f.phase, SERVER_FAILED);
}

static void an_engine_that_is_not_ours_is_ended_and_fails(void **state)
{
	struct fsm f;

	(void)state;
	be_loading(&f, 1000);
	assert_true(step(&f, FSM_DISPROVED, 1001) & FSM_ACT_TERM);
	step(&f, FSM_EXITED, 1100);
	assert_int_equal(f.phase, SERVER_FAILED);
}

static void an_adopted_engine_is_not_loaded_again(void **state)
{
	struct fsm f;

	(void)state;
	fsm_init(&f);
	assert_int_equal(fsm_step(&f, &(struct fsm_event){ .type = FSM_ADOPTED, .ready = true }, 5,
				  &limits) &
				 FSM_ACT_SPAWN,
			 0);
	assert_int_equal(f.phase, SERVER_READY);
	fsm_init(&f);
	assert_true(step(&f, FSM_ADOPTED, 5) & FSM_ACT_PROBE);
	assert_int_equal(f.phase, SERVER_LOADING);
}

static void sleep_gives_a_load_its_whole_time_again(void **state)
{
	struct fsm f;

	(void)state;
	be_loading(&f, 1000);
	step(&f, FSM_WOKE, 500000);
	assert_int_equal(f.deadline_ms, 500000 + limits.load_ms);
}

static void an_engine_that_is_not_seen_alive_is_ended_and_started_again(void **state)
{
	struct fsm f;

	(void)state;
	be_ready(&f, 1000);
	f.deaths = limits.quick_deaths_max - 1;
	step(&f, FSM_ALIVE, 200000);
	assert_int_equal(step(&f, FSM_TIMER, 1000 + limits.hang_ms), 0);
	assert_true(step(&f, FSM_TIMER, 200000 + limits.hang_ms) & FSM_ACT_TERM);
	step(&f, FSM_EXITED, 201000 + limits.hang_ms);
	assert_int_equal(f.phase, SERVER_BACKOFF);
	assert_int_equal(f.deaths, 1);
}

static void nobody_hangs_where_that_is_not_watched(void **state)
{
	struct fsm_limits unwatched = limits;
	struct fsm f;

	(void)state;
	unwatched.hang_ms = 0;
	be_loading(&f, 1000);
	assert_int_equal(fsm_step(&f, &(struct fsm_event){ .type = FSM_PROVED }, 2000, &unwatched) &
				 FSM_ACT_WATCH,
			 0);
	assert_int_equal(f.phase, SERVER_READY);
	assert_int_equal(f.deadline_ms, 0);
}

/* Random lives */

struct world {
	struct fsm f;
	uint64_t now_ms, random;
	bool checks, spawning, engine;
	uint64_t stop_by_ms; /* of the last stop that nobody has overruled; 0: none */
};

static uint32_t draw(struct world *w, uint32_t below)
{
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w->random >> 33) % below;
}

static void check_invariants(const struct world *w)
{
	const struct fsm *f = &w->f;
	bool waits = f->phase != SERVER_STOPPED && f->phase != SERVER_FAILED;
	bool runs = f->phase == SERVER_LOADING || f->phase == SERVER_READY ||
		    f->phase == SERVER_DRAINING || f->phase == SERVER_STOPPING ||
		    (f->phase == SERVER_STARTING && f->step == FSM_STEP_SPAWN);

	assert_int_equal(f->deadline_ms != 0, waits);
	assert_int_equal(f->has_engine, runs);
	assert_int_equal(w->engine || w->spawning, runs);
	assert_int_equal(w->checks, f->phase == SERVER_STARTING && f->step == FSM_STEP_CHECK);
	assert_true(f->deaths <= limits.quick_deaths_max);
	if (f->deadline_ms != 0) {
		assert_true(f->deadline_ms <= w->now_ms + 4000000);
	}
	if (f->phase == SERVER_STOPPING && f->step != FSM_STEP_KILL) {
		assert_true(f->deadline_ms <= f->kill_at_ms || f->kill_at_ms <= w->now_ms);
		assert_true(f->kill_at_ms <= w->now_ms + FSM_KILL_MS);
	}
}

static unsigned send(struct world *w, const struct fsm_event *event)
{
	unsigned actions;

	if (event->type == FSM_PREFLIGHT_OK || event->type == FSM_PREFLIGHT_FAILED) {
		w->checks = false;
	} else if (event->type == FSM_SPAWNED) {
		w->spawning = false;
		w->engine = true;
	} else if (event->type == FSM_SPAWN_FAILED) {
		w->spawning = false;
	} else if (event->type == FSM_EXITED) {
		w->engine = false;
	} else if (event->type == FSM_ADOPTED) {
		w->engine = true;
	}
	actions = fsm_step(&w->f, event, w->now_ms, &limits);
	if (actions & FSM_ACT_CANCEL_PREFLIGHT) {
		assert_true(w->checks);
		w->checks = false;
	}
	if (actions & FSM_ACT_PREFLIGHT) {
		assert_false(w->checks);
		w->checks = true;
	}
	if (actions & FSM_ACT_SPAWN) { /* never two engines */
		assert_false(w->engine || w->spawning);
		w->spawning = true;
	}
	if (actions & (FSM_ACT_TERM | FSM_ACT_KILL | FSM_ACT_SAVE)) {
		assert_true(w->engine || w->spawning);
	}
	check_invariants(w);
	return actions;
}

static void random_event(struct world *w)
{
	static const enum fsm_event_type always[] = { FSM_START,   FSM_STOP,	  FSM_RESTART,
						      FSM_TIMER,   FSM_WOKE,	  FSM_PROVED,
						      FSM_DRAINED, FSM_DISPROVED, FSM_ALIVE };
	struct fsm_event e = { .drain_ms = draw(w, 2) ? draw(w, 10000) : 0,
			       .deadline_ms = draw(w, 2) ? draw(w, 10000) : 0,
			       .hopeless = draw(w, 8) == 0,
			       .random = draw(w, UINT32_MAX) };

	if (w->checks && draw(w, 3) > 0) {
		e.type = draw(w, 8) > 0 ? FSM_PREFLIGHT_OK : FSM_PREFLIGHT_FAILED;
	} else if (w->spawning && draw(w, 3) > 0) {
		e.type = draw(w, 8) > 0 ? FSM_SPAWNED : FSM_SPAWN_FAILED;
	} else if (w->engine && draw(w, 4) == 0) {
		e.type = FSM_EXITED;
	} else if (w->f.phase == SERVER_STOPPED && draw(w, 6) == 0) {
		e.type = FSM_ADOPTED;
		e.ready = draw(w, 2) == 0;
	} else {
		e.type = always[draw(w, sizeof(always) / sizeof(always[0]))];
	}
	send(w, &e);
	if (draw(w, 3) == 0 && w->f.deadline_ms > w->now_ms) {
		w->now_ms = w->f.deadline_ms;
		send(w, &(struct fsm_event){ .type = FSM_TIMER });
	} else {
		w->now_ms += draw(w, 2000);
	}
}

/* An engine that ignores TERM: the KILL alone ends it, and before the deadline of the stop. */
static void end(struct world *w)
{
	uint64_t asked_ms = w->now_ms;
	bool killed = false;

	send(w, &(struct fsm_event){ .type = FSM_STOP, .drain_ms = 5000, .deadline_ms = 7000 });
	for (int i = 0; i < 10 && w->f.phase != SERVER_STOPPED; i++) {
		if (w->spawning) {
			send(w, &(struct fsm_event){ .type = FSM_SPAWNED });
		}
		if (killed) {
			send(w, &(struct fsm_event){ .type = FSM_EXITED });
			break;
		}
		w->now_ms = w->f.deadline_ms > w->now_ms ? w->f.deadline_ms : w->now_ms;
		killed = send(w, &(struct fsm_event){ .type = FSM_TIMER }) & FSM_ACT_KILL;
	}
	assert_int_equal(w->f.phase, SERVER_STOPPED);
	assert_false(w->engine || w->spawning || w->checks);
	assert_true(w->now_ms <= asked_ms + 7000 + FSM_KILL_AGAIN_MS);
}

static void random_lives_keep_the_invariants(void **state)
{
	(void)state;
	for (uint64_t life = 1; life <= 5000; life++) {
		struct world w = { .now_ms = 1000, .random = life * 7919 };

		fsm_init(&w.f);
		for (int i = 0; i < 100; i++) {
			random_event(&w);
		}
		end(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stops_with_drain_then_term_term_kill),
		cmocka_unit_test(kills_within_the_deadline_that_was_given),
		cmocka_unit_test(drained_ends_the_wait_at_once),
		cmocka_unit_test(stop_during_load_needs_no_drain),
		cmocka_unit_test(stop_during_the_check_cancels_it),
		cmocka_unit_test(stop_during_the_spawn_ends_the_engine_once_it_is_there),
		cmocka_unit_test(a_shim_that_is_found_again_is_told_what_it_missed),
		cmocka_unit_test(start_during_a_stop_starts_when_the_old_engine_is_gone),
		cmocka_unit_test(a_second_stop_only_hastens_the_first),
		cmocka_unit_test(a_crash_loop_backs_off_and_then_fails),
		cmocka_unit_test(a_long_life_forgives_earlier_deaths),
		cmocka_unit_test(a_hopeless_death_is_not_tried_again),
		cmocka_unit_test(an_engine_that_is_not_ours_is_ended_and_fails),
		cmocka_unit_test(an_engine_that_is_not_seen_alive_is_ended_and_started_again),
		cmocka_unit_test(nobody_hangs_where_that_is_not_watched),
		cmocka_unit_test(an_adopted_engine_is_not_loaded_again),
		cmocka_unit_test(sleep_gives_a_load_its_whole_time_again),
		cmocka_unit_test(random_lives_keep_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
