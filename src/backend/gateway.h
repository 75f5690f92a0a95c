/* SPDX-License-Identifier: MIT */
/*
 * The gateway: OpenAI's and Anthropic's endpoints in front of the engines.
 *
 * One request: route by path -> authenticate -> read the bounded body -> find its model -> wait
 * until that is ready (starting it when it is enabled; in order, bounded, with a deadline) -> relay
 * with the engine's own key -> account. A request that an engine may have begun is not sent again,
 * unless its kept connection turns out closed before a byte of an answer (client.h).
 */
#ifndef BACKEND_GATEWAY_H
#define BACKEND_GATEWAY_H

#include "backend/account.h"
#include "backend/fleet.h"
#include "backend/keys.h"
#include "http/client.h"
#include "http/server.h"

struct gateway_options {
	struct loop *loop;
	struct fleet *fleet;
	struct keys *keys;
	const struct account_sink *sink; /* borrowed; NULL: nobody counts */
	uint64_t first_id;		 /* of accounts */
	bool keys_always;		 /* else clients on this machine need none */
	size_t body_max_bytes;
	uint32_t queue_max; /* requests that wait for one model */
	uint32_t queue_ms, first_token_ms;
};

struct gateway;

struct gateway *gateway_create(const struct gateway_options *options);
void gateway_handle(struct gateway *g, struct exchange *x);
/* Ends what waits and what runs with this error, in each caller's dialect. */
void gateway_stop(struct gateway *g, const struct err *why);
size_t gateway_active(const struct gateway *g); /* requests that wait or run */
void gateway_close(struct gateway *g); /* after gateway_stop, or with none running; NULL is fine */

/* http_server_options.write_error: an error's body in the dialect of the path. */
void gateway_write_error(const struct request *request, const struct err *why, struct buf *out);

#endif
