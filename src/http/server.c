/* SPDX-License-Identifier: MIT */
/*
 * Connections and requests: bytes become heads, heads become exchanges, bodies go to whoever asked.
 *
 * take_input is the one place that consumes bytes, and it is never entered twice: what comes while
 * nobody may take it waits in `ahead`, and is taken up from the loop. A handler may do anything
 * inside a callback; after each of them the connection is looked at afresh.
 */
#include "http/server.h"

#include <stdlib.h>

#include "http/exchange.h"
#include "http/policy.h"

static void on_timer(struct timer *t);

/* Life of a connection */

static void on_free(void *arg)
{
	struct server_conn *sc = arg;

	h1_reader_free(sc->reader);
	buf_finish(&sc->ahead);
	free(sc);
}

void server_conn_drop(struct server_conn *sc, bool with_reset)
{
	struct exchange *x = sc->x;

	if (sc->is_dropped) {
		return;
	}
	sc->is_dropped = true;
	sc->x = NULL;
	timer_stop(&sc->timer);
	list_remove(&sc->link);
	if (with_reset) {
		conn_abort(sc->conn);
	} else {
		conn_close(sc->conn);
	}
	loop_defer(sc->server->loop, on_free, sc);
	if (x != NULL) {
		if (x->callbacks != NULL && x->callbacks->on_close != NULL) {
			x->callbacks->on_close(x->user);
		}
		exchange_free(x);
	}
}

/* Bytes that have reached the client, however slowly it reads; exact but for a constant. */
static uint64_t taken(const struct server_conn *sc)
{
	return sc->given - conn_untaken(sc->conn);
}

void server_conn_wait(struct server_conn *sc, enum conn_wait wait, uint64_t ms)
{
	sc->wait = wait;
	sc->taken_before = wait == WAIT_SEND ? taken(sc) : 0;
	timer_start(&sc->timer, ms);
}

/* Says the end and reads on until the peer has seen it: closing with unread input is a reset. */
void server_conn_linger(struct server_conn *sc)
{
	sc->is_lingering = true;
	buf_finish(&sc->ahead);
	conn_shutdown(sc->conn);
	conn_resume(sc->conn);
	if (conn_kept(sc->conn) > 0) {
		server_conn_wait(sc, WAIT_SEND, sc->server->options.send_ms);
	} else {
		server_conn_wait(sc, WAIT_LINGER, SERVER_LINGER_MS);
	}
}

bool server_conn_can_go_on(const struct server_conn *sc)
{
	const struct h1_body *b = &sc->body;

	return h1_body_is_done(b) || (b->framing == H1_LENGTH &&
				      b->left <= SERVER_DISCARD_MAX_BYTES && !sc->x->owes_continue);
}

static void on_take_ahead(void *arg);

/* Input that was held back may be taken again. */
static void take_up(struct server_conn *sc)
{
	if (sc->is_taking || sc->is_deferred) {
		return;
	}
	if (sc->ahead.len == 0) {
		conn_resume(sc->conn);
	} else {
		sc->is_deferred = true;
		loop_defer(sc->server->loop, on_take_ahead, sc);
	}
}

/* Between two exchanges: once the client has taken the last answer, it may ask again. */
static void rest(struct server_conn *sc)
{
	const struct http_server_options *o = &sc->server->options;

	if (conn_kept(sc->conn) > 0) {
		server_conn_wait(sc, WAIT_SEND, o->send_ms);
	} else {
		server_conn_wait(sc, WAIT_REQUEST, o->idle_ms);
	}
	take_up(sc);
}

void server_conn_answered(struct server_conn *sc)
{
	struct exchange *x = sc->x;
	bool is_last = x->is_last;

	sc->x = NULL;
	exchange_free(x);
	if (is_last) {
		server_conn_linger(sc);
	} else {
		rest(sc);
	}
}

/* Answers that never become an exchange */

/* A last answer to what is no request. */
static void refuse(struct server_conn *sc, int status, const struct err *why)
{
	struct buf body, out;

	buf_init(&body, SERVER_ERROR_MAX_BYTES);
	buf_init(&out, 2 * SERVER_ERROR_MAX_BYTES);
	server_write_error(sc->server, NULL, why, &body);
	buf_printf(&out,
		   "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: application/json\r\n"
		   "Content-Length: %zu\r\nConnection: close\r\n\r\n",
		   status, http_status_text(status), server_date(sc->server), body.len);
	buf_add_span(&out, buf_span(&body));
	conn_write(sc->conn, buf_span(&out));
	buf_finish(&out);
	buf_finish(&body);
	server_conn_linger(sc);
}

/* Ends an exchange that broke the rules: its handler hears on_close, the client why. */
static void refuse_exchange(struct exchange *x, int status, const struct err *why)
{
	struct server_conn *sc = x->sc;
	const struct exchange_callbacks *callbacks = x->callbacks;

	x->callbacks = NULL;
	x->want = BODY_TOLD;
	x->refusal = why;
	if (callbacks != NULL && callbacks->on_close != NULL) {
		callbacks->on_close(x->user);
	}
	if (x->has_begun) {
		server_conn_drop(sc, true);
		return;
	}
	x->is_last = true;
	exchange_fail_with(x, &(struct reply){ .status = status }, why);
}

/* Bodies */

static void end_body(struct exchange *x, struct span last)
{
	enum body_want want = x->want;

	x->want = BODY_TOLD;
	timer_stop(&x->sc->timer);
	if (want == BODY_WHOLE) {
		x->on_body(x->body_user, x, buf_span(&x->asked->whole));
	} else {
		x->on_piece(x->body_user, x, last, true);
	}
}

static void refuse_body_size(struct exchange *x)
{
	struct err err;

	err_set(&err, ERR_FULL, "the request's body is larger than %llu bytes",
		(unsigned long long)x->body_max_bytes);
	refuse_exchange(x, 413, &err);
}

static void give_piece(struct exchange *x, struct span piece)
{
	struct server_conn *sc = x->sc;
	bool is_last = h1_body_is_done(&sc->body);

	x->body_bytes += piece.len;
	if (x->body_bytes > x->body_max_bytes) {
		refuse_body_size(x);
		return;
	}
	if (sc->wait == WAIT_BODY) {
		sc->body_due_ms += piece.len * 1000 / 1024;
		timer_start_at(&sc->timer, sc->body_due_ms);
	}
	if (x->want == BODY_WHOLE) {
		ENSURE(buf_add_span(&x->asked->whole, piece) == 0);
	}
	if (is_last) {
		end_body(x, piece);
	} else if (x->want == BODY_STREAMED) {
		x->on_piece(x->body_user, x, piece, false);
	}
}

/* Takes one piece of the body at hand, or of one that nobody wants any more. */
static void take_body(struct server_conn *sc, struct span *input)
{
	struct err err;
	struct span piece, some = *input;

	some.len = some.len < SERVER_PIECE_MAX_BYTES ? some.len : SERVER_PIECE_MAX_BYTES;
	int status = h1_body_next(&sc->body, &some, &piece, &err);

	*input = span_from(*input, (size_t)(some.ptr - input->ptr));
	if (status != 0) {
		if (sc->x != NULL) {
			refuse_exchange(sc->x, 400, &err);
		} else {
			server_conn_linger(sc);
		}
	} else if (sc->x != NULL && (piece.len > 0 || h1_body_is_done(&sc->body))) {
		give_piece(sc->x, piece);
	}
}

static void ask_body(struct exchange *x, enum body_want want, uint64_t max_bytes, void *user)
{
	struct server_conn *sc = x->sc;
	const struct h1_head *head = x->asked->head;

	ENSURE(x->want == BODY_NOT_ASKED);
	x->want = want;
	x->body_max_bytes = max_bytes;
	x->body_user = user;
	if (h1_body_is_done(&sc->body)) {
		end_body(x, SPAN_LIT(""));
		return;
	}
	if (head->framing == H1_LENGTH && head->content_length > max_bytes) {
		refuse_body_size(x);
		return;
	}
	if (x->owes_continue && sc->ahead.len == 0) {
		conn_write(sc->conn, SPAN_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
	}
	x->owes_continue = false;
	server_conn_wait(sc, WAIT_BODY, sc->server->options.body_ms);
	sc->body_due_ms = sc->timer.due_ms;
	take_up(sc);
}

void exchange_read_body(struct exchange *x, size_t max_bytes, exchange_body_fn *on_body, void *user)
{
	x->on_body = on_body;
	buf_init(&x->asked->whole, max_bytes);
	ask_body(x, BODY_WHOLE, max_bytes, user);
}

void exchange_stream_body(struct exchange *x, uint64_t max_bytes, exchange_piece_fn *on_piece,
			  void *user)
{
	x->on_piece = on_piece;
	ask_body(x, BODY_STREAMED, max_bytes, user);
}

void exchange_pause_body(struct exchange *x)
{
	x->body_is_paused = true;
	if (x->sc->wait == WAIT_BODY) {
		timer_stop(&x->sc->timer);
	}
}

void exchange_resume_body(struct exchange *x)
{
	struct server_conn *sc = x->sc;

	if (x->body_is_paused) {
		x->body_is_paused = false;
		if (x->want == BODY_STREAMED && sc->wait == WAIT_BODY) {
			server_conn_wait(sc, WAIT_BODY, sc->server->options.body_ms);
			sc->body_due_ms = sc->timer.due_ms;
		}
		take_up(sc);
	}
}

/* Requests */

static struct exchange *create_exchange(struct server_conn *sc, struct h1_head *head)
{
	struct exchange *x = mem_alloc(sizeof(*x));
	struct asked *asked = mem_alloc(sizeof(*asked) + span_find_char(head->target, '?') + 1);

	asked->head = head;
	asked->request.method = head->method;
	asked->request.head = head;
	asked->request.path = asked->path;
	asked->request.has_body = head->framing == H1_CHUNKED || head->content_length > 0;
	x->sc = sc;
	x->asked = asked;
	x->owes_continue = head->expects_continue && asked->request.has_body && head->minor == 1;
	h1_body_init(&sc->body, head->framing, head->content_length);
	sc->x = x;
	timer_stop(&sc->timer);
	return x;
}

/* 0, or the status with which to refuse. */
static int judge(struct exchange *x, struct err *err)
{
	const struct http_server_options *o = &x->sc->server->options;
	struct request *request = &x->asked->request;
	const struct h1_head *head = request->head;
	struct span origin;
	struct policy_host host;
	struct policy_target target;

	if (policy_host(head, &host, err) != 0 ||
	    policy_target(head->target, host.host, &target, err) != 0 ||
	    policy_path(target.path, x->asked->path, err) != 0) {
		return 400;
	}
	request->host = host.host;
	request->target = target.target;
	request->query = target.query;
	if (!policy_host_is_allowed(host.name, o->hosts)) {
		err_set(err, ERR_DENIED, "this server does not answer to that Host");
		return 403;
	}
	if (h1_count(head, "origin", &origin) > 1 ||
	    !policy_origin_is_allowed(origin, request->host, o->origins)) {
		err_set(err, ERR_DENIED, "pages of that Origin may not call this server");
		return 403;
	}
	if (head->wants_upgrade) {
		err_set(err, ERR_INVALID, "upgrades are not offered here");
		return 400;
	}
	if (h1_get(head, "expect").ptr != NULL && !head->expects_continue) {
		err_set(err, ERR_INVALID, "no expectation but 100-continue can be met");
		return 417;
	}
	return 0;
}

static void begin_exchange(struct server_conn *sc, struct h1_head *head)
{
	struct exchange *x = create_exchange(sc, head);
	struct err err;
	int status = judge(x, &err);

	if (status != 0) {
		refuse_exchange(x, status, &err);
	} else {
		sc->server->options.on_request(sc->server->options.user, x);
	}
}

static int refusal_status(const struct err *err)
{
	return err->code == ERR_FULL	 ? 431
	       : err->code == ERR_METHOD ? 501
					 : err_http_status(err->code);
}

static void take_head(struct server_conn *sc, struct span *input)
{
	bool is_first = sc->reader == NULL;
	struct h1_head *head;
	struct err err;
	int status = h1_read_request(&sc->reader, input, &head, &err);

	if (status == 1) {
		begin_exchange(sc, head);
	} else if (status < 0) {
		refuse(sc, refusal_status(&err), &err);
	} else if (is_first) {
		server_conn_wait(sc, WAIT_HEAD, sc->server->options.head_ms);
	}
}

/* Input */

static bool may_take(const struct server_conn *sc)
{
	const struct exchange *x = sc->x;

	if (sc->is_dropped || sc->is_lingering) {
		return false;
	}
	if (x == NULL) {
		return conn_kept(sc->conn) == 0; /* an answer begins with an empty queue */
	}
	return (x->want == BODY_WHOLE || x->want == BODY_STREAMED) && !x->body_is_paused;
}

static void take_input(struct server_conn *sc, struct span input)
{
	sc->is_taking = true;
	while (input.len > 0 && may_take(sc)) {
		if (sc->x != NULL || !h1_body_is_done(&sc->body)) {
			take_body(sc, &input);
		} else {
			take_head(sc, &input);
		}
	}
	sc->is_taking = false;
	if (sc->is_dropped || sc->is_lingering) {
		return;
	}
	if (input.len > 0) {
		ENSURE(buf_add_span(&sc->ahead, input) == 0);
	}
	bool is_stopped = sc->x != NULL && sc->x->body_is_paused;

	if (sc->ahead.len > SERVER_PIPELINE_MAX_BYTES || is_stopped) {
		conn_pause(sc->conn);
	} else {
		conn_resume(sc->conn);
	}
}

static void on_take_ahead(void *arg)
{
	struct server_conn *sc = arg;
	struct buf ahead = sc->ahead;

	sc->is_deferred = false;
	if (sc->is_dropped || sc->is_lingering) {
		return;
	}
	buf_init(&sc->ahead, ahead.max_bytes);
	take_input(sc, buf_span(&ahead));
	buf_finish(&ahead);
}

static void on_data(void *user, struct span data)
{
	struct server_conn *sc = user;

	if (sc->is_lingering) {
		return;
	}
	if (sc->ahead.len == 0 && !sc->is_deferred) {
		take_input(sc, data);
		return;
	}
	ENSURE(buf_add_span(&sc->ahead, data) == 0);
	if (sc->ahead.len > SERVER_PIPELINE_MAX_BYTES) {
		conn_pause(sc->conn);
	}
}

static void on_end(void *user, int status)
{
	(void)status;
	server_conn_drop(user, false);
}

static void on_drain(void *user)
{
	struct server_conn *sc = user;

	if (sc->wait == WAIT_SEND) {
		timer_stop(&sc->timer);
	}
	if (sc->x != NULL) {
		exchange_drained(sc->x);
	} else if (sc->server->is_draining) {
		server_conn_drop(sc, false);
	} else {
		rest(sc);
	}
}

static void on_timer(struct timer *t)
{
	struct server_conn *sc = CONTAINER_OF(t, struct server_conn, timer);
	struct err err;

	switch (sc->wait) {
	case WAIT_REQUEST:
	case WAIT_LINGER:
		server_conn_drop(sc, false);
		return;
	case WAIT_HEAD:
		err_set(&err, ERR_TIMEOUT, "the request's head was not complete within %llu ms",
			(unsigned long long)sc->server->options.head_ms);
		refuse(sc, 408, &err);
		return;
	case WAIT_BODY:
		err_set(&err, ERR_TIMEOUT, "the request's body came too slowly");
		refuse_exchange(sc->x, 408, &err);
		return;
	case WAIT_SEND:
		if (conn_kept(sc->conn) > 0 && taken(sc) != sc->taken_before) {
			server_conn_wait(sc, WAIT_SEND, sc->server->options.send_ms);
		} else {
			server_conn_drop(sc, conn_kept(sc->conn) > 0);
		}
		return;
	}
}

static void on_conn(void *user, struct conn *conn)
{
	static const struct conn_callbacks callbacks = { on_data, on_end, on_drain };
	struct http_server *s = user;
	struct server_conn *sc = mem_alloc(sizeof(*sc));

	sc->server = s;
	sc->conn = conn;
	h1_body_init(&sc->body, H1_NO_BODY, 0);
	buf_init(&sc->ahead, SERVER_PIPELINE_MAX_BYTES + 2 * 65536);
	timer_init(&sc->timer, s->loop, on_timer);
	list_append(&s->conns, &sc->link);
	conn_set_out_max(conn, SERVER_SEND_MAX_BYTES);
	server_conn_wait(sc, WAIT_REQUEST, s->options.idle_ms);
	conn_start(conn, &callbacks, sc);
}

/* The server */

const char *server_date(struct http_server *s)
{
	time_t now_s = time(NULL);
	struct tm utc;

	if (now_s != s->date_s && gmtime_r(&now_s, &utc) != NULL) {
		strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
		s->date_s = now_s;
	}
	return s->date;
}

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
	return value > 0 ? value : fallback;
}

struct http_server *http_server_start(struct loop *loop, const struct http_server_options *options,
				      struct err *err)
{
	struct http_server *s = mem_alloc(sizeof(*s));
	struct http_server_options *o = &s->options;

	s->loop = loop;
	*o = *options;
	o->head_ms = or_default(o->head_ms, SERVER_HEAD_MS);
	o->body_ms = or_default(o->body_ms, SERVER_BODY_MS);
	o->send_ms = or_default(o->send_ms, SERVER_SEND_MS);
	o->idle_ms = or_default(o->idle_ms, SERVER_IDLE_MS);
	o->listener.conns_max =
		o->listener.conns_max > 0 ? o->listener.conns_max : SERVER_CONNS_MAX;
	o->listener.on_conn = on_conn;
	o->listener.user = s;
	list_init(&s->conns);
	s->listener = listener_start(loop, &o->listener, err);
	if (s->listener == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

uint16_t http_server_port(const struct http_server *s)
{
	return listener_port(s->listener);
}

void http_server_drain(struct http_server *s)
{
	s->is_draining = true;
	listener_close(s->listener);
	s->listener = NULL;
	LIST_EACH (struct server_conn, sc, link, &s->conns) {
		if (sc->x == NULL && sc->reader == NULL && conn_kept(sc->conn) == 0 &&
		    !sc->is_lingering) {
			server_conn_drop(sc, false);
		}
	}
}

void http_server_close(struct http_server *s)
{
	if (s == NULL) {
		return;
	}
	listener_close(s->listener);
	/* An on_close may end other exchanges: take the first until there is none. */
	while (!list_is_empty(&s->conns)) {
		server_conn_drop(LIST_ITEM(s->conns.next, struct server_conn, link), false);
	}
	loop_defer(s->loop, free, s);
}
