/* SPDX-License-Identifier: MIT */
#include "io/loop.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "io/door.h"

struct loop_signal {
	uv_signal_t uv;
	void (*fn)(void *arg);
	void *arg;
};

struct job {
	uv_thread_t thread;
	uv_async_t ended;
	bool has_thread;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

void loop_on_alarm(uv_timer_t *alarm)
{
	struct loop *loop = CONTAINER_OF(alarm, struct loop, alarm);
	uint64_t late_ms = uv_now(&loop->uv) - loop->alarm_ms;

	loop->alarm_ms = 0;
	if (late_ms > LOOP_GAP_MS && loop->on_gap != NULL) {
		loop->on_gap(loop->gap_arg, late_ms);
	}
	timer_heap_ring(loop);
}

static void on_turn_end(uv_prepare_t *prepare)
{
	CONTAINER_OF(prepare, struct loop, prepare)->turn_us = 0;
}

struct loop *loop_create(void)
{
	struct loop *loop = mem_alloc(sizeof(*loop));

	signal(SIGPIPE, SIG_IGN);
	ENSURE(uv_loop_init(&loop->uv) == 0);
	uv_timer_init(&loop->uv, &loop->alarm);
	uv_idle_init(&loop->uv, &loop->idle);
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_prepare_start(&loop->prepare, on_turn_end);
	uv_unref((uv_handle_t *)&loop->prepare);
	return loop;
}

void loop_run(struct loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

static void on_idle(uv_idle_t *idle)
{
	struct loop *loop = CONTAINER_OF(idle, struct loop, idle);
	size_t count = loop->deferred_count;

	/* What these defer in turn waits for the next round. */
	for (size_t i = 0; i < count; i++) {
		struct loop_deferred next = loop->deferred[i];

		next.fn(next.arg);
	}
	loop->deferred_count -= count;
	memmove(loop->deferred, loop->deferred + count,
		loop->deferred_count * sizeof(*loop->deferred));
	if (loop->deferred_count == 0) {
		uv_idle_stop(idle);
	}
}

/* Children that were forgotten while they ran still hold a handle that nobody waits for. */
static void close_forgotten(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (handle->type == UV_PROCESS && !uv_is_closing(handle)) {
		uv_close(handle, (uv_close_cb)free); /* a struct child begins with it */
	}
}

void loop_destroy(struct loop *loop)
{
	while (loop->deferred_count > 0) {
		on_idle(&loop->idle);
	}
	ENSURE(loop->timer_count == 0);
	uv_close((uv_handle_t *)&loop->alarm, NULL);
	uv_close((uv_handle_t *)&loop->idle, NULL);
	uv_close((uv_handle_t *)&loop->prepare, NULL);
	uv_walk(&loop->uv, close_forgotten, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	ENSURE(uv_loop_close(&loop->uv) == 0);
	free(loop->heap);
	free(loop->deferred);
	free(loop);
}

uint64_t loop_now_ms(const struct loop *loop)
{
	return uv_now(&loop->uv);
}

uint64_t loop_now_us(void)
{
	return uv_hrtime() / 1000;
}

uint64_t loop_turn_us(struct loop *loop)
{
	loop->turn_us = loop->turn_us != 0 ? loop->turn_us : loop_now_us();
	return loop->turn_us;
}

int64_t loop_unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

void loop_defer(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	if (loop->deferred_count == loop->deferred_room) {
		loop->deferred_room = loop->deferred_room * 2 + 8;
		loop->deferred =
			mem_resize(loop->deferred, loop->deferred_room, sizeof(*loop->deferred));
	}
	loop->deferred[loop->deferred_count++] = (struct loop_deferred){ fn, arg };
	uv_idle_start(&loop->idle, on_idle);
}

void loop_on_gap(struct loop *loop, loop_gap_fn *fn, void *arg)
{
	loop->on_gap = fn;
	loop->gap_arg = arg;
}

static void job_thread(void *arg)
{
	struct job *job = arg;

	job->work(job->arg);
	uv_async_send(&job->ended);
}

static void on_job_closed(uv_handle_t *ended)
{
	free(CONTAINER_OF(ended, struct job, ended));
}

static void on_job_ended(uv_async_t *ended)
{
	struct job *job = CONTAINER_OF(ended, struct job, ended);

	if (job->has_thread) {
		uv_thread_join(&job->thread);
	}
	uv_close((uv_handle_t *)ended, on_job_closed);
	job->done(job->arg);
}

/*
 * A thread that ends with its job: system calls cost less in a process of one thread.
 * Where it has no thread left the work is done at once, late rather than not.
 */
void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct job *job = mem_alloc(sizeof(*job));

	job->work = work;
	job->done = done;
	job->arg = arg;
	ENSURE(uv_async_init(&loop->uv, &job->ended, on_job_ended) == 0);
	job->has_thread = uv_thread_create(&job->thread, job_thread, job) == 0;
	if (!job->has_thread) {
		job_thread(job);
	}
}

static void on_signal(uv_signal_t *uv, int signum)
{
	struct loop_signal *signal = CONTAINER_OF(uv, struct loop_signal, uv);

	(void)signum;
	signal->fn(signal->arg);
}

struct loop_signal *loop_signal_start(struct loop *loop, int signum, void (*fn)(void *arg),
				      void *arg)
{
	struct loop_signal *signal = mem_alloc(sizeof(*signal));

	signal->fn = fn;
	signal->arg = arg;
	uv_signal_init(&loop->uv, &signal->uv);
	ENSURE(uv_signal_start(&signal->uv, on_signal, signum) == 0);
	uv_unref((uv_handle_t *)&signal->uv);
	return signal;
}

void loop_signal_close(struct loop_signal *signal)
{
	if (signal != NULL) {
		uv_close((uv_handle_t *)&signal->uv, (uv_close_cb)free);
	}
}
