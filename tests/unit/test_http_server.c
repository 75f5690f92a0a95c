/* SPDX-License-Identifier: MIT */
/* What the server makes of requests, and how it answers, as raw sockets see it. */
#include <stdlib.h>

#include "http_samples.h"
#include "http_scene.h"

#include "base/mem.h"

#define SMUGGLED "GET /smuggled HTTP/1.1\r\n" HOST "\r\n"

static int expected_status(int code)
{
	return code == 0 ? 200 : code == ERR_METHOD ? 501 : 400;
}

/* Framing */

static void a_refused_head_gets_one_answer_and_the_end(void **state)
{
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < request_sample_count; i++) {
		const struct head_sample *sample = &request_samples[i];
		int status = expected_status(sample->code);

		peer_dial(&s, &p);
		peer_send(&s, &p, sample->bytes);
		if (sample->code != 0) {
			peer_say(&s, &p, SMUGGLED);
			WAIT_FOR(&s, peer_is_done(&p));
		} else {
			WAIT_FOR(&s, peer_has(&p, "hello"));
		}
		if (peer_status(&p) != status || peer_count(&p, "HTTP/1.1 ") != 1 ||
		    s.requests != (sample->code == 0)) {
			fail_msg(
				"%s: %zu requests were seen, and %d instead of %d was answered: %s",
				sample->name, s.requests, peer_status(&p), status,
				buf_text(&p.got));
		}
		assert_false(p.was_reset);
		s.requests = 0;
		peer_close(&p);
	}
	scene_close(&s);
}

static void a_badly_framed_body_gets_400_and_the_end(void **state)
{
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < chunked_sample_count; i++) {
		const struct body_sample *sample = &chunked_samples[i];
		bool is_good = sample->body != NULL;

		peer_dial(&s, &p);
		peer_say(&s, &p,
			 "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
		peer_send(&s, &p, sample->wire);
		if (!is_good) {
			peer_say(&s, &p, SMUGGLED);
			WAIT_FOR(&s, peer_is_done(&p));
		}
		WAIT_FOR(&s, peer_has(&p, is_good ? sample->body : "not well framed"));
		if (peer_status(&p) != (is_good ? 200 : 400) || s.requests != 1) {
			fail_msg("%s: %zu requests, %s", sample->name, s.requests,
				 buf_text(&p.got));
		}
		s.requests = 0;
		peer_close(&p);
	}
	scene_close(&s);
}

static void a_request_cut_anywhere_is_the_same_request(void **state)
{
	static const char *const requests[] = {
		"GET /path/%41b?q HTTP/1.1\r\n" HOST END,
		"GET http://a/path/x HTTP/1.1\r\n" HOST END,
		"HEAD /size?10 HTTP/1.1\r\n" HOST END,
		"GET / HTTP/1.0\r\n\r\n",
		"POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
		"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 11\r\n" END "hello world",
		"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END
		"5;ext=1\r\nhello\r\n006\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
		"PUT /none HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" END "hello",
		"POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n" END
		"hello",
		"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\none"
		"GET /path/two HTTP/1.1\r\n" HOST "\r\n"
		"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END
		"5\r\nthree\r\n0\r\n\r\n",
	};
	struct scene s;
	struct peer whole, cut;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		struct span bytes = span_of(requests[i]);

		assert_int_not_equal(peer_ask(&s, &whole, bytes), 0);
		for (size_t at = 1; at < bytes.len; at++) {
			peer_dial(&s, &cut);
			peer_send(&s, &cut, (struct span){ bytes.ptr, at });
			scene_turn(&s);
			scene_turn(&s);
			peer_send(&s, &cut, span_from(bytes, at));
			WAIT_FOR(&s, peer_is_done(&cut));
			assert_string_equal(peer_undated(&cut), peer_undated(&whole));
			peer_close(&cut);
		}
		peer_close(&whole);
	}
	scene_close(&s);
}

static void a_1_0_request_has_no_body_without_length_and_is_the_last(void **state)
{
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	assert_int_equal(peer_ask(&s, &p, SPAN_LIT("POST /echo HTTP/1.0\r\n\r\n" SMUGGLED)), 200);
	assert_true(peer_has(&p, "Content-Length: 0\r\nConnection: close\r\n\r\n"));
	assert_int_equal(peer_count(&p, "HTTP/1.1 "), 1);
	assert_int_equal(s.requests, 1);
	peer_close(&p);
	scene_close(&s);
}

/* A small body that nobody read is passed over; a long or unknown one ends the connection. */
static void an_unread_body_is_never_taken_for_a_request(void **state)
{
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	peer_ask(&s, &p,
		 SPAN_LIT("POST /none HTTP/1.1\r\n" HOST "Content-Length: 41\r\n\r\n" SMUGGLED
			  "......GET /path/second HTTP/1.1\r\n" HOST END));
	assert_true(peer_has(&p, "[/path/second]"));
	assert_int_equal(s.requests, 2);
	peer_close(&p);
	peer_ask(&s, &p,
		 SPAN_LIT("POST /none HTTP/1.1\r\n" HOST
			  "Transfer-Encoding: chunked\r\n\r\n" SMUGGLED));
	assert_int_equal(peer_count(&p, "HTTP/1.1 200"), 1);
	peer_close(&p);
	peer_ask(&s, &p,
		 SPAN_LIT("POST /none HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n" SMUGGLED));
	assert_int_equal(peer_count(&p, "HTTP/1.1 200"), 1);
	peer_close(&p);
	assert_int_equal(s.requests, 4);
	scene_close(&s);
}

static void foreign_protocols_are_told_so(void **state)
{
	static const struct {
		struct span bytes;
		const char *sentence;
	} rows[] = {
		{ BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "not TLS: use http://" },
		{ BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "HTTP/2 is not spoken here" },
		{ BYTES("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "does not begin with a method" },
		{ BYTES("GET / HTTP/1.1\r\n" HOST
			"Connection: Upgrade\r\nUpgrade: websocket\r\n" END),
		  "upgrades are not offered" },
		{ BYTES("GET / HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\n"
			"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"),
		  "upgrades are not offered" },
	};
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(peer_ask(&s, &p, rows[i].bytes), 400);
		if (!peer_has(&p, rows[i].sentence)) {
			fail_msg("not \"%s\" but: %s", rows[i].sentence, buf_text(&p.got));
		}
		peer_close(&p);
	}
	assert_int_equal(s.requests, 0);
	scene_close(&s);
}

/* Host, Origin, path */

static const struct {
	const char *line, *fields;
	int status;
	const char *told; /* what /path says it got */
} claims[] = {
	/* Host */
	{ "GET /path HTTP/1.1", "Host: localhost:8000\r\n", 200, "[/path][]" },
	{ "GET /path HTTP/1.1", "Host: LOCALHOST\r\n", 200, NULL },
	{ "GET /path HTTP/1.1", "Host: [::1]:8000\r\n", 200, NULL },
	{ "GET /path HTTP/1.1", "", 400, NULL },
	{ "GET /path HTTP/1.1", "Host:\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: localhost\r\nHost: localhost\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: localhost, localhost\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: localhost:x\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: localhost:65536\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: localhost/x?\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: me@localhost\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: [::1\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: []\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: [\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: [::1]x\r\n", 400, NULL },
	{ "GET /path HTTP/1.1", "Host: evil.com\r\n", 403, NULL },
	{ "GET /path HTTP/1.1", "Host: 127.0.0.1.evil.com\r\n", 403, NULL },
	{ "GET /path HTTP/1.1", "Host: localhost.\r\n", 403, NULL },
	{ "GET /path HTTP/1.1", "Host: localhos\r\n", 403, NULL },
	{ "GET /path HTTP/1.1", "Host: rebind.127.0.0.1.nip.io:8000\r\n", 403, NULL },
	{ "GET /path HTTP/1.0", "", 403, NULL },
	/* Absolute form */
	{ "GET http://localhost/path?a HTTP/1.1", "Host: localhost\r\n", 200, "[/path][a]" },
	{ "GET http://evil.com/path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET http://localhost:1/path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET http://localhost HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET http:///path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET https://localhost/path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "OPTIONS * HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	/* Origin */
	{ "GET /path HTTP/1.1", "Host: localhost:80\r\nOrigin: http://localhost:80\r\n", 200,
	  NULL },
	{ "GET /path HTTP/1.1", "Host: localhost\r\nOrigin: http://page:5173\r\n", 200, NULL },
	{ "POST /path HTTP/1.1", "Host: localhost\r\nOrigin: http://evil.com\r\n", 403, NULL },
	{ "POST /path HTTP/1.1", "Host: localhost\r\nOrigin: null\r\n", 403, NULL },
	{ "POST /path HTTP/1.1", "Host: localhost\r\nOrigin:\r\n", 403, NULL },
	{ "POST /path HTTP/1.1", "Host: localhost\r\nOrigin: https://localhost\r\n", 403, NULL },
	{ "POST /path HTTP/1.1", "Host: localhost:80\r\nOrigin: http://localhost:81\r\n", 403,
	  NULL },
	{ "POST /path HTTP/1.1", "Host: localhost\r\nOrigin: http://page:51730\r\n", 403, NULL },
	{ "POST /path HTTP/1.1",
	  "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.com\r\n", 403, NULL },
	{ "POST /path HTTP/1.1",
	  "Host: localhost\r\nContent-Type: text/plain\r\nOrigin: http://evil.com\r\n", 403, NULL },
	{ "OPTIONS /path HTTP/1.1",
	  "Host: localhost\r\nOrigin: http://evil.com\r\nAccess-Control-Request-Method: "
	  "POST\r\n",
	  403, NULL },
	/* Path: one decoded value, or none */
	{ "GET /path/a%20b%c3%a9;c HTTP/1.1", "Host: localhost\r\n", 200,
	  "[/path/a b\xc3\xa9;c][]" },
	{ "GET /path/%2561 HTTP/1.1", "Host: localhost\r\n", 200, "[/path/%61][]" },
	{ "GET /path?a/../b%2f HTTP/1.1", "Host: localhost\r\n", 200, "[/path][a/../b%2f]" },
	{ "GET /path/ HTTP/1.1", "Host: localhost\r\n", 200, "[/path/][]" },
	{ "GET //path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path//x HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /v1/../path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path/.. HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /./path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /v1/%2e%2e/path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /v1/.%2E/path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%2fx HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path\\x HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%5cx HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%00 HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%0d%0aX:1 HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%7f HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%c0%ae HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%ff HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%4 HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path%zz HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET /path#x HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	{ "GET path HTTP/1.1", "Host: localhost\r\n", 400, NULL },
	/* Expectations */
	{ "GET /path HTTP/1.1", "Host: localhost\r\nExpect: 200-maybe\r\n", 417, NULL },
	{ "GET /path HTTP/1.1", "Host: localhost\r\nExpect: 100-continue, x\r\n", 417, NULL },
	{ "GET /path HTTP/1.1", "Host: localhost\r\nExpect: 100-continue\r\nExpect: x\r\n", 417,
	  NULL },
};

static void host_origin_and_path_are_checked_before_any_handler(void **state)
{
	static const char *const hosts[] = { "localhost", "127.0.0.1", "[::1]", NULL };
	static const char *const origins[] = { "http://page:5173", NULL };
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, &(struct http_server_options){ .hosts = hosts, .origins = origins });
	for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
		char *text = mem_printf("%s\r\n%s" END, claims[i].line, claims[i].fields);
		int status = peer_ask(&s, &p, span_of(text));

		if (status != claims[i].status || s.requests != (status == 200) ||
		    (claims[i].told != NULL && !peer_has(&p, claims[i].told))) {
			fail_msg("%s %s: %d instead of %d, %zu requests: %s", claims[i].line,
				 claims[i].fields, status, claims[i].status, s.requests,
				 buf_text(&p.got));
		}
		s.requests = 0;
		free(text);
		peer_close(&p);
	}
	scene_close(&s);
}

/* Answers */

static void pipelined_requests_are_answered_in_order(void **state)
{
	static const unsigned sizes[16] = { 0,	   1,	 70000, 5, 65536, 65535,  65537, 300000,
					    12345, 2000, 0,	9, 99999, 131072, 7,	 40000 };
	struct scene s;
	struct peer one, all;
	struct buf wanted, sent;

	(void)state;
	scene_open(&s, NULL);
	buf_init(&wanted, 4 << 20);
	buf_init(&sent, 65536);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		size_t before = sent.len;
		char *answer_end = mem_printf("Content-Length: %u\r\n", sizes[i]);

		buf_printf(&sent, "GET /size?%u HTTP/1.1\r\n" HOST "\r\n", sizes[i]);
		peer_dial(&s, &one);
		peer_send(&s, &one, span_from(buf_span(&sent), before));
		WAIT_FOR(&s, peer_has(&one, "\r\n\r\n") &&
				     one.got.len == span_find(buf_span(&one.got), "\r\n\r\n") + 4 +
							    sizes[i]);
		assert_true(peer_has(&one, answer_end));
		buf_add_text(&wanted, peer_undated(&one));
		free(answer_end);
		peer_close(&one);
	}
	peer_dial(&s, &all);
	peer_send(&s, &all, buf_span(&sent));
	WAIT_FOR(&s, peer_has_bytes(&all, wanted.len + 16 * 37));
	peer_undated(&all);
	assert_int_equal(all.got.len, wanted.len);
	assert_memory_equal(all.got.data, wanted.data, wanted.len);
	peer_close(&all);
	buf_finish(&wanted);
	buf_finish(&sent);
	scene_close(&s);
}

static void answers_to_HEAD_have_the_length_and_no_body(void **state)
{
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	assert_int_equal(peer_ask(&s, &p, SPAN_LIT("HEAD /size?1000 HTTP/1.1\r\n" HOST END)), 200);
	assert_true(peer_has(&p, "Content-Length: 1000\r\n"));
	assert_true(span_has_suffix(buf_span(&p.got), "\r\n\r\n"));
	assert_int_equal(peer_count(&p, "\r\n\r\n"), 1);
	peer_close(&p);
	scene_close(&s);
}

static void a_broken_off_answer_never_looks_complete(void **state)
{
	static const char *const versions[] = { "1.1", "1.0" };
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		char *text = mem_printf("GET /hold HTTP/%s\r\n" HOST "\r\n", versions[i]);

		peer_dial(&s, &p);
		peer_say(&s, &p, text);
		WAIT_FOR(&s, peer_has(&p, "held"));
		exchange_abort(s.held[0]);
		s.held[0] = NULL;
		WAIT_FOR(&s, peer_is_done(&p));
		/* Chunked: no last chunk. Until close: the reset tells. */
		assert_int_equal(peer_count(&p, "0\r\n\r\n"), 0);
		assert_int_equal(p.was_reset, i == 1);
		free(text);
		peer_close(&p);
	}
	scene_close(&s);
}

static void the_handler_hears_at_once_that_the_client_left(void **state)
{
	static const char *const requests[] = {
		"GET /hold HTTP/1.1\r\n" HOST "\r\n",
		"GET /silent HTTP/1.1\r\n" HOST "\r\n",
		"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nhalf",
		"POST /stream-echo HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nhalf",
	};
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < 2 * ARRAY_LEN(requests); i++) {
		size_t closes = s.closes;

		s.requests = 0;
		peer_dial(&s, &p);
		peer_say(&s, &p, requests[i / 2]);
		WAIT_FOR(&s, s.requests == 1);
		uint64_t start_us = loop_now_us();

		if (i % 2 == 0) {
			peer_close(&p);
		} else {
			peer_reset(&p);
		}
		WAIT_FOR(&s, s.closes == closes + 1);
		assert_true(loop_now_us() - start_us < SOON_MS * 1000);
	}
	scene_close(&s);
}

/* Behind so many pipelined requests the connection is not read: a write that fails has to tell. */
static void a_client_that_left_is_noticed_behind_pipelined_requests_too(void **state)
{
	const size_t size = 2 * SERVER_PIPELINE_MAX_BYTES;
	char *request = mem_printf("GET /hold HTTP/1.1\r\n" HOST "\r\n%*c", (int)size, 'x');
	struct scene s;
	struct peer p;

	(void)state;
	scene_open(&s, NULL);
	peer_dial(&s, &p);
	peer_say(&s, &p, request);
	WAIT_FOR(&s, peer_has(&p, "held"));
	peer_reset(&p);
	WAIT_FOR(&s, exchange_send(s.held[0], SPAN_LIT("more")) != 0);
	WAIT_FOR(&s, s.closes == 1);
	free(request);
	scene_close(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refused_head_gets_one_answer_and_the_end),
		cmocka_unit_test(a_badly_framed_body_gets_400_and_the_end),
		cmocka_unit_test(a_request_cut_anywhere_is_the_same_request),
		cmocka_unit_test(a_1_0_request_has_no_body_without_length_and_is_the_last),
		cmocka_unit_test(an_unread_body_is_never_taken_for_a_request),
		cmocka_unit_test(foreign_protocols_are_told_so),
		cmocka_unit_test(host_origin_and_path_are_checked_before_any_handler),
		cmocka_unit_test(pipelined_requests_are_answered_in_order),
		cmocka_unit_test(answers_to_HEAD_have_the_length_and_no_body),
		cmocka_unit_test(a_broken_off_answer_never_looks_complete),
		cmocka_unit_test(the_handler_hears_at_once_that_the_client_left),
		cmocka_unit_test(a_client_that_left_is_noticed_behind_pipelined_requests_too),
	};

	return cmocka_run_group_tests_name("http_server", tests, NULL, NULL);
}
