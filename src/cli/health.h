/* SPDX-License-Identifier: MIT */
/*
 * Asking a server over HTTP whether it is well.
 */
#ifndef CLI_HEALTH_H
#define CLI_HEALTH_H

#include "http/client.h"

#define HEALTH_BODY_MAX_BYTES 65536

/* GET /health: 0 when it answered 200, and its body is added to `body` (may be NULL). Blocks. */
int health_ask(const struct client_address *to, struct buf *body, struct err *err);

#endif
