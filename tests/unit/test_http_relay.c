/* SPDX-License-Identifier: MIT */
/* What the relay's hooks and back-pressure do; test_http_proxy.c has the rest of it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http_rig.h"
#include "unit.h"

#define LAST "Connection: close\r\n\r\n"
#define GET_LAST "GET /x HTTP/1.1\r\nHost: a\r\n" LAST

/* The proxy under test; its hooks count. */
struct relay {
	struct rig rig; /* first: on_request gets it */
	struct client *client;
	struct upstream_rig up;
	struct proxy_options options;
	struct proxy *proxy;
	int heads, dones, fails;
	uint64_t seen_bytes;
	int status;
	struct err why;
	bool takes_back;
};

static void on_head(void *user, const struct h1_head *head)
{
	struct relay *r = user;

	r->heads++;
	assert_int_equal(head->status, 200);
}

static void on_body(void *user, struct span piece)
{
	struct relay *r = user;

	r->seen_bytes += piece.len;
}

static bool on_fail(void *user, struct exchange *x, const struct err *why, bool sent)
{
	struct relay *r = user;

	(void)why;
	(void)sent;
	r->fails++;
	if (r->takes_back) {
		exchange_reply(x, &(struct reply){ .status = 200 }, SPAN_LIT("taken back"));
	}
	return r->takes_back;
}

static void on_done(void *user, const struct err *why, int status)
{
	struct relay *r = user;

	r->dones++;
	r->status = status;
	r->why = why != NULL ? *why : (struct err){ .code = 0 };
}

static void relay_request(struct rig *rig, struct exchange *x)
{
	struct relay *r = CONTAINER_OF(rig, struct relay, rig);

	r->options.request.target = exchange_request(x)->target;
	r->proxy = proxy_start(x, &r->options);
}

static void relay_start(struct relay *r, const char *answer)
{
	static const struct span pass[] = { SPAN_INIT("Accept") };
	static const struct h1_field added[] = { { SPAN_INIT("X-Key"), SPAN_INIT("secret") } };
	static const struct h1_field marks[] = { { SPAN_INIT("X-Mark"), SPAN_INIT("us") } };
	static const struct proxy_hooks hooks = {
		.on_head = on_head, .on_body = on_body, .on_fail = on_fail, .on_done = on_done
	};

	*r = (struct relay){ .rig.on_request = relay_request };
	rig_start(&r->rig, &(struct http_server_options){ .send_ms = 2000 });
	r->client = client_create(r->rig.loop);
	upstream_start(&r->up, &r->rig, span_of(answer));
	r->options = (struct proxy_options){
		.client = r->client,
		.request = { .to = { .host = "127.0.0.1", .port = r->up.port },
			     .fields = added,
			     .field_count = 1,
			     .first_byte_ms = 1000 },
		.pass = pass,
		.pass_count = ARRAY_LEN(pass),
		.reply_fields = marks,
		.reply_field_count = 1,
		.stream_body = true,
		.body_max_bytes = 1u << 20,
		.hooks = &hooks,
		.user = r,
	};
}

static void relay_finish(struct relay *r)
{
	upstream_finish(&r->up);
	http_server_close(r->rig.server);
	r->rig.server = NULL;
	client_close(r->client);
	rig_finish(&r->rig);
}

static void the_request_is_rebuilt_and_the_answer_stripped(void **state)
{
	struct relay r;

	(void)state;
	relay_start(&r, "HTTP/1.1 200 Fine\r\nServer: cpp\r\nAccess-Control-Allow-Origin: *\r\n"
			"Keep-Alive: timeout=5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
			"X-Real: yes\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello");
	char *got = rig_talk(&r.rig,
			     SPAN_LIT("POST /x?q=1 HTTP/1.1\r\nHost: a\r\nAccept: b/c\r\n"
				      "Authorization: Bearer user\r\nX-Forwarded-For: y\r\n"
				      "Transfer-Encoding: chunked\r\n" LAST
				      "3;ext\r\nabc\r\n0\r\nX-Key: evil\r\n\r\n"),
			     1000);

	assert_string_equal(got,
			    "HTTP/1.1 200 OK\r\nX-Real: yes\r\nContent-Type: a/b\r\nX-Mark: us\r\n"
			    "Content-Length: 5\r\nConnection: close\r\n\r\nhello");
	free(got);
	char expected[256];

	snprintf(expected, sizeof(expected),
		 "POST /x?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAccept: b/c\r\nX-Key: secret\r\n"
		 "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		 r.up.port);
	assert_string_equal(buf_text(&r.up.got), expected);
	assert_int_equal(r.heads, 1);
	assert_int_equal(r.dones, 1);
	assert_int_equal(r.why.code, 0);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.seen_bytes, 5);
	relay_finish(&r);
}

static void a_length_cut_short_shows(void **state)
{
	struct relay r;

	(void)state;
	relay_start(&r, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
	r.up.closes = true;
	char *got = rig_talk(&r.rig, SPAN_LIT(GET_LAST), 1000);

	assert_non_null(strstr(got, "Content-Length: 10\r\n"));
	assert_true(span_has_suffix(span_of(got), "\r\n\r\nhello"));
	assert_int_equal(r.why.code, ERR_CLOSED);
	free(got);
	relay_finish(&r);
}

static void a_failed_exchange_can_be_taken_back(void **state)
{
	struct relay r;

	(void)state;
	relay_start(&r, "");
	r.takes_back = true;
	r.options.request.to.port = 1; /* nobody is there */
	char *got = rig_talk(&r.rig, SPAN_LIT(GET_LAST), 1000);

	assert_true(span_has_suffix(span_of(got), "taken back"));
	assert_int_equal(r.fails, 1);
	assert_int_equal(r.dones, 0);
	free(got);
	relay_finish(&r);
}

static void a_slow_reader_slows_the_upstream_and_gets_every_byte(void **state)
{
	size_t size = 8u << 20;
	struct relay r;
	struct raw raw;
	struct buf answer;

	(void)state;
	buf_init(&answer, size + 1000);
	buf_printf(&answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
	while (answer.len < size + 46) {
		buf_add_text(&answer, "0123456789abcde\n");
	}
	size_t head = span_find(buf_span(&answer), "\r\n\r\n") + 4;

	buf_truncate(&answer, size + head);
	relay_start(&r, "");
	r.up.answer = buf_span(&answer);
	raw_start(&raw, &r.rig, SPAN_LIT(GET_LAST), 1000);
	raw_wait(&raw, "\r\n\r\n");
	conn_pause(raw.conn);
	rig_run(&r.rig, 100);
	uint64_t stopped_at = r.seen_bytes;

	rig_run(&r.rig, 50);
	assert_int_equal(r.seen_bytes, stopped_at);
	assert_true(stopped_at < size);
	conn_resume(raw.conn);
	raw_wait(&raw, NULL);
	struct span got = buf_span(&raw.got);
	struct span body = span_from(got, span_find(got, "\r\n\r\n") + 4);

	assert_int_equal(body.len, size);
	assert_memory_equal(body.ptr, answer.data + head, size);
	raw_finish(&raw);
	buf_finish(&answer);
	relay_finish(&r);
}

static void a_large_upload_is_streamed(void **state)
{
	size_t size = 1000000;
	struct relay r;
	struct buf request;

	(void)state;
	relay_start(&r, ""); /* an early answer would end the upload */
	buf_init(&request, 2 * size);
	buf_printf(&request, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", size);
	size_t head = request.len;

	while (request.len < size + head) {
		buf_add_char(&request, (char)('a' + request.len % 26));
	}
	struct raw raw;

	raw_start(&raw, &r.rig, buf_span(&request), request.len);
	for (int i = 0; i < 200 && r.up.got.len <= size; i++) {
		rig_run(&r.rig, 10);
	}
	rig_run(&r.rig, 50);
	struct span got = buf_span(&r.up.got);
	struct span body = span_from(got, span_find(got, "\r\n\r\n") + 4);

	assert_non_null(strstr(buf_text(&r.up.got), "Content-Length: 1000000\r\n"));
	assert_int_equal(body.len, size);
	assert_memory_equal(body.ptr, request.data + head, size);
	raw_finish(&raw);
	rig_run(&r.rig, 5);
	buf_finish(&request);
	relay_finish(&r);
}

static struct exchange *kept;

static void keep_request(struct rig *rig, struct exchange *x)
{
	(void)rig;
	kept = x;
}

/* What a client sends while the upstream's name is looked up is more than one read. */
static void an_upload_that_was_read_ahead_is_streamed_too(void **state)
{
	const size_t first = 16000, size = 80000;
	struct relay r;
	struct raw raw;
	char *request = mem_printf("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%*c",
				   size, (int)size, 'x');
	size_t head = strlen(request) - size;

	(void)state;
	relay_start(&r, "");
	r.rig.on_request = keep_request;
	raw_start(&raw, &r.rig, (struct span){ request, head + first }, head + first);
	for (int i = 0; i < RIG_WAIT_MS && r.rig.requests == 0; i++) {
		rig_run(&r.rig, 1);
	}
	conn_write(raw.conn, (struct span){ request + head + first, size - first });
	rig_run(&r.rig, 20);
	relay_request(&r.rig, kept);
	for (int i = 0; i < RIG_WAIT_MS && r.up.got.len < size; i++) {
		rig_run(&r.rig, 1);
	}
	assert_non_null(strstr(buf_text(&r.up.got), request + head));
	raw_finish(&raw);
	rig_run(&r.rig, 5);
	free(request);
	relay_finish(&r);
}

static void stopping_ends_a_stream_with_its_last_words(void **state)
{
	static const struct err why = { .code = ERR_UNAVAILABLE, .text = "stopping" };
	struct relay r;
	struct raw raw;

	(void)state;
	relay_start(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nevent1\r\n");
	raw_start(&raw, &r.rig, SPAN_LIT("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"), 1000);
	raw_wait(&raw, "event1");
	proxy_stop(r.proxy, &why, SPAN_LIT("last words"));
	assert_int_equal(r.dones, 1);
	raw_wait(&raw, NULL);
	assert_true(span_has_suffix(buf_span(&raw.got), "a\r\nlast words\r\n"));
	raw_finish(&raw);
	relay_finish(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_request_is_rebuilt_and_the_answer_stripped),
		cmocka_unit_test(a_length_cut_short_shows),
		cmocka_unit_test(a_failed_exchange_can_be_taken_back),
		cmocka_unit_test(a_slow_reader_slows_the_upstream_and_gets_every_byte),
		cmocka_unit_test(a_large_upload_is_streamed),
		cmocka_unit_test(an_upload_that_was_read_ahead_is_streamed_too),
		cmocka_unit_test(stopping_ends_a_stream_with_its_last_words),
	};

	return cmocka_run_group_tests_name("http_relay", tests, NULL, NULL);
}
