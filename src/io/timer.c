/* SPDX-License-Identifier: MIT */
/*
 * All timers of a loop in one binary heap, the earliest first. What a stream does at each event,
 * starting its timer again for later, only notes the time: the timer's place in the heap, which is
 * never behind its due time, is put right when it comes up. The alarm is treated alike: it is moved
 * only when a timer comes before it, and set again when it rings too early.
 */
#include "io/timer.h"

#include "base/mem.h"
#include "io/door.h"

static void place(struct loop *loop, struct timer_place p, size_t index)
{
	loop->heap[index] = p;
	p.timer->position = index + 1;
}

static void move_up(struct loop *loop, struct timer_place p, size_t index)
{
	while (index > 0) {
		size_t parent = (index - 1) / 2;

		if (loop->heap[parent].at_ms <= p.at_ms) {
			break;
		}
		place(loop, loop->heap[parent], index);
		index = parent;
	}
	place(loop, p, index);
}

static void move_down(struct loop *loop, struct timer_place p, size_t index)
{
	for (;;) {
		size_t child = 2 * index + 1;

		if (child >= loop->timer_count) {
			break;
		}
		if (child + 1 < loop->timer_count &&
		    loop->heap[child + 1].at_ms < loop->heap[child].at_ms) {
			child++;
		}
		if (p.at_ms <= loop->heap[child].at_ms) {
			break;
		}
		place(loop, loop->heap[child], index);
		index = child;
	}
	place(loop, p, index);
}

static void set_alarm(struct loop *loop)
{
	if (loop->timer_count == 0) {
		uv_timer_stop(&loop->alarm);
		loop->alarm_ms = 0;
		return;
	}
	uint64_t at_ms = loop->heap[0].at_ms;
	uint64_t now_ms = uv_now(&loop->uv);

	if (loop->alarm_ms == 0 || at_ms < loop->alarm_ms) {
		loop->alarm_ms = at_ms > now_ms ? at_ms : now_ms;
		uv_timer_start(&loop->alarm, loop_on_alarm, loop->alarm_ms - now_ms, 0);
	}
}

void timer_heap_ring(struct loop *loop)
{
	uint64_t now_ms = uv_now(&loop->uv);

	/* A timer that is started with 0 ms in a callback waits for the next ring. */
	size_t budget = loop->timer_count;

	while (budget > 0 && loop->timer_count > 0 && loop->heap[0].at_ms <= now_ms) {
		struct timer *first = loop->heap[0].timer;

		if (loop->heap[0].at_ms < first->due_ms) {
			move_down(loop, (struct timer_place){ first->due_ms, first }, 0);
		} else {
			budget--;
			timer_stop(first);
			first->fn(first);
		}
	}
	set_alarm(loop);
}

void timer_init(struct timer *t, struct loop *loop, void (*fn)(struct timer *timer))
{
	*t = (struct timer){ .loop = loop, .fn = fn };
}

void timer_start_at(struct timer *t, uint64_t due_ms)
{
	struct loop *loop = t->loop;

	t->due_ms = due_ms;
	if (t->position == 0) {
		if (loop->timer_count == loop->timer_room) {
			loop->timer_room = loop->timer_room * 2 + 16;
			loop->heap = mem_resize(loop->heap, loop->timer_room, sizeof(*loop->heap));
		}
		move_up(loop, (struct timer_place){ due_ms, t }, loop->timer_count++);
	} else if (due_ms < loop->heap[t->position - 1].at_ms) {
		move_up(loop, (struct timer_place){ due_ms, t }, t->position - 1);
	}
	set_alarm(loop);
}

void timer_start(struct timer *t, uint64_t after_ms)
{
	timer_start_at(t, uv_now(&t->loop->uv) + after_ms);
}

void timer_stop(struct timer *t)
{
	if (t->position == 0) {
		return;
	}
	struct loop *loop = t->loop;
	size_t index = t->position - 1;
	struct timer_place last = loop->heap[--loop->timer_count];

	t->position = 0;
	if (last.timer != t && index > 0 && loop->heap[(index - 1) / 2].at_ms > last.at_ms) {
		move_up(loop, last, index);
	} else if (last.timer != t) {
		move_down(loop, last, index);
	}
	if (loop->timer_count == 0) {
		set_alarm(loop);
	}
}

bool timer_is_on(const struct timer *t)
{
	return t->position != 0;
}
