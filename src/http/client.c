/* SPDX-License-Identifier: MIT */
/*
 * Requests, connections and the pool. A client_conn is one connection to one upstream; a running
 * request has exactly one, and one without a request is idle in its upstream's pool. What one read
 * brings becomes one piece in take_input; every failure passes through fail.
 *
 *   request: connecting -> waiting -> answering -> gone
 *   conn:    dialing -> busy -> pooled -> busy ... -> closed
 *
 * A request is freed after the callback that says its end, a client_conn one loop turn after it was
 * closed. Callbacks are last statements, so a request may be cancelled inside each of them.
 */
#include "http/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/list.h"
#include "io/timer.h"

#define REQUEST_HEAD_MAX_BYTES (2 * H1_HEAD_MAX_BYTES)
#define GATHER_MAX_BYTES 65536 /* the pieces of one read, joined */

struct upstream {
	struct list link; /* of client.upstreams; lives as long as the client */
	char *name;	  /* "127.0.0.1:8080" or the socket's path */
	char *host;
	char *unix_path;
	uint16_t port;
	struct list pool; /* idle conns, the last used last */
	size_t pool_count;
};

struct client {
	struct loop *loop;
	struct list upstreams;
	char *gather; /* GATHER_MAX_BYTES, made when first needed */
};

struct client_conn {
	struct list link; /* of upstream.pool while pooled */
	struct client *client;
	struct upstream *upstream;
	struct conn *conn;
	struct client_request *request; /* NULL while pooled */
	struct timer timer;		/* the phase's limit, or the pool's */
	bool is_reused, is_closed;
};

enum phase {
	PHASE_CONNECT,
	PHASE_READY, /* streamed over a reused conn: on_drain is about to come */
	PHASE_WAIT,
	PHASE_ANSWER,
	PHASE_GONE,
};

struct client_request {
	struct client *client;
	struct upstream *upstream;
	struct client_conn *cc;
	const struct client_callbacks *callbacks;
	void *user;
	enum h1_method method;
	enum phase phase;
	uint32_t connect_ms, first_byte_ms, idle_ms;

	struct buf head_out;   /* ours, as long as it may have to be sent again */
	struct span body;      /* whole */
	struct span body_left; /* of it, not yet handed to the conn */
	bool is_streamed, is_chunked, body_is_sent;
	bool is_idempotent, is_repeated;
	bool has_sent;	/* bytes may have left */
	bool has_heard; /* a byte of an answer came */
	bool is_paused;
	bool may_pool; /* by the answer's head: another request may follow on this connection */
	unsigned interims;

	struct h1_reader *reader; /* an incomplete head */
	struct h1_body answer;
};

static const struct conn_callbacks conn_callbacks;
static const char unanswered[] = "the connection was closed before an answer came";

/* Connections */

static void close_conn(struct client_conn *cc)
{
	if (!cc->is_closed) {
		cc->is_closed = true;
		cc->request = NULL;
		timer_stop(&cc->timer);
		if (!list_is_empty(&cc->link)) {
			list_remove(&cc->link);
			cc->upstream->pool_count--;
		}
		conn_close(cc->conn);
		loop_defer(cc->client->loop, free, cc);
	}
}

static void free_request(struct client_request *r)
{
	buf_finish(&r->head_out);
	h1_reader_free(r->reader);
	free(r);
}

/* Ends a request without an answer. */
static void __attribute__((format(printf, 3, 4)))
fail(struct client_request *r, int code, const char *format, ...)
{
	struct err err;
	bool sent = r->has_sent;
	va_list args;

	if (r->cc != NULL) {
		close_conn(r->cc);
		r->cc = NULL;
	}
	r->phase = PHASE_GONE;
	va_start(args, format);
	err_vset(&err, code, format, args);
	va_end(args);
	err_prefix(&err, "%s", r->upstream->name);
	r->callbacks->on_fail(r->user, &err, sent);
	free_request(r);
}

static void watch(struct client_request *r)
{
	if (r->is_paused) {
		timer_stop(&r->cc->timer);
	} else {
		timer_start(&r->cc->timer,
			    r->phase == PHASE_ANSWER ? r->idle_ms : r->first_byte_ms);
	}
}

static void on_conn_timer(struct timer *t)
{
	struct client_conn *cc = CONTAINER_OF(t, struct client_conn, timer);
	struct client_request *r = cc->request;

	if (r == NULL) {
		close_conn(cc);
	} else if (r->phase == PHASE_READY) {
		r->phase = PHASE_WAIT;
		watch(r);
		r->callbacks->on_drain(r->user);
	} else if (r->phase == PHASE_CONNECT) {
		fail(r, ERR_UNAVAILABLE, "no connection within %u ms", r->connect_ms);
	} else if (r->phase == PHASE_WAIT) {
		fail(r, ERR_TIMEOUT, "no answer within %u ms", r->first_byte_ms);
	} else {
		fail(r, ERR_TIMEOUT, "the answer stopped for %u ms", r->idle_ms);
	}
}

/* Sending */

static int send_body_left(struct client_request *r)
{
	while (r->body_left.len > 0 && conn_kept(r->cc->conn) == 0) {
		size_t room = conn_out_room(r->cc->conn);
		struct span slice = { r->body_left.ptr,
				      r->body_left.len < room ? r->body_left.len : room };
		int status = conn_write(r->cc->conn, slice);

		if (status != 0) {
			return status;
		}
		r->body_left = span_from(r->body_left, slice.len);
	}
	r->body_is_sent = r->body_left.len == 0;
	return 0;
}

/*
 * The request goes out: the head and what fits of the body in one write. The head of a streamed one
 * waits for the first bytes of its body.
 */
static int send_request(struct client_request *r)
{
	size_t room = conn_out_room(r->cc->conn) - r->head_out.len;
	struct span parts[] = { buf_span(&r->head_out),
				{ r->body.ptr, r->body.len < room ? r->body.len : room } };

	r->phase = PHASE_WAIT;
	watch(r);
	if (r->is_streamed) {
		return 0;
	}
	int status = conn_writev(r->cc->conn, parts, ARRAY_LEN(parts));

	if (status != 0) {
		return status;
	}
	r->has_sent = true;
	r->body_left = span_from(r->body, parts[1].len);
	return send_body_left(r);
}

static void on_connect(void *user, int status)
{
	struct client_conn *cc = user;
	struct client_request *r = cc->request;

	if (status == 0) {
		conn_start(cc->conn, &conn_callbacks, cc);
		status = send_request(r);
	}
	if (status != 0 && r->is_repeated) {
		fail(r, ERR_CLOSED, "%s", unanswered);
	} else if (status != 0) {
		fail(r, ERR_UNAVAILABLE, "no connection: %s", err_sentence(status));
	} else if (r->is_streamed) {
		r->callbacks->on_drain(r->user);
	}
}

static void dial(struct client_request *r)
{
	struct client_conn *cc = mem_alloc(sizeof(*cc));
	struct upstream *u = r->upstream;
	struct loop *loop = r->client->loop;

	list_init(&cc->link);
	cc->client = r->client;
	cc->upstream = u;
	cc->request = r;
	timer_init(&cc->timer, loop, on_conn_timer);
	cc->conn = u->unix_path != NULL ? conn_dial_unix(loop, u->unix_path, on_connect, cc)
					: conn_dial_host(loop, u->host, u->port, on_connect, cc);
	conn_set_out_max(cc->conn, CLIENT_SEND_MAX_BYTES);
	r->cc = cc;
	r->phase = PHASE_CONNECT;
	timer_start(&cc->timer, r->connect_ms);
}

/* A pooled conn may have been closed by the peer although the loop has not told us yet. */
static bool is_stale(const struct client_conn *cc)
{
	char byte;
	ssize_t got = recv(conn_fd(cc->conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* Sends by a kept connection; false: it is of no use and no byte has left. */
static bool send_by_kept(struct client_request *r, struct client_conn *cc)
{
	if (!r->is_idempotent && is_stale(cc)) {
		return false;
	}
	cc->is_reused = true;
	cc->request = r;
	r->cc = cc;
	if (send_request(r) != 0) {
		return false;
	}
	if (r->is_streamed) {
		r->phase = PHASE_READY;
		timer_start(&cc->timer, 0);
	}
	return true;
}

/* Tries the pool first, then dials. What fails here has let no byte leave. */
static void connect_request(struct client_request *r)
{
	struct upstream *u = r->upstream;

	while (!list_is_empty(&u->pool)) {
		struct client_conn *cc = LIST_ITEM(u->pool.prev, struct client_conn, link);

		list_remove(&cc->link);
		u->pool_count--;
		if (send_by_kept(r, cc)) {
			return;
		}
		close_conn(cc);
	}
	dial(r);
}

static void pool_conn(struct client_conn *cc)
{
	struct upstream *u = cc->upstream;

	if (u->pool_count == CLIENT_POOL_MAX) {
		close_conn(LIST_ITEM(u->pool.next, struct client_conn, link));
	}
	cc->request = NULL;
	list_append(&u->pool, &cc->link);
	u->pool_count++;
	timer_start(&cc->timer, CLIENT_POOL_MS);
}

/* Answers */

/* A 204 that announces a body: the bytes behind it may be anything (RFC 9112 6.1). */
static bool is_doubtful(const struct h1_head *head)
{
	return head->status == 204 && (head->framing == H1_CHUNKED || head->content_length > 0);
}

/* The answer is complete; `is_exact`: nothing unexpected came behind it. */
static void settle_conn(struct client_request *r, bool is_exact)
{
	struct client_conn *cc = r->cc;

	r->cc = NULL;
	r->phase = PHASE_GONE;
	if (is_exact && r->may_pool && r->body_is_sent && conn_kept(cc->conn) == 0 &&
	    !r->is_paused) {
		pool_conn(cc);
	} else {
		close_conn(cc);
	}
}

static void tell(struct client_request *r, const struct client_piece *piece)
{
	r->callbacks->on_piece(r->user, piece);
	if (piece->done) {
		free_request(r);
	}
}

static void begin_answer(struct client_request *r, const struct h1_head *head)
{
	r->phase = PHASE_ANSWER;
	buf_finish(&r->head_out);
	h1_body_init(&r->answer, h1_has_no_body(head, r->method) ? H1_NO_BODY : head->framing,
		     head->content_length);
	r->may_pool = head->keep_alive && r->answer.framing != H1_UNTIL_CLOSE && !is_doubtful(head);
}

/* Takes input until the answer's head is complete, then in *ret_head, or input is used up. */
static int take_head(struct client_request *r, struct span *input, struct h1_head **ret_head,
		     struct err *err)
{
	while (input->len > 0 && r->phase != PHASE_ANSWER) {
		struct h1_head *head;
		int status = h1_read_response(&r->reader, input, &head, err);

		if (status != 1) {
			return status;
		}
		if (head->status >= 200) {
			begin_answer(r, head);
			*ret_head = head;
			return 0;
		}
		bool is_upgrade = head->status == 101;

		free(head);
		if (is_upgrade || ++r->interims > CLIENT_INTERIM_MAX) {
			return err_set(err, ERR_PROTOCOL,
				       "too many interim answers, or an upgrade");
		}
	}
	return 0;
}

/* All body bytes of one read as one span: in place if they are one run, else gathered. */
static int take_body(struct client_request *r, struct span *input, struct span *ret_body,
		     struct err *err)
{
	struct client *c = r->client;
	struct span body = SPAN_LIT("");

	while (input->len > 0 && !h1_body_is_done(&r->answer)) {
		struct span piece;
		int status = h1_body_next(&r->answer, input, &piece, err);

		if (status != 0) {
			return status;
		}
		if (body.len == 0) {
			body = piece;
		} else if (piece.len > 0) {
			ENSURE(body.len + piece.len <= GATHER_MAX_BYTES);
			c->gather = c->gather != NULL ? c->gather : mem_alloc(GATHER_MAX_BYTES);
			memmove(c->gather, body.ptr, body.ptr == c->gather ? 0 : body.len);
			memcpy(c->gather + body.len, piece.ptr, piece.len);
			body = (struct span){ c->gather, body.len + piece.len };
		}
	}
	*ret_body = body;
	return 0;
}

static void take_input(struct client_request *r, struct span input)
{
	struct client_piece piece = { .body = SPAN_LIT("") };
	struct h1_head *head = NULL;
	struct err err;

	r->has_heard = true;
	int status = take_head(r, &input, &head, &err);

	if (status == 0 && r->phase == PHASE_ANSWER) {
		status = take_body(r, &input, &piece.body, &err);
	}
	if (status != 0) {
		free(head);
		fail(r, ERR_PROTOCOL, "%s", err.text);
		return;
	}
	watch(r);
	if (r->phase != PHASE_ANSWER) {
		return;
	}
	piece.head = head;
	piece.done = h1_body_is_done(&r->answer);
	if (piece.done) {
		settle_conn(r, input.len == 0);
	}
	if (piece.done || head != NULL || piece.body.len > 0) {
		tell(r, &piece);
	}
	free(head);
}

static void on_data(void *user, struct span data)
{
	struct client_conn *cc = user;

	if (cc->request != NULL) {
		take_input(cc->request, data);
	} else {
		close_conn(cc); /* nobody asked */
	}
}

static void on_end(void *user, int status)
{
	struct client_conn *cc = user;
	struct client_request *r = cc->request;

	if (r == NULL) {
		close_conn(cc);
	} else if (r->phase == PHASE_ANSWER && r->answer.framing == H1_UNTIL_CLOSE && status == 0) {
		struct client_piece piece = { .body = SPAN_LIT(""), .done = true };

		settle_conn(r, false);
		tell(r, &piece);
	} else if (r->is_idempotent && cc->is_reused && !r->has_heard) {
		close_conn(cc);
		r->is_repeated = true;
		dial(r);
	} else {
		fail(r, ERR_CLOSED, "%s",
		     r->phase == PHASE_ANSWER ? "the answer was broken off" : unanswered);
	}
}

static void on_drain(void *user)
{
	struct client_conn *cc = user;
	struct client_request *r = cc->request;

	if (r == NULL) {
		return;
	}
	if (!r->is_streamed) {
		send_body_left(r); /* trouble comes by on_end */
	}
	if (r->phase == PHASE_WAIT) {
		watch(r);
	}
	if (r->is_streamed && !r->body_is_sent) {
		r->callbacks->on_drain(r->user);
	}
}

static const struct conn_callbacks conn_callbacks = { on_data, on_end, on_drain };

/* Requests */

static bool is_at(const struct upstream *u, const struct client_address *to)
{
	if (to->unix_path != NULL || u->unix_path != NULL) {
		return to->unix_path != NULL && u->unix_path != NULL &&
		       strcmp(to->unix_path, u->unix_path) == 0;
	}
	return u->port == to->port && strcmp(u->host, to->host) == 0;
}

static struct upstream *find_upstream(struct client *c, const struct client_address *to)
{
	LIST_EACH (struct upstream, u, link, &c->upstreams) {
		if (is_at(u, to)) {
			return u;
		}
	}
	struct upstream *u = mem_alloc(sizeof(*u));

	u->name = to->unix_path != NULL ? mem_strdup(to->unix_path)
					: mem_printf("%s:%u", to->host, to->port);
	u->host = mem_strdup(to->host);
	u->unix_path = mem_strdup(to->unix_path);
	u->port = to->port;
	list_init(&u->pool);
	list_append(&c->upstreams, &u->link);
	return u;
}

static void add_head(struct client_request *r, const struct client_options *o)
{
	struct buf *out = &r->head_out;
	bool has_host = false;

	for (size_t i = 0; i < o->field_count; i++) {
		has_host |= span_is_nocase(o->fields[i].name, "host");
	}
	buf_init(out, REQUEST_HEAD_MAX_BYTES);
	buf_reserve(out, 256);
	h1_add_request_line(out, o->method, o->target);
	if (!has_host) {
		h1_add_field(out, SPAN_LIT("Host"),
			     o->to.unix_path != NULL ? SPAN_LIT("localhost")
						     : span_of(r->upstream->name));
	}
	h1_add_fields(out, o->fields, o->field_count);
	if (r->is_chunked) {
		buf_add_text(out, "Transfer-Encoding: chunked\r\n");
	} else if (o->is_streamed || o->body.len > 0 || o->method == H1_POST) {
		h1_add_length(out, o->is_streamed ? o->streamed_bytes : o->body.len);
	}
	buf_add_text(out, "\r\n");
}

static uint32_t limit_of(uint64_t ms, uint32_t fallback)
{
	return ms == 0 ? fallback : ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

struct client_request *client_send(struct client *c, const struct client_options *o,
				   const struct client_callbacks *callbacks, void *user)
{
	struct client_request *r = mem_alloc(sizeof(*r));

	r->client = c;
	r->upstream = find_upstream(c, &o->to);
	r->callbacks = callbacks;
	r->user = user;
	r->method = o->method;
	r->connect_ms = limit_of(o->connect_ms, CLIENT_CONNECT_MS);
	r->first_byte_ms = limit_of(o->first_byte_ms, CLIENT_FIRST_BYTE_MS);
	r->idle_ms = limit_of(o->idle_ms, CLIENT_IDLE_MS);
	r->body = o->is_streamed ? SPAN_LIT("") : o->body;
	r->is_streamed = o->is_streamed;
	r->is_idempotent = !o->is_streamed &&
			   (o->is_idempotent || o->method == H1_GET || o->method == H1_HEAD);
	r->is_chunked = o->is_streamed && o->streamed_bytes == CLIENT_BODY_STREAMED_CHUNKED;
	add_head(r, o);
	connect_request(r);
	return r;
}

void client_cancel(struct client_request *r)
{
	if (r != NULL && r->phase != PHASE_GONE) {
		close_conn(r->cc);
		free_request(r);
	}
}

void client_pause(struct client_request *r)
{
	if (r->phase != PHASE_GONE && !r->is_paused) {
		r->is_paused = true;
		conn_pause(r->cc->conn);
		watch(r);
	}
}

void client_resume(struct client_request *r)
{
	if (r->phase != PHASE_GONE && r->is_paused) {
		r->is_paused = false;
		conn_resume(r->cc->conn);
		watch(r);
	}
}

int client_send_body(struct client_request *r, struct span bytes, bool last)
{
	char size_line[H1_FRAME_MAX_BYTES + 1];
	struct span parts[4];
	size_t count = 0;

	ENSURE(r->is_streamed && !r->body_is_sent && r->cc != NULL);
	if (!r->has_sent) {
		conn_set_out_max(r->cc->conn, CLIENT_SEND_MAX_BYTES + r->head_out.len);
		parts[count++] = buf_span(&r->head_out);
	}
	if (r->is_chunked) {
		count = h1_frame(parts, count, bytes, last, size_line);
	} else if (bytes.len > 0) {
		parts[count++] = bytes;
	}
	int status = conn_writev(r->cc->conn, parts, count);

	if (status == ERR_FULL) {
		return status;
	}
	r->has_sent = true;
	r->body_is_sent = last;
	if (r->phase == PHASE_WAIT) {
		watch(r);
	}
	return 0; /* a broken connection says so by on_fail */
}

bool client_has_sent_body(const struct client_request *r)
{
	return r->body_is_sent;
}

size_t client_kept(const struct client_request *r)
{
	return conn_kept(r->cc->conn);
}

/* Life of the client */

struct client *client_create(struct loop *loop)
{
	struct client *c = mem_alloc(sizeof(*c));

	c->loop = loop;
	list_init(&c->upstreams);
	return c;
}

static void free_upstream(struct upstream *u)
{
	while (!list_is_empty(&u->pool)) {
		close_conn(LIST_ITEM(u->pool.next, struct client_conn, link));
	}
	free(u->name);
	free(u->host);
	free(u->unix_path);
	free(u);
}

void client_close(struct client *c)
{
	if (c == NULL) {
		return;
	}
	LIST_EACH (struct upstream, u, link, &c->upstreams) {
		free_upstream(u);
	}
	free(c->gather);
	free(c);
}
