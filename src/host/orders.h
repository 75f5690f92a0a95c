/* SPDX-License-Identifier: MIT */
/*
 * A request that takes time: start, stop or restart of some models, for one session. It is answered
 * once the last of its models got there or failed. Orders outlive their session (a start goes on
 * when the asker has left); then nobody is answered.
 */
#ifndef HOST_ORDERS_H
#define HOST_ORDERS_H

#include "host/session.h"

struct order;

struct order *order_create(struct list *orders, enum verb verb, struct session *session,
			   uint64_t seq);
void order_say_bye(struct order *o); /* answer by `bye` with the exit code, not by `reply` */
void order_add(struct order *o, struct supervisor *server);
void order_add_failure(struct order *o, const char *id, const struct err *err);
/* Everything was asked of the servers: from here on it may be complete. May free o. */
void order_open(struct order *o);

void orders_judge(struct list *orders, struct supervisor *server); /* its state changed */
void orders_forget_server(struct list *orders, struct supervisor *server);
void orders_forget_session(struct list *orders, struct session *session);
void orders_destroy(struct list *orders);

#endif
