/* SPDX-License-Identifier: MIT */
/*
 * Timers are plain values: embed one, start and stop it at will, forget it once stopped. Nothing is
 * to be closed, because all timers of a loop sit in one heap behind one system timer.
 *
 * One shot: on expiry the timer is stopped first, then fn(timer) runs; CONTAINER_OF leads to the
 * owner. fn may start it again or free the owner.
 */
#ifndef IO_TIMER_H
#define IO_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/loop.h"

struct timer {
	struct loop *loop;
	void (*fn)(struct timer *timer);
	uint64_t due_ms; /* on loop_now_ms's clock */
	size_t position; /* private: index in the heap + 1; 0 while stopped */
};

void timer_init(struct timer *t, struct loop *loop, void (*fn)(struct timer *timer));
void timer_start(struct timer *t, uint64_t after_ms); /* restarts a running one */
void timer_start_at(struct timer *t, uint64_t due_ms);
void timer_stop(struct timer *t); /* a stopped or zeroed one is fine */
bool timer_is_on(const struct timer *t);

#endif
