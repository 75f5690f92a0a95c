/* SPDX-License-Identifier: MIT */
/*
 * What the files of the management API share, and nobody else. A call is one request on its way: a
 * handler ends it by exactly one call_ function. Work that calls back later sets is_held first and
 * clears it when it does; until then the call outlives its client (x is NULL then) and its answer.
 */
#ifndef BACKEND_MANAGE_CORE_H
#define BACKEND_MANAGE_CORE_H

#include "backend/manage.h"
#include "io/timer.h"

struct manage {
	struct manage_options options;
	struct facts *facts;
	struct logs *logs;
	size_t calls;
	bool is_closed;
};

struct call {
	struct manage *m;
	struct exchange *x; /* NULL: answered, or the client left */
	const struct manage_route *route;
	char id[SERVER_ID_MAX_BYTES]; /* "{id}" of the path */
	bool is_held;
	struct timer timer;
	enum verb verb; /* of an order */
	char (*ids)[SERVER_ID_MAX_BYTES];
	size_t id_count;
	struct settings settings; /* of an estimate */
	struct buf out;
	struct json_writer w; /* into out */
};

/* body: the JSON object that came, NULL without one. */
typedef void manage_handler(struct call *c, const struct json_value *body);

struct manage_route {
	enum h1_method method;
	const char *path;
	manage_handler *handle;
	bool is_open;
};

#define MANAGE_HANDLER(method, path, name, open) manage_handler handle_##name;
MANAGE_ROUTES(MANAGE_HANDLER)
#undef MANAGE_HANDLER

void call_reply(struct call *c, int status); /* what c->w wrote; unclosed objects are closed */
void call_fail(struct call *c, const struct err *why);
struct exchange *call_take(struct call *c); /* hands the exchange over, for streams */
void call_release(struct call *c);	    /* is_held is over and there is nothing to answer */

/* ?name=: copied, "" without; numbers within bounds, or call_fail and false. */
void call_query(const struct call *c, const char *name, char *ret_text, size_t room);
bool call_query_number(struct call *c, const char *name, uint64_t max, uint64_t fallback,
		       uint64_t *ret_number);
/* The model of the path, or call_fail and NULL. */
struct fleet_model *call_model(struct call *c);

#endif
