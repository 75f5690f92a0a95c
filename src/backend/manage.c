/* SPDX-License-Identifier: MIT */
#include "backend/manage.h"

#include <stdio.h>
#include <stdlib.h>

#include "backend/events.h"
#include "backend/manage_core.h"
#include "backend/metrics.h"
#include "backend/show.h"
#include "base/mem.h"
#include "http/policy.h"

#define ALLOW_MAX_BYTES 64 /* of all methods there are */

#define ROUTE(method, path, name, open) { H1_##method, path, handle_##name, open },
static const struct manage_route routes[] = { MANAGE_ROUTES(ROUTE) };
#undef ROUTE

/* Calls */

/* Whoever is held has work under way, perhaps of facts. */
static void free_if_over(struct manage *m)
{
	if (m->is_closed && m->calls == 0) {
		facts_destroy(m->facts);
		free(m);
	}
}

static void release(struct call *c)
{
	struct manage *m = c->m;

	if (c->x != NULL || c->is_held) {
		return;
	}
	timer_stop(&c->timer);
	json_destroy(c->doc);
	buf_finish(&c->out);
	free(c->ids);
	free(c);
	m->calls--;
	free_if_over(m);
}

static void on_close(void *user)
{
	struct call *c = user;

	c->x = NULL;
	timer_stop(&c->timer);
	release(c);
}

static const struct exchange_callbacks exchange_calls = { .on_close = on_close };

struct exchange *call_take(struct call *c)
{
	struct exchange *x = c->x;

	c->x = NULL;
	release(c);
	return x;
}

bool call_resume(struct call *c)
{
	c->is_held = false;
	if (c->x != NULL && !c->m->is_closed) {
		return true;
	}
	call_fail(c, &(struct err){ ERR_UNAVAILABLE, "the backend is being stopped" });
	return false;
}

void call_reply(struct call *c, int status)
{
	struct exchange *x = c->x;

	c->x = NULL;
	if (x != NULL && jsonw_end_all(&c->w) == 0) {
		exchange_reply_json(x, status, buf_span(&c->out));
	} else if (x != NULL) {
		exchange_fail(x, &(struct err){ ERR_INTERNAL, "the answer is too large" });
	}
	release(c);
}

void call_fail(struct call *c, const struct err *why)
{
	struct exchange *x = call_take(c);

	if (x != NULL) {
		exchange_fail(x, why);
	}
}

void call_end(struct call *c, const struct err *why, int status)
{
	if (why->code != 0) {
		call_fail(c, why);
	} else {
		call_reply(c, status);
	}
}

void call_refuse(struct call *c, int code, const char *format, ...)
{
	struct err why;
	va_list args;

	va_start(args, format);
	err_vset(&why, code, format, args);
	va_end(args);
	call_fail(c, &why);
}

void call_query(const struct call *c, const char *name, char *ret_text, size_t room)
{
	struct span rest = exchange_request(c->x)->query;

	ret_text[0] = '\0';
	while (rest.ptr != NULL) {
		struct span value = span_split(&rest, '&');
		struct span key = span_split(&value, '=');

		if (span_is(key, name)) {
			policy_query_value(value, ret_text, room);
		}
	}
}

bool call_query_number(struct call *c, const char *name, uint64_t max, uint64_t fallback,
		       uint64_t *ret_number)
{
	char text[32];

	call_query(c, name, text, sizeof(text));
	*ret_number = fallback;
	if (text[0] == '\0' || span_to_u64(span_of(text), max, ret_number) == 0) {
		return true;
	}
	call_refuse(c, ERR_INVALID, "%s=%s is not a whole number of at most %llu", name, text,
		    (unsigned long long)max);
	return false;
}

bool call_query_flag(struct call *c, const char *name, bool fallback, bool *ret_flag)
{
	char text[8];

	call_query(c, name, text, sizeof(text));
	*ret_flag = text[0] == '\0' ? fallback : strcmp(text, "true") == 0;
	if (*ret_flag || text[0] == '\0' || strcmp(text, "false") == 0) {
		return true;
	}
	call_refuse(c, ERR_INVALID, "%s=%s is neither true nor false", name, text);
	return false;
}

int call_check_members(const struct call *c, const char *names, struct err *err)
{
	JSON_EACH (it, c->body) {
		struct span rest = span_of(names);
		bool is_known = false;

		while (rest.ptr != NULL && !is_known) {
			is_known = span_equal(span_split(&rest, ' '), it.key);
		}
		if (!is_known) {
			return err_set(err, ERR_INVALID, "the body holds '%.*s'; it takes: %s",
				       SPAN_ARG(it.key), names);
		}
	}
	return 0;
}

struct fleet_model *call_model(struct call *c)
{
	struct fleet_model *m = fleet_find(c->backend->fleet, span_of(c->id));
	const char *nearest = registry_nearest(fleet_registry(c->backend->fleet), span_of(c->id));

	if (m != NULL) {
		memcpy(c->id, m->server.id, sizeof(c->id));
	} else if (nearest != NULL) {
		call_refuse(c, ERR_NOT_FOUND, "there is no model '%s'. Did you mean '%s'?", c->id,
			    nearest);
	} else {
		call_refuse(c, ERR_NOT_FOUND,
			    "there is no model '%s'\nGET /api/models/registry lists them", c->id);
	}
	return m;
}

/* Requests */

/* Whether path is of the route's form; an "{id}" is copied. */
static bool path_matches(const char *form, const char *path, char ret_id[SERVER_ID_MAX_BYTES])
{
	struct span forms = span_of(form), parts = span_of(path);

	ret_id[0] = '\0';
	while (forms.ptr != NULL && parts.ptr != NULL) {
		struct span want = span_split(&forms, '/'), part = span_split(&parts, '/');

		if (span_is(want, "{id}")) {
			if (!registry_id_is_valid(part)) {
				return false;
			}
			span_copy(part, ret_id, SERVER_ID_MAX_BYTES);
		} else if (!span_equal(want, part)) {
			return false;
		}
	}
	return forms.ptr == NULL && parts.ptr == NULL;
}

/* Fixed paths stand before those with an id. ERR_NOT_FOUND, or ERR_METHOD and what is allowed. */
static int find_route(const struct request *r, const struct manage_route **ret_route,
		      char ret_id[SERVER_ID_MAX_BYTES], char ret_allow[ALLOW_MAX_BYTES],
		      struct err *err)
{
	enum h1_method method = r->method == H1_HEAD ? H1_GET : r->method;
	const char *path = NULL;
	int len = 0;

	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (!path_matches(routes[i].path, r->path, ret_id)) {
			continue;
		}
		if (routes[i].method == method) {
			*ret_route = &routes[i];
			return 0;
		}
		path = path != NULL ? path : routes[i].path;
		if (strcmp(path, routes[i].path) == 0) {
			len += snprintf(ret_allow + len, ALLOW_MAX_BYTES - (size_t)len, "%s%s",
					len > 0 ? ", " : "", h1_method_name(routes[i].method));
		}
	}
	if (path != NULL) {
		return err_set(err, ERR_METHOD, "%s takes %s, not %s", path, ret_allow,
			       h1_method_name(r->method));
	}
	return err_set(err, ERR_NOT_FOUND,
		       "there is no %s here\ndocs/openapi.yaml lists what there is", r->path);
}

static int authorize(const struct manage *m, const struct exchange *x, struct err *err)
{
	const struct h1_head *head = exchange_request(x)->head;
	struct span value;
	size_t count = h1_count(head, "Authorization", &value);

	if (count == 0 && exchange_peer_is_local(x)) {
		return 0;
	}
	if (count == 1 && span_has_prefix(value, "Bearer ") &&
	    keys_is_token(&m->backend->keys, span_from(value, sizeof("Bearer ") - 1))) {
		return 0;
	}
	return err_set(err, ERR_UNAUTHENTICATED, "the management token is missing or wrong");
}

static void on_body(void *user, struct exchange *x, struct span body)
{
	struct call *c = user;
	struct err err = { 0 };

	(void)x;
	c->doc = json_parse(body, &err);
	c->body = json_root(c->doc);
	if (c->doc == NULL) {
		err_prefix(&err, "the body");
		call_fail(c, &err);
	} else if (json_type(c->body) != JSON_OBJECT) {
		call_refuse(c, ERR_INVALID, "the body is not a JSON object");
	} else {
		c->route->handle(c);
	}
}

static void begin_call(struct manage *m, struct exchange *x, const struct manage_route *route,
		       const char *id)
{
	const struct request *r = exchange_request(x);
	struct span type = h1_get(r->head, "Content-Type");
	struct call *c = mem_alloc(sizeof(*c));

	ENSURE(route != NULL);
	c->m = m;
	c->backend = m->backend;
	c->x = x;
	c->route = route;
	memcpy(c->id, id, sizeof(c->id));
	buf_init(&c->out, MANAGE_REPLY_MAX_BYTES);
	jsonw_init(&c->w, &c->out);
	timer_init(&c->timer, m->backend->loop, NULL);
	m->calls++;
	exchange_watch(x, &exchange_calls, c);
	if (!r->has_body) {
		route->handle(c);
	} else if (!span_is_nocase(span_trim(span_split(&type, ';')), "application/json")) {
		call_refuse(c, ERR_DENIED,
			    "a body here is JSON\nsend it with 'Content-Type: application/json'");
	} else {
		exchange_read_body(x, MANAGE_BODY_MAX_BYTES, on_body, c);
	}
}

bool manage_has_path(const char *path)
{
	struct span s = span_of(path);

	return span_has_prefix(s, "/api/") || span_is(s, "/health") || span_is(s, "/ready") ||
	       span_is(s, "/metrics");
}

void manage_handle(struct manage *m, struct exchange *x)
{
	const struct manage_route *route = NULL;
	char id[SERVER_ID_MAX_BYTES], allow[ALLOW_MAX_BYTES];
	struct err err;
	int status = find_route(exchange_request(x), &route, id, allow, &err);

	/* Who may not is not told what there is. */
	if ((route == NULL || !route->is_open) && authorize(m, x, &err) != 0) {
		status = ERR_UNAUTHENTICATED;
	}
	if (status == ERR_METHOD) {
		exchange_fail_method(x, allow, &err);
	} else if (status != 0) {
		exchange_fail(x, &err);
	} else {
		begin_call(m, x, route, id);
	}
}

void manage_write_error(const struct err *why, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	jsonw_object(&w);
	jsonw_member_object(&w, "error");
	show_error(&w, "message", why);
	jsonw_member_text(&w, "code", err_name(why->code));
	jsonw_member_i64(&w, "status", err_http_status(why->code));
	jsonw_end_all(&w);
}

/* Life */

struct manage *manage_create(struct backend *b)
{
	struct manage *m = mem_alloc(sizeof(*m));

	m->backend = b;
	m->facts = facts_create(b->loop, b->options.model_roots);
	m->logs = logs_create(b->loop, b->fleet);
	return m;
}

void manage_end(struct manage *m)
{
	if (m != NULL) {
		logs_end(m->logs);
	}
}

void manage_close(struct manage *m)
{
	if (m == NULL) {
		return;
	}
	logs_close(m->logs);
	m->is_closed = true;
	free_if_over(m);
}

/* Small answers */

void handle_health(struct call *c)
{
	jsonw_object(&c->w);
	jsonw_member_text(&c->w, "status", "ok");
	call_reply(c, 200);
}

/* What could be served now, or why nothing can. */
void handle_ready(struct call *c)
{
	const struct fleet *fleet = c->backend->fleet;
	const struct err *down = fleet_link_error(fleet);
	const char *reason = "no model is enabled";

	FLEET_EACH (m, fleet) {
		if (m->has_endpoint || (m->server.enabled && down->code == 0)) {
			reason = "";
		}
	}
	if (reason[0] != '\0' && down->code != 0) {
		reason = down->text;
	}
	jsonw_object(&c->w);
	jsonw_member_bool(&c->w, "ready", reason[0] == '\0');
	jsonw_member_text(&c->w, "reason", reason);
	call_reply(c, reason[0] == '\0' ? 200 : 503);
}

static void on_metrics(void *user, struct span text)
{
	struct call *c = user;
	struct reply reply = { .status = 200, .content_type = "text/plain; version=0.0.4" };

	if (call_resume(c)) {
		exchange_reply(call_take(c), &reply, text);
	}
}

void handle_metrics(struct call *c)
{
	c->is_held = true;
	metrics_collect(c->backend->metrics, on_metrics, c);
}

void handle_host(struct call *c)
{
	show_host(&c->w, c->backend);
	call_reply(c, 200);
}

void handle_events(struct call *c)
{
	struct err err;

	if (events_add(c->backend->events, c->x, &err) != 0) {
		call_fail(c, &err);
	} else {
		call_take(c);
	}
}
