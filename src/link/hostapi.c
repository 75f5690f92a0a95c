/* SPDX-License-Identifier: MIT */
/*
 * The agent's events come as one stream of server-sent events, in which the Host API says hello and
 * bye for it; each request is a POST of its own (an ask), whose answer is the reply.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/client.h"
#include "http/sse.h"
#include "link/base.h"

#define HOSTAPI_CONNECT_MS 5000
#define HOSTAPI_SILENCE_MS 16000      /* the stream has a heartbeat every 5 s */
#define HOSTAPI_REPLY_MS (20 * 60000) /* a start answers when the last model is loaded */
#define ERROR_BODY_MAX_BYTES 8192

struct hostapi_link {
	struct link base; /* first */
	char *host, *bearer;
	uint16_t port;
	struct h1_field fields[2]; /* Authorization, Content-Type */
	struct client *client;
	struct client_request *stream; /* NULL: hung up */
	struct sse_parser parser;
	struct buf refusal; /* the body of an answer other than 200 */
	int status;
	struct list asks; /* struct ask */
};

struct ask {
	struct list link;
	struct hostapi_link *owner;
	struct client_fetch *fetch;
	struct buf body;
	uint64_t seq; /* 0: nobody waits */
};

static struct hostapi_link *hostapi_of(struct link *l)
{
	return CONTAINER_OF(l, struct hostapi_link, base);
}

int hostapi_url_parse(const char *url, char **ret_host, uint16_t *ret_port, struct err *err)
{
	struct span rest = span_of(url);
	struct span host, port = SPAN_LIT("80");
	bool is_http = span_has_prefix(rest, "http://");
	uint64_t number = 0;

	rest = span_from(rest, sizeof("http://") - 1);
	rest = span_has_suffix(rest, "/") ? (struct span){ rest.ptr, rest.len - 1 } : rest;
	host = span_split(&rest, ':');
	port = rest.ptr != NULL ? rest : port;
	if (!is_http || host.len == 0 || span_find_char(host, '/') < host.len ||
	    span_to_u64(port, UINT16_MAX, &number) != 0 || number == 0) {
		return err_set(err, ERR_INVALID, "'%s' is not of the form http://NAME:PORT", url);
	}
	*ret_host = mem_spandup(host);
	*ret_port = (uint16_t)number;
	return 0;
}

/* Asks */

static void free_ask(struct ask *a)
{
	client_fetch_cancel(a->fetch);
	list_remove(&a->link);
	buf_finish(&a->body);
	free(a);
}

/* What an answer that is none of the channel's means; `said` may be our JSON error form. */
static void explain_status(const struct hostapi_link *h, int status, struct span said,
			   struct err *ret_why)
{
	struct json *doc = json_parse(said, NULL);
	const char *message =
		json_text_at(json_get(json_root(doc), "error"), "message", "no reason given");

	if (status == 401) {
		err_set(ret_why, ERR_UNAUTHENTICATED,
			"%s does not accept the backend's secret: both must read the same file "
			"(host_api_secret_file)",
			h->base.peer);
	} else {
		err_set(ret_why, status == 503 ? ERR_UNAVAILABLE : ERR_PROTOCOL,
			"%s answered %d: %s", h->base.peer, status, message);
	}
	json_destroy(doc);
}

static void on_answer(void *user, const struct client_reply *answered)
{
	struct ask *a = user;
	struct hostapi_link *h = a->owner;
	struct wire_event *e = mem_alloc(sizeof(*e));
	struct wire_reply reply = { .count = 0 };

	if (answered->err.code != 0) {
		reply.err = answered->err;
		err_prefix(&reply.err, "%s", h->base.peer);
	} else if (wire_event_decode(answered->body, e, NULL) == 0) {
		reply = e->reply;
	} else {
		explain_status(h, answered->status, answered->body, &reply.err);
	}
	reply.seq = a->seq;
	a->fetch = NULL;
	free_ask(a);
	link_answer(&h->base, &reply);
	wire_event_finish(e);
	free(e);
}

static int hostapi_say(struct link *l, const struct wire_request *r)
{
	struct hostapi_link *h = hostapi_of(l);
	struct ask *a = mem_alloc(sizeof(*a));
	char target[64];
	int status;

	*a = (struct ask){ .owner = h, .seq = r->seq };
	list_append(&h->asks, &a->link);
	buf_init(&a->body, WIRE_LINE_MAX_BYTES + 1);
	status = wire_request_encode(r, &a->body);
	if (status != 0) {
		free_ask(a);
		return status;
	}
	snprintf(target, sizeof(target), "/api/servers/%s",
		 r->verb == VERB_SUBSCRIBE ? "logs" : verb_name(r->verb));
	a->fetch = client_fetch(h->client,
				&(struct client_options){
					.to = { .host = h->host, .port = h->port },
					.method = H1_POST,
					.target = span_of(target),
					.fields = h->fields,
					.field_count = ARRAY_LEN(h->fields),
					.body = buf_span(&a->body),
					.connect_ms = HOSTAPI_CONNECT_MS,
					.first_byte_ms = HOSTAPI_REPLY_MS,
				},
				WIRE_LINE_MAX_BYTES, on_answer, a);
	return 0;
}

/* The stream of events */

/* The rest of a piece may follow the event with which the link was lost. */
static void on_event(void *user, const struct sse_event *event)
{
	struct hostapi_link *h = user;

	if (h->stream != NULL) {
		link_hear(&h->base, event->data);
	}
}

static void on_piece(void *user, const struct client_piece *piece)
{
	struct hostapi_link *h = user;
	struct span body = piece->body;
	bool done = piece->done;
	struct err why = { 0 };

	if (piece->head != NULL) {
		h->status = piece->head->status;
	}
	if (h->status == 200) {
		sse_parse(&h->parser, body);
	} else {
		buf_add_span(&h->refusal, body);
	}
	if (!done || h->stream == NULL) {
		return;
	}
	h->stream = NULL;
	if (h->status == 200) {
		err_set(&why, ERR_UNAVAILABLE, "%s has ended the connection", h->base.peer);
	} else {
		explain_status(h, h->status, buf_span(&h->refusal), &why);
	}
	link_lose(&h->base, &why);
}

static void on_fail(void *user, const struct err *cause, bool sent)
{
	struct hostapi_link *h = user;
	struct err why = { 0 };

	(void)sent;
	h->stream = NULL;
	err_set(&why, ERR_UNAVAILABLE, "%s does not answer: %s", h->base.peer, cause->text);
	link_lose(&h->base, &why);
}

static const struct client_callbacks stream_calls = { .on_piece = on_piece, .on_fail = on_fail };

static void hostapi_dial(struct link *l)
{
	struct hostapi_link *h = hostapi_of(l);

	h->status = 0;
	buf_clear(&h->refusal);
	sse_parser_finish(&h->parser);
	sse_parser_init(&h->parser, WIRE_LINE_MAX_BYTES, on_event, h);
	h->stream = client_send(h->client,
				&(struct client_options){
					.to = { .host = h->host, .port = h->port },
					.method = H1_GET,
					.target = SPAN_LIT("/api/servers/events"),
					.fields = h->fields,
					.field_count = 1,
					.connect_ms = HOSTAPI_CONNECT_MS,
					.first_byte_ms = HOSTAPI_SILENCE_MS,
					.idle_ms = HOSTAPI_SILENCE_MS,
				},
				&stream_calls, h);
}

static void hostapi_hang_up(struct link *l)
{
	struct hostapi_link *h = hostapi_of(l);

	client_cancel(h->stream);
	h->stream = NULL;
	LIST_EACH (struct ask, a, link, &h->asks) {
		free_ask(a);
	}
}

static void hostapi_free(struct link *l)
{
	struct hostapi_link *h = hostapi_of(l);

	client_close(h->client);
	sse_parser_finish(&h->parser);
	buf_finish(&h->refusal);
	free(h->host);
	free(h->bearer);
	free(h);
}

static const struct link_kind hostapi_kind = {
	.dial = hostapi_dial,
	.say = hostapi_say,
	.hang_up = hostapi_hang_up,
	.free = hostapi_free,
	.hello_ms = HOSTAPI_CONNECT_MS + 2 * HOSTAPI_SILENCE_MS, /* the client gives up before */
	.is_relayed = true,
};

struct link *link_hostapi_create(struct loop *loop, const struct link_hostapi_options *options,
				 struct err *err)
{
	struct hostapi_link *h = mem_alloc(sizeof(*h));

	if (hostapi_url_parse(options->url, &h->host, &h->port, err) != 0) {
		err_prefix(err, "host_api_url");
		free(h);
		return NULL;
	}
	h->bearer = mem_printf("Bearer %s", options->secret);
	h->fields[0] = (struct h1_field){ SPAN_LIT("Authorization"), span_of(h->bearer) };
	h->fields[1] = (struct h1_field){ SPAN_LIT("Content-Type"), SPAN_LIT("application/json") };
	h->client = client_create(loop);
	buf_init(&h->refusal, ERROR_BODY_MAX_BYTES);
	list_init(&h->asks);
	link_init(&h->base, loop, &hostapi_kind, mem_printf("the Host API at %s", options->url),
		  options->callbacks, options->user);
	return &h->base;
}
