/* SPDX-License-Identifier: MIT */
/* What keeps the machine awake, with sleep(1) as the tool; when an engine's log says it works. */
#include <errno.h>
#include <signal.h>

#include "unit.h"

#include "base/mem.h"
#include "host/enginelog.h"
#include "host/vigil.h"
#include "io/child.h"

#define STEP_MS 10
#define STEPS_MAX 3000 /* 30 s, on a busy machine */

static const char *const tool[] = { "sleep", "600", NULL };

struct watch {
	struct loop *loop;
	struct vigil vigil;
	struct timer timer;
	pid_t pid;
	int steps;
};

static void on_step(struct timer *timer)
{
	struct watch *w = CONTAINER_OF(timer, struct watch, timer);

	if (w->vigil.child != NULL || (kill(w->pid, 0) == 0 && w->steps < STEPS_MAX)) {
		w->steps++;
		timer_start(timer, STEP_MS);
		return;
	}
	loop_stop(w->loop);
}

static void watch_begin(struct watch *w, const char *const *argv, uint32_t linger_ms)
{
	*w = (struct watch){ .loop = loop_create() };
	timer_init(&w->timer, w->loop, on_step);
	vigil_init(&w->vigil, w->loop, argv, linger_ms);
}

static void watch_end(struct watch *w)
{
	vigil_finish(&w->vigil);
	loop_destroy(w->loop);
}

static void the_tool_runs_while_an_engine_works_and_a_little_longer(void **state)
{
	struct watch w;

	(void)state;
	watch_begin(&w, tool, 50);
	vigil_set(&w.vigil, true);
	assert_non_null(w.vigil.child);
	w.pid = child_pid(w.vigil.child);
	vigil_set(&w.vigil, false);
	assert_true(timer_is_on(&w.vigil.linger));
	vigil_set(&w.vigil, true);
	assert_false(timer_is_on(&w.vigil.linger));
	assert_int_equal(child_pid(w.vigil.child), w.pid);
	vigil_set(&w.vigil, false);
	timer_start(&w.timer, STEP_MS);
	loop_run(w.loop);
	assert_null(w.vigil.child);
	assert_int_equal(kill(w.pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	watch_end(&w);
}

static void a_tool_that_ended_is_started_again_by_the_next_work(void **state)
{
	struct watch w;

	(void)state;
	watch_begin(&w, tool, 50);
	vigil_set(&w.vigil, true);
	w.pid = child_pid(w.vigil.child);
	kill(w.pid, SIGKILL);
	timer_start(&w.timer, STEP_MS);
	loop_run(w.loop);
	assert_null(w.vigil.child);
	vigil_set(&w.vigil, true);
	assert_non_null(w.vigil.child);
	watch_end(&w);
}

static void without_a_tool_or_with_a_missing_one_nothing_is_started(void **state)
{
	static const char *const none[] = { NULL };
	static const char *const missing[] = { "/no/such/caffeinate", "-i", NULL };
	struct watch w;

	(void)state;
	watch_begin(&w, none, 50);
	vigil_set(&w.vigil, true);
	assert_null(w.vigil.child);
	watch_end(&w);
	watch_begin(&w, missing, 50);
	vigil_set(&w.vigil, true);
	vigil_set(&w.vigil, true);
	assert_null(w.vigil.child);
	watch_end(&w);
}

/* Lines of build 11669 and of an older one. */
static void a_log_says_how_many_slots_work_and_how_fast(void **state)
{
	static const struct {
		const char *line;
		uint32_t busy_slots;
		float tokens_per_second;
	} lines[] = {
		{ "0.00.504.008 I srv  update_slots: all slots are idle", 0, 0 },
		{ "0.00.595.550 I slot launch_slot_: id  0 | task -1 | sampler chain: logits", 0,
		  0 },
		{ "0.00.595.559 I slot launch_slot_: id  0 | task 0 | processing task, is_child = "
		  "0",
		  1, 0 },
		{ "0.00.596.000 I slot launch_slot_: id  1 | task 1 | processing task, is_child = "
		  "0",
		  2, 0 },
		{ "0.03.843.936 I slot print_timing: id  0 | task 0 | prompt eval time =     "
		  "763.76 ms /  1442 tokens (    0.53 ms per token,  1888.02 tokens per second)",
		  2, 0 },
		{ "0.03.843.994 I slot print_timing: id  0 | task 0 |        eval time =    "
		  "2484.55 ms /   128 tokens (   19.50 ms per token,    51.25 tokens per second)",
		  2, 51.25f },
		{ "0.03.844.459 I slot      release: id  0 | task 0 | stop processing: n_tokens = "
		  "1569",
		  1, 51.25f },
		{ "0.03.844.460 I slot print_timing: id  1 | task 1 |        eval time =       "
		  "0.00 ms /     1 tokens (    0.00 ms per token,      inf tokens per second)",
		  1, 51.25f },
		{ "0.03.844.496 I srv  update_slots: all slots are idle", 0, 51.25f },
		{ "slot launch_slot_with_task: id  2 | task 4 | processing task", 1, 51.25f },
		{ "srv  update_slots: all slots are idle", 0, 51.25f },
	};
	struct enginelog log;

	(void)state;
	enginelog_init(&log);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		enginelog_feed(&log, span_of(lines[i].line));
		assert_int_equal(log.busy_slots, lines[i].busy_slots);
		assert_true(log.tokens_per_second == lines[i].tokens_per_second);
	}
	enginelog_feed(&log, span_of(lines[2].line));
	enginelog_restart(&log);
	assert_int_equal(log.busy_slots, 0);
	assert_true(log.tokens_per_second == 0);
	enginelog_finish(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tool_runs_while_an_engine_works_and_a_little_longer),
		cmocka_unit_test(a_tool_that_ended_is_started_again_by_the_next_work),
		cmocka_unit_test(without_a_tool_or_with_a_missing_one_nothing_is_started),
		cmocka_unit_test(a_log_says_how_many_slots_work_and_how_fast),
	};

	return cmocka_run_group_tests_name("vigil", tests, NULL, NULL);
}
