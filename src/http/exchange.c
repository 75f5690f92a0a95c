/* SPDX-License-Identifier: MIT */
/*
 * The answer's side of an exchange. A streamed answer's bytes go from the caller's span to the
 * socket in one writev with their framing; only what the socket does not take is copied. The head
 * waits in `pending` for the first bytes, so that a short answer is one write.
 */
#include <ctype.h>
#include <stdlib.h>

#include "http/exchange.h"

#define ANSWER_HEAD_MAX_BYTES (2 * H1_HEAD_MAX_BYTES)

const char *http_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} rows[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 206, "Partial Content" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 499, "Client Closed Request" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 507, "Insufficient Storage" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].status == status) {
			return rows[i].text;
		}
	}
	return "Status";
}

static void forget_asked(struct exchange *x)
{
	if (x->asked != NULL) {
		free(x->asked->head);
		buf_finish(&x->asked->whole);
		free(x->asked);
		x->asked = NULL;
	}
}

void exchange_free(struct exchange *x)
{
	forget_asked(x);
	buf_finish(&x->pending);
	free(x);
}

const struct request *exchange_request(const struct exchange *x)
{
	return &x->asked->request;
}

bool exchange_peer_is_local(const struct exchange *x)
{
	struct server_conn *sc = x->sc;

	if (!sc->knows_local) {
		sc->is_local = conn_peer_is_local(sc->conn, sc->server->options.local_peer);
		sc->knows_local = true;
	}
	return sc->is_local;
}

void exchange_watch(struct exchange *x, const struct exchange_callbacks *callbacks, void *user)
{
	x->callbacks = callbacks;
	x->user = user;
}

const struct err *exchange_refusal(const struct exchange *x)
{
	static const struct err left = { ERR_CANCELED, "the client left" };

	return x->refusal != NULL ? x->refusal : &left;
}

/* Heads */

static void add_framing(struct exchange *x, int status, int64_t content_length)
{
	if (content_length >= 0 && status != 204 && status != 304) {
		h1_add_length(&x->pending, (uint64_t)content_length);
	} else if (x->is_chunked) {
		buf_add_text(&x->pending, "Transfer-Encoding: chunked\r\n");
	}
	if (x->is_last) {
		buf_add_text(&x->pending, "Connection: close\r\n");
	}
}

void exchange_begin(struct exchange *x, const struct reply *reply, int64_t content_length)
{
	struct server_conn *sc = x->sc;
	const struct h1_head *head = x->asked->head;
	int status = reply->status;

	ENSURE(!x->has_begun);
	x->has_begun = true;
	x->has_no_body = head->method == H1_HEAD || status == 204 || status == 304;
	x->has_length = content_length >= 0;
	x->left = x->has_length ? (uint64_t)content_length : 0;
	x->is_chunked = !x->has_length && head->minor == 1 && status != 204 && status != 304;
	x->is_last = x->is_last || !head->keep_alive || sc->server->is_draining ||
		     !server_conn_can_go_on(sc);

	buf_init(&x->pending, ANSWER_HEAD_MAX_BYTES);
	buf_reserve(&x->pending, 256);
	buf_add_text(&x->pending, "HTTP/1.1 ");
	buf_add_u64(&x->pending, (uint64_t)status);
	buf_add_char(&x->pending, ' ');
	buf_add_text(&x->pending, http_status_text(status));
	buf_add_text(&x->pending, "\r\nDate: ");
	buf_add_text(&x->pending, server_date(sc->server));
	buf_add_text(&x->pending, "\r\n");
	if (reply->content_type != NULL) {
		h1_add_field(&x->pending, SPAN_LIT("Content-Type"), span_of(reply->content_type));
	}
	h1_add_fields(&x->pending, reply->fields, reply->field_count);
	add_framing(x, status, content_length);
	buf_add_text(&x->pending, "\r\n");
	/* The head is kept beside a full read of the body, if it must be. */
	conn_set_out_max(sc->conn, SERVER_SEND_MAX_BYTES + x->pending.len);
}

/* Bytes */

/* One write of all the parts; then watches whether the client reads. */
static int write_parts(struct exchange *x, const struct span *parts, size_t count)
{
	struct server_conn *sc = x->sc;
	int status = conn_writev(sc->conn, parts, count);

	if (status != 0) {
		return status == ERR_FULL ? ERR_FULL : ERR_CLOSED;
	}
	buf_finish(&x->pending);
	for (size_t i = 0; i < count; i++) {
		sc->given += parts[i].len;
	}
	if (conn_kept(sc->conn) > 0 && (sc->wait != WAIT_SEND || !timer_is_on(&sc->timer))) {
		server_conn_wait(sc, WAIT_SEND, sc->server->options.send_ms);
	}
	return 0;
}

/* The head if it still waits, and bytes framed as the head said; `is_end`: and the end. */
static int send_framed(struct exchange *x, struct span bytes, bool is_end)
{
	char size_line[H1_FRAME_MAX_BYTES + 1];
	struct span parts[4];
	size_t count = 0;

	ENSURE(x->has_begun && (!x->has_length || bytes.len <= x->left));
	if (x->pending.len > 0) {
		parts[count++] = buf_span(&x->pending);
	}
	if (x->is_chunked && !x->has_no_body) {
		count = h1_frame(parts, count, bytes, is_end, size_line);
	} else if (bytes.len > 0 && !x->has_no_body) {
		parts[count++] = bytes;
	}
	int status = count > 0 ? write_parts(x, parts, count) : 0;

	if (status == 0 && x->has_length) {
		x->left -= bytes.len;
	}
	return status;
}

void exchange_flush(struct exchange *x)
{
	send_framed(x, SPAN_LIT(""), false);
}

int exchange_send(struct exchange *x, struct span bytes)
{
	return send_framed(x, bytes, false);
}

size_t exchange_kept(const struct exchange *x)
{
	return conn_kept(x->sc->conn);
}

size_t exchange_room(const struct exchange *x)
{
	size_t room = conn_out_room(x->sc->conn);
	size_t around = x->pending.len + H1_FRAME_MAX_BYTES + sizeof("\r\n0\r\n\r\n");

	return room > around ? room - around : 0;
}

bool exchange_has_begun(const struct exchange *x)
{
	return x->has_begun;
}

void exchange_forget_request(struct exchange *x)
{
	ENSURE(x->has_begun);
	forget_asked(x);
}

/* The handler is done with x: no callback any more. */
static void let_go(struct exchange *x)
{
	x->callbacks = NULL;
	x->want = BODY_TOLD;
}

int exchange_end(struct exchange *x, struct span last)
{
	int status = send_framed(x, last, true);

	if (status == ERR_FULL) {
		return status;
	}
	ENSURE(x->left == 0 || x->has_no_body || status != 0);
	let_go(x);
	if (status != 0) {
		server_conn_drop(x->sc, false);
	} else {
		server_conn_answered(x->sc);
	}
	return status;
}

void exchange_abort(struct exchange *x)
{
	let_go(x);
	if (x->has_begun && (x->is_chunked || x->left > 0)) {
		/* The framing tells; what was sent so far shall still arrive. */
		exchange_flush(x);
		x->is_last = true;
		server_conn_answered(x->sc);
	} else {
		server_conn_drop(x->sc, true);
	}
}

void exchange_drained(struct exchange *x)
{
	if (x->callbacks != NULL && x->callbacks->on_drain != NULL) {
		x->callbacks->on_drain(x->user);
	}
}

/* However much it is: what the client does not take at once is the connection's to keep. */
void exchange_reply(struct exchange *x, const struct reply *reply, struct span body)
{
	struct conn *conn = x->sc->conn;

	exchange_begin(x, reply, (int64_t)body.len);
	conn_set_out_max(conn, conn_kept(conn) + x->pending.len + body.len);
	exchange_end(x, x->has_no_body ? SPAN_LIT("") : body);
}

void exchange_reply_json(struct exchange *x, int status, struct span body)
{
	struct reply reply = { .status = status, .content_type = "application/json" };

	exchange_reply(x, &reply, body);
}

/* Errors */

void server_write_error(const struct http_server *s, const struct request *request,
			const struct err *why, struct buf *out)
{
	struct json_writer w;
	char code[32];
	size_t len = 0;

	if (s->options.write_error != NULL) {
		s->options.write_error(s->options.user, request, why, out);
		return;
	}
	for (const char *name = err_name(why->code); name[len] != '\0'; len++) {
		code[len] = (char)tolower((unsigned char)name[len]);
	}
	code[len] = '\0';
	jsonw_init(&w, out);
	jsonw_object(&w);
	jsonw_member_object(&w, "error");
	jsonw_member_text(&w, "message", why->text);
	jsonw_member_text(&w, "type", err_openai_type(why->code));
	jsonw_member_text(&w, "code", code);
	jsonw_member_text(&w, "param", NULL);
	jsonw_end_all(&w);
}

void exchange_fail_with(struct exchange *x, const struct reply *reply, const struct err *why)
{
	struct reply full = *reply;
	struct buf body;

	buf_init(&body, SERVER_ERROR_MAX_BYTES);
	server_write_error(x->sc->server, &x->asked->request, why, &body);
	full.content_type = "application/json";
	exchange_reply(x, &full, buf_span(&body));
	buf_finish(&body);
}

void exchange_fail(struct exchange *x, const struct err *why)
{
	static const struct h1_field later = { SPAN_INIT("Retry-After"), SPAN_INIT("5") };
	bool may_retry = why->code == ERR_RATE || why->code == ERR_UNAVAILABLE;

	exchange_fail_with(x,
			   &(struct reply){ .status = err_http_status(why->code),
					    .fields = &later,
					    .field_count = may_retry },
			   why);
}

void exchange_fail_method(struct exchange *x, const char *allow, const struct err *why)
{
	struct h1_field field = { SPAN_LIT("Allow"), span_of(allow) };

	exchange_fail_with(x, &(struct reply){ .status = 405, .fields = &field, .field_count = 1 },
			   why);
}
