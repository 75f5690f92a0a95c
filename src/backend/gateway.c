/* SPDX-License-Identifier: MIT */
/*
 * A `struct ask` is one request from its head to its answer's end:
 *
 *   READING -> WAITING -> RELAYING -> done
 *                 `----<----'  nothing of it had left when the engine went away
 *
 * It is in the gateway's list `waiting` or in `others`. In READING and WAITING it holds the
 * exchange; in RELAYING the proxy does. Every way out passes through ask_done, which counts and
 * frees. The fleet may call on_model from inside fleet_request_ended, so loops over asks begin anew
 * after each that they end.
 */
#include "backend/gateway.h"

#include <stdlib.h>
#include <strings.h>

#include "backend/catalog.h"
#include "backend/router.h"
#include "base/mem.h"
#include "engine/api.h"
#include "http/proxy.h"
#include "http/sse.h"
#include "io/timer.h"

#define GATEWAY_EVENT_MAX_BYTES 65536 /* of an event that is looked into for its usage */
#define GATEWAY_TRIES_MAX 6	      /* of a request that had not left when its engine went away */
#define GATEWAY_AGAIN_MS 50	      /* until the second try; doubles */
#define GATEWAY_HEAD_BYTES 256	      /* of a plain answer: usage stands first or last */
#define GATEWAY_TAIL_BYTES 4096
#define BEARER "Bearer "

enum ask_state { ASK_READING, ASK_WAITING, ASK_RELAYING };

struct gateway {
	struct gateway_options options;
	struct client *client;
	struct fleet_listener listener;
	struct list waiting, others; /* asks, in the order in which they came */
	struct list starts;	     /* that the fleet was asked for and has not replied to */
	size_t count;
	uint64_t next_id;
	bool is_closed; /* freed with the last of `starts` */
};

struct start {
	struct list link;
	struct gateway *gateway;
	char id[SERVER_ID_MAX_BYTES];
};

struct ask {
	struct list link;
	struct gateway *gateway;
	union {
		struct exchange *exchange; /* READING, WAITING */
		struct proxy *proxy;	   /* RELAYING */
	};
	const struct route *route;
	struct fleet_model *counted; /* in whose queued (WAITING) or active (RELAYING) this is */
	struct span body;
	enum ask_state state;
	int tries, status; /* status: HTTP, as answered so far */
	bool has_key;	   /* `key` is one of ours, which may open some models only */
	bool is_stream;	   /* asked for */
	bool is_events;	   /* the answer is an event stream */
	uint64_t due_ms;   /* WAITING: no longer than that; 0: has not waited yet */
	struct timer timer;
	/* For its account: see there. */
	uint64_t id;
	int64_t at_unix_ms;
	char *model, *key; /* NULL: not known yet; none */
	uint64_t begin_us, routed_us, first_us, last_us;
	struct api_usage usage;
	union {
		struct sse_parser events; /* is_events */
		struct {
			struct buf head, tail; /* its ends */
			uint64_t length;       /* 0: not known */
		} plain;
	} answer;
};

/* Errors in the caller's dialect */

void gateway_write_error(const struct request *request, const struct err *why, struct buf *out)
{
	error_body_write(route_dialect(request != NULL ? request->path : ""), why, out);
}

/* Accounts */

static void tell(struct ask *a, enum account_phase phase, const char *error)
{
	const struct account_sink *sink = a->gateway->options.sink;
	const struct api_usage *u = &a->usage;
	bool is_done = phase == ACCOUNT_DONE;
	struct account account = {
		.id = a->id,
		.at_unix_ms = a->at_unix_ms,
		.model = a->model != NULL ? a->model : "",
		.key = a->key != NULL ? a->key : "",
		.path = a->route->path,
		.stream = a->is_stream,
		.phase = phase,
		.status = a->status,
		.error = error,
		.prompt_tokens = is_done ? u->prompt_tokens : -1,
		.cached_tokens = is_done ? u->cached_tokens : -1,
		.generated_tokens = is_done ? u->completion_tokens : -1,
		.begin_us = a->begin_us,
		.routed_us = a->routed_us,
		.first_us = a->first_us,
		.end_us = is_done ? loop_turn_us(a->gateway->options.loop) : 0,
	};

	if (sink == NULL) {
		return;
	}
	if (is_done && u->predicted_ms > 0 && u->predicted_n > 0) {
		account.tokens_per_second = (double)u->predicted_n * 1000.0 / u->predicted_ms;
	}
	sink->on_account(sink->user, &account);
}

/* The first and the last bytes of a plain answer: usage stands in either. */
static void read_ends(struct ask *a, struct span head, struct span tail)
{
	api_usage_scan(&a->usage, head);
	api_usage_scan(&a->usage, tail);
}

static void set_state(struct ask *a, enum ask_state state, struct fleet_model *m)
{
	struct gateway *g = a->gateway;

	list_remove(&a->link);
	list_append(state == ASK_WAITING ? &g->waiting : &g->others, &a->link);
	a->state = state;
	a->counted = m;
	if (m != NULL) {
		*(state == ASK_WAITING ? &m->queued : &m->active) += 1;
	}
}

/* Out of its model's count; the fleet may free the model or end its drain then. */
static void uncount(struct ask *a)
{
	struct fleet_model *m = a->counted;

	if (m != NULL) {
		*(a->state == ASK_WAITING ? &m->queued : &m->active) -= 1;
		a->counted = NULL;
		fleet_request_ended(a->gateway->options.fleet, m);
	}
}

/*
 * A whole answer comes when all is generated. Where it tells for how long, that is when its first
 * token was; else nobody knows.
 */
static uint64_t whole_first_us(const struct ask *a)
{
	double us = a->usage.predicted_ms * 1000,
	       all_us = (double)a->last_us - (double)a->routed_us;

	return us >= 0 && us <= all_us ? a->last_us - (uint64_t)us : 0;
}

/* The one way out. */
static void ask_done(struct ask *a, int status, const char *error)
{
	list_remove(&a->link);
	a->gateway->count--;
	timer_stop(&a->timer);
	if (a->is_events) {
		sse_parser_finish(&a->answer.events);
	} else {
		read_ends(a, buf_span(&a->answer.plain.head), buf_span(&a->answer.plain.tail));
		a->first_us = whole_first_us(a);
		buf_finish(&a->answer.plain.head);
		buf_finish(&a->answer.plain.tail);
	}
	a->status = status;
	tell(a, ACCOUNT_DONE, error);
	uncount(a);
	free(a->model);
	free(a->key);
	free(a);
}

static void ask_fail(struct ask *a, const struct err *why)
{
	struct exchange *x = a->exchange;
	struct err copy = *why;

	ask_done(a, err_http_status(copy.code), copy.text);
	exchange_fail(x, &copy);
}

static void on_exchange_close(void *user)
{
	struct ask *a = user;
	const struct err *why = exchange_refusal(a->exchange);

	ask_done(a, err_http_status(why->code), why->text);
}

static const struct exchange_callbacks exchange_calls = { on_exchange_close, NULL };

/* Relaying */

static void on_event(void *user, const struct sse_event *event)
{
	struct ask *a = user;
	const struct account_sink *sink = a->gateway->options.sink;
	uint64_t now_us = loop_turn_us(a->gateway->options.loop);

	if (a->first_us == 0) {
		a->first_us = now_us;
		tell(a, ACCOUNT_GENERATING, "");
	} else if (sink != NULL && sink->on_gap != NULL) {
		sink->on_gap(sink->user, a->model, now_us - a->last_us);
	}
	a->last_us = now_us;
	/* They come with the last events; a look at each is cheap, reading them is not. */
	if (span_has(event->data, "\"timings\"") || span_has(event->data, "\"usage\"")) {
		api_usage_scan(&a->usage, event->data);
	}
}

static void on_head(void *user, const struct h1_head *head)
{
	struct ask *a = user;

	a->status = head->status;
	a->is_events = span_has_prefix(h1_get(head, "Content-Type"), "text/event-stream");
	if (a->is_events) {
		sse_parser_init(&a->answer.events, GATEWAY_EVENT_MAX_BYTES, on_event, a);
	} else {
		buf_init(&a->answer.plain.head, GATEWAY_HEAD_BYTES);
		buf_init(&a->answer.plain.tail, GATEWAY_TAIL_BYTES);
		a->answer.plain.length = head->content_length;
	}
}

static void add_some(struct buf *b, struct span bytes)
{
	buf_add(b, bytes.ptr, buf_room(b) < bytes.len ? buf_room(b) : bytes.len);
}

static struct span last_bytes(struct span piece)
{
	return span_from(piece,
			 piece.len > GATEWAY_TAIL_BYTES ? piece.len - GATEWAY_TAIL_BYTES : 0);
}

/* The head is needed only of what the tail cannot hold. */
static void keep_ends(struct ask *a, struct span piece)
{
	struct buf *head = &a->answer.plain.head, *tail = &a->answer.plain.tail;

	if (piece.len > buf_room(tail) && head->len == 0) {
		add_some(head, buf_span(tail));
		add_some(head, piece);
	}
	piece = last_bytes(piece);
	if (piece.len > buf_room(tail)) {
		buf_consume(tail, piece.len - buf_room(tail));
	}
	buf_add_span(tail, piece);
}

static void on_body(void *user, struct span piece)
{
	struct ask *a = user;

	if (a->is_events) {
		sse_parse(&a->answer.events, piece);
		return;
	}
	a->last_us = a->last_us != 0 ? a->last_us : loop_turn_us(a->gateway->options.loop);
	if (piece.len == a->answer.plain.length) {
		struct span head = { piece.ptr,
				     piece.len > GATEWAY_TAIL_BYTES ? GATEWAY_HEAD_BYTES : 0 };

		read_ends(a, head, last_bytes(piece));
	} else {
		keep_ends(a, piece);
	}
}

static void wait_for(struct ask *a, struct fleet_model *m, uint64_t again_ms);

/* Nothing was answered, and the proxy is gone: the exchange is the ask's again. */
static void take_back(struct ask *a, struct exchange *x)
{
	uncount(a);
	a->exchange = x;
	set_state(a, ASK_READING, NULL);
	exchange_watch(x, &exchange_calls, a);
}

/*
 * Nothing was answered. What had not left waits until the fleet knows more of its engine, or tries
 * again: word of a crash may come later than the refused connection.
 */
static bool on_relay_fail(void *user, struct exchange *x, const struct err *why, bool sent)
{
	struct ask *a = user;
	struct err err = *why;

	take_back(a, x);

	struct fleet_model *m = fleet_find(a->gateway->options.fleet, span_of(a->model));

	if (!sent && m != NULL && a->tries < GATEWAY_TRIES_MAX) {
		wait_for(a, m, GATEWAY_AGAIN_MS << a->tries);
	} else {
		err_prefix(&err, "model '%s'", a->model);
		ask_fail(a, &err);
	}
	return true;
}

/* llama-server words its errors as OpenAI does, on Anthropic's paths too. */
static void on_refusal(void *user, struct exchange *x, int status, struct span body)
{
	struct ask *a = user;
	struct err err;

	take_back(a, x);
	api_error_read(body, status, &err);
	ask_fail(a, &err);
}

static void on_broken(void *user, const struct err *why, struct buf *last)
{
	struct ask *a = user;
	struct err err = *why;

	if (a->is_events) {
		err_prefix(&err, "model '%s' broke off", a->model);
		error_event_write(a->route->dialect, &err, last);
	}
}

static void on_done(void *user, const struct err *why, int status)
{
	if (why == NULL) {
		ask_done(user, status, "");
	} else {
		ask_done(user, err_http_status(why->code), why->text);
	}
}

static const struct proxy_hooks hooks = {
	on_head, on_body, on_relay_fail, NULL, on_broken, on_done,
};
static const struct proxy_hooks anthropic_hooks = {
	on_head, on_body, on_relay_fail, on_refusal, on_broken, on_done,
};

static void relay(struct ask *a, struct fleet_model *m)
{
	static const struct span pass[] = { SPAN_INIT("Content-Type"), SPAN_INIT("Accept"),
					    SPAN_INIT("anthropic-version"),
					    SPAN_INIT("anthropic-beta") };
	struct exchange *x = a->exchange;
	char authorization[WIRE_KEY_MAX_BYTES + sizeof(BEARER)];

	span_copy(SPAN_LIT(BEARER), authorization, sizeof(authorization));
	span_copy(span_of(m->key), authorization + strlen(BEARER), WIRE_KEY_MAX_BYTES + 1);
	struct h1_field field = { SPAN_LIT("Authorization"), span_of(authorization) };
	struct proxy_options options = {
		.client = a->gateway->client,
		.request = { .to = { .host = m->address, .port = m->port },
			     .target = exchange_request(x)->target,
			     .fields = &field,
			     .field_count = 1,
			     .body = a->body,
			     .is_idempotent = true, /* an engine keeps nothing of a request */
			     .first_byte_ms = a->gateway->options.first_token_ms,
			     .idle_ms = a->gateway->options.first_token_ms },
		.pass = pass,
		.pass_count = ARRAY_LEN(pass),
		.hooks = a->route->dialect == DIALECT_ANTHROPIC ? &anthropic_hooks : &hooks,
		.user = a,
	};

	timer_stop(&a->timer);
	set_state(a, ASK_RELAYING, m);
	a->tries++;
	a->routed_us = loop_turn_us(a->gateway->options.loop);
	tell(a, ACCOUNT_PROMPT, "");
	a->proxy = proxy_start(x, &options);
}

static void break_off(struct ask *a, const struct err *why)
{
	struct buf last;

	buf_init(&last, PROXY_LAST_MAX_BYTES);
	if (a->is_events) {
		error_event_write(a->route->dialect, why, &last);
	}
	proxy_stop(a->proxy, why, buf_span(&last));
	buf_finish(&last);
}

/* Waiting */

static bool may_go(const struct fleet_model *m)
{
	return server_phase_is_accepting(m->server.phase) && m->has_endpoint && !m->is_draining;
}

static struct ask *first_on(const struct list *asks, enum ask_state state, const char *id)
{
	LIST_EACH (struct ask, a, link, asks) {
		if (a->state == state && strcmp(a->model, id) == 0) {
			return a;
		}
	}
	return NULL;
}

static void free_closed(struct gateway *g)
{
	if (g->is_closed && list_is_empty(&g->starts)) {
		free(g);
	}
}

/* A start that is refused (no memory, say) leaves the model as it was: its waiters hear of it. */
static void on_start_reply(void *user, const struct wire_reply *reply)
{
	struct start *start = user;
	struct gateway *g = start->gateway;
	struct ask *a;

	list_remove(&start->link);
	while (!g->is_closed && reply->err.code != 0 &&
	       (a = first_on(&g->waiting, ASK_WAITING, start->id)) != NULL) {
		ask_fail(a, &reply->err);
	}
	free(start);
	free_closed(g);
}

static void ask_start(struct gateway *g, const char *id)
{
	struct wire_request request = { .verb = VERB_START, .ids = &id, .id_count = 1 };
	struct start *start;

	LIST_EACH (struct start, begun, link, &g->starts) {
		if (strcmp(begun->id, id) == 0) {
			return;
		}
	}
	start = mem_alloc(sizeof(*start));
	start->gateway = g;
	span_copy(span_of(id), start->id, sizeof(start->id));
	list_append(&g->starts, &start->link);
	fleet_ask(g->options.fleet, &request, on_start_reply, start);
}

/* 0: it will be ready, or is being asked to. Else why waiting is no use. */
static int wish_ready(struct gateway *g, const struct fleet_model *m, struct err *err)
{
	const struct err *link = fleet_link_error(g->options.fleet);
	const char *id = m->server.id;

	if (link->code != 0) {
		return err_set(err, ERR_UNAVAILABLE, "%s", link->text);
	}
	switch (m->server.phase) {
	case SERVER_STOPPED:
		if (!m->server.enabled) {
			return err_set(err, ERR_UNAVAILABLE,
				       "model '%s' is stopped and not enabled. To use it: ronzal "
				       "start %s, or enable it",
				       id, id);
		}
		ask_start(g, id);
		return 0;
	case SERVER_FAILED:
		return err_set(err, ERR_UNAVAILABLE, "model '%s' has failed: %s %s", id,
			       m->server.error, m->server.next_step);
	case SERVER_STARTING:
	case SERVER_LOADING:
	case SERVER_READY:
	case SERVER_DRAINING:
	case SERVER_STOPPING:
	case SERVER_BACKOFF:
	case SERVER_UNKNOWN:
		return 0;
	}
	return 0;
}

/* Waits in order until the model is ready; with again_ms, tries by itself after that. */
static void wait_for(struct ask *a, struct fleet_model *m, uint64_t again_ms)
{
	struct gateway *g = a->gateway;
	uint64_t now_ms = loop_now_ms(g->options.loop);
	struct err err;

	if (m->queued >= g->options.queue_max) {
		err_set(&err, ERR_RATE, "%u requests wait for model '%s' already", m->queued,
			m->server.id);
		ask_fail(a, &err);
		return;
	}
	set_state(a, ASK_WAITING, m);
	a->due_ms = a->due_ms != 0 ? a->due_ms : now_ms + g->options.queue_ms;
	timer_start_at(&a->timer, again_ms != 0 && now_ms + again_ms < a->due_ms ? now_ms + again_ms
										 : a->due_ms);
	tell(a, ACCOUNT_QUEUED, "");
	if (wish_ready(g, m, &err) != 0) {
		ask_fail(a, &err);
	}
}

static void dispatch(struct ask *a, struct fleet_model *m)
{
	if (may_go(m)) {
		relay(a, m);
	} else {
		wait_for(a, m, 0);
	}
}

static void on_timer(struct timer *t)
{
	struct ask *a = CONTAINER_OF(t, struct ask, timer);
	const struct gateway_options *o = &a->gateway->options;
	struct fleet_model *m;
	struct err err;

	uncount(a);
	if (loop_now_ms(o->loop) >= a->due_ms) {
		err_set(&err, ERR_UNAVAILABLE, "model '%s' did not become ready within %u s",
			a->model, o->queue_ms / 1000);
		ask_fail(a, &err);
	} else if ((m = fleet_find(o->fleet, span_of(a->model))) == NULL) {
		err_set(&err, ERR_NOT_FOUND, "model '%s' was removed", a->model);
		ask_fail(a, &err);
	} else {
		dispatch(a, m);
	}
}

/*
 * A model changed: those who wait for it go on, in order, or learn that there is no hope. Whoever
 * still streams when its engine is told to end learns that now; the engine would not say.
 */
static void on_model(struct fleet_listener *l, struct fleet_model *changed)
{
	struct gateway *g = CONTAINER_OF(l, struct gateway, listener);
	struct fleet_model *m = fleet_find(g->options.fleet, span_of(changed->server.id));
	struct err err;
	struct ask *a;

	if (m == NULL) {
		return;
	}
	if (m->server.phase == SERVER_STOPPING && m->active > 0) {
		err_set(&err, ERR_UNAVAILABLE, "model '%s' is being stopped", m->server.id);
		while ((a = first_on(&g->others, ASK_RELAYING, m->server.id)) != NULL) {
			break_off(a, &err);
		}
	}
	while (m->queued > 0 && (a = first_on(&g->waiting, ASK_WAITING, m->server.id)) != NULL) {
		if (may_go(m)) {
			uncount(a);
			relay(a, m);
		} else if (wish_ready(g, m, &err) != 0) {
			ask_fail(a, &err);
		} else {
			break;
		}
	}
}

/* The fleet is in the middle of forgetting it: those who wait hear of it in a moment. */
static void on_removed(struct fleet_listener *l, const char *id)
{
	struct gateway *g = CONTAINER_OF(l, struct gateway, listener);

	LIST_EACH (struct ask, a, link, &g->waiting) {
		if (strcmp(a->model, id) == 0) {
			timer_start(&a->timer, 0);
		}
	}
}

/* Reading */

static int read_routing(struct ask *a, struct fleet_model **ret_model, struct err *err)
{
	const struct gateway_options *o = &a->gateway->options;
	const struct h1_head *head = exchange_request(a->exchange)->head;
	const struct key *key = a->has_key ? keys_named(o->keys, a->key) : NULL;
	struct routing routing = { .stream = false };
	int status =
		a->route->kind == ROUTE_FORM
			? routing_read_form(a->body, h1_get(head, "Content-Type"), &routing, err)
			: routing_read_json(a->body, &routing, err);

	if (status != 0) {
		return status;
	}
	a->is_stream = routing.stream;
	if (a->has_key && key == NULL) {
		err_set(err, ERR_DENIED, "the key '%s' was revoked", a->key);
		return ERR_DENIED;
	}
	return routing_choose(o->fleet, key, routing.model, ret_model, err);
}

static void on_request_body(void *user, struct exchange *x, struct span body)
{
	struct ask *a = user;
	struct fleet_model *m;
	struct err err;

	(void)x;
	a->body = body;
	if (read_routing(a, &m, &err) != 0) {
		ask_fail(a, &err);
		return;
	}
	a->model = mem_strdup(m->server.id);
	dispatch(a, m);
}

static void begin_ask(struct gateway *g, struct exchange *x, const struct route *route,
		      const struct key *key, const char *key_name)
{
	struct ask *a = mem_alloc(sizeof(*a));

	a->gateway = g;
	a->exchange = x;
	a->route = route;
	a->has_key = key != NULL;
	list_init(&a->link);
	set_state(a, ASK_READING, NULL);
	timer_init(&a->timer, g->options.loop, on_timer);
	api_usage_init(&a->usage);
	a->id = g->next_id++;
	a->at_unix_ms = loop_unix_ms();
	a->begin_us = loop_turn_us(g->options.loop);
	a->key = key_name[0] != '\0' ? mem_strdup(key_name) : NULL;
	g->count++;
	exchange_watch(x, &exchange_calls, a);
	exchange_read_body(x, g->options.body_max_bytes, on_request_body, a);
}

static void list_models(struct gateway *g, struct exchange *x, const struct route *route,
			const struct key *key)
{
	const char *wanted = exchange_request(x)->path + strlen(route->path);
	const struct fleet *f = g->options.fleet;
	struct fleet_model *m;
	struct err err;
	struct buf out;

	buf_init(&out, CATALOG_MAX_BYTES);
	if (wanted[0] == '\0' || wanted[1] == '\0') {
		catalog_write(f, key, &out);
	} else if (routing_choose(f, key, wanted + 1, &m, &err) != 0) {
		exchange_fail(x, &err);
		return;
	} else {
		catalog_write_model(f, m, &out);
	}
	exchange_reply_json(x, 200, buf_span(&out));
	buf_finish(&out);
}

static struct span secret_of(const struct h1_head *head)
{
	struct span value = h1_get(head, "Authorization");
	size_t len = strlen(BEARER);

	if (value.len > len && strncasecmp(value.ptr, BEARER, len) == 0) {
		return span_trim(span_from(value, len));
	}
	return h1_get(head, "x-api-key");
}

/* 0, the key (NULL: none is needed) and whose; or ERR_UNAUTHENTICATED, always in the same words. */
static int authenticate(struct gateway *g, const struct exchange *x, const struct key **ret_key,
			const char **ret_name, struct err *err)
{
	struct span secret = secret_of(exchange_request(x)->head);

	*ret_key = keys_look_up(g->options.keys, secret, loop_now_ms(g->options.loop));
	*ret_name = *ret_key != NULL ? (*ret_key)->name : "";
	if (*ret_key != NULL) {
		return 0;
	}
	if (secret.ptr != NULL && keys_is_token(g->options.keys, secret)) {
		*ret_name = "page";
		return 0;
	}
	/* Client libraries send some key even where none is needed; only one that claims to be ours
	 * is held to it. */
	if (exchange_peer_is_local(x) && !g->options.keys_always &&
	    !(secret.ptr != NULL && span_has_prefix(secret, KEY_PREFIX))) {
		return 0;
	}
	return err_set(err, ERR_UNAUTHENTICATED,
		       "the API key is missing or wrong. Make one: ronzal keys add NAME");
}

void gateway_handle(struct gateway *g, struct exchange *x)
{
	const struct request *request = exchange_request(x);
	const struct route *route = route_find(request->path);
	enum h1_method method = request->method == H1_HEAD ? H1_GET : request->method;
	const struct key *key;
	const char *key_name;
	struct err err;

	if (route == NULL) {
		err_set(&err, ERR_INVALID, "there is no endpoint %s here", request->path);
		exchange_fail_with(x, &(struct reply){ .status = 404 }, &err);
	} else if (method != route->method) {
		const char *allow = h1_method_name(route->method);

		err_set(&err, ERR_METHOD, "%s takes %s, not %s", route->path, allow,
			h1_method_name(request->method));
		exchange_fail_method(x, allow, &err);
	} else if (authenticate(g, x, &key, &key_name, &err) != 0) {
		exchange_fail(x, &err);
	} else if (route->kind == ROUTE_MODELS) {
		list_models(g, x, route, key);
	} else {
		begin_ask(g, x, route, key, key_name);
	}
}

/* Life */

struct gateway *gateway_create(const struct gateway_options *options)
{
	struct gateway *g = mem_alloc(sizeof(*g));

	g->options = *options;
	g->client = client_create(options->loop);
	g->next_id = options->first_id;
	list_init(&g->waiting);
	list_init(&g->others);
	list_init(&g->starts);
	g->listener.on_model = on_model;
	g->listener.on_removed = on_removed;
	fleet_listen(options->fleet, &g->listener);
	return g;
}

void gateway_stop(struct gateway *g, const struct err *why)
{
	while (g->count > 0) {
		bool is_waiting = !list_is_empty(&g->waiting);
		struct list *first = is_waiting ? g->waiting.next : g->others.next;
		struct ask *a = LIST_ITEM(first, struct ask, link);

		if (a->state == ASK_RELAYING) {
			break_off(a, why);
		} else {
			ask_fail(a, why);
		}
	}
}

size_t gateway_active(const struct gateway *g)
{
	return g->count;
}

void gateway_close(struct gateway *g)
{
	if (g != NULL) {
		list_remove(&g->listener.link);
		client_close(g->client);
		g->is_closed = true;
		free_closed(g);
	}
}
