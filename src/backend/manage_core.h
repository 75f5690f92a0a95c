/* SPDX-License-Identifier: MIT */
/*
 * What the files of the management API share, and nobody else. A call is one request on its way: a
 * handler ends it by exactly one call_ function. Work that calls back later holds the call first
 * and resumes it then; until that the call outlives its client (x is NULL then) and its answer.
 */
#ifndef BACKEND_MANAGE_CORE_H
#define BACKEND_MANAGE_CORE_H

#include "backend/facts.h"
#include "backend/logs.h"
#include "backend/manage.h"

struct manage {
	struct backend *backend;
	struct facts *facts;
	struct logs *logs;
	size_t calls;
	bool is_closed;
};

struct call {
	struct manage *m;
	struct backend *backend; /* gone once the API is closed */
	struct exchange *x;	 /* NULL: answered, or the client left */
	const struct manage_route *route;
	char id[SERVER_ID_MAX_BYTES]; /* "{id}" of the path */
	struct json *doc;
	const struct json_value *body; /* the JSON object that came; NULL without one */
	bool is_held;
	struct timer timer;
	enum verb verb; /* of an order */
	char (*ids)[SERVER_ID_MAX_BYTES];
	size_t id_count;
	void (*then)(struct call *c); /* when facts are read */
	/* A change of the registry, on another thread: it uses id and body alone. */
	int (*change)(struct call *c, struct registry *r, struct model *m, struct err *err);
	struct settings settings; /* of an estimate */
	struct buf out;
	struct json_writer w; /* into out */
};

struct manage_route {
	enum h1_method method;
	const char *path;
	void (*handle)(struct call *c);
	bool is_open;
};

#define MANAGE_HANDLER(method, path, name, open) void handle_##name(struct call *c);
MANAGE_ROUTES(MANAGE_HANDLER)
#undef MANAGE_HANDLER

void call_reply(struct call *c, int status); /* what c->w wrote; unclosed objects are closed */
void call_fail(struct call *c, const struct err *why);
/* The one or the other: fails with why if its code is not 0. */
void call_end(struct call *c, const struct err *why, int status);
void call_refuse(struct call *c, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
struct exchange *call_take(struct call *c); /* hands the exchange over, for streams; may be NULL */
/* What the call was held for is over: whether there is still somebody to answer. */
bool call_resume(struct call *c);

/* ?name=: copied, "" without; flags, and numbers within bounds, or call_fail and false. */
void call_query(const struct call *c, const char *name, char *ret_text, size_t room);
bool call_query_number(struct call *c, const char *name, uint64_t max, uint64_t fallback,
		       uint64_t *ret_number);
bool call_query_flag(struct call *c, const char *name, bool fallback, bool *ret_flag);
/* Refuses a body with a member beside these ("name models"): one mistyped is not taken for done. */
int call_check_members(const struct call *c, const char *names, struct err *err);
/* The model of the path, whose id is in c->id then (it may have been an alias); or call_fail. */
struct fleet_model *call_model(struct call *c);

#endif
