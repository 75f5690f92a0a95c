/* SPDX-License-Identifier: MIT */
/*
 * The Host API: one link to one host's agent, offered to the backend over HTTP.
 *
 *   GET  /health, /healthz          200 as long as the process lives; says how the link is
 *   GET  /ready                     200 while the agent answers, else 503 and why
 *   POST /api/servers/start         {"models":[...]}, without models: all that are enabled
 *   POST /api/servers/stop          the same and "drain_ms", "deadline_ms"; all that run
 *   POST /api/servers/restart|credentials|reload|logs      the other verbs of the channel
 *   GET  /api/servers/status        {"agent":..., "host":..., "servers":[...]}
 *   GET  /api/servers/events        SSE: the channel's own events, the whole state first
 *
 * All but the first three need the shared secret as a bearer token. Bodies and events are the
 * control channel's messages (wire/messages.h): start, stop, restart answer when every model got
 * there or failed.
 */
#ifndef HOSTAPI_HOSTAPI_H
#define HOSTAPI_HOSTAPI_H

#include "base/err.h"
#include "io/loop.h"
#include "link/link.h"

/* All text is borrowed for the Host API's life. */
struct hostapi_options {
	const char *address; /* numeric, to listen on */
	uint16_t port;
	const char *const *hosts;    /* names by which clients may call, NULL-terminated */
	const char *secret;	     /* shared with the backend; not empty */
	uint32_t drain_ms;	     /* at the end: for running answers */
	struct link_ssh_options ssh; /* its callbacks and user are the Host API's */
};

#define HOSTAPI_STOP_MS 6500  /* deadline of the stop that ends everything */
#define HOSTAPI_LEAVE_MS 7200 /* after that it leaves without the agent's answer; Docker: 10 s */

struct hostapi;

/* NULL and an err naming the address. A host that cannot be reached is no error, it is a state. */
struct hostapi *hostapi_start(struct loop *loop, const struct hostapi_options *options,
			      struct err *err);
uint16_t hostapi_port(const struct hostapi *h);

/* Stops all servers of the host, within HOSTAPI_LEAVE_MS; then on_end, once. */
void hostapi_leave(struct hostapi *h, void (*on_end)(void *user), void *user);
void hostapi_close(struct hostapi *h); /* at once; frees later; NULL is fine */

#endif
