/* SPDX-License-Identifier: MIT */
/*
 * The loop on real sockets and processes; each test ends with loop_destroy, which checks handles.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <signal.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/child.h"
#include "io/conn.h"
#include "io/timer.h"

#define BIG_BYTES (4u << 20)

struct order {
	struct timer timers[5];
	int rung[8];
	int count;
};

static void on_ring(struct timer *t)
{
	struct order *o = (struct order *)(void *)((char *)(t - t->due_ms % 10) -
						   offsetof(struct order, timers));

	o->rung[o->count++] = (int)(t->due_ms % 10);
}

static void timers_ring_in_order_of_their_due_time(void **state)
{
	struct loop *loop = loop_create();
	struct order o = { 0 };
	uint64_t base = (loop_now_ms(loop) / 10 + 1) * 10;
	static const int after[5] = { 30, 10, 40, 0, 20 };

	(void)state;
	for (int i = 0; i < 5; i++) {
		timer_init(&o.timers[i], loop, on_ring);
		timer_start_at(&o.timers[i], base + (uint64_t)(after[i] + i));
	}
	timer_stop(&o.timers[4]);
	timer_stop(&o.timers[4]);
	assert_false(timer_is_on(&o.timers[4]));
	loop_run(loop);
	assert_int_equal(o.count, 4);
	static const int expected[4] = { 3, 1, 0, 2 };
	assert_memory_equal(o.rung, expected, sizeof(expected));
	loop_destroy(loop);
}

#define MANY_TIMERS 200

struct clock {
	struct timer timer;
	uint64_t asked_ms; /* 0: it shall not ring */
	uint64_t *latest_ms;
};

static void on_clock(struct timer *t)
{
	struct clock *c = (struct clock *)(void *)t; /* its first member */

	assert_int_equal(t->due_ms, c->asked_ms);
	assert_true(c->asked_ms >= *c->latest_ms && c->asked_ms <= loop_now_ms(t->loop));
	*c->latest_ms = c->asked_ms;
	c->asked_ms = 0;
}

static void timers_that_were_moved_ring_once_and_in_order(void **state)
{
	static struct clock clocks[MANY_TIMERS];
	struct loop *loop = loop_create();
	uint64_t base = loop_now_ms(loop) + 1, latest_ms = 0;
	unsigned dice = 1;

	(void)state;
	for (size_t i = 0; i < MANY_TIMERS; i++) {
		clocks[i] = (struct clock){ .latest_ms = &latest_ms };
		timer_init(&clocks[i].timer, loop, on_clock);
	}
	for (int move = 0; move < 10 * MANY_TIMERS; move++) {
		dice = dice * 1103515245u + 12345u;
		struct clock *c = &clocks[(dice >> 8) % MANY_TIMERS];

		c->asked_ms = dice % 7 == 0 ? 0 : base + (dice >> 16) % 100;
		if (c->asked_ms == 0) {
			timer_stop(&c->timer);
		} else {
			timer_start_at(&c->timer, c->asked_ms);
		}
	}
	loop_run(loop);
	for (size_t i = 0; i < MANY_TIMERS; i++) {
		assert_int_equal(clocks[i].asked_ms, 0);
		assert_false(timer_is_on(&clocks[i].timer));
	}
	assert_true(latest_ms >= base);
	loop_destroy(loop);
}

/* One server conn, one client conn, what they saw. */
struct pair {
	struct loop *loop;
	struct listener *listener;
	struct conn *server, *client;
	struct buf server_got, client_got;
	int server_end, client_end, connect_status, drains;
	size_t to_send; /* bytes the client has still to write */
};

static void stop_when_both_ended(struct pair *p)
{
	if (p->server_end <= 0 && p->client_end <= 0) {
		conn_close(p->server);
		conn_close(p->client);
		listener_close(p->listener);
	}
}

static void on_server_data(void *user, struct span data)
{
	struct pair *p = user;

	assert_int_equal(buf_add_span(&p->server_got, data), 0);
}

static void on_server_end(void *user, int status)
{
	struct pair *p = user;

	p->server_end = status;
	assert_int_equal(conn_write(p->server, SPAN_LIT("bye")), 0);
	conn_shutdown(p->server);
	stop_when_both_ended(p);
}

static void on_client_data(void *user, struct span data)
{
	struct pair *p = user;

	assert_int_equal(buf_add_span(&p->client_got, data), 0);
}

static void on_client_end(void *user, int status)
{
	struct pair *p = user;

	p->client_end = status;
	stop_when_both_ended(p);
}

/* Writes as much as is taken at a time; goes on when drained. */
static void pump(struct pair *p)
{
	static const char block[4096] = "x";

	while (p->to_send > 0) {
		size_t len = p->to_send < sizeof(block) ? p->to_send : sizeof(block);
		int status = conn_write(p->client, (struct span){ block, len });

		if (status == ERR_FULL) {
			assert_true(conn_kept(p->client) <= CONN_OUT_MAX_BYTES);
			return;
		}
		assert_int_equal(status, 0);
		p->to_send -= len;
	}
	conn_shutdown(p->client);
}

static void on_client_drain(void *user)
{
	struct pair *p = user;

	p->drains++;
	if (p->to_send > 0) {
		pump(p);
	}
}

static const struct conn_callbacks server_calls = { on_server_data, on_server_end, NULL };
static const struct conn_callbacks client_calls = { on_client_data, on_client_end,
						    on_client_drain };

static void on_accept(void *user, struct conn *c)
{
	struct pair *p = user;

	p->server = c;
	conn_start(c, &server_calls, p);
}

static void on_connected(void *user, int status)
{
	struct pair *p = user;

	p->connect_status = status;
	if (status == 0) {
		conn_start(p->client, &client_calls, p);
		pump(p);
	}
}

static void pair_run(struct pair *p, const struct listener_options *where, size_t to_send)
{
	struct listener_options options = *where;
	struct err err = { 0 };

	*p = (struct pair){ .server_end = 1, .client_end = 1, .to_send = to_send };
	buf_init(&p->server_got, BIG_BYTES);
	buf_init(&p->client_got, 64);
	p->loop = loop_create();
	options.conns_max = 4;
	options.on_conn = on_accept;
	options.user = p;
	p->listener = listener_start(p->loop, &options, &err);
	assert_non_null(p->listener);
	if (where->unix_path != NULL) {
		p->client = conn_dial_unix(p->loop, where->unix_path, on_connected, p);
	} else {
		p->client = conn_dial_host(p->loop, "localhost", listener_port(p->listener),
					   on_connected, p);
	}
	loop_run(p->loop);
	assert_int_equal(p->connect_status, 0);
	assert_int_equal(p->server_end, 0);
	assert_int_equal(p->client_end, 0);
	assert_int_equal(p->server_got.len, to_send);
	assert_true(span_is(buf_span(&p->client_got), "bye"));
	buf_finish(&p->server_got);
	buf_finish(&p->client_got);
	loop_destroy(p->loop);
}

static void four_mebibytes_pass_a_64_kibibyte_window_over_tcp(void **state)
{
	struct pair p;

	(void)state;
	pair_run(&p, &(struct listener_options){ .address = "127.0.0.1" }, BIG_BYTES);
	assert_true(p.drains > 0);
}

static void unix_sockets_carry_both_ways_and_get_their_mode(void **state)
{
	char path[] = "/tmp/ronzal-test-XXXXXX";
	struct pair p;

	(void)state;
	assert_int_not_equal(mkstemp(path), -1);
	unlink(path);
	pair_run(&p, &(struct listener_options){ .unix_path = path, .unix_mode = 0600 }, 1000);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void a_refused_dial_is_told_from_the_loop(void **state)
{
	struct pair p = { .connect_status = 1 };
	struct err err;

	(void)state;
	p.loop = loop_create();
	struct listener_options options = { .address = "127.0.0.1",
					    .conns_max = 1,
					    .on_conn = on_accept };
	struct listener *l = listener_start(p.loop, &options, &err);
	uint16_t port = listener_port(l);

	listener_close(l);
	loop_run(p.loop);
	p.client = conn_dial_tcp(p.loop, "127.0.0.1", port, on_connected, &p);
	assert_int_equal(p.connect_status, 1);
	loop_run(p.loop);
	assert_true(p.connect_status < 0);
	conn_close(p.client);

	p.connect_status = 1;
	p.client = conn_dial_tcp(p.loop, "not an address", port, on_connected, &p);
	loop_run(p.loop);
	assert_true(p.connect_status < 0);
	conn_close(p.client);
	loop_destroy(p.loop);
}

static void a_taken_port_is_said_with_its_address(void **state)
{
	struct loop *loop = loop_create();
	struct listener_options options = { .address = "127.0.0.1",
					    .conns_max = 1,
					    .on_conn = on_accept };
	struct err err = { 0 };
	struct listener *first = listener_start(loop, &options, &err);

	(void)state;
	options.port = listener_port(first);
	assert_null(listener_start(loop, &options, &err));
	assert_non_null(strstr(err.text, "127.0.0.1:"));
	assert_non_null(strstr(err.text, "in use"));
	listener_close(first);
	loop_destroy(loop);
}

struct run {
	struct child *child;
	struct conn *out;
	struct buf got;
	int exit_code;
	bool exited, ended;
};

static void on_run_data(void *user, struct span data)
{
	struct run *r = user;

	buf_add_span(&r->got, data);
}

static void on_run_end(void *user, int status)
{
	struct run *r = user;

	assert_int_equal(status, 0);
	r->ended = true;
	conn_close(r->out);
}

static void on_run_exit(void *user, int exit_code)
{
	struct run *r = user;

	r->exited = true;
	r->exit_code = exit_code;
	child_close(r->child);
}

static const struct conn_callbacks run_calls = { on_run_data, on_run_end, NULL };

static void run_command(struct run *r, const char *command, int signum)
{
	struct loop *loop = loop_create();
	const char *argv[] = { "sh", "-c", command, NULL };
	struct child_options options = { .argv = argv,
					 .stdio = { CHILD_NULL, CHILD_PIPE, CHILD_INHERIT },
					 .on_exit = on_run_exit,
					 .user = r };
	struct err err = { 0 };

	*r = (struct run){ 0 };
	buf_init(&r->got, 4096);
	r->child = child_start(loop, &options, &err);
	assert_non_null(r->child);
	r->out = child_take_pipe(r->child, 1);
	conn_start(r->out, &run_calls, r);
	if (signum != 0) {
		assert_int_equal(child_kill(r->child, signum), 0);
	}
	loop_run(loop);
	loop_destroy(loop);
	assert_true(r->exited && r->ended);
}

static void a_child_says_its_output_and_exit_code(void **state)
{
	struct run r;

	(void)state;
	run_command(&r, "echo out; exit 7", 0);
	assert_int_equal(r.exit_code, 7);
	assert_string_equal(buf_text(&r.got), "out\n");
	buf_finish(&r.got);
	run_command(&r, "exec sleep 30", SIGKILL);
	assert_int_equal(r.exit_code, -SIGKILL);
	buf_finish(&r.got);
}

static void a_failed_exec_is_no_child(void **state)
{
	struct loop *loop = loop_create();
	const char *argv[] = { "/nonexistent/program", NULL };
	struct child_options options = { .argv = argv };
	struct err err = { 0 };

	(void)state;
	assert_null(child_start(loop, &options, &err));
	assert_non_null(strstr(err.text, "/nonexistent/program"));
	loop_destroy(loop);
}

static void a_forgotten_child_does_not_hold_the_loop(void **state)
{
	struct loop *loop = loop_create();
	const char *argv[] = { "sleep", "1", NULL };
	struct child_options options = { .argv = argv };

	(void)state;
	struct child *c = child_start(loop, &options, NULL);
	uint64_t before_us = loop_now_us();

	assert_non_null(c);
	child_close(c);
	loop_run(loop);
	loop_destroy(loop);
	assert_true(loop_now_us() - before_us < 900000);
}

static void count_up(void *arg)
{
	++*(int *)arg;
}

static void deferred_calls_and_work_run_from_the_loop(void **state)
{
	struct loop *loop = loop_create();
	int deferred = 0, worked = 0; /* the work may begin at once, in its thread */

	(void)state;
	loop_defer(loop, count_up, &deferred);
	loop_work(loop, count_up, count_up, &worked);
	assert_int_equal(deferred, 0);
	loop_run(loop);
	assert_int_equal(deferred, 1);
	assert_int_equal(worked, 2);
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_ring_in_order_of_their_due_time),
		cmocka_unit_test(timers_that_were_moved_ring_once_and_in_order),
		cmocka_unit_test(four_mebibytes_pass_a_64_kibibyte_window_over_tcp),
		cmocka_unit_test(unix_sockets_carry_both_ways_and_get_their_mode),
		cmocka_unit_test(a_refused_dial_is_told_from_the_loop),
		cmocka_unit_test(a_taken_port_is_said_with_its_address),
		cmocka_unit_test(a_child_says_its_output_and_exit_code),
		cmocka_unit_test(a_failed_exec_is_no_child),
		cmocka_unit_test(a_forgotten_child_does_not_hold_the_loop),
		cmocka_unit_test(deferred_calls_and_work_run_from_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
