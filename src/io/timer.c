/* SPDX-License-Identifier: MIT */
/*
 * All timers of a loop in one binary heap, the earliest first. The alarm is only moved when the
 * earliest timer comes before it; when it rings too early it is simply set again, so restarting a
 * timer (each event of a stream does) costs no system timer.
 */
#include "io/timer.h"

#include "base/mem.h"
#include "io/door.h"

static void place(struct loop *loop, struct timer *t, size_t index)
{
	loop->heap[index] = t;
	t->position = index + 1;
}

static void move_up(struct loop *loop, struct timer *t, size_t index)
{
	while (index > 0) {
		size_t parent = (index - 1) / 2;

		if (loop->heap[parent]->due_ms <= t->due_ms) {
			break;
		}
		place(loop, loop->heap[parent], index);
		index = parent;
	}
	place(loop, t, index);
}

static void move_down(struct loop *loop, struct timer *t, size_t index)
{
	for (;;) {
		size_t child = 2 * index + 1;

		if (child >= loop->timer_count) {
			break;
		}
		if (child + 1 < loop->timer_count &&
		    loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms) {
			child++;
		}
		if (t->due_ms <= loop->heap[child]->due_ms) {
			break;
		}
		place(loop, loop->heap[child], index);
		index = child;
	}
	place(loop, t, index);
}

/* Puts t where its due_ms belongs, from wherever it is in the heap. */
static void settle(struct loop *loop, struct timer *t, size_t index)
{
	if (index > 0 && loop->heap[(index - 1) / 2]->due_ms > t->due_ms) {
		move_up(loop, t, index);
	} else {
		move_down(loop, t, index);
	}
}

static void set_alarm(struct loop *loop)
{
	if (loop->timer_count == 0) {
		uv_timer_stop(&loop->alarm);
		loop->alarm_ms = 0;
		return;
	}
	uint64_t due_ms = loop->heap[0]->due_ms;
	uint64_t now_ms = uv_now(&loop->uv);

	if (loop->alarm_ms == 0 || due_ms < loop->alarm_ms) {
		loop->alarm_ms = due_ms > now_ms ? due_ms : now_ms;
		uv_timer_start(&loop->alarm, loop_on_alarm, loop->alarm_ms - now_ms, 0);
	}
}

void timer_heap_ring(struct loop *loop)
{
	uint64_t now_ms = uv_now(&loop->uv);

	/* A timer that is started with 0 ms in a callback waits for the next ring. */
	for (size_t budget = loop->timer_count; budget > 0 && loop->timer_count > 0; budget--) {
		struct timer *first = loop->heap[0];

		if (first->due_ms > now_ms) {
			break;
		}
		timer_stop(first);
		first->fn(first);
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

	if (t->position == 0) {
		if (loop->timer_count == loop->timer_room) {
			loop->timer_room = loop->timer_room * 2 + 16;
			loop->heap = mem_resize(loop->heap, loop->timer_room, sizeof(*loop->heap));
		}
		place(loop, t, loop->timer_count++);
	}
	t->due_ms = due_ms;
	settle(loop, t, t->position - 1);
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
	struct timer *last = loop->heap[--loop->timer_count];

	t->position = 0;
	if (last != t) {
		settle(loop, last, index);
	}
	if (loop->timer_count == 0) {
		set_alarm(loop);
	}
}

bool timer_is_on(const struct timer *t)
{
	return t->position != 0;
}
