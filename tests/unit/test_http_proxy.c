/* SPDX-License-Identifier: MIT */
/* The proxy and the pooling client between raw sockets: a scripted upstream and a client. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_scene.h"

#include "base/mem.h"

#define GET_PROXY "GET /proxy/x HTTP/1.1\r\n" HOST "\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define OK_2 OK "Content-Length: 2\r\n\r\nok"
#define OK_CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define FLOOD_MAX_BYTES (64u << 20)

/* The chunked body of the one answer in what came, unframed. False: it is not complete. */
static bool unframe(struct peer *p, struct buf *out)
{
	struct span got = buf_span(&p->got);
	struct span input = span_from(got, span_find(got, "\r\n\r\n") + 4);
	struct h1_body body;
	struct span piece;

	h1_body_init(&body, H1_CHUNKED, 0);
	while (input.len > 0 && !h1_body_is_done(&body)) {
		assert_int_equal(h1_body_next(&body, &input, &piece, NULL), 0);
		assert_int_equal(buf_add_span(out, piece), 0);
	}
	return h1_body_is_done(&body);
}

static bool nobody_dialled(struct scene *s)
{
	int fd = accept(s->listener, NULL, NULL);

	if (fd >= 0) {
		close(fd);
	}
	return fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* A client that has asked, and the upstream's end that has heard it in full. */
static void begin(struct scene *s, struct peer *client, struct peer *up, const char *request)
{
	peer_dial(s, client);
	peer_say(s, client, request);
	peer_accept(s, up);
	WAIT_FOR(s, peer_has(up, "\r\n\r\n"));
}

static void end(struct peer *client, struct peer *up)
{
	peer_close(client);
	peer_close(up);
}

/* What is sent */

static void the_upstream_gets_a_rebuilt_request_byte_for_byte(void **state)
{
	static const struct {
		const char *request;
		const char *first, *rest; /* around "Host: 127.0.0.1:PORT\r\n" */
	} rows[] = {
		{ "GET /proxy/v1/models?x=%41 HTTP/1.1\r\n" HOST
		  "accept: text/plain\r\nCookie: c\r\n"
		  "Connection: X-Mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
		  "Proxy-Authorization: p\r\nAuthorization: Bearer k\r\n\r\n",
		  "GET /v1/models?x=%41 HTTP/1.1\r\n", "Accept: text/plain\r\n\r\n" },
		{ "GET http://a/proxy/x HTTP/1.1\r\n" HOST "\r\n", "GET /x HTTP/1.1\r\n", "\r\n" },
		{ "POST /proxy/x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n"
		  "Content-Type: application/json\r\nContent-Type: text/html\r\n\r\nhello",
		  "POST /x HTTP/1.1\r\n",
		  "Content-Type: application/json\r\nContent-Length: 5\r\n\r\nhello" },
		{ "POST /proxy/x HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
		  "POST /x HTTP/1.1\r\n", "Content-Length: 0\r\n\r\n" },
		{ "POST /proxy/x HTTP/1.0\r\nContent-Length: 2\r\n\r\nhiGET /proxy/y "
		  "HTTP/1.1\r\n\r\n",
		  "POST /x HTTP/1.1\r\n", "Content-Length: 2\r\n\r\nhi" },
		{ "POST /proxy/x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		  "5;ext=\"x\"\r\nhello\r\n0\r\nContent-Length: 9\r\nAuthorization: x\r\n\r\n",
		  "POST /x HTTP/1.1\r\n",
		  "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" },
		{ "POST /proxy/x HTTP/1.1\r\n" HOST
		  "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
		  "POST /x HTTP/1.1\r\n", "Content-Length: 2\r\n\r\nhi" },
		{ "HEAD /proxy/x HTTP/1.1\r\n" HOST "\r\n", "HEAD /x HTTP/1.1\r\n", "\r\n" },
	};
	struct scene s;
	struct peer client, up;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *wanted = mem_printf("%sHost: 127.0.0.1:%u\r\n%s", rows[i].first,
					  s.upstream_port, rows[i].rest);

		begin(&s, &client, &up, rows[i].request);
		WAIT_FOR(&s, peer_has_bytes(&up, strlen(wanted)));
		assert_string_equal(buf_text(&up.got), wanted);
		peer_say(&s, &up, OK "Content-Length: 0\r\nConnection: close\r\n\r\n");
		WAIT_FOR(&s, peer_status(&client) != 0 && peer_is_done(&up));
		assert_string_equal(buf_text(&up.got), wanted);
		assert_true(nobody_dialled(&s));
		free(wanted);
		end(&client, &up);
	}
	scene_close(&s);
}

static void an_answer_loses_what_is_not_the_client_s(void **state)
{
	static const struct {
		const char *answer, *relayed;
	} rows[] = {
		{ OK
		  "Server: llama.cpp\r\nAccess-Control-Allow-Origin: *\r\n"
		  "access-control-allow-headers: *\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\n"
		  "Keep-Alive: timeout=5\r\nDate: Mon, 23 Nov 2026 20:04:44 GMT\r\n"
		  "Content-Type: text/plain\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok",
		  OK "Content-Type: text/plain\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok" },
		{ OK_CHUNKED "2;x\r\nok\r\n0\r\nX-Trailer: Set-Cookie\r\n\r\n",
		  OK "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK_2,
		  OK_2 },
		{ "HTTP/1.1 404 Whatever It Says\r\nContent-Length: 0\r\n\r\n",
		  "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" },
		{ "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n" },
	};
	struct scene s;
	struct peer client, up;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span answer = span_of(rows[i].answer);

		/* In one write, and cut at every byte: the same answer. */
		for (size_t at = 0; at < answer.len; at++) {
			if (at == 0) {
				begin(&s, &client, &up, GET_PROXY);
			} else {
				peer_say(&s, &client, GET_PROXY);
				WAIT_FOR(&s, peer_has(&up, "\r\n\r\n"));
			}
			buf_clear(&up.got);
			buf_clear(&client.got);
			peer_send(&s, &up, (struct span){ answer.ptr, at });
			scene_turn(&s);
			scene_turn(&s);
			peer_send(&s, &up, span_from(answer, at));
			size_t results = s.results;

			WAIT_FOR(&s, s.results > results || !s.held[0]);
			peer_is_done(&client);
			struct buf body;

			buf_init(&body, 100);
			if (span_has_prefix(answer, OK_CHUNKED)) {
				WAIT_FOR(&s,
					 peer_has(&client, "\r\n\r\n") && unframe(&client, &body));
				assert_string_equal(buf_text(&body), "ok");
			} else {
				WAIT_FOR(&s, peer_has_bytes(&client, strlen(rows[i].relayed)));
				assert_string_equal(peer_undated(&client), rows[i].relayed);
			}
			buf_finish(&body);
		}
		end(&client, &up);
	}
	scene_close(&s);
}

/* Answers that are not what they must be */

enum fate {
	WHOLE,	/* relayed, the client sees a complete answer */
	BAD,	/* 502 */
	BROKEN, /* 200 and no proper end */
};

static void a_wrong_answer_is_never_passed_off_as_whole_nor_its_connection_used_again(void **state)
{
	static const struct {
		const char *name, *request, *answer;
		enum fate fate;
		bool closes; /* the upstream, behind it */
	} rows[] = {
		{ "two lengths", GET_PROXY, OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		  BAD, 0 },
		{ "twice a length", GET_PROXY,
		  OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", BAD, 0 },
		{ "no number", GET_PROXY, OK "Content-Length: two\r\n\r\nok", BAD, 0 },
		{ "both", GET_PROXY, OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
		  BAD, 0 },
		{ "unknown encoding", GET_PROXY, OK "Transfer-Encoding: gzip\r\n\r\n", BAD, 0 },
		{ "chunked in 1.0", GET_PROXY,
		  "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BAD, 0 },
		{ "garbage", GET_PROXY, "I am a teapot\r\n\r\n", BAD, 0 },
		{ "status 99", GET_PROXY, "HTTP/1.1 099 X\r\n\r\n", BAD, 0 },
		{ "bare LF", GET_PROXY, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", BAD, 0 },
		{ "HTTP/2", GET_PROXY, "HTTP/2 200\r\n\r\n", BAD, 0 },
		{ "101", GET_PROXY, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", BAD,
		  0 },
		{ "nothing", GET_PROXY, "", BAD, 1 },
		{ "half a head", GET_PROXY, "HTTP/1.1 200 OK\r\nContent-Le", BAD, 1 },
		{ "only an interim one", GET_PROXY, "HTTP/1.1 100 Continue\r\n\r\n", BAD, 1 },
		{ "a flood of interim ones", GET_PROXY,
		  "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 102 P\r\n\r\n"
		  "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 102 P\r\n\r\n"
		  "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 102 P\r\n\r\n",
		  BAD, 0 },
		{ "length cut short", GET_PROXY, OK "Content-Length: 4\r\n\r\nok", BROKEN, 1 },
		{ "chunk cut short", GET_PROXY, OK_CHUNKED "4\r\nok", BROKEN, 1 },
		{ "no last chunk", GET_PROXY, OK_CHUNKED "2\r\nok\r\n", BROKEN, 1 },
		{ "cut in the last chunk", GET_PROXY, OK_CHUNKED "2\r\nok\r\n0\r\n", BROKEN, 1 },
		{ "bad chunk behind a good one", GET_PROXY, OK_CHUNKED "2\r\nok\r\n+2\r\nok\r\n",
		  BAD, 0 },
		{ "bytes behind a length", GET_PROXY, OK_2 "more", WHOLE, 0 },
		{ "an answer too many", GET_PROXY, OK_2 OK_2, WHOLE, 0 },
		{ "bytes behind the last chunk", GET_PROXY, OK_CHUNKED "2\r\nok\r\n0\r\n\r\nmore",
		  WHOLE, 0 },
		{ "body of a 204", GET_PROXY,
		  "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody", WHOLE, 0 },
		{ "length of a 204", GET_PROXY,
		  "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", WHOLE, 0 },
		{ "encoding of a 204", GET_PROXY,
		  "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", WHOLE, 0 },
		{ "body of a 304", GET_PROXY,
		  "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody", WHOLE, 0 },
		{ "body to HEAD", "HEAD /proxy/x HTTP/1.1\r\n" HOST "\r\n", OK_2, WHOLE, 0 },
		{ "until close", GET_PROXY, OK "\r\nok", WHOLE, 1 },
		{ "close", GET_PROXY, OK "Connection: close\r\nContent-Length: 2\r\n\r\nok", WHOLE,
		  0 },
		{ "1.0", GET_PROXY, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", WHOLE, 0 },
	};
	struct scene s;
	struct peer client, up;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		s.results = 0;
		begin(&s, &client, &up, rows[i].request);
		peer_say(&s, &up, rows[i].answer);
		if (rows[i].closes) {
			shutdown(up.fd, SHUT_WR);
		}
		WAIT_FOR(&s, s.results == 1);
		uint64_t start_us = loop_now_us();

		WAIT_FOR(&s, peer_is_done(&up));
		uint64_t closed_us = loop_now_us() - start_us;

		WAIT_FOR(&s, peer_status(&client) != 0);
		if (rows[i].fate == BROKEN) {
			WAIT_FOR(&s, peer_is_done(&client));
		}
		bool is_whole = s.why.code == 0;

		if (is_whole != (rows[i].fate == WHOLE) ||
		    (peer_status(&client) == 502) != (rows[i].fate == BAD) ||
		    (rows[i].fate == BROKEN &&
		     (peer_count(&client, "0\r\n\r\n") > 0 || !peer_has(&client, "ok")))) {
			fail_msg("%s: %s: %s", rows[i].name, s.why.text, buf_text(&client.got));
		}
		if (closed_us > SOON_MS * 1000) {
			fail_msg("%s: the connection was kept", rows[i].name);
		}
		assert_true(nobody_dialled(&s));
		end(&client, &up);
	}
	scene_close(&s);
}

/* The pool */

static void an_exact_answer_leaves_its_connection_for_the_next_request(void **state)
{
	struct scene s;
	struct peer client, up;

	(void)state;
	scene_open(&s, NULL);
	begin(&s, &client, &up, GET_PROXY);
	for (size_t i = 1; i <= 20; i++) {
		peer_say(&s, &up, i % 2 == 0 ? OK_2 : OK_CHUNKED "2\r\nok\r\n0\r\n\r\n");
		WAIT_FOR(&s, s.results == i);
		peer_say(&s, &client, GET_PROXY);
		WAIT_FOR(&s, peer_count(&up, "GET /x") == i + 1);
	}
	assert_true(nobody_dialled(&s));
	end(&client, &up);
	scene_close(&s);
}

static void an_upstream_that_is_not_there_is_said_to_be(void **state)
{
	struct scene s;
	struct peer client;

	(void)state;
	scene_open(&s, NULL);
	close(s.listener);
	peer_dial(&s, &client);
	peer_say(&s, &client, GET_PROXY);
	WAIT_FOR(&s, peer_status(&client) == 503);
	assert_true(peer_has(&client, "no connection: "));
	peer_close(&client);
	s.listener = dup(0);
	scene_close(&s);
}

static void a_silent_upstream_has_until_its_deadline(void **state)
{
	struct scene s;
	struct peer client, up;

	(void)state;
	scene_open(&s, NULL);
	s.first_byte_ms = SHORT_MS;
	s.idle_ms = 10 * SHORT_MS;
	uint64_t start_us = loop_now_us();

	begin(&s, &client, &up, GET_PROXY);
	WAIT_FOR(&s, peer_status(&client) == 504 && peer_is_done(&up));
	assert_true(loop_now_us() - start_us >= (SHORT_MS - CLOCK_MS) * 1000);
	end(&client, &up);
	/* Each byte gives an answer time anew, until it stops; five gaps are longer than that. */
	begin(&s, &client, &up, GET_PROXY);
	peer_say(&s, &up, OK_CHUNKED);
	start_us = loop_now_us();
	for (uint64_t i = 1; i <= 5; i++) {
		WAIT_FOR(&s, loop_now_us() - start_us > i * 5 * SHORT_MS * 1000 / 2);
		peer_say(&s, &up, "1\r\nx\r\n");
	}
	WAIT_FOR(&s, peer_is_done(&client) && peer_is_done(&up));
	assert_int_equal(peer_count(&client, "1\r\nx\r\n"), 5);
	assert_int_equal(peer_count(&client, "0\r\n\r\n"), 0);
	end(&client, &up);
	scene_close(&s);
}

/* Streams */

static void on_broken(void *user, const struct err *why, struct buf *last)
{
	(void)user;
	assert_true(why->text[0] != '\0');
	buf_add_text(last, "data: {\"error\":1}\n\n");
}

static void an_upstream_killed_in_mid_stream_ends_in_an_error_event(void **state)
{
	static const char *const versions[] = { "1.1", "1.0" };
	struct scene s;
	struct peer client, up;
	struct buf body;

	(void)state;
	scene_open(&s, NULL);
	s.hooks.on_broken = on_broken;
	for (size_t i = 0; i < 2 * ARRAY_LEN(versions); i++) {
		char *request = mem_printf("GET /proxy/x HTTP/%s\r\n" HOST "\r\n", versions[i / 2]);

		begin(&s, &client, &up, request);
		peer_say(&s, &up, OK_CHUNKED);
		for (int k = 0; k < 5; k++) {
			peer_say(&s, &up, "9\r\ndata: 1\n\n\r\n");
		}
		WAIT_FOR(&s, peer_count(&client, "data: 1\n\n") == 5);
		if (i % 2 == 0) {
			peer_close(&up);
		} else {
			peer_reset(&up);
		}
		WAIT_FOR(&s, peer_is_done(&client));
		buf_init(&body, 1000);
		if (i < 2) {
			assert_false(unframe(&client, &body));
			assert_true(span_has_suffix(buf_span(&body),
						    "data: 1\n\ndata: {\"error\":1}\n\n"));
		} else {
			assert_true(client.was_reset);
		}
		assert_int_equal(peer_count(&client, "0\r\n\r\n"), 0);
		buf_finish(&body);
		peer_close(&client);
		free(request);
	}
	scene_close(&s);
}

static void a_client_that_leaves_closes_the_upstream_at_once(void **state)
{
	struct scene s;
	struct peer client, up;

	(void)state;
	scene_open(&s, NULL);
	for (int i = 0; i < 4; i++) {
		begin(&s, &client, &up, GET_PROXY);
		if (i < 2) {
			peer_say(&s, &up, OK_CHUNKED "2\r\nok\r\n");
			WAIT_FOR(&s, peer_has(&client, "ok"));
		}
		uint64_t start_us = loop_now_us();

		if (i % 2 == 0) {
			peer_close(&client);
		} else {
			peer_reset(&client);
		}
		WAIT_FOR(&s, peer_is_done(&up));
		assert_true(loop_now_us() - start_us < SOON_MS * 1000);
		assert_int_equal(s.why.code, ERR_CANCELED);
		peer_close(&up);
	}
	scene_close(&s);
}

/* Fills with what is not all the same, ends of lines and of UTF-8 included. */
static char *noise(size_t len)
{
	static const char text[] = "data: \xf0\x9f\xa6\x99 \xc3\xa9 0\r\n\r\n\n";
	char *bytes = mem_alloc(len);

	for (size_t i = 0; i < len; i++) {
		bytes[i] = text[(i + i / 1000) % (sizeof(text) - 1)];
	}
	return bytes;
}

static void a_stream_arrives_byte_for_byte_however_it_is_cut(void **state)
{
	static const size_t chunk_bytes[] = { 1, 7, 1000, 4096, 65536, 300000 };
	size_t len = 1 << 20;
	struct scene s;
	struct peer client, up;
	struct buf body;
	char *bytes = noise(len);

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_LEN(chunk_bytes); i++) {
		size_t total = chunk_bytes[i] < 1000 ? 20000 * chunk_bytes[i] : len;

		begin(&s, &client, &up, GET_PROXY);
		peer_say(&s, &up, OK_CHUNKED);
		for (size_t at = 0; at < total; at += chunk_bytes[i]) {
			size_t piece = total - at < chunk_bytes[i] ? total - at : chunk_bytes[i];
			char *size_line = mem_printf("%zx\r\n", piece);

			peer_say(&s, &up, size_line);
			peer_send(&s, &up, (struct span){ bytes + at, piece });
			peer_say(&s, &up, "\r\n");
			free(size_line);
			if (at % 5 == 0) {
				scene_turn(&s);
			}
			peer_is_done(&client);
		}
		peer_say(&s, &up, "0\r\n\r\n");
		WAIT_FOR(&s, s.results == i + 1);
		peer_is_done(&client);
		WAIT_FOR(&s, peer_has(&client, "0\r\n\r\n"));
		buf_init(&body, len);
		WAIT_FOR(&s, (buf_clear(&body), peer_is_done(&client), unframe(&client, &body)));
		assert_int_equal(body.len, total);
		assert_memory_equal(body.data, bytes, total);
		buf_finish(&body);
		end(&client, &up);
	}
	free(bytes);
	scene_close(&s);
}

/* A head of several KiB whose last bytes come together with a full read of body. */
static void a_long_head_and_a_full_read_behind_it_lose_nothing(void **state)
{
	size_t len = 65536;
	struct scene s;
	struct peer client, up;
	struct buf head;
	char *bytes = noise(len);

	(void)state;
	scene_open(&s, NULL);
	for (int is_chunked = 0; is_chunked <= 1; is_chunked++) {
		buf_init(&head, 65536);
		buf_add_text(&head, OK);
		for (int i = 0; i < 80; i++) {
			buf_printf(&head, "X-%d: %0300d\r\n", i, i);
		}
		buf_add_text(&head, is_chunked ? "Transfer-Encoding: chunked\r\n\r"
					       : "Content-Length: 65536\r\n\r");
		begin(&s, &client, &up, GET_PROXY);
		peer_send(&s, &up, buf_span(&head));
		scene_turn(&s);
		scene_turn(&s);
		buf_clear(&head);
		buf_add_text(&head, is_chunked ? "\n10000\r\n" : "\n");
		buf_add(&head, bytes, is_chunked ? len - 64 : len - 1);
		peer_send(&s, &up, buf_span(&head));
		scene_turn(&s);
		buf_clear(&head);
		buf_add(&head, bytes + (is_chunked ? len - 64 : len - 1), is_chunked ? 64 : 1);
		buf_add_text(&head, is_chunked ? "\r\n0\r\n\r\n" : "");
		peer_send(&s, &up, buf_span(&head));
		WAIT_FOR(&s, s.results == (size_t)is_chunked + 1);
		WAIT_FOR(&s, peer_has_bytes(&client, 80 * 300 + len));
		assert_int_equal(s.why.code, 0);
		buf_finish(&head);
		end(&client, &up);
	}
	free(bytes);
	scene_close(&s);
}

static void pipelined_requests_are_relayed_in_order(void **state)
{
	static const size_t sizes[16] = { 0,	 1,    70000, 5, 65536, 65535,	65537, 200000,
					  12345, 2000, 0,     9, 99999, 131072, 7,     40000 };
	struct scene s;
	struct peer client, up;
	struct buf wanted;
	char *bytes = noise(200000);

	(void)state;
	scene_open(&s, NULL);
	buf_init(&wanted, 2 << 20);
	peer_dial(&s, &client);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		peer_say(&s, &client, GET_PROXY);
	}
	peer_accept(&s, &up);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct buf answer;

		WAIT_FOR(&s, peer_count(&up, "GET /x") == i + 1);
		buf_init(&answer, 300000);
		buf_printf(&answer, OK "Content-Length: %zu\r\n\r\n", sizes[i]);
		buf_add(&answer, bytes, sizes[i]);
		buf_add_span(&wanted, buf_span(&answer));
		peer_send(&s, &up, buf_span(&answer));
		buf_finish(&answer);
	}
	WAIT_FOR(&s, peer_has_bytes(&client, wanted.len + ARRAY_LEN(sizes) * 37));
	peer_undated(&client);
	assert_int_equal(client.got.len, wanted.len);
	assert_memory_equal(client.got.data, wanted.data, wanted.len);
	assert_int_equal(peer_count(&up, "GET /x"), ARRAY_LEN(sizes));
	buf_finish(&wanted);
	free(bytes);
	end(&client, &up);
	scene_close(&s);
}

/* As much as the system takes, for a while, up to FLOOD_MAX_BYTES. */
static size_t flood(struct scene *s, struct peer *p, const char *bytes, size_t len)
{
	size_t total = 0;

	for (int misses = 0; misses < 10 && total < FLOOD_MAX_BYTES;) {
		ssize_t sent = send(p->fd, bytes, len, MSG_NOSIGNAL);

		misses = sent > 0 ? 0 : misses + 1;
		total += sent > 0 ? (size_t)sent : 0;
		scene_turn(s);
	}
	return total;
}

static void clients_that_never_read_hold_one_buffer_each_and_nobody_up(void **state)
{
	enum { CLIENTS = 100 };
	struct scene s;
	struct peer *clients = mem_alloc(2 * CLIENTS * sizeof(*clients)), *ups = clients + CLIENTS;
	struct peer client, up;
	char *bytes = noise(1 << 20);
	int room = 4096;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < CLIENTS; i++) {
		begin(&s, &clients[i], &ups[i], GET_PROXY);
		setsockopt(clients[i].fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
		peer_say(&s, &ups[i], OK "\r\n");
		flood(&s, &ups[i], bytes, 1 << 20);
	}
	for (size_t i = 0; i < CLIENTS; i++) {
		assert_non_null(s.held[i]);
		/* In the end nothing more is taken from the upstream. */
		WAIT_FOR(&s, flood(&s, &ups[i], bytes, 1 << 20) == 0);
		assert_true(exchange_kept(s.held[i]) > 0);
		assert_true(exchange_kept(s.held[i]) <= 65536 + 1024);
	}
	uint64_t start_us = loop_now_us();

	begin(&s, &client, &up, GET_PROXY);
	peer_say(&s, &up, OK_2);
	WAIT_FOR(&s, peer_has(&client, "ok"));
	assert_true(loop_now_us() - start_us < SOON_MS * 1000);
	end(&client, &up);
	for (size_t i = 0; i < CLIENTS; i++) {
		end(&clients[i], &ups[i]);
	}
	WAIT_FOR(&s, s.results == CLIENTS + 1);
	free(clients);
	free(bytes);
	scene_close(&s);
}

/* Uploads */

static void an_upload_over_the_limit_or_badly_framed_never_completes(void **state)
{
	static const struct {
		const char *chunk;
		size_t count;
		int status;
	} rows[] = { { "400\r\n%01024d\r\n", 98, 413 }, { "400\r\n%01024d\n", 1, 400 } };
	struct scene s;
	struct peer client, up;

	(void)state;
	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin(&s, &client, &up,
		      "POST /proxy/x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		      "1\r\nx\r\n");
		char *chunk = mem_printf(i == 0 ? "400\r\n%01024d\r\n" : "400\r\n%01024d\n\n", 0);

		for (size_t k = 0; k < rows[i].count; k++) {
			peer_say(&s, &client, chunk);
		}
		WAIT_FOR(&s, peer_is_done(&client) && peer_is_done(&up));
		assert_int_equal(peer_status(&client), rows[i].status);
		assert_int_equal(peer_count(&up, "0\r\n\r\n"), 0);
		free(chunk);
		end(&client, &up);
	}
	scene_close(&s);
}

static void an_upstream_may_answer_before_the_body_is_there(void **state)
{
	struct scene s;
	struct peer client, up;

	(void)state;
	scene_open(&s, NULL);
	begin(&s, &client, &up,
	      "POST /proxy/x HTTP/1.1\r\n" HOST "Content-Length: 90000\r\n\r\nhalf");
	WAIT_FOR(&s, peer_has(&up, "half"));
	peer_say(&s, &up, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\nno");
	WAIT_FOR(&s, peer_has(&client, "no") && peer_is_done(&client) && peer_is_done(&up));
	assert_int_equal(peer_status(&client), 429);
	assert_false(client.was_reset);
	end(&client, &up);
	scene_close(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_upstream_gets_a_rebuilt_request_byte_for_byte),
		cmocka_unit_test(an_answer_loses_what_is_not_the_client_s),
		cmocka_unit_test(
			a_wrong_answer_is_never_passed_off_as_whole_nor_its_connection_used_again),
		cmocka_unit_test(an_exact_answer_leaves_its_connection_for_the_next_request),
		cmocka_unit_test(an_upstream_that_is_not_there_is_said_to_be),
		cmocka_unit_test(a_silent_upstream_has_until_its_deadline),
		cmocka_unit_test(an_upstream_killed_in_mid_stream_ends_in_an_error_event),
		cmocka_unit_test(a_client_that_leaves_closes_the_upstream_at_once),
		cmocka_unit_test(a_stream_arrives_byte_for_byte_however_it_is_cut),
		cmocka_unit_test(a_long_head_and_a_full_read_behind_it_lose_nothing),
		cmocka_unit_test(pipelined_requests_are_relayed_in_order),
		cmocka_unit_test(clients_that_never_read_hold_one_buffer_each_and_nobody_up),
		cmocka_unit_test(an_upload_over_the_limit_or_badly_framed_never_completes),
		cmocka_unit_test(an_upstream_may_answer_before_the_body_is_there),
	};

	return cmocka_run_group_tests_name("http_proxy", tests, NULL, NULL);
}
