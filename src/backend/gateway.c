/* SPDX-License-Identifier: MIT */
/*
 * A `struct ask` is one request from its body's end to its answer's:
 *
 *   READING -> WAITING -> RELAYING -> done
 *
 * It is owned by the gateway's list. In READING and WAITING it holds the exchange; in RELAYING the
 * proxy does. Every way out passes through ask_done, which counts and frees.
 */
#include "backend/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "backend/router.h"
#include "base/mem.h"
#include "engine/api.h"
#include "http/proxy.h"
#include "http/sse.h"
#include "io/timer.h"

#define GATEWAY_EVENT_MAX_BYTES 65536 /* of an event that is looked into for its usage */
#define GATEWAY_TRIES_MAX 3	      /* of a request that had not left when its engine went away */
#define GATEWAY_KEYS_MS 1000	      /* a key that was revoked may live that long */
#define GATEWAY_HEAD_BYTES 256	      /* of a plain answer: usage stands first or last */
#define GATEWAY_TAIL_BYTES 4096

enum ask_state { ASK_READING, ASK_WAITING, ASK_RELAYING };

struct gateway {
	struct gateway_options options;
	struct client *client;
	struct fleet_listener listener;
	struct list asks; /* in the order in which they came */
	size_t count;
	uint64_t next_id;
	uint64_t keys_read_ms; /* when the file of keys was last looked at */
};

struct ask {
	struct list link;
	struct gateway *gateway;
	struct exchange *exchange; /* READING, WAITING */
	struct proxy *proxy;	   /* RELAYING */
	const struct route *route;
	char model[SERVER_ID_MAX_BYTES];
	struct fleet_model *counted; /* in whose queued (WAITING) or active (RELAYING) this is */
	struct span body;
	enum ask_state state;
	int tries;
	bool has_key;	/* account.key is one of ours, which may open some models only */
	bool is_events; /* the answer is an event stream */
	struct timer deadline;
	struct account account;
	struct api_usage usage;
	struct sse_parser events;
	struct buf head, tail; /* of a plain answer */
	char authorization[WIRE_KEY_MAX_BYTES + 16];
};

/* Errors in the caller's dialect */

static const char *openai_code(int code)
{
	switch (code) {
	case ERR_NOT_FOUND:
		return "model_not_found";
	case ERR_UNAUTHENTICATED:
		return "invalid_api_key";
	case ERR_RATE:
		return "rate_limit_exceeded";
	default:
		return NULL;
	}
}

static const char *anthropic_type(int code)
{
	switch (code) {
	case ERR_INVALID:
	case ERR_METHOD:
		return "invalid_request_error";
	case ERR_FULL:
		return "request_too_large";
	case ERR_NOT_FOUND:
		return "not_found_error";
	case ERR_UNAUTHENTICATED:
		return "authentication_error";
	case ERR_DENIED:
		return "permission_error";
	case ERR_RATE:
		return "rate_limit_error";
	case ERR_UNAVAILABLE:
		return "overloaded_error";
	default:
		return "api_error";
	}
}

static void write_error(enum dialect dialect, const struct err *why, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	jsonw_object(&w);
	if (dialect == DIALECT_ANTHROPIC) {
		jsonw_member_text(&w, "type", "error");
	}
	jsonw_key(&w, "error");
	jsonw_object(&w);
	if (dialect == DIALECT_ANTHROPIC) {
		jsonw_member_text(&w, "type", anthropic_type(why->code));
		jsonw_member_text(&w, "message", why->text);
	} else {
		jsonw_member_text(&w, "message", why->text);
		jsonw_member_text(&w, "type", err_openai_type(why->code));
		jsonw_member_text(&w, "param", why->code == ERR_NOT_FOUND ? "model" : NULL);
		jsonw_member_text(&w, "code", openai_code(why->code));
	}
	jsonw_end_all(&w);
}

void gateway_write_error(const struct request *request, const struct err *why, struct buf *out)
{
	const struct route *route = request != NULL ? route_find(request->path) : NULL;

	write_error(route != NULL ? route->dialect : DIALECT_OPENAI, why, out);
}

static void fail(struct exchange *x, const struct err *why)
{
	static const struct h1_field retry[] = { { SPAN_LIT_INIT("Retry-After"),
						   SPAN_LIT_INIT("5") } };
	bool may_retry = why->code == ERR_RATE || why->code == ERR_UNAVAILABLE;

	exchange_fail_with(x,
			   &(struct reply){ .status = err_http_status(why->code),
					    .fields = retry,
					    .field_count = may_retry ? 1 : 0 },
			   why);
}

/* Accounts */

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void tell(struct ask *a, enum account_phase phase)
{
	const struct account_sink *sink = a->gateway->options.sink;

	a->account.phase = phase;
	if (sink != NULL) {
		sink->on_account(sink->user, &a->account);
	}
}

static void read_usage(struct ask *a)
{
	struct account *account = &a->account;

	if (!a->is_events) {
		api_usage_scan(&a->usage, buf_span(&a->head));
		api_usage_scan(&a->usage, buf_span(&a->tail));
	}
	account->prompt_tokens = a->usage.prompt_tokens;
	account->cached_tokens = a->usage.cached_tokens;
	account->generated_tokens = a->usage.completion_tokens;
	if (a->usage.predicted_ms > 0 && a->usage.predicted_n > 0) {
		account->tokens_per_second =
			(double)a->usage.predicted_n * 1000.0 / a->usage.predicted_ms;
	}
}

/* Takes it out of its model's count; the fleet may free the model or end its drain then. */
static void uncount(struct ask *a)
{
	struct fleet_model *m = a->counted;

	if (m != NULL) {
		*(a->state == ASK_WAITING ? &m->queued : &m->active) -= 1;
		a->counted = NULL;
		fleet_request_ended(a->gateway->options.fleet, m);
	}
}

/* The one way out. */
static void ask_done(struct ask *a, int status, const char *error)
{
	struct gateway *g = a->gateway;

	list_remove(&a->link);
	g->count--;
	timer_stop(&a->deadline);
	read_usage(a);
	a->account.status = status;
	a->account.end_us = loop_now_us();
	span_copy(span_of(error), a->account.error, sizeof(a->account.error));
	tell(a, ACCOUNT_DONE);
	sse_parser_finish(&a->events);
	buf_finish(&a->head);
	buf_finish(&a->tail);
	uncount(a);
	free(a);
}

static void ask_fail(struct ask *a, const struct err *why)
{
	struct exchange *x = a->exchange;
	struct err copy = *why;

	ask_done(a, err_http_status(copy.code), copy.text);
	fail(x, &copy);
}

/* Relaying */

static void on_event(void *user, const struct sse_event *event)
{
	struct ask *a = user;
	const struct account_sink *sink = a->gateway->options.sink;
	uint64_t now_us = loop_now_us();

	if (a->account.first_us == 0) {
		a->account.first_us = now_us;
		tell(a, ACCOUNT_GENERATING);
	} else if (sink != NULL && sink->on_gap != NULL) {
		sink->on_gap(sink->user, a->model, now_us - a->account.last_us);
	}
	a->account.last_us = now_us;
	a->account.events++;
	if (span_find(event->data, "\"timings\"") < event->data.len ||
	    span_find(event->data, "\"usage\"") < event->data.len) {
		api_usage_scan(&a->usage, event->data);
	}
}

static void on_head(void *user, const struct h1_head *head)
{
	struct ask *a = user;

	a->account.status = head->status;
	a->is_events = span_has_prefix(h1_get(head, "Content-Type"), "text/event-stream");
}

/* The first and the last bytes of a plain answer. */
static void keep_ends(struct ask *a, struct span piece)
{
	size_t to_head = buf_room(&a->head) < piece.len ? buf_room(&a->head) : piece.len;

	buf_add(&a->head, piece.ptr, to_head);
	piece = span_from(piece,
			  piece.len > GATEWAY_TAIL_BYTES ? piece.len - GATEWAY_TAIL_BYTES : 0);
	if (piece.len > buf_room(&a->tail)) {
		buf_consume(&a->tail, piece.len - buf_room(&a->tail));
	}
	buf_add_span(&a->tail, piece);
}

static void on_body(void *user, struct span piece)
{
	struct ask *a = user;

	if (a->is_events) {
		sse_parse(&a->events, piece);
		return;
	}
	a->account.first_us = a->account.first_us != 0 ? a->account.first_us : loop_now_us();
	keep_ends(a, piece);
}

static void dispatch(struct ask *a);

/* Nothing was answered. What had not left may go to the engine's next life. */
static bool on_relay_fail(void *user, struct exchange *x, const struct err *why, bool sent)
{
	struct ask *a = user;

	uncount(a);
	a->exchange = x;
	a->proxy = NULL;
	a->state = ASK_READING;
	if (!sent && a->tries < GATEWAY_TRIES_MAX) {
		dispatch(a);
	} else {
		struct err err = *why;

		err_prefix(&err, "model '%s'", a->model);
		ask_fail(a, &err);
	}
	return true;
}

static void write_error_event(const struct ask *a, const struct err *why, struct buf *out)
{
	struct buf body;

	buf_init(&body, PROXY_LAST_MAX_BYTES / 2);
	write_error(a->route->dialect, why, &body);
	sse_write(out, a->route->dialect == DIALECT_ANTHROPIC ? "error" : NULL, buf_span(&body));
	buf_finish(&body);
}

static void on_broken(void *user, const struct err *why, struct buf *last)
{
	struct ask *a = user;
	struct err err = *why;

	if (a->is_events) {
		err_prefix(&err, "model '%s' broke off", a->model);
		write_error_event(a, &err, last);
	}
}

static void on_done(void *user, const struct proxy_result *result)
{
	struct ask *a = user;
	bool left = result->err.code == ERR_CANCELED;

	ask_done(a, left ? 499 : result->status,
		 left			 ? "the client left"
		 : result->err.code != 0 ? result->err.text
					 : "");
}

static const struct proxy_hooks hooks = { on_head, on_body, on_relay_fail, on_broken, on_done };

static void relay(struct ask *a, struct fleet_model *m)
{
	static const char *const pass[] = { "Content-Type", "Accept", "anthropic-version",
					    "anthropic-beta", NULL };
	struct exchange *x = a->exchange;
	const struct request *request = exchange_request(x);

	snprintf(a->authorization, sizeof(a->authorization), "Bearer %s", m->key);
	struct h1_field fields[] = { { SPAN_LIT("Authorization"), span_of(a->authorization) } };
	struct proxy_options options = {
		.client = a->gateway->client,
		.to = { .host = m->address, .port = m->port },
		.method = request->method,
		.target = request->target,
		.pass = pass,
		.fields = fields,
		.field_count = ARRAY_LEN(fields),
		.body = a->body,
		.first_byte_ms = a->gateway->options.first_token_ms,
		.idle_ms = a->gateway->options.first_token_ms,
		.hooks = &hooks,
		.user = a,
	};

	timer_stop(&a->deadline);
	a->state = ASK_RELAYING;
	a->tries++;
	a->counted = m;
	m->active++;
	a->account.routed_us = loop_now_us();
	tell(a, ACCOUNT_PROMPT);
	a->exchange = NULL;
	a->proxy = proxy_start(x, &options);
}

/* Waiting */

static bool may_go(const struct fleet_model *m)
{
	return server_phase_is_accepting(m->server.phase) && m->has_endpoint && !m->is_draining;
}

static void on_start_reply(void *user, const struct link_reply *reply)
{
	(void)user;
	(void)reply; /* what comes of it is told by the model's phase */
}

/* 0: it will be ready, or is being asked to. Else why waiting is no use. */
static int wish_ready(struct gateway *g, struct fleet_model *m, struct err *err)
{
	const struct err *link = fleet_link_error(g->options.fleet);
	const char *id = m->server.id;
	struct link_request start = { .verb = VERB_START, .ids = &id, .count = 1 };

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
		fleet_ask(g->options.fleet, &start, on_start_reply, g);
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

static void on_deadline(struct timer *t)
{
	struct ask *a = CONTAINER_OF(t, struct ask, deadline);
	struct err err;

	err_set(&err, ERR_UNAVAILABLE, "model '%s' did not become ready within %u s", a->model,
		a->gateway->options.queue_ms / 1000);
	ask_fail(a, &err);
}

/* To the engine if it can go there, else into the queue, else an error. */
static void dispatch(struct ask *a)
{
	struct gateway *g = a->gateway;
	struct fleet_model *m = fleet_find(g->options.fleet, span_of(a->model));
	struct err err;

	if (m == NULL) {
		err_set(&err, ERR_NOT_FOUND, "model '%s' was removed", a->model);
		ask_fail(a, &err);
		return;
	}
	if (may_go(m)) {
		relay(a, m);
		return;
	}
	if (m->queued >= g->options.queue_max) {
		err_set(&err, ERR_RATE, "%u requests wait for model '%s' already", m->queued,
			a->model);
		ask_fail(a, &err);
		return;
	}
	a->state = ASK_WAITING;
	a->counted = m;
	m->queued++;
	timer_start(&a->deadline, g->options.queue_ms);
	tell(a, ACCOUNT_QUEUED);
	if (wish_ready(g, m, &err) != 0) {
		ask_fail(a, &err);
	}
}

/* A model changed: those who wait for it go on, in order, or learn that there is no hope. */
static void on_model(struct fleet_listener *l, const struct fleet_model *changed)
{
	struct gateway *g = CONTAINER_OF(l, struct gateway, listener);
	struct fleet_model *m = fleet_find(g->options.fleet, span_of(changed->server.id));
	struct err err;

	LIST_FOR_EACH (it, following, &g->asks) {
		struct ask *a = LIST_ITEM(it, struct ask, link);

		if (m == NULL || a->state != ASK_WAITING || strcmp(a->model, m->server.id) != 0) {
			continue;
		}
		if (may_go(m)) {
			m->queued--;
			relay(a, m);
		} else if (wish_ready(g, m, &err) != 0) {
			ask_fail(a, &err);
		}
	}
}

/* Reading */

static void on_exchange_close(void *user)
{
	ask_done(user, 499, "the client left");
}

static const struct exchange_callbacks exchange_calls = { on_exchange_close, NULL };

static void on_request_body(void *user, struct exchange *x, struct span body)
{
	struct ask *a = user;
	struct routing routing = { .stream = false };
	struct fleet_model *m;
	struct err err = { 0 };
	int status;

	a->body = body;
	if (a->route->kind == ROUTE_FORM) {
		struct span type = h1_get(exchange_request(x)->head, "Content-Type");

		status = routing_read_form(body, type, &routing, &err);
	} else {
		status = routing_read_json(body, &routing, &err);
	}
	if (status == 0) {
		a->account.stream = routing.stream;
		status = routing_choose(a->gateway->options.fleet, routing.model, &m, &err);
	}
	if (status == 0 && a->has_key) {
		const struct key *key = keys_named(a->gateway->options.keys, a->account.key);

		if (key == NULL || !key_opens(key, m->server.id)) {
			status = err_set(&err, ERR_DENIED, "the key '%s' does not open model '%s'",
					 a->account.key, m->server.id);
		}
	}
	if (status != 0) {
		ask_fail(a, &err);
		return;
	}
	memcpy(a->model, m->server.id, sizeof(a->model));
	memcpy(a->account.model, m->server.id, sizeof(a->account.model));
	dispatch(a);
}

static void refresh_keys(struct gateway *g)
{
	uint64_t now_ms = loop_now_ms(g->options.loop);

	if (now_ms - g->keys_read_ms >= GATEWAY_KEYS_MS) {
		g->keys_read_ms = now_ms;
		keys_refresh(g->options.keys,
			     NULL); /* a broken file leaves the keys as they were */
	}
}

/*
 * 0 and the key (NULL: none is needed) and who that is; or ERR_UNAUTHENTICATED, always with the
 * same words.
 */
static int authenticate(struct gateway *g, const struct exchange *x, const struct key **ret_key,
			const char **ret_name, struct err *err)
{
	const struct h1_head *head = exchange_request(x)->head;
	struct span secret = h1_get(head, "Authorization");

	refresh_keys(g);
	if (span_has_prefix(secret, "Bearer ")) {
		secret = span_trim(span_from(secret, strlen("Bearer ")));
	} else {
		secret = h1_get(head, "x-api-key");
	}
	*ret_key = secret.ptr != NULL ? keys_find(g->options.keys, secret) : NULL;
	*ret_name = *ret_key != NULL ? (*ret_key)->name : "";
	if (*ret_key != NULL) {
		return 0;
	}
	if (secret.ptr != NULL && keys_is_token(g->options.keys, secret)) {
		*ret_name = "page";
		return 0;
	}
	bool is_local = exchange_peer_is_local(x) && !g->options.keys_always;
	bool is_claim = secret.ptr != NULL && span_has_prefix(secret, KEY_PREFIX);

	/* Clients must send some key even where none is needed; only one that claims to be ours is
	 * held to it. */
	if (is_local && !is_claim) {
		return 0;
	}
	return err_set(err, ERR_UNAUTHENTICATED,
		       "the API key is missing or wrong. Make one: ronzal keys add NAME");
}

static void write_model(const struct fleet_model *m, const struct model *model,
			struct json_writer *w)
{
	jsonw_object(w);
	jsonw_member_text(w, "id", m->server.id);
	jsonw_member_text(w, "object", "model");
	jsonw_member_text(w, "type", "model");
	jsonw_member_text(w, "display_name", m->server.name);
	jsonw_member_i64(w, "created", m->server.ready_unix_ms / 1000);
	jsonw_member_text(w, "owned_by", "ronzal");
	jsonw_member_text(w, "state", server_phase_name(m->server.phase));
	jsonw_member_text(w, "device", receipt_verdict_name(m->server.receipt.verdict));
	jsonw_key(w, "context_length");
	if (m->server.receipt.context_tokens > 0) {
		jsonw_u64(w, m->server.receipt.context_tokens);
	} else {
		jsonw_null(w);
	}
	if (model != NULL) {
		jsonw_member_text(w, "quantization", model->quantization);
		jsonw_key(w, "aliases");
		jsonw_array(w);
		for (int i = 0; i < model->alias_count; i++) {
			jsonw_text(w, model->aliases[i]);
		}
		jsonw_end(w);
	}
	jsonw_end(w);
}

static void list_models(struct gateway *g, struct exchange *x)
{
	const struct fleet *f = g->options.fleet;
	const char *wanted = exchange_request(x)->path + strlen("/v1/models");
	struct json_writer w;
	struct fleet_model *m;
	struct err err;
	struct buf out;

	buf_init(&out, 4u << 20);
	jsonw_init(&w, &out);
	if (wanted[0] == '/') {
		if (routing_choose(f, wanted + 1, &m, &err) != 0) {
			fail(x, &err);
			buf_finish(&out);
			return;
		}
		write_model(m, registry_find(fleet_registry(f), span_of(m->server.id)), &w);
	} else {
		jsonw_object(&w);
		jsonw_member_text(&w, "object", "list");
		jsonw_member_bool(&w, "has_more", false);
		jsonw_key(&w, "data");
		jsonw_array(&w);
		LIST_FOR_EACH (it, following, fleet_models(f)) {
			m = LIST_ITEM(it, struct fleet_model, link);
			write_model(m, registry_find(fleet_registry(f), span_of(m->server.id)), &w);
		}
		jsonw_end_all(&w);
	}
	exchange_reply_json(x, 200, buf_span(&out));
	buf_finish(&out);
}

static void begin_ask(struct gateway *g, struct exchange *x, const struct route *route,
		      const struct key *key, const char *key_name)
{
	struct ask *a = mem_alloc(sizeof(*a));

	a->gateway = g;
	a->exchange = x;
	a->route = route;
	a->has_key = key != NULL;
	timer_init(&a->deadline, g->options.loop, on_deadline);
	api_usage_init(&a->usage);
	sse_parser_init(&a->events, GATEWAY_EVENT_MAX_BYTES, on_event, a);
	buf_init(&a->head, GATEWAY_HEAD_BYTES);
	buf_init(&a->tail, GATEWAY_TAIL_BYTES);
	a->account.id = g->next_id++;
	a->account.at_unix_ms = unix_ms();
	a->account.begin_us = loop_now_us();
	a->account.prompt_tokens = a->account.cached_tokens = a->account.generated_tokens = -1;
	span_copy(span_of(key_name), a->account.key, sizeof(a->account.key));
	span_copy(span_of(route->path), a->account.path, sizeof(a->account.path));
	list_append(&g->asks, &a->link);
	g->count++;
	exchange_watch(x, &exchange_calls, a);
	exchange_read_body(x, g->options.body_max_bytes, on_request_body, a);
}

void gateway_handle(struct gateway *g, struct exchange *x)
{
	const struct request *request = exchange_request(x);
	const struct route *route = route_find(request->path);
	const struct key *key;
	const char *key_name;
	struct err err;

	if (route == NULL) {
		err_set(&err, ERR_NOT_FOUND, "there is no endpoint %s here", request->path);
	} else if (request->method != route->method) {
		err_set(&err, ERR_METHOD, "%s takes %s, not %s", route->path,
			h1_method_name(route->method), h1_method_name(request->method));
	} else if (authenticate(g, x, &key, &key_name, &err) == 0) {
		if (route->kind == ROUTE_MODELS) {
			list_models(g, x);
		} else {
			begin_ask(g, x, route, key, key_name);
		}
		return;
	}
	struct h1_field allow = { SPAN_LIT("Allow"), SPAN_LIT("") };

	if (err.code == ERR_METHOD) {
		allow.value = span_of(h1_method_name(route->method));
	}
	exchange_fail_with(x,
			   &(struct reply){ .status = err_http_status(err.code),
					    .fields = &allow,
					    .field_count = err.code == ERR_METHOD ? 1 : 0 },
			   &err);
}

bool gateway_has_path(const char *path)
{
	return strncmp(path, "/v1/", 4) == 0 || route_find(path) != NULL;
}

struct gateway *gateway_create(const struct gateway_options *options)
{
	struct gateway *g = mem_alloc(sizeof(*g));

	g->options = *options;
	g->client = client_create(options->loop);
	g->next_id = options->first_id;
	list_init(&g->asks);
	g->listener.on_model = on_model;
	fleet_listen(options->fleet, &g->listener);
	return g;
}

void gateway_stop(struct gateway *g, const struct err *why)
{
	LIST_FOR_EACH (it, following, &g->asks) {
		struct ask *a = LIST_ITEM(it, struct ask, link);

		if (a->state != ASK_RELAYING) {
			ask_fail(a, why);
			continue;
		}
		struct buf last;

		buf_init(&last, PROXY_LAST_MAX_BYTES);
		if (a->is_events) {
			write_error_event(a, why, &last);
		}
		proxy_stop(a->proxy, why, buf_span(&last));
		buf_finish(&last);
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
		free(g);
	}
}
