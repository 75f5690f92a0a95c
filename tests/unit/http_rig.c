/* SPDX-License-Identifier: MIT */
#include "http_rig.h"

#include <stdlib.h>

#include "base/mem.h"
#include "unit.h"

static const struct reply ok = { .status = 200, .content_type = "text/plain" };

/* One exchange that is not answered at once. */
struct held {
	struct rig *rig;
	struct exchange *x;
	struct timer timer;
	bool has_begun;
};

static void on_held_close(void *user)
{
	struct held *h = user;

	h->rig->closes++;
	timer_stop(&h->timer);
	free(h);
}

static void stream_on(struct held *h)
{
	static char bytes[65536];

	memset(bytes, 's', sizeof(bytes));
	while (exchange_kept(h->x) == 0) {
		assert_int_equal(exchange_send(h->x, (struct span){ bytes, sizeof(bytes) }), 0);
		h->rig->streamed_bytes += sizeof(bytes);
	}
	size_t kept = exchange_kept(h->x);

	h->rig->kept_max_bytes = kept > h->rig->kept_max_bytes ? kept : h->rig->kept_max_bytes;
}

static void on_held_drain(void *user)
{
	struct held *h = user;

	if (h->has_begun && exchange_request(h->x)->path[1] == 's') {
		stream_on(h);
	} else {
		exchange_resume_body(h->x);
	}
}

static void on_later(struct timer *t)
{
	struct held *h = CONTAINER_OF(t, struct held, timer);

	exchange_reply(h->x, &ok, SPAN_LIT("later"));
	free(h);
}

static struct held *hold(struct rig *rig, struct exchange *x)
{
	static const struct exchange_callbacks callbacks = { on_held_close, on_held_drain };
	struct held *h = mem_alloc(sizeof(*h));

	h->rig = rig;
	h->x = x;
	timer_init(&h->timer, rig->loop, on_later);
	exchange_watch(x, &callbacks, h);
	return h;
}

static void on_body(void *user, struct exchange *x, struct span body)
{
	(void)user;
	exchange_reply(x, &ok, body);
}

static void on_piece(void *user, struct exchange *x, struct span piece, bool last)
{
	struct held *h = user;

	if (!h->has_begun) {
		h->has_begun = true;
		exchange_begin(x, &ok, -1);
	}
	if (last) {
		assert_int_equal(exchange_end(x, piece), 0);
		free(h);
		return;
	}
	assert_int_equal(exchange_send(x, piece), 0);
	if (exchange_kept(x) > 0) {
		exchange_pause_body(x);
	}
}

static void reply_big(struct exchange *x)
{
	uint64_t size = 0;

	span_to_u64(exchange_request(x)->query, 64u << 20, &size);
	char *bytes = mem_alloc(size);

	memset(bytes, 'x', size);
	exchange_reply(x, &ok, (struct span){ bytes, size });
	free(bytes);
}

static void on_request(void *user, struct exchange *x)
{
	struct rig *rig = user;
	struct span path = span_of(exchange_request(x)->path);

	rig->requests++;
	if (rig->on_request != NULL) {
		rig->on_request(rig, x);
	} else if (span_is(path, "/echo")) {
		exchange_read_body(x, RIG_BODY_MAX_BYTES, on_body, NULL);
	} else if (span_is(path, "/pieces")) {
		exchange_stream_body(x, RIG_BODY_MAX_BYTES, on_piece, hold(rig, x));
	} else if (span_is(path, "/later")) {
		timer_start(&hold(rig, x)->timer, 5);
	} else if (span_is(path, "/hold")) {
		hold(rig, x);
	} else if (span_is(path, "/big")) {
		reply_big(x);
	} else if (span_is(path, "/stream")) {
		struct held *h = hold(rig, x);

		h->has_begun = true;
		exchange_begin(x, &ok, -1);
		stream_on(h);
	} else if (span_is(path, "/half")) {
		exchange_begin(x, &ok, -1);
		exchange_send(x, SPAN_LIT("half"));
		exchange_abort(x);
	} else {
		exchange_reply(x, &ok, SPAN_LIT("hello"));
	}
}

static void on_time(struct timer *t)
{
	loop_stop(t->loop);
}

void rig_start(struct rig *rig, const struct http_server_options *options)
{
	struct http_server_options o = *options;
	struct err err = { .text = "" };

	rig->loop = loop_create();
	timer_init(&rig->timer, rig->loop, on_time);
	o.listener.address = "127.0.0.1";
	o.on_request = on_request;
	o.user = rig;
	rig->server = http_server_start(rig->loop, &o, &err);
	assert_string_equal(err.text, "");
	rig->port = http_server_port(rig->server);
}

void rig_finish(struct rig *rig)
{
	http_server_close(rig->server);
	timer_stop(&rig->timer);
	loop_run(rig->loop);
	loop_destroy(rig->loop);
}

void rig_run(struct rig *rig, uint64_t ms)
{
	timer_start(&rig->timer, ms);
	loop_run(rig->loop);
	timer_stop(&rig->timer);
}

/* Raw peers */

static void on_raw_data(void *user, struct span data)
{
	struct raw *raw = user;

	assert_int_equal(buf_add_span(&raw->got, data), 0);
	loop_stop(raw->rig->loop);
}

static void on_raw_end(void *user, int status)
{
	struct raw *raw = user;

	raw->has_ended = true;
	raw->end_status = status;
	timer_stop(&raw->timer);
	loop_stop(raw->rig->loop);
}

/* The next `step` bytes; one write a turn of the loop, so that they are read one by one. */
static void on_raw_turn(struct timer *t)
{
	struct raw *raw = CONTAINER_OF(t, struct raw, timer);
	struct span part = { raw->to_send.ptr,
			     raw->to_send.len < raw->step ? raw->to_send.len : raw->step };

	raw->to_send = span_from(raw->to_send, part.len);
	conn_write(raw->conn, part);
	if (raw->to_send.len > 0) {
		timer_start(t, 0);
	}
}

static void on_raw_connect(void *user, int status)
{
	static const struct conn_callbacks callbacks = { on_raw_data, on_raw_end, NULL };
	struct raw *raw = user;

	assert_int_equal(status, 0);
	conn_start(raw->conn, &callbacks, raw);
	on_raw_turn(&raw->timer);
}

void raw_start(struct raw *raw, struct rig *rig, struct span bytes, size_t step)
{
	*raw = (struct raw){ .rig = rig, .to_send = bytes, .step = step };
	buf_init(&raw->got, 64u << 20);
	timer_init(&raw->timer, rig->loop, on_raw_turn);
	raw->conn = conn_dial_tcp(rig->loop, "127.0.0.1", rig->port, on_raw_connect, raw);
	conn_set_out_max(raw->conn, 64u << 20);
}

void raw_finish(struct raw *raw)
{
	timer_stop(&raw->timer);
	conn_close(raw->conn);
	buf_finish(&raw->got);
}

void raw_wait(struct raw *raw, const char *text)
{
	uint64_t until_us = loop_now_us() + RIG_WAIT_MS * 1000;

	while (!raw->has_ended &&
	       (text == NULL || span_find(buf_span(&raw->got), text) == raw->got.len)) {
		if (loop_now_us() > until_us) {
			fail_msg("no %s within %d ms; there came: %s", text != NULL ? text : "end",
				 RIG_WAIT_MS, buf_text(&raw->got));
		}
		rig_run(raw->rig, 1000);
	}
}

char *rig_talk(struct rig *rig, struct span bytes, size_t step)
{
	struct raw raw;
	struct buf out;

	raw_start(&raw, rig, bytes, step);
	raw_wait(&raw, NULL);
	buf_init(&out, 64u << 20);
	for (struct span rest = buf_span(&raw.got); rest.ptr != NULL && rest.len > 0;) {
		struct span whole = rest;
		struct span line = span_split(&rest, '\n');

		if (!span_has_prefix(line, "Date: ")) {
			buf_add(&out, line.ptr, line.len + (line.len < whole.len));
		}
	}
	raw_finish(&raw);
	return out.len > 0 ? buf_detach(&out) : mem_strdup("");
}

/* Upstreams */

struct answering {
	struct upstream_rig *u;
	struct conn *conn;
	struct span left;
	struct timer timer;
	struct buf head;
};

static void end_answering(struct answering *a, bool with_reset)
{
	timer_stop(&a->timer);
	if (with_reset) {
		conn_abort(a->conn);
	} else {
		conn_close(a->conn);
	}
	buf_finish(&a->head);
	free(a);
}

static void on_answer_turn(struct timer *t)
{
	struct answering *a = CONTAINER_OF(t, struct answering, timer);
	size_t step = a->u->step > 0 ? a->u->step : a->left.len;
	struct span part = { a->left.ptr, a->left.len < step ? a->left.len : step };

	a->left = span_from(a->left, part.len);
	conn_write(a->conn, part);
	if (a->left.len > 0) {
		timer_start(t, 0);
	} else if (a->u->closes || a->u->resets) {
		end_answering(a, a->u->resets);
	}
}

static void on_upstream_data(void *user, struct span data)
{
	struct answering *a = user;

	if (a->u->listener == NULL) {
		return; /* finished */
	}
	buf_add_span(&a->u->got, data);
	buf_add_span(&a->head, data);
	if (span_find(buf_span(&a->head), "\r\n\r\n") < a->head.len) {
		buf_clear(&a->head);
		a->u->requests++;
		a->left = a->u->answer;
		on_answer_turn(&a->timer);
	}
}

static void on_upstream_end(void *user, int status)
{
	(void)status;
	end_answering(user, false);
}

static void on_upstream_conn(void *user, struct conn *conn)
{
	static const struct conn_callbacks callbacks = { on_upstream_data, on_upstream_end, NULL };
	struct answering *a = mem_alloc(sizeof(*a));

	a->u = user;
	a->conn = conn;
	a->u->conns++;
	buf_init(&a->head, 1u << 20);
	timer_init(&a->timer, a->u->rig->loop, on_answer_turn);
	conn_set_out_max(conn, 64u << 20);
	conn_start(conn, &callbacks, a);
}

void upstream_start(struct upstream_rig *u, struct rig *rig, struct span answer)
{
	struct listener_options options = {
		.address = "127.0.0.1", .conns_max = 100, .on_conn = on_upstream_conn, .user = u
	};

	*u = (struct upstream_rig){ .answer = answer, .rig = rig };
	buf_init(&u->got, 64u << 20);
	u->listener = listener_start(rig->loop, &options, NULL);
	assert_non_null(u->listener);
	u->port = listener_port(u->listener);
}

void upstream_finish(struct upstream_rig *u)
{
	listener_close(u->listener);
	u->listener = NULL;
	buf_finish(&u->got);
}
