/* SPDX-License-Identifier: MIT */
/*
 * Requests that take time: start, stop, restart or reload, for one session. A stop is granted at
 * once, the others when the registry was read again (ticket); each is answered once the last of its
 * models got there or failed. Orders outlive their session (a start goes on when the asker has
 * left); then nobody is answered.
 */
#ifndef HOST_ORDERS_H
#define HOST_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/messages.h"

struct agent;
struct session;
struct supervisor;

/* Takes the request over: *r is empty then. by_bye: answered by `bye` with the exit code. */
void order_take(struct agent *a, struct session *s, struct wire_request *r, bool by_bye);

void orders_grant(struct agent *a, uint64_t ticket); /* that read, and all before it, is done */
void orders_judge(struct agent *a);		     /* a server's state changed */
void orders_forget_server(struct agent *a, const struct supervisor *server);
void orders_forget_session(struct agent *a, const struct session *session);
void orders_destroy(struct agent *a);

#endif
