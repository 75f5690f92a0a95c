/* SPDX-License-Identifier: MIT */
/*
 *   WAITING ──timer──> ASKED ──200──> OPEN <──bye, hello──> UP        any ──link_close──> CLOSED
 *      ^                 |             |                    |
 *      └──── refused, silent, ended ───┴────────────────────┘
 *
 * Each POST is an ask of its own and ends with its own answer, also while the stream is away; the
 * link's being down only keeps new ones from being made. Replies to asks that are never made come
 * from the timer `soon`, so that nothing calls back from inside link_send or link_close.
 */
#include "link/hostapi.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/sse.h"
#include "io/timer.h"

#define HOSTAPI_CONNECT_MS 5000
#define HOSTAPI_SILENCE_MS 16000      /* the stream has a heartbeat every 5 s */
#define HOSTAPI_REPLY_MS (20 * 60000) /* a start answers when the last model is loaded */
#define HOSTAPI_BACKOFF_MIN_MS 250
#define HOSTAPI_BACKOFF_MAX_MS 5000
#define HOSTAPI_ASKS_MAX 256
#define ERROR_BODY_MAX_BYTES 8192

enum hostapi_state { HOSTAPI_WAITING, HOSTAPI_ASKED, HOSTAPI_OPEN, HOSTAPI_UP, HOSTAPI_CLOSED };

struct hostapi_link {
	struct link base; /* first */
	struct loop *loop;
	char *url, *host, *bearer;
	uint16_t port;
	struct h1_field fields[2]; /* Authorization, Content-Type */
	const struct link_callbacks *callbacks;
	void *user;

	enum hostapi_state state;
	struct client *client;
	struct client_request *stream; /* ASKED, OPEN, UP */
	struct sse_parser parser;
	struct buf refusal; /* the body of an answer other than 200 */
	int status;
	struct timer retry; /* WAITING */
	uint32_t losses;
	struct timer soon;
	struct list asks; /* struct ask */
	size_t ask_count;
	char **followed; /* said again when the link comes up; NULL: none was ever asked for */
	size_t followed_count;
	uint32_t tail;
};

struct ask {
	struct list link;
	struct hostapi_link *owner;
	struct client_fetch *fetch; /* NULL: never made, err says why */
	struct buf body;
	link_reply_fn *on_reply; /* NULL: nobody waits */
	void *user;
	struct err err;
};
static struct hostapi_link *hostapi_of(struct link *link)
{
	return (struct hostapi_link *)link; /* base is its first member */
}

int hostapi_url_parse(const char *url, char **ret_host, uint16_t *ret_port, struct err *err)
{
	struct span rest = span_of(url);
	struct span host, port = SPAN_LIT("80");
	uint64_t number = 0;

	if (!span_has_prefix(rest, "http://")) {
		return err_set(err, ERR_INVALID,
			       "host_api_url is '%s': not of the form http://NAME:PORT", url);
	}
	rest = span_from(rest, sizeof("http://") - 1);
	rest = span_has_suffix(rest, "/") ? (struct span){ rest.ptr, rest.len - 1 } : rest;
	host = span_split(&rest, ':');
	port = rest.ptr != NULL ? rest : port;
	if (host.len == 0 || span_find_char(host, '/') < host.len ||
	    span_to_u64(port, UINT16_MAX, &number) != 0 || number == 0) {
		return err_set(err, ERR_INVALID,
			       "host_api_url is '%s': not of the form http://NAME:PORT", url);
	}
	*ret_host = mem_spandup(host);
	*ret_port = (uint16_t)number;
	return 0;
}

/* Asks */

static void free_ask(struct ask *a)
{
	list_remove(&a->link);
	a->owner->ask_count--;
	buf_finish(&a->body);
	free(a);
}

static void answer(struct ask *a, const struct link_reply *reply)
{
	link_reply_fn *on_reply = a->on_reply;
	void *user = a->user;

	free_ask(a);
	if (on_reply != NULL) {
		on_reply(user, reply);
	}
}

/* What an answer that is none of the channel's means; `said` may be our JSON error form. */
static void explain_status(const struct hostapi_link *l, int status, struct span said,
			   struct err *ret_why)
{
	struct json *doc = json_parse(said, NULL);
	const char *message =
		json_text_at(json_get(json_root(doc), "error"), "message", "no reason given");

	if (status == 401) {
		err_set(ret_why, ERR_UNAUTHENTICATED,
			"the Host API at %s does not accept the backend's secret: both must read "
			"the "
			"same file (host_api_secret_file)",
			l->url);
	} else {
		err_set(ret_why, status == 503 ? ERR_UNAVAILABLE : ERR_PROTOCOL,
			"the Host API at %s answered %d: %s", l->url, status, message);
	}
	json_destroy(doc);
}

static void on_answer(void *user, const struct client_reply *answered)
{
	struct ask *a = user;
	struct wire_event *e = mem_alloc(sizeof(*e));
	struct link_reply reply = { .count = 0 };
	bool decoded = false;

	a->fetch = NULL;
	if (answered->err.code != 0) {
		reply.err = answered->err;
		err_prefix(&reply.err, "the Host API at %s", a->owner->url);
	} else if (wire_event_decode(answered->body, e, NULL) == 0) {
		decoded = true;
		reply.err = e->reply.err;
		reply.results = e->reply.results;
		reply.count = e->reply.result_count;
	} else {
		explain_status(a->owner, answered->status, answered->body, &reply.err);
	}
	answer(a, &reply);
	if (decoded) {
		wire_event_finish(e);
	}
	free(e);
}

static const char *path_of(enum verb verb)
{
	return verb == VERB_SUBSCRIBE ? "logs" : verb_name(verb);
}

static void make_ask(struct hostapi_link *l, const struct wire_request *r, link_reply_fn *on_reply,
		     void *user)
{
	struct ask *a = mem_alloc(sizeof(*a));
	char target[64];

	*a = (struct ask){ .owner = l, .on_reply = on_reply, .user = user };
	list_init(&a->link);
	list_append(&l->asks, &a->link);
	buf_init(&a->body, WIRE_LINE_MAX_BYTES + 1);
	if (l->base.down.code != 0) {
		a->err = l->base.down;
	} else if (l->ask_count >= HOSTAPI_ASKS_MAX) {
		err_set(&a->err, ERR_RATE, "%d requests to the Host API wait already",
			HOSTAPI_ASKS_MAX);
	} else if (wire_request_encode(r, &a->body) != 0) {
		err_set(&a->err, ERR_INVALID, "%zu models in one request; at most %d, or all",
			r->id_count, WIRE_IDS_MAX);
	}
	l->ask_count++;
	if (a->err.code != 0) {
		timer_start(&l->soon, 0);
		return;
	}
	snprintf(target, sizeof(target), "/api/servers/%s", path_of(r->verb));
	a->fetch = client_fetch(l->client,
				&(struct client_options){
					.to = { .host = l->host, .port = l->port },
					.method = H1_POST,
					.target = span_of(target),
					.fields = l->fields,
					.field_count = ARRAY_LEN(l->fields),
					.body = buf_span(&a->body),
					.connect_ms = HOSTAPI_CONNECT_MS,
					.first_byte_ms = HOSTAPI_REPLY_MS,
				},
				WIRE_LINE_MAX_BYTES, on_answer, a);
}

static void say_followed(struct hostapi_link *l)
{
	struct wire_request r = { .verb = VERB_SUBSCRIBE,
				  .ids = (const char *const *)l->followed,
				  .id_count = l->followed_count,
				  .none = l->followed_count == 0,
				  .tail = l->tail };

	if (l->followed != NULL && l->state == HOSTAPI_UP) {
		make_ask(l, &r, NULL, NULL);
	}
}

/* The stream of events */

static void tell_down(struct hostapi_link *l, const struct err *why)
{
	l->base.down = *why;
	l->callbacks->on_down(l->user, why);
}

static void lose(struct hostapi_link *l, const struct err *why)
{
	uint64_t delay_ms = HOSTAPI_BACKOFF_MIN_MS;

	for (uint32_t i = 0; i < l->losses && delay_ms < HOSTAPI_BACKOFF_MAX_MS; i++) {
		delay_ms *= 2;
	}
	l->losses++;
	l->stream = NULL;
	l->state = HOSTAPI_WAITING;
	timer_start(&l->retry, delay_ms - loop_now_us() % (delay_ms / 4));
	tell_down(l, why);
}

static void on_hello(struct hostapi_link *l, const struct wire_event *e)
{
	struct err err = { 0 };

	if (wire_versions_agree(e->hello.version, e->hello.version_min, "the Host API", &err) !=
	    0) {
		tell_down(l, &err);
		return;
	}
	l->state = HOSTAPI_UP;
	l->base.down = (struct err){ 0 };
	say_followed(l);
	l->callbacks->on_up(l->user);
}

static void on_state(struct hostapi_link *l, const struct wire_event *e)
{
	const struct link_callbacks *call = l->callbacks;

	switch (e->type) {
	case EVENT_HELLO:
	case EVENT_BYE:
	case EVENT_REPLY:
		break;
	case EVENT_HOST:
		call->on_host(l->user, &e->host);
		break;
	case EVENT_SERVER:
		call->on_server(l->user, &e->server);
		break;
	case EVENT_PROGRESS:
		call->on_progress(l->user, e->progress.id, e->progress.fraction,
				  e->progress.eta_ms);
		break;
	case EVENT_REMOVED:
		call->on_removed(l->user, e->removed.id);
		break;
	case EVENT_SYNCED:
		call->on_synced(l->user);
		break;
	case EVENT_LOG:
		call->on_log(l->user, e->log.id, e->log.line, e->log.dropped);
		break;
	}
}

static void on_event(void *user, const struct sse_event *event)
{
	struct hostapi_link *l = user;
	struct wire_event *e;
	struct err err = { 0 };

	if (l->state == HOSTAPI_CLOSED) {
		return;
	}
	e = mem_alloc(sizeof(*e));
	if (wire_event_decode(event->data, e, &err) != 0) {
		log_warn("the Host API at %s: an event is skipped: %s", l->url, err.text);
		free(e);
		return;
	}
	if (e->type == EVENT_HELLO) {
		on_hello(l, e);
	} else if (e->type == EVENT_BYE) {
		l->state = HOSTAPI_OPEN;
		tell_down(l, &e->bye.err);
	} else if (l->state == HOSTAPI_UP) {
		on_state(l, e);
	}
	wire_event_finish(e);
	free(e);
}

static void on_piece(void *user, const struct client_piece *piece)
{
	struct hostapi_link *l = user;
	struct err why = { 0 };

	if (piece->head != NULL) {
		l->status = piece->head->status;
		l->state = HOSTAPI_OPEN;
		l->losses = l->status == 200 ? 0 : l->losses;
	}
	if (l->status == 200) {
		sse_parse(&l->parser, piece->body);
	} else {
		buf_add_span(&l->refusal, piece->body);
	}
	if (!piece->done || l->state == HOSTAPI_CLOSED) {
		l->stream = piece->done ? NULL : l->stream;
		return;
	}
	if (l->status == 200) {
		err_set(&why, ERR_UNAVAILABLE, "the Host API at %s has ended the connection",
			l->url);
	} else {
		explain_status(l, l->status, buf_span(&l->refusal), &why);
	}
	lose(l, &why);
}

static void on_fail(void *user, const struct err *cause, bool sent)
{
	struct hostapi_link *l = user;
	struct err why = { 0 };

	(void)sent;
	l->stream = NULL;
	if (l->state != HOSTAPI_CLOSED) {
		err_set(&why, ERR_UNAVAILABLE, "the Host API at %s does not answer: %s", l->url,
			cause->text);
		lose(l, &why);
	}
}

static const struct client_callbacks stream_calls = { .on_piece = on_piece, .on_fail = on_fail };

static void on_retry(struct timer *t)
{
	struct hostapi_link *l = CONTAINER_OF(t, struct hostapi_link, retry);

	l->state = HOSTAPI_ASKED;
	l->status = 0;
	buf_clear(&l->refusal);
	sse_parser_finish(&l->parser);
	sse_parser_init(&l->parser, WIRE_LINE_MAX_BYTES, on_event, l);
	l->stream = client_send(l->client,
				&(struct client_options){
					.to = { .host = l->host, .port = l->port },
					.method = H1_GET,
					.target = SPAN_LIT("/api/servers/events"),
					.fields = l->fields,
					.field_count = 1,
					.connect_ms = HOSTAPI_CONNECT_MS,
					.first_byte_ms = HOSTAPI_SILENCE_MS,
					.idle_ms = HOSTAPI_SILENCE_MS,
				},
				&stream_calls, l);
}

/* The link's interface */

static void hostapi_send(struct link *link, const struct link_request *request,
			 link_reply_fn *on_reply, void *user)
{
	struct wire_request r = { .verb = request->verb,
				  .ids = request->ids,
				  .id_count = request->count,
				  .drain_ms = request->drain_ms,
				  .deadline_ms = request->deadline_ms };

	make_ask(hostapi_of(link), &r, on_reply, user);
}

static void forget_followed(struct hostapi_link *l)
{
	for (size_t i = 0; i < l->followed_count; i++) {
		free(l->followed[i]);
	}
	free(l->followed);
}

static void hostapi_follow_logs(struct link *link, const char *const *ids, size_t count,
				uint32_t tail)
{
	struct hostapi_link *l = hostapi_of(link);

	forget_followed(l);
	l->followed_count = count < WIRE_IDS_MAX ? count : WIRE_IDS_MAX;
	l->followed = mem_alloc((l->followed_count + 1) * sizeof(*l->followed));
	for (size_t i = 0; i < l->followed_count; i++) {
		l->followed[i] = mem_strdup(ids[i]);
	}
	l->tail = tail;
	say_followed(l);
}

static void hostapi_close(struct link *link)
{
	struct hostapi_link *l = hostapi_of(link);

	if (l->state != HOSTAPI_CLOSED) {
		l->state = HOSTAPI_CLOSED;
		err_set(&l->base.down, ERR_CANCELED, "the link to the Host API was closed");
		timer_stop(&l->retry);
		timer_start(&l->soon, 0);
	}
}

static void finish(struct hostapi_link *l)
{
	client_cancel(l->stream);
	client_close(l->client);
	sse_parser_finish(&l->parser);
	buf_finish(&l->refusal);
	forget_followed(l);
	free(l->url);
	free(l->host);
	free(l->bearer);
	free(l);
}

/* Asks that were never made are answered; when closed, all are, and the link goes. */
static void on_soon(struct timer *t)
{
	struct hostapi_link *l = CONTAINER_OF(t, struct hostapi_link, soon);

	LIST_FOR_EACH (it, next, &l->asks) {
		struct ask *a = LIST_ITEM(it, struct ask, link);

		if (a->fetch == NULL || l->state == HOSTAPI_CLOSED) {
			client_fetch_cancel(a->fetch);
			answer(a, &(struct link_reply){ .err = a->err.code != 0 ? a->err
										: l->base.down });
		}
	}
	if (l->state == HOSTAPI_CLOSED) {
		finish(l);
	}
}

static const struct link_ops hostapi_ops = {
	.send = hostapi_send,
	.follow_logs = hostapi_follow_logs,
	.close = hostapi_close,
};

struct link *link_hostapi_create(struct loop *loop, const struct link_hostapi_options *options,
				 struct err *err)
{
	struct hostapi_link *l = mem_alloc(sizeof(*l));

	if (hostapi_url_parse(options->url, &l->host, &l->port, err) != 0) {
		free(l);
		return NULL;
	}
	l->base.ops = &hostapi_ops;
	err_set(&l->base.down, ERR_UNAVAILABLE, "the Host API at %s is not connected yet",
		options->url);
	l->loop = loop;
	l->url = mem_strdup(options->url);
	l->bearer = mem_printf("Bearer %s", options->secret);
	l->fields[0] = (struct h1_field){ SPAN_LIT("Authorization"), span_of(l->bearer) };
	l->fields[1] = (struct h1_field){ SPAN_LIT("Content-Type"), SPAN_LIT("application/json") };
	l->callbacks = options->callbacks;
	l->user = options->user;
	l->client = client_create(loop);
	buf_init(&l->refusal, ERROR_BODY_MAX_BYTES);
	list_init(&l->asks);
	timer_init(&l->retry, loop, on_retry);
	timer_init(&l->soon, loop, on_soon);
	timer_start(&l->retry, 0);
	return &l->base;
}
