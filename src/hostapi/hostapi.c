/* SPDX-License-Identifier: MIT */
/*
 * Translates: link callbacks become changes of what the readers are shown, POSTs become link
 * requests and their replies answers. Nothing is decided here but who may ask.
 *
 * What the agent says that is state is kept, its last word only: one entry of each type of event
 * and, of servers, of each id. So a fresh reader gets the whole state, and a slow one each server's
 * last state, no progress, and of log lines how many it missed.
 *
 * A call (struct call) is one POST on its way: it lives until the link's reply, even when its
 * client has left.
 */
#include "hostapi/hostapi.h"

#include <stdlib.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/feed.h"
#include "io/timer.h"

#define HOSTAPI_CONNS_MAX 256
#define BODY_MAX_BYTES WIRE_LINE_MAX_BYTES
#define READERS_MAX 64
#define HEARTBEAT_MS 5000
#define STATUS_MAX_BYTES (64 * 1024 * 1024) /* 10,000 models with everything that is said of one */

struct hostapi {
	struct http_server *server;
	struct link *link;
	struct feed feed;
	const char *secret;
	uint32_t drain_ms;
	bool leaving;
	struct timer leave_timer;
	void (*on_end)(void *user);
	void *end_user;
	size_t calls;
	bool closed; /* freed when the last call was replied */
};

struct entry {
	struct topic topic;
	struct wire_event event;
};

struct call {
	struct hostapi *hostapi;
	struct exchange *x; /* NULL: the client has left */
};

struct route {
	enum h1_method method;
	const char *path;
	bool open; /* without the secret */
	void (*handle)(struct hostapi *h, struct exchange *x);
	enum verb verb; /* of a call */
};

static const struct route *route_of(const struct exchange *x);

/* State */

static const char *event_id(const struct wire_event *e)
{
	return e->type == EVENT_SERVER ? e->server.id : "";
}

#define STATE_EACH(entry, h) LIST_EACH (struct entry, entry, topic.link, &(h)->feed.ranks[0])

/* id: of servers, else "". NULL: none is kept. */
static struct entry *find(const struct hostapi *h, enum wire_event_type type, const char *id)
{
	STATE_EACH (entry, h) {
		if (entry->event.type == type && strcmp(event_id(&entry->event), id) == 0) {
			return entry;
		}
	}
	return NULL;
}

static void drop(struct entry *entry)
{
	if (entry != NULL) {
		feed_drop(&entry->topic);
		free(entry);
	}
}

static void drop_all(struct hostapi *h)
{
	STATE_EACH (entry, h) {
		drop(entry);
	}
}

static void put(struct hostapi *h, const struct wire_event *e)
{
	struct entry *entry = find(h, e->type, event_id(e));

	entry = entry != NULL ? entry : mem_alloc(sizeof(*entry));
	entry->event = *e;
	entry->event.doc = NULL; /* what is kept owns nothing */
	feed_put(&h->feed, 0, &entry->topic);
}

/* The line of the channel without its newline. */
static const char *write_event(const struct wire_event *e, struct json_writer *w)
{
	if (wire_event_encode(e, w->out) == 0) {
		buf_truncate(w->out, w->out->len - 1);
	} else {
		w->status = ERR_FULL;
	}
	return event_name(e->type);
}

static const char *write_topic(struct feed *f, struct topic *t, struct json_writer *w)
{
	(void)f;
	return write_event(&CONTAINER_OF(t, struct entry, topic)->event, w);
}

/* No state. Who misses that a server is gone would never learn of it: let it begin again. */
static void tell(struct hostapi *h, const struct wire_event *e)
{
	struct wire_event copy = *e;

	LIST_EACH (struct feed_reader, r, link, &h->feed.readers) {
		if (e->type == EVENT_LOG) {
			copy.log.dropped = e->log.dropped + r->dropped;
		}
		bool is_told = feed_send(r, write_event(&copy, feed_begin(&h->feed))) == 0;

		if (e->type == EVENT_LOG) {
			r->dropped = is_told ? 0 : r->dropped + 1;
		} else if (!is_told && e->type == EVENT_REMOVED) {
			feed_hang_up(r);
		}
	}
}

/* From the link */

/* While nobody can tell how a server is, the last word is not passed off as its state. */
static void put_down(struct hostapi *h, const struct err *why)
{
	struct wire_event bye = { .type = EVENT_BYE, .bye = { .err = *why } };

	STATE_EACH (entry, h) {
		struct wire_event *e = &entry->event;

		if (e->type == EVENT_SERVER && server_phase_is_running(e->server.phase)) {
			e->server.phase = SERVER_UNKNOWN;
		}
	}
	drop(find(h, EVENT_HELLO, ""));
	drop(find(h, EVENT_SYNCED, ""));
	put(h, &bye);
}

static void on_up(void *user)
{
	struct hostapi *h = user;
	struct wire_event hello = { .type = EVENT_HELLO,
				    .hello = { .version = WIRE_VERSION,
					       .version_min = WIRE_VERSION_MIN,
					       .restricted = true } };

	drop_all(h);
	put(h, &hello);
}

static void on_down(void *user, const struct err *why)
{
	struct hostapi *h = user;
	const struct entry *said = find(h, EVENT_BYE, "");

	if (said == NULL || said->event.bye.err.code != why->code ||
	    strcmp(said->event.bye.err.text, why->text) != 0) {
		log_warn("%s", why->text); /* once, not at every new try */
		put_down(h, why);
	}
}

static void on_event(void *user, const struct wire_event *e)
{
	struct hostapi *h = user;
	struct entry *entry;

	switch (e->type) {
	case EVENT_HOST:
	case EVENT_SERVER:
	case EVENT_SYNCED:
		put(h, e);
		return;
	case EVENT_PROGRESS:
		entry = find(h, EVENT_SERVER, e->progress.id);
		if (entry != NULL) {
			entry->event.server.progress = e->progress.fraction;
			entry->event.server.eta_ms = e->progress.eta_ms;
		}
		break;
	case EVENT_REMOVED:
		drop(find(h, EVENT_SERVER, e->removed.id));
		break;
	case EVENT_LOG:
	case EVENT_HELLO:
	case EVENT_REPLY:
	case EVENT_BYE:
		break;
	}
	tell(h, e);
}

static const struct link_callbacks link_calls = { on_up, on_event, on_down };

/* Requests */

static void reply_buf(struct exchange *x, int status, struct buf *body)
{
	exchange_reply_json(x, status, buf_span(body));
	buf_finish(body);
}

static void write_agent(struct json_writer *w, const struct hostapi *h)
{
	jsonw_member_text(w, "agent",
			  link_is_up(h->link) ? "connected" : link_error(h->link)->text);
}

/* "ok" for whoever asks whether we live; how the agent is, for a person. */
static void handle_health(struct hostapi *h, struct exchange *x)
{
	struct json_writer w;
	struct buf body;

	buf_init(&body, 4096);
	jsonw_init(&w, &body);
	jsonw_object(&w);
	jsonw_member_text(&w, "status", "ok");
	write_agent(&w, h);
	jsonw_member_i64(&w, "unix_ms", loop_unix_ms()); /* for doctor: containers' clocks drift */
	jsonw_end_all(&w);
	reply_buf(x, 200, &body);
}

static void handle_ready(struct hostapi *h, struct exchange *x)
{
	struct err down = *link_error(h->link);

	if (down.code != 0) {
		down.code = ERR_UNAVAILABLE; /* whatever it is there, here it is not being ready */
		exchange_fail(x, &down);
		return;
	}
	exchange_reply_json(x, 200, SPAN_LIT("{\"status\":\"ready\"}"));
}

static void handle_status(struct hostapi *h, struct exchange *x)
{
	const struct entry *host = find(h, EVENT_HOST, "");
	struct json_writer w;
	struct buf body;

	buf_init(&body, STATUS_MAX_BYTES);
	jsonw_init(&w, &body);
	jsonw_object(&w);
	write_agent(&w, h);
	jsonw_key(&w, "host");
	if (host != NULL) {
		host_info_write(&w, &host->event.host);
	} else {
		jsonw_null(&w);
	}
	jsonw_member_array(&w, "servers");
	STATE_EACH (entry, h) {
		if (entry->event.type == EVENT_SERVER) {
			server_write(&w, &entry->event.server);
		}
	}
	jsonw_end_all(&w);
	reply_buf(x, 200, &body);
}

static void handle_events(struct hostapi *h, struct exchange *x)
{
	struct err err = { 0 };

	if (feed_add(&h->feed, x, &err) == NULL) {
		exchange_fail(x, &err);
	}
}

/* Calls: POST -> request -> reply */

static void free_if_over(struct hostapi *h)
{
	if (h->closed && h->calls == 0) {
		free(h);
	}
}

static void on_call_close(void *user)
{
	((struct call *)user)->x = NULL;
}

static const struct exchange_callbacks call_calls = { .on_close = on_call_close };

static void answer(struct hostapi *h, struct exchange *x, const struct wire_reply *reply)
{
	struct wire_event e = { .type = EVENT_REPLY, .reply = *reply };
	int status = reply->err.code == 0 ? 200 : err_http_status(reply->err.code);
	struct buf body;

	e.reply.seq = 0; /* that of our link says nothing to who asks */
	if (!link_is_up(h->link)) {
		status = 503; /* why the agent is away is no verdict on who asks */
	}
	buf_init(&body, WIRE_LINE_MAX_BYTES + 1);
	ENSURE(wire_event_encode(&e, &body) == 0);
	reply_buf(x, status, &body);
}

static void on_reply(void *user, const struct wire_reply *reply)
{
	struct call *c = user;
	struct hostapi *h = c->hostapi;

	if (c->x != NULL) {
		answer(h, c->x, reply);
	}
	free(c);
	h->calls--;
	free_if_over(h);
}

static void ask(struct hostapi *h, struct exchange *x, const struct wire_request *r)
{
	struct call *c = mem_alloc(sizeof(*c));

	*c = (struct call){ .hostapi = h, .x = x };
	h->calls++;
	exchange_watch(x, &call_calls, c);
	link_send(h->link, r, on_reply, c);
}

static void on_body(void *user, struct exchange *x, struct span body)
{
	struct hostapi *h = user;
	struct wire_request r = { 0 };
	struct err err = { 0 };

	if (h->leaving) {
		err_set(&err, ERR_UNAVAILABLE, "the Host API is being stopped");
	} else {
		wire_request_decode_as(route_of(x)->verb, body, &r, &err);
	}
	if (err.code != 0) {
		exchange_fail(x, &err);
		return;
	}
	if (r.verb == VERB_SUBSCRIBE) {
		link_follow_logs(h->link, r.ids, r.id_count, r.tail);
		answer(h, x, &(struct wire_reply){ .count = 0 });
	} else {
		ask(h, x, &r);
	}
	wire_request_finish(&r);
}

static void handle_call(struct hostapi *h, struct exchange *x)
{
	exchange_read_body(x, BODY_MAX_BYTES, on_body, h);
}

static const struct route routes[] = {
	{ H1_GET, "/health", true, handle_health, 0 },
	{ H1_GET, "/healthz", true, handle_health, 0 },
	{ H1_GET, "/ready", true, handle_ready, 0 },
	{ H1_GET, "/api/servers/status", false, handle_status, 0 },
	{ H1_GET, "/api/servers/events", false, handle_events, 0 },
	{ H1_POST, "/api/servers/start", false, handle_call, VERB_START },
	{ H1_POST, "/api/servers/stop", false, handle_call, VERB_STOP },
	{ H1_POST, "/api/servers/restart", false, handle_call, VERB_RESTART },
	{ H1_POST, "/api/servers/credentials", false, handle_call, VERB_CREDENTIALS },
	{ H1_POST, "/api/servers/reload", false, handle_call, VERB_RELOAD },
	{ H1_POST, "/api/servers/pull", false, handle_call, VERB_PULL },
	{ H1_POST, "/api/servers/logs", false, handle_call, VERB_SUBSCRIBE },
};

static const struct route *route_of(const struct exchange *x)
{
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (strcmp(exchange_request(x)->path, routes[i].path) == 0) {
			return &routes[i];
		}
	}
	return NULL;
}

static bool has_secret(const struct hostapi *h, const struct request *r)
{
	struct span value;

	return h1_count(r->head, "Authorization", &value) == 1 &&
	       span_has_prefix(value, "Bearer ") &&
	       secret_equal(span_of(h->secret), span_from(value, sizeof("Bearer ") - 1));
}

static void on_request(void *user, struct exchange *x)
{
	struct hostapi *h = user;
	const struct request *r = exchange_request(x);
	enum h1_method method = r->method == H1_HEAD ? H1_GET : r->method;
	const struct route *at = route_of(x);
	struct err err = { 0 };

	if ((at == NULL || !at->open) && !has_secret(h, r)) {
		err_set(&err, ERR_UNAUTHENTICATED,
			"the Host API's shared secret is missing or wrong");
	} else if (at == NULL) {
		err_set(&err, ERR_NOT_FOUND, "there is nothing at this path of the Host API");
	} else if (at->method != method) {
		err_set(&err, ERR_METHOD, "%s takes %s", at->path, h1_method_name(at->method));
	} else {
		at->handle(h, x);
		return;
	}
	exchange_fail(x, &err);
}

/* Life */

static void leave(struct hostapi *h)
{
	timer_stop(&h->leave_timer);
	h->on_end(h->end_user);
}

static void on_leave_timeout(struct timer *t)
{
	struct hostapi *h = CONTAINER_OF(t, struct hostapi, leave_timer);

	log_warn("%s; its lease ends what runs",
		 link_is_up(h->link) ? "the agent did not confirm the stop in time"
				     : "no agent is connected, so nothing is stopped now");
	leave(h);
}

static const struct feed_kind feed_kind = { .of = "events",
					    .readers_max = READERS_MAX,
					    .heartbeat_ms = HEARTBEAT_MS,
					    .event_max_bytes = WIRE_LINE_MAX_BYTES + 1,
					    .write = write_topic };

struct hostapi *hostapi_start(struct loop *loop, const struct hostapi_options *options,
			      struct err *err)
{
	struct hostapi *h = mem_alloc(sizeof(*h));
	struct link_ssh_options ssh = options->ssh;
	struct http_server_options http = {
		.listener = { .address = options->address,
			      .port = options->port,
			      .conns_max = HOSTAPI_CONNS_MAX },
		.hosts = options->hosts,
		.on_request = on_request,
		.user = h,
	};

	ENSURE(options->secret[0] != '\0');
	h->secret = options->secret;
	h->drain_ms = options->drain_ms;
	h->server = http_server_start(loop, &http, err);
	if (h->server == NULL) {
		free(h);
		return NULL;
	}
	feed_init(&h->feed, loop, &feed_kind);
	timer_init(&h->leave_timer, loop, on_leave_timeout);
	ssh.callbacks = &link_calls;
	ssh.user = h;
	h->link = link_ssh_create(loop, &ssh);
	put_down(h, link_error(h->link));
	return h;
}

uint16_t hostapi_port(const struct hostapi *h)
{
	return http_server_port(h->server);
}

static void on_stopped(void *user, const struct wire_reply *reply)
{
	struct hostapi *h = user;

	h->calls--;
	if (h->closed) {
		free_if_over(h);
	} else if (timer_is_on(&h->leave_timer)) {
		if (reply->err.code != 0) {
			log_warn("stopping the servers: %s", reply->err.text);
		}
		leave(h);
	}
}

void hostapi_leave(struct hostapi *h, void (*on_end)(void *user), void *user)
{
	if (h->leaving) {
		return;
	}
	h->leaving = true;
	h->on_end = on_end;
	h->end_user = user;
	timer_start(&h->leave_timer, link_is_up(h->link) ? HOSTAPI_LEAVE_MS : 0);
	if (link_is_up(h->link)) {
		h->calls++;
		link_send(h->link,
			  &(struct wire_request){ .verb = VERB_STOP,
						  .drain_ms = h->drain_ms,
						  .deadline_ms = HOSTAPI_STOP_MS },
			  on_stopped, h);
	}
}

void hostapi_close(struct hostapi *h)
{
	if (h != NULL) {
		timer_stop(&h->leave_timer);
		drop_all(h);
		feed_finish(&h->feed);
		http_server_close(h->server);
		link_close(h->link);
		h->closed = true;
		free_if_over(h);
	}
}
