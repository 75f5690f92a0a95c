/* SPDX-License-Identifier: MIT */
/*
 * What the files of io/ share with each other and with nobody else: the libuv side of a loop.
 */
#ifndef IO_DOOR_H
#define IO_DOOR_H

#include <uv.h>

#include "io/conn.h"
#include "io/timer.h"

#define LOOP_READ_BYTES 65536

/* What a conn or a listener is to libuv. */
union stream {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct loop_deferred {
	void (*fn)(void *arg);
	void *arg;
};

/* A timer in the heap, at its due time or, since it was started again, before that. */
struct timer_place {
	uint64_t at_ms;
	struct timer *timer;
};

struct loop {
	uv_loop_t uv;

	uv_timer_t alarm;  /* rings for the first timer of the heap */
	uint64_t alarm_ms; /* when it is set to ring; 0: not set */
	struct timer_place *heap;
	size_t timer_count, timer_room;

	uv_prepare_t prepare; /* ends a turn */
	uint64_t turn_us;     /* 0: not read in this turn */

	uv_idle_t idle; /* on while something is deferred */
	struct loop_deferred *deferred;
	size_t deferred_count, deferred_room;

	loop_gap_fn *on_gap;
	void *gap_arg;

	char read_bytes[LOOP_READ_BYTES]; /* where every conn reads into */
};

/* Runs what is due and sets the alarm for the next. */
void timer_heap_ring(struct loop *loop);
/* The alarm rang: says a gap, if there was one, and rings the heap. */
void loop_on_alarm(uv_timer_t *alarm);

/* A conn that is still to be connected, by TCP or else a pipe; and the stream of it. */
struct conn *conn_create(struct loop *loop, bool is_tcp);
uv_stream_t *conn_stream(struct conn *c);

/* The next pending connection, or NULL; listener_forget(l) is called when it closes. */
struct conn *conn_accept(struct loop *loop, uv_stream_t *listening, struct listener *l);
void listener_forget(struct listener *l);

/* Numeric IPv4 or IPv6; 0 or UV_EINVAL. */
int conn_parse_address(const char *text, uint16_t port, struct sockaddr_storage *ret);

#endif
