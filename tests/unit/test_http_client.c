/* SPDX-License-Identifier: MIT */
/* The client against upstreams that answer what they are told to, and the proxy on top of it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http_rig.h"
#include "unit.h"

#define OK_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* What came of one request. */
struct outcome {
	struct rig *rig;
	struct client_request *request;
	bool is_over;
	int status;
	int pieces;
	struct err err; /* code 0: complete */
	bool sent;
	struct buf body;
};

static void on_piece(void *user, const struct client_piece *piece)
{
	struct outcome *o = user;

	o->pieces++;
	o->status = piece->head != NULL ? piece->head->status : o->status;
	assert_int_equal(buf_add_span(&o->body, piece->body), 0);
	if (piece->done) {
		o->is_over = true;
		loop_stop(o->rig->loop);
	}
}

static void on_fail(void *user, const struct err *why, bool sent)
{
	struct outcome *o = user;

	o->err = *why;
	o->sent = sent;
	o->is_over = true;
	loop_stop(o->rig->loop);
}

static const struct client_callbacks callbacks = { on_piece, on_fail, NULL };

static struct client_options options_to(uint16_t port, enum h1_method method)
{
	return (struct client_options){ .to = { .host = "127.0.0.1", .port = port },
					.method = method,
					.target = SPAN_LIT("/x?y"),
					.first_byte_ms = 1000,
					.idle_ms = 1000 };
}

static void outcome_wait(struct outcome *o)
{
	for (int i = 0; i < 100 && !o->is_over; i++) {
		rig_run(o->rig, 50);
	}
	assert_true(o->is_over);
}

static void outcome_of(struct outcome *o, struct rig *rig, struct client *c,
		       const struct client_options *options)
{
	*o = (struct outcome){ .rig = rig };
	buf_init(&o->body, 64u << 20);
	o->request = client_send(c, options, &callbacks, o);
	outcome_wait(o);
}

static const struct {
	const char *answer;
	enum h1_method method;
	bool closes;
	const char *body; /* NULL: refused */
	int code;
	bool is_pooled;
} answers[] = {
	{ OK_5, H1_GET, false, "hello", 0, true },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\nA: "
	  "b\r\n\r\n",
	  H1_GET, false, "hello", 0, true },
	{ "HTTP/1.0 200 OK\r\n\r\nhello", H1_GET, true, "hello", 0, false },
	{ "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", H1_GET, false,
	  "hello", 0, false },
	{ "HTTP/1.1 200 OK\r\n\r\nhello", H1_GET, true, "hello", 0, false },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\n" OK_5, H1_GET, false,
	  "hello", 0, true },
	{ "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", H1_GET, false, "", 0, false },
	{ "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", H1_GET, false, "", 0, true },
	{ "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", H1_GET, false, "", 0, true },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", H1_HEAD, false, "", 0, true },
	/* more than was announced: what is right arrives, and the connection is not used again */
	{ OK_5 "extra", H1_GET, false, "hello", 0, false },
	{ OK_5 OK_5, H1_GET, false, "hello", 0, false },
	{ "HTTP/1.1 204 No\r\n\r\nbody", H1_GET, false, "", 0, false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", H1_HEAD, false, "", 0, false },
	/* refused */
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", H1_GET, false,
	  NULL, ERR_PROTOCOL, false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello", H1_GET, false, NULL, ERR_PROTOCOL,
	  false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", H1_GET,
	  false, NULL, ERR_PROTOCOL, false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", H1_GET, false, NULL,
	  ERR_PROTOCOL, false },
	{ "HTTP/1.1 2x0 OK\r\n\r\n", H1_GET, false, NULL, ERR_PROTOCOL, false },
	{ "HTTP/1.1 101 Switching\r\n\r\n", H1_GET, false, NULL, ERR_PROTOCOL, false },
	{ "SSH-2.0-OpenSSH_9.2\r\n", H1_GET, true, NULL, ERR_CLOSED, false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", H1_GET, false, NULL,
	  ERR_PROTOCOL, false },
	/* broken off */
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", H1_GET, true, NULL, ERR_CLOSED,
	  false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", H1_GET, true, NULL,
	  ERR_CLOSED, false },
	{ "HTTP/1.1 200 OK\r\nContent-Le", H1_GET, true, NULL, ERR_CLOSED, false },
};

static void answers_are_taken_strictly_however_they_are_cut(void **state)
{
	struct rig rig = { 0 };

	(void)state;
	rig_start(&rig, &(struct http_server_options){ 0 });
	for (size_t i = 0; i < ARRAY_LEN(answers) * 3; i++) {
		struct client *c = client_create(rig.loop);
		struct upstream_rig up;
		struct outcome o;
		size_t row = i / 3;

		upstream_start(&up, &rig, span_of(answers[row].answer));
		up.step = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : 7;
		up.closes = answers[row].closes;
		struct client_options options = options_to(up.port, answers[row].method);

		outcome_of(&o, &rig, c, &options);
		if (o.err.code != answers[row].code) {
			fail_msg("%s\nin steps of %zu: %s", answers[row].answer, up.step,
				 o.err.text);
		}
		if (answers[row].body != NULL) {
			assert_string_equal(buf_text(&o.body), answers[row].body);
		} else {
			assert_true(o.sent);
		}
		buf_finish(&o.body);
		if (!answers[row].closes) {
			rig_run(&rig, 5); /* extra bytes may come later */
			outcome_of(&o, &rig, c, &options);
			assert_int_equal(up.conns, answers[row].is_pooled ? 1 : 2);
			buf_finish(&o.body);
		}
		upstream_finish(&up);
		client_close(c);
	}
	rig_finish(&rig);
}

static void a_flood_of_interim_answers_is_cut(void **state)
{
	struct rig rig = { 0 };
	struct upstream_rig up;
	struct buf flood;
	struct outcome o;

	(void)state;
	rig_start(&rig, &(struct http_server_options){ 0 });
	struct client *c = client_create(rig.loop);

	buf_init(&flood, 100000);
	for (int i = 0; i < 1000; i++) {
		buf_add_text(&flood, "HTTP/1.1 102 Processing\r\n\r\n");
	}
	upstream_start(&up, &rig, buf_span(&flood));
	struct client_options options = options_to(up.port, H1_GET);

	outcome_of(&o, &rig, c, &options);
	assert_int_equal(o.err.code, ERR_PROTOCOL);
	buf_finish(&o.body);
	upstream_finish(&up);
	client_close(c);
	buf_finish(&flood);
	rig_finish(&rig);
}

static void waits_name_their_phase(void **state)
{
	struct rig rig = { 0 };
	struct upstream_rig up;
	struct outcome o;

	(void)state;
	rig_start(&rig, &(struct http_server_options){ 0 });
	struct client *c = client_create(rig.loop);

	upstream_start(&up, &rig, SPAN_LIT(""));
	struct client_options options = options_to(up.port, H1_POST);

	options.first_byte_ms = 30;
	options.idle_ms = 40;
	outcome_of(&o, &rig, c, &options);
	assert_int_equal(o.err.code, ERR_TIMEOUT);
	assert_non_null(strstr(o.err.text, "no answer within 30 ms"));
	buf_finish(&o.body);
	up.answer = SPAN_LIT("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
	outcome_of(&o, &rig, c, &options);
	assert_int_equal(o.err.code, ERR_TIMEOUT);
	assert_non_null(strstr(o.err.text, "the answer stopped for 40 ms"));
	buf_finish(&o.body);
	upstream_finish(&up);
	rig_run(&rig, 5);
	options.to.port = up.port; /* nobody listens there any more */
	outcome_of(&o, &rig, c, &options);
	assert_int_equal(o.err.code, ERR_UNAVAILABLE);
	assert_false(o.sent);
	buf_finish(&o.body);
	client_close(c);
	rig_finish(&rig);
}

/* Sets a listener up that takes one request per connection and drops the second unanswered. */
static void only_a_get_is_tried_again_on_a_connection_that_died(void **state)
{
	static const enum h1_method methods[] = { H1_GET, H1_POST };
	struct rig rig = { 0 };

	(void)state;
	rig_start(&rig, &(struct http_server_options){ 0 });
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct client *c = client_create(rig.loop);
		struct upstream_rig up;
		struct outcome o;

		upstream_start(&up, &rig, SPAN_LIT(OK_5));
		struct client_options options = options_to(up.port, methods[i]);

		outcome_of(&o, &rig, c, &options);
		assert_int_equal(o.err.code, 0);
		buf_finish(&o.body);
		up.answer = SPAN_LIT("");
		up.closes = true;
		outcome_of(&o, &rig, c, &options);
		assert_int_equal(o.err.code, ERR_CLOSED);
		assert_true(o.sent);
		assert_int_equal(up.requests, methods[i] == H1_GET ? 3 : 2);
		buf_finish(&o.body);
		upstream_finish(&up);
		client_close(c);
	}
	rig_finish(&rig);
}

static void a_connection_closed_in_the_pool_costs_no_request(void **state)
{
	struct rig rig = { 0 };
	struct upstream_rig up;
	struct outcome o;

	(void)state;
	rig_start(&rig, &(struct http_server_options){ 0 });
	struct client *c = client_create(rig.loop);

	upstream_start(&up, &rig, SPAN_LIT(OK_5));
	up.closes = true;
	struct client_options options = options_to(up.port, H1_POST);

	for (int i = 1; i <= 6; i++) {
		options.is_idempotent = i > 3;
		outcome_of(&o, &rig, c, &options); /* the next one starts before the loop turns */
		assert_int_equal(o.err.code, 0);
		assert_int_equal(up.requests, i);
		buf_finish(&o.body);
	}
	upstream_finish(&up);
	client_close(c);
	rig_finish(&rig);
}

static void large_bodies_go_out_whole(void **state)
{
	struct rig rig = { 0 };
	struct upstream_rig up;
	struct outcome o;
	size_t size = 5000000;
	char *bytes = mem_alloc(size);

	(void)state;
	rig_start(&rig, &(struct http_server_options){ 0 });
	struct client *c = client_create(rig.loop);

	memset(bytes, 'b', size);
	upstream_start(&up, &rig, SPAN_LIT(""));
	struct client_options options = options_to(up.port, H1_POST);

	options.body = (struct span){ bytes, size };
	options.first_byte_ms = 500;
	outcome_of(&o, &rig, c, &options);
	struct span got = buf_span(&up.got);
	size_t head = span_find(got, "\r\n\r\n") + 4;

	assert_non_null(strstr(buf_text(&up.got), "Content-Length: 5000000\r\n"));
	assert_int_equal(got.len - head, size);
	assert_memory_equal(got.ptr + head, bytes, size);
	buf_finish(&o.body);
	upstream_finish(&up);
	client_close(c);
	free(bytes);
	rig_finish(&rig);
}

static void a_cancelled_request_closes_its_connection(void **state)
{
	struct rig rig = { 0 };
	struct upstream_rig up;
	struct outcome o = { .rig = &rig };

	(void)state;
	rig_start(&rig, &(struct http_server_options){ 0 });
	struct client *c = client_create(rig.loop);

	upstream_start(&up, &rig, SPAN_LIT("HTTP/1.1 200 OK\r\n\r\nsome"));
	struct client_options options = options_to(up.port, H1_GET);

	buf_init(&o.body, 1000);
	o.request = client_send(c, &options, &callbacks, &o);
	while (o.pieces == 0) {
		rig_run(&rig, 5);
	}
	client_cancel(o.request);
	rig_run(&rig, 20);
	assert_false(o.is_over);
	buf_finish(&o.body);
	upstream_finish(&up);
	client_close(c);
	rig_finish(&rig);
}

struct reply_seen {
	struct rig *rig;
	int status;
	int code;
	char body[16];
	bool is_over;
};

static void on_reply(void *user, const struct client_reply *reply)
{
	struct reply_seen *seen = user;

	seen->is_over = true;
	seen->status = reply->status;
	seen->code = reply->err.code;
	snprintf(seen->body, sizeof(seen->body), "%.*s", SPAN_ARG(reply->body));
	loop_stop(seen->rig->loop);
}

static void short_answers_are_fetched_whole_within_their_limit(void **state)
{
	struct rig rig = { 0 };
	struct upstream_rig up;

	(void)state;
	rig_start(&rig, &(struct http_server_options){ 0 });
	struct client *c = client_create(rig.loop);

	upstream_start(&up, &rig, SPAN_LIT(OK_5));
	up.step = 3;
	struct client_options options = options_to(up.port, H1_GET);

	for (size_t max_bytes = 4; max_bytes <= 5; max_bytes++) {
		struct reply_seen seen = { .rig = &rig };

		client_fetch(c, &options, max_bytes, on_reply, &seen);
		while (!seen.is_over) {
			rig_run(&rig, 50);
		}
		assert_int_equal(seen.code, max_bytes == 4 ? ERR_FULL : 0);
		assert_string_equal(seen.body, max_bytes == 4 ? "" : "hello");
	}
	client_fetch_cancel(client_fetch(c, &options, 10, on_reply, NULL));
	upstream_finish(&up);
	client_close(c);
	rig_finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_taken_strictly_however_they_are_cut),
		cmocka_unit_test(a_flood_of_interim_answers_is_cut),
		cmocka_unit_test(waits_name_their_phase),
		cmocka_unit_test(only_a_get_is_tried_again_on_a_connection_that_died),
		cmocka_unit_test(a_connection_closed_in_the_pool_costs_no_request),
		cmocka_unit_test(large_bodies_go_out_whole),
		cmocka_unit_test(a_cancelled_request_closes_its_connection),
		cmocka_unit_test(short_answers_are_fetched_whole_within_their_limit),
	};

	return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
