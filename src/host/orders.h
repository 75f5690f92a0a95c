/* SPDX-License-Identifier: MIT */
/*
 * A request that takes time: start, stop, restart or reload, for one session. It waits for the
 * registry to be read (ticket), is granted, and is answered once the last of its models got there
 * or failed. Orders outlive their session (a start goes on when the asker has left); then nobody is
 * answered.
 */
#ifndef HOST_ORDERS_H
#define HOST_ORDERS_H

#include "host/session.h"

struct order_target {
	struct supervisor *server; /* NULL: failed before anything was asked of it */
	bool is_done;
	struct wire_result result;
};

struct order {
	struct list link;
	struct wire_request request; /* no ids: all that are enabled (start) or run */
	struct session *session;     /* NULL: it left */
	char controller[WIRE_CONTROLLER_MAX_BYTES];
	uint64_t ticket;
	bool by_bye; /* the one-shot form: answered by `bye` with the exit code */
	bool is_open;
	struct order_target *targets;
	size_t count, room;
};

/* Takes the request over: *r is empty then. */
struct order *order_create(struct list *orders, struct session *session, struct wire_request *r);
void order_add(struct order *o, struct supervisor *server);
void order_add_failure(struct order *o, const char *id, const struct err *err);
/* Everything was asked of the servers: from here on it may be complete. May free o. */
void order_open(struct order *o);

void orders_judge(struct list *orders, struct supervisor *server); /* its state changed */
void orders_forget_server(struct list *orders, struct supervisor *server);
void orders_forget_session(struct list *orders, struct session *session);
void orders_destroy(struct list *orders);

#endif
