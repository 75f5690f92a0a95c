/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "backend/choose.h"

static const struct choose_limits limits = {
	.lease_ms = 60000,
	.first_ms = 10000,
	.probe_ms = 5000,
	.stable_ms = 30000,
	.pause_ms = 60000,
};

static struct choose fresh(uint64_t now_ms)
{
	return (struct choose){ .limits = limits, .host_since_ms = now_ms };
}

static void waits_briefly_for_a_host_that_never_was_up(void **state)
{
	struct choose c = fresh(1000);
	struct choose_step step = choose_next(&c, CHOOSE_TIME, 1000);

	(void)state;
	assert_int_equal(step.action, CHOOSE_STAY);
	assert_int_equal(step.due_ms, 11000);
	assert_int_equal(choose_next(&c, CHOOSE_TIME, 11000).action, CHOOSE_PROBE);
	assert_int_equal(choose_next(&c, CHOOSE_ENGINES_SILENT, 11001).action, CHOOSE_FALL_BACK);
	assert_int_equal(c.route, CHOOSE_CPU);
}

static void keeps_the_host_for_the_whole_lease(void **state)
{
	struct choose c = fresh(0);

	(void)state;
	choose_next(&c, CHOOSE_HOST_UP, 100);
	struct choose_step step = choose_next(&c, CHOOSE_HOST_DOWN, 5000);

	assert_int_equal(step.action, CHOOSE_STAY);
	assert_int_equal(step.due_ms, 65000);
	assert_int_equal(choose_next(&c, CHOOSE_TIME, 64999).action, CHOOSE_STAY);
	assert_int_equal(choose_next(&c, CHOOSE_TIME, 65000).action, CHOOSE_PROBE);
}

static void keeps_the_host_while_its_engines_answer(void **state)
{
	struct choose c = fresh(0);
	uint64_t now_ms = 65000;

	(void)state;
	choose_next(&c, CHOOSE_HOST_UP, 100);
	choose_next(&c, CHOOSE_HOST_DOWN, 5000);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(choose_next(&c, CHOOSE_TIME, now_ms).action, CHOOSE_PROBE);
		struct choose_step step = choose_next(&c, CHOOSE_ENGINES_ANSWER, now_ms + 3);

		assert_int_equal(step.action, CHOOSE_STAY);
		assert_int_equal(step.due_ms, now_ms + 3 + limits.probe_ms);
		now_ms = step.due_ms;
	}
	choose_next(&c, CHOOSE_TIME, now_ms);
	assert_int_equal(choose_next(&c, CHOOSE_ENGINES_SILENT, now_ms).action, CHOOSE_FALL_BACK);
}

static struct choose fallen_back(uint64_t now_ms)
{
	struct choose c = fresh(now_ms - limits.first_ms);

	choose_next(&c, CHOOSE_TIME, now_ms);
	assert_int_equal(choose_next(&c, CHOOSE_ENGINES_SILENT, now_ms).action, CHOOSE_FALL_BACK);
	return c;
}

static void returns_when_the_host_was_up_for_long_enough(void **state)
{
	struct choose c = fallen_back(100000);
	struct choose_step step = choose_next(&c, CHOOSE_HOST_UP, 200000);

	(void)state;
	assert_int_equal(step.action, CHOOSE_STAY);
	assert_int_equal(step.due_ms, 230000);
	assert_int_equal(choose_next(&c, CHOOSE_TIME, 229999).action, CHOOSE_STAY);
	assert_int_equal(choose_next(&c, CHOOSE_TIME, 230000).action, CHOOSE_RETURN);
	assert_int_equal(c.route, CHOOSE_HOST);
}

static void stays_on_the_cpu_while_the_host_flaps(void **state)
{
	struct choose c = fallen_back(100000);
	uint64_t now_ms = 100000;

	(void)state;
	for (int i = 0; i < 100; i++, now_ms += 29000) {
		assert_int_equal(choose_next(&c, CHOOSE_HOST_UP, now_ms).action, CHOOSE_STAY);
		struct choose_step step = choose_next(&c, CHOOSE_HOST_DOWN, now_ms + 28000);

		assert_int_equal(step.action, CHOOSE_STAY);
		assert_int_equal(step.due_ms, 0);
	}
}

static void changes_at_most_once_a_minute(void **state)
{
	struct choose c = fallen_back(100000);
	struct choose_step step = choose_next(&c, CHOOSE_HOST_UP, 100001);

	(void)state;
	assert_int_equal(step.due_ms, 160000);
	assert_int_equal(choose_next(&c, CHOOSE_TIME, 159999).action, CHOOSE_STAY);
	assert_int_equal(choose_next(&c, CHOOSE_TIME, 160000).action, CHOOSE_RETURN);
}

/* Whatever comes in whatever order: a route changes only as the rules say. */
static void obeys_its_rules_through_any_sequence(void **state)
{
	uint32_t seed = 20261123;
	struct choose c = fresh(0);
	uint64_t now_ms = 0, up_ms = 0, down_ms = 0, changed_ms = 0;
	bool is_up = false, was_up = false;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		seed = seed * 1664525u + 1013904223u;
		enum choose_event event = (enum choose_event)((seed >> 16) % 5);
		enum choose_route before = c.route;

		now_ms += (seed >> 8) % 9000;
		if (event == CHOOSE_HOST_UP && !is_up) {
			up_ms = now_ms;
			is_up = was_up = true;
		} else if (event == CHOOSE_HOST_DOWN && is_up) {
			down_ms = now_ms;
			is_up = false;
		}
		struct choose_step step = choose_next(&c, event, now_ms);

		assert_int_equal(c.route != before,
				 step.action == CHOOSE_FALL_BACK || step.action == CHOOSE_RETURN);
		if (step.action == CHOOSE_FALL_BACK) {
			assert_false(is_up);
			assert_int_equal(event, CHOOSE_ENGINES_SILENT);
			assert_true(now_ms - down_ms >=
				    (was_up ? limits.lease_ms : limits.first_ms));
		} else if (step.action == CHOOSE_RETURN) {
			assert_true(is_up && now_ms - up_ms >= limits.stable_ms);
			assert_true(now_ms - changed_ms >= limits.pause_ms);
		} else {
			assert_true(step.due_ms == 0 || step.due_ms > now_ms);
		}
		changed_ms = c.route != before ? now_ms : changed_ms;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_briefly_for_a_host_that_never_was_up),
		cmocka_unit_test(keeps_the_host_for_the_whole_lease),
		cmocka_unit_test(keeps_the_host_while_its_engines_answer),
		cmocka_unit_test(returns_when_the_host_was_up_for_long_enough),
		cmocka_unit_test(stays_on_the_cpu_while_the_host_flaps),
		cmocka_unit_test(changes_at_most_once_a_minute),
		cmocka_unit_test(obeys_its_rules_through_any_sequence),
	};

	return cmocka_run_group_tests_name("choose", tests, NULL, NULL);
}
