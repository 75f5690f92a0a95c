/* SPDX-License-Identifier: MIT */
/* The server's limits, and peers that are slow, many or gone, as raw sockets see them. */
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_scene.h"

#include "base/mem.h"

static uint64_t now_ms(void)
{
	return loop_now_us() / 1000;
}

/* Limits and slow peers */

static void heads_and_bodies_over_the_limit_are_refused_at_the_limit(void **state)
{
	static const struct {
		const char *before, *unit;
		size_t count;
		const char *after;
		int status;
	} rows[] = {
		{ "GET /path/", "x", H1_LINE_MAX_BYTES - 6, " HTTP/1.1\r\n" HOST END, 200 },
		{ "GET /path/", "x", H1_LINE_MAX_BYTES - 5, " HTTP/1.1\r\n" HOST END, 414 },
		{ "GET /", "x", 40000, "", 414 },
		{ "GET / HTTP/1.1\r\n" HOST "X: ", "v", H1_LINE_MAX_BYTES, "", 431 },
		{ "GET / HTTP/1.1\r\n" HOST, "X: v\r\n", 98, END, 200 },
		{ "GET / HTTP/1.1\r\n" HOST, "X: v\r\n", 99, END, 431 },
		{ "GET / HTTP/1.1\r\n" HOST,
		  "X: 0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901\r\n"
		  "Y: 0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901"
		  "0123456789012345678901234567890123456789012345678901\r\n",
		  49, "", 431 },
		/* The whole length of /echo is 100000. */
		{ "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n" END, "0123456789",
		  10000, "", 200 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100001\r\n\r\n", "", 0, "", 413 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END,
		  "a\r\n0123456789\r\n", 10000, "0\r\n\r\n", 200 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
		  "a\r\n0123456789\r\n", 10001, "", 413 },
		{ "POST /echo HTTP/1.1\r\n" HOST
		  "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
		  "0123456789", 10001, "", 413 },
	};
	struct scene s;
	struct peer p;
	struct buf text;

	(void)state;
	scene_open(&s, NULL);
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_clear(&text);
		buf_add_text(&text, rows[i].before);
		for (size_t k = 0; k < rows[i].count; k++) {
			buf_add_text(&text, rows[i].unit);
		}
		buf_add_text(&text, rows[i].after);
		int status = peer_ask(&s, &p, buf_span(&text));

		if (status != rows[i].status) {
			fail_msg("row %zu: %d instead of %d: %.300s", i, status, rows[i].status,
				 buf_text(&p.got));
		}
		assert_false(p.was_reset);
		peer_close(&p);
	}
	buf_finish(&text);
	scene_close(&s);
}

static void continue_is_said_once_and_only_when_the_body_is_wanted(void **state)
{
	static const struct {
		const char *head;
		const char *interim; /* what must come before the body is sent */
		const char *body;
		int answers;
		const char *last;
	} rows[] = {
		{ "POST /echo HTTP/1.1\r\n" HOST
		  "Expect: 100-continue\r\nContent-Length: 4\r\n" END,
		  "HTTP/1.1 100 Continue\r\n\r\n", "body", 2, "body" },
		{ "POST /echo HTTP/1.1\r\n" HOST
		  "Expect: 100-CONTINUE\r\nTransfer-Encoding: chunked\r\n" END,
		  "HTTP/1.1 100 Continue\r\n\r\n", "4\r\nbody\r\n0\r\n\r\n", 2, "body" },
		{ "POST /none HTTP/1.1\r\n" HOST
		  "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n",
		  "Connection: close\r\n", "", 1, "hello" },
		{ "POST /echo HTTP/1.1\r\n" HOST
		  "Expect: 100-continue\r\nContent-Length: 999999\r\n\r\n",
		  "HTTP/1.1 413 ", "", 1, "" },
		{ "POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", "",
		  "body", 1, "body" },
		{ "GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n" END, "HTTP/1.1 200 ", "", 1,
		  "hello" },
		{ "POST /echo HTTP/1.1\r\n" HOST
		  "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n",
		  "HTTP/1.1 100 Continue\r\n\r\n", "", 2, "came too slowly" },
	};
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, &(struct http_server_options){ .body_ms = SHORT_MS });
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		peer_dial(&s, &p);
		peer_say(&s, &p, rows[i].head);
		WAIT_FOR(&s, rows[i].interim[0] == '\0' || peer_has(&p, rows[i].interim));
		peer_say(&s, &p, rows[i].body);
		WAIT_FOR(&s, peer_is_done(&p));
		assert_int_equal(peer_count(&p, "HTTP/1.1 "), rows[i].answers);
		assert_true(peer_has(&p, rows[i].last));
		peer_close(&p);
	}
	scene_close(&s);
}

/* Somebody else is served at once. */
static void check_others_are_served(struct scene *s)
{
	struct peer other;
	uint64_t start_ms = now_ms();

	assert_int_equal(peer_ask(s, &other, SPAN_LIT("GET / HTTP/1.1\r\n" HOST END)), 200);
	assert_true(now_ms() - start_ms < SOON_MS);
	peer_close(&other);
}

static void slow_senders_meet_a_deadline(void **state)
{
	static const struct {
		const char *first, *more; /* `more` byte by byte, again and again */
		int status;
	} rows[] = {
		{ "", "GET / HTTP/1.1\r\nX-0123456789: 0123456789\r\nX-0123456789: 0123456789\r\n",
		  408 },
		{ "GET / HTTP/1.1\r\n" HOST, "", 408 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n", "x", 408 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n",
		  408 },
		{ "POST /stream-echo HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n", "", 408 },
		{ "", "", 0 }, /* says nothing: closed without a word */
	};
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, &(struct http_server_options){
			       .head_ms = SHORT_MS, .body_ms = SHORT_MS, .idle_ms = SHORT_MS });
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t at = 0, len = strlen(rows[i].more);
		uint64_t start_ms = now_ms();

		peer_dial(&s, &p);
		peer_say(&s, &p, rows[i].first);
		while (!peer_is_done(&p) && now_ms() - start_ms < SCENE_WAIT_MS) {
			if (len > 0 && now_ms() - start_ms >= 2 * at) {
				peer_send(&s, &p, (struct span){ &rows[i].more[at++ % len], 1 });
			}
			scene_turn(&s);
		}
		uint64_t took_ms = now_ms() - start_ms;

		if (peer_status(&p) != rows[i].status || took_ms < SHORT_MS - CLOCK_MS ||
		    took_ms > SCENE_WAIT_MS) {
			fail_msg("row %zu: status %d after %llu ms", i, peer_status(&p),
				 (unsigned long long)took_ms);
		}
		check_others_are_served(&s);
		peer_close(&p);
	}
	scene_close(&s);
}

/* Without reading what came before. */
static bool has_been_reset(const struct peer *p)
{
	struct pollfd watched = { .fd = p->fd };

	return poll(&watched, 1, 0) > 0;
}

static void who_does_not_read_is_left_and_costs_one_buffer(void **state)
{
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, &(struct http_server_options){ .send_ms = SHORT_MS });
	peer_dial(&s, &p);
	peer_say(&s, &p, "GET /size?33554432 HTTP/1.1\r\n" HOST "\r\n");
	WAIT_FOR(&s, s.requests == 1);
	check_others_are_served(&s);
	WAIT_FOR(&s, has_been_reset(&p));
	WAIT_FOR(&s, peer_is_done(&p));
	assert_true(p.got.len < 32 << 20);
	peer_close(&p);
	scene_close(&s);
}

static void a_slow_reader_that_reads_on_is_kept(void **state)
{
	struct scene s;
	struct peer p;
	static char some[65536];
	size_t read_bytes = 0;

	(void)state;
	scene_open(&s, &(struct http_server_options){ .send_ms = 6 * SHORT_MS });
	peer_dial(&s, &p);
	peer_say(&s, &p, "GET /size?33554432 HTTP/1.1\r\n" HOST "\r\n");
	WAIT_FOR(&s, s.requests == 1);

	uint64_t start_us = loop_now_us(), next_us = start_us;

	while (loop_now_us() - start_us < 15 * SHORT_MS * 1000) {
		if (loop_now_us() >= next_us) {
			ssize_t got = recv(p.fd, some, sizeof(some), MSG_DONTWAIT);

			read_bytes += got > 0 ? (size_t)got : 0;
			next_us = loop_now_us() + 20000;
		}
		scene_turn(&s);
	}
	assert_true(read_bytes < 32 << 20);
	assert_false(has_been_reset(&p));
	peer_close(&p);
	scene_close(&s);
}

/* Connections */

static void over_the_limit_of_connections_accepting_waits(void **state)
{
	struct scene s;
	struct peer peers[3];

	(void)state;
	scene_open(&s, &(struct http_server_options){ .listener.conns_max = 2 });
	for (size_t i = 0; i < 3; i++) {
		peer_dial(&s, &peers[i]);
		peer_say(&s, &peers[i], "GET / HTTP/1.1\r\n" HOST "\r\n");
	}
	WAIT_FOR(&s, peer_has(&peers[0], "hello") && peer_has(&peers[1], "hello"));
	for (int i = 0; i < 100; i++) {
		scene_turn(&s);
	}
	assert_int_equal(peer_status(&peers[2]), 0);
	peer_close(&peers[0]);
	WAIT_FOR(&s, peer_has(&peers[2], "hello"));
	peer_close(&peers[1]);
	peer_close(&peers[2]);
	scene_close(&s);
}

static uint64_t cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec +
	       (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec;
}

/* Takes every descriptor that is left. */
static size_t take_descriptors(int *fds, size_t most)
{
	size_t count = 0;

	while (count < most && (fds[count] = open("/dev/null", O_RDONLY)) >= 0) {
		count++;
	}
	assert_true(count < most);
	return count;
}

static void without_descriptors_streams_live_and_accepting_recovers(void **state)
{
	struct scene s;
	struct peer streaming, late;
	struct rlimit before, tight;
	int fds[256];

	(void)state;
	getrlimit(RLIMIT_NOFILE, &before);
	tight = before;
	tight.rlim_cur = 128;
	scene_open(&s, NULL);
	peer_dial(&s, &streaming);
	peer_say(&s, &streaming, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	WAIT_FOR(&s, peer_has(&streaming, "held"));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	int spare = open("/dev/null", O_RDONLY);
	size_t count = take_descriptors(fds, ARRAY_LEN(fds));

	close(spare); /* the one that the late client's own socket takes */
	peer_dial(&s, &late);
	uint64_t start_us = loop_now_us(), start_cpu_us = cpu_us();

	while (loop_now_us() - start_us < SHORT_MS * 1000u) {
		s.turns = 31; /* a millisecond each: the loop's own work is what is measured */
		scene_turn(&s);
	}
	assert_true(cpu_us() - start_cpu_us < SHORT_MS * 1000 / 2);
	assert_int_equal(exchange_send(s.held[0], SPAN_LIT("still here")), 0);
	WAIT_FOR(&s, peer_has(&streaming, "still here"));
	for (size_t i = 0; i < count; i++) {
		close(fds[i]);
	}
	peer_close(&late);
	setrlimit(RLIMIT_NOFILE, &before);
	check_others_are_served(&s);
	peer_close(&streaming);
	scene_close(&s);
}

static void draining_ends_idle_connections_and_lets_answers_finish(void **state)
{
	struct scene s;
	struct peer idle, busy;

	(void)state;
	scene_open(&s, NULL);
	peer_dial(&s, &idle);
	peer_dial(&s, &busy);
	peer_say(&s, &idle, "GET / HTTP/1.1\r\n" HOST "\r\n");
	peer_say(&s, &busy, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	WAIT_FOR(&s, peer_has(&idle, "hello") && peer_has(&busy, "held"));
	http_server_drain(s.server);
	WAIT_FOR(&s, peer_is_done(&idle));
	assert_false(peer_is_done(&busy));
	assert_int_equal(exchange_end(s.held[0], SPAN_LIT("to the end")), 0);
	s.held[0] = NULL;
	WAIT_FOR(&s, peer_has(&busy, "to the end\r\n0\r\n\r\n"));
	peer_close(&idle);
	peer_close(&busy);
	scene_close(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_and_bodies_over_the_limit_are_refused_at_the_limit),
		cmocka_unit_test(continue_is_said_once_and_only_when_the_body_is_wanted),
		cmocka_unit_test(slow_senders_meet_a_deadline),
		cmocka_unit_test(who_does_not_read_is_left_and_costs_one_buffer),
		cmocka_unit_test(a_slow_reader_that_reads_on_is_kept),
		cmocka_unit_test(over_the_limit_of_connections_accepting_waits),
		cmocka_unit_test(without_descriptors_streams_live_and_accepting_recovers),
		cmocka_unit_test(draining_ends_idle_connections_and_lets_answers_finish),
	};

	return cmocka_run_group_tests_name("http_limits", tests, NULL, NULL);
}
