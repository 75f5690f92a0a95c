/* SPDX-License-Identifier: MIT */
/*
 * One exchange and one client request, joined. Back-pressure: whoever still holds bytes of ours
 * after a write is waited for, and the other side is not read until it has drained; so each side
 * holds one read at most. Every end passes through finish.
 */
#include "http/proxy.h"

#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"

struct proxy {
	struct exchange *x;
	struct client_request *request;
	const struct proxy_hooks *hooks;
	void *user;
	const struct h1_field *reply_fields;
	size_t reply_field_count;
	int status;  /* relayed; 0: none yet */
	int refused; /* the status of an answer that is kept for on_refusal, or 0 */
	struct buf refusal;
	uint64_t body_max_bytes;
	bool is_uploading, has_length;
};

static void free_proxy(struct proxy *p)
{
	buf_finish(&p->refusal);
	free(p);
}

static void finish(struct proxy *p, const struct err *why)
{
	if (p->hooks->on_done != NULL) {
		p->hooks->on_done(p->user, why, p->status);
	}
	free_proxy(p);
}

static void finish_left(struct proxy *p)
{
	finish(p, &(struct err){ ERR_CANCELED, "the client left" });
}

/* Upstream to client */

/* Fields of the answer that are the upstream's own business, or ours. */
static bool is_stripped(const struct h1_head *head, struct span name)
{
	return span_is_nocase(name, "content-length") || span_is_nocase(name, "server") ||
	       span_is_nocase(name, "date") ||
	       (name.len > 15 && strncasecmp(name.ptr, "access-control-", 15) == 0) ||
	       h1_is_hop_by_hop(head, name);
}

static void begin_answer(struct proxy *p, const struct h1_head *head)
{
	struct h1_field fields[H1_FIELDS_MAX + PROXY_FIELDS_MAX];
	struct reply reply = { .status = head->status, .fields = fields };

	for (size_t i = 0; i < head->field_count; i++) {
		if (!is_stripped(head, head->fields[i].name)) {
			fields[reply.field_count++] = head->fields[i];
		}
	}
	for (size_t i = 0; i < p->reply_field_count; i++) {
		fields[reply.field_count++] = p->reply_fields[i];
	}
	p->has_length = head->framing == H1_LENGTH;
	exchange_begin(p->x, &reply, p->has_length ? (int64_t)head->content_length : -1);
	p->status = head->status;
}

/* The upstream broke the answer off, or we do: the client gets `last` and no proper end. */
static void break_off(struct proxy *p, const struct err *why, struct span last)
{
	if (last.len > 0 && !p->has_length) {
		exchange_send(p->x, last);
	}
	exchange_abort(p->x);
	finish(p, why);
}

/* The answer's last bytes were handed to the exchange, which is gone unless they did not fit. */
static void end_answer(struct proxy *p, int status)
{
	if (status == ERR_FULL) {
		exchange_abort(p->x);
	}
	if (status != 0) {
		finish_left(p);
	} else {
		finish(p, NULL);
	}
}

/* Whether this is of a refusal that somebody words anew: nothing of it is relayed. */
static bool keep_refusal(struct proxy *p, const struct client_piece *piece)
{
	size_t room;

	if (p->hooks->on_refusal == NULL) {
		return false;
	}
	if (piece->head != NULL && piece->head->status >= 400) {
		p->refused = piece->head->status;
		buf_init(&p->refusal, PROXY_REFUSAL_MAX_BYTES);
	}
	if (p->refused == 0) {
		return false;
	}
	room = buf_room(&p->refusal);
	buf_add(&p->refusal, piece->body.ptr, piece->body.len < room ? piece->body.len : room);
	if (piece->done) {
		exchange_watch(p->x, NULL, NULL);
		p->hooks->on_refusal(p->user, p->x, p->refused, buf_span(&p->refusal));
		free_proxy(p);
	}
	return true;
}

/* The client gets its bytes first; who listens hears of them after that. */
static void on_piece(void *user, const struct client_piece *piece)
{
	struct proxy *p = user;
	int status;

	if (keep_refusal(p, piece)) {
		return;
	}
	if (piece->head != NULL) {
		if (p->hooks->on_head != NULL) {
			p->hooks->on_head(p->user, piece->head);
		}
		begin_answer(p, piece->head);
	}
	status = piece->done ? exchange_end(p->x, piece->body) : exchange_send(p->x, piece->body);
	if (p->hooks->on_body != NULL && piece->body.len > 0) {
		p->hooks->on_body(p->user, piece->body);
	}
	if (piece->done) {
		end_answer(p, status);
		return;
	}
	if (piece->head != NULL && client_has_sent_body(p->request)) {
		exchange_forget_request(p->x);
	}
	if (status == 0 && exchange_kept(p->x) > 0) {
		client_pause(p->request);
	}
}

static void on_fail(void *user, const struct err *why, bool sent)
{
	struct proxy *p = user;
	struct buf last;

	p->request = NULL;
	if (!exchange_has_begun(p->x)) {
		if (!p->is_uploading && p->hooks->on_fail != NULL) {
			exchange_watch(p->x, NULL, NULL);
			if (p->hooks->on_fail(p->user, p->x, why, sent)) {
				free_proxy(p);
				return;
			}
		}
		exchange_fail(p->x, why);
		finish(p, why);
		return;
	}
	buf_init(&last, PROXY_LAST_MAX_BYTES);
	if (p->hooks->on_broken != NULL) {
		p->hooks->on_broken(p->user, why, &last);
	}
	break_off(p, why, buf_span(&last));
	buf_finish(&last);
}

static void on_exchange_drain(void *user)
{
	struct proxy *p = user;

	client_resume(p->request);
}

static void on_exchange_close(void *user)
{
	struct proxy *p = user;

	client_cancel(p->request);
	finish_left(p);
}

/* Client to upstream */

static void on_upload(void *user, struct exchange *x, struct span piece, bool last)
{
	struct proxy *p = user;

	ENSURE(client_send_body(p->request, piece, last) == 0);
	if (!last && client_kept(p->request) > 0) {
		exchange_pause_body(x);
	}
}

static void on_request_drain(void *user)
{
	struct proxy *p = user;

	if (p->is_uploading) {
		exchange_resume_body(p->x);
	} else {
		p->is_uploading = true;
		exchange_stream_body(p->x, p->body_max_bytes, on_upload, p);
	}
}

static size_t copy_fields(const struct proxy_options *o, const struct h1_head *head,
			  struct h1_field *fields)
{
	size_t count = 0;

	ENSURE(o->request.field_count <= PROXY_FIELDS_MAX);
	ENSURE(o->pass_count <= PROXY_FIELDS_MAX);
	for (size_t i = 0; i < o->pass_count; i++) {
		size_t at = h1_find(head, o->pass[i], 0);

		if (at < head->field_count) {
			fields[count++] = (struct h1_field){ o->pass[i], head->fields[at].value };
		}
	}
	for (size_t i = 0; i < o->request.field_count; i++) {
		fields[count++] = o->request.fields[i];
	}
	return count;
}

struct proxy *proxy_start(struct exchange *x, const struct proxy_options *o)
{
	static const struct proxy_hooks no_hooks = { 0 };
	static const struct exchange_callbacks exchange_callbacks = { on_exchange_close,
								      on_exchange_drain };
	static const struct client_callbacks client_callbacks = { on_piece, on_fail,
								  on_request_drain };
	const struct request *request = exchange_request(x);
	const struct h1_head *head = request->head;
	struct proxy *p = mem_alloc(sizeof(*p));
	struct h1_field fields[2 * PROXY_FIELDS_MAX];

	p->x = x;
	p->hooks = o->hooks != NULL ? o->hooks : &no_hooks;
	p->user = o->user;
	p->reply_fields = o->reply_fields;
	p->reply_field_count = o->reply_field_count;
	ENSURE(o->reply_field_count <= PROXY_FIELDS_MAX);
	p->body_max_bytes = o->body_max_bytes;
	exchange_watch(x, &exchange_callbacks, p);
	struct client_options options = o->request;

	options.method = request->method;
	options.fields = fields;
	options.field_count = copy_fields(o, head, fields);
	options.is_streamed = o->stream_body && request->has_body;
	options.streamed_bytes =
		head->framing == H1_LENGTH ? head->content_length : CLIENT_BODY_STREAMED_CHUNKED;
	p->request = client_send(o->client, &options, &client_callbacks, p);
	return p;
}

void proxy_stop(struct proxy *p, const struct err *why, struct span last)
{
	client_cancel(p->request);
	if (exchange_has_begun(p->x)) {
		break_off(p, why, last);
	} else {
		exchange_fail(p->x, why);
		finish(p, why);
	}
}
