/* SPDX-License-Identifier: MIT */
/*
 * The event loop: one per process, one thread. Everything in io/ hangs on a loop, and all callbacks
 * run on its thread, never from inside the call that asked for them unless the header says so.
 *
 * Life: loop_create, build things on it, loop_run until loop_stop or until nothing is left that
 * could call back, close everything, loop_destroy (which ends the program when a handle is still
 * open: a leaked handle is a defect).
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdint.h>

#include "base/err.h"

struct loop;

struct loop *loop_create(void);
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
void loop_destroy(struct loop *loop); /* runs what is deferred and close callbacks first */

/*
 * Milliseconds of a monotonic clock, cached per loop turn. On macOS it runs on while the machine
 * sleeps: see loop_on_gap.
 */
uint64_t loop_now_ms(const struct loop *loop);

/* The same clock in microseconds, for measuring: read afresh; and once per loop turn. */
uint64_t loop_now_us(void);
uint64_t loop_turn_us(struct loop *loop);

/* Wall clock: milliseconds since 1970. */
int64_t loop_unix_ms(void);

/*
 * Runs fn(arg) once from the loop, after the current callback has returned. For work that must not
 * happen inside its caller; not cancelable, so arg must outlive it.
 */
void loop_defer(struct loop *loop, void (*fn)(void *arg), void *arg);

/*
 * Called when the loop did not turn for more than LOOP_GAP_MS although a timer was due: the machine
 * slept or was stopped. It comes before the timers that are overdue, so that it can start them
 * anew. One listener per loop; NULL takes it away.
 */
#define LOOP_GAP_MS 5000
typedef void loop_gap_fn(void *arg, uint64_t gap_ms);
void loop_on_gap(struct loop *loop, loop_gap_fn *fn, void *arg);

/* Blocking file work on another thread: work(arg) there, then done(arg) on the loop. */
void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* A signal as an event. Starts at once; SIGPIPE is ignored by every loop. */
struct loop_signal;
struct loop_signal *loop_signal_start(struct loop *loop, int signum, void (*fn)(void *arg),
				      void *arg);
void loop_signal_close(struct loop_signal *signal); /* NULL is fine; frees later */

#endif
