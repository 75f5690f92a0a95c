/* SPDX-License-Identifier: MIT */
/*
 * Relays one exchange to one upstream request, both ways, with at most one read's worth of bytes
 * waiting on either side: who is slow slows the other.
 *
 * The request is rebuilt: own framing, only the fields that the caller names. The answer loses its
 * hop-by-hop fields, Server and Access-Control-*, and gets our framing. An answer that the upstream
 * breaks off ends uncleanly, after whatever on_broken adds. A client that leaves closes the
 * upstream's connection at once.
 *
 * proxy_start takes over the exchange, its callbacks included; what was asked is gone once an
 * answer is under way (exchange_forget_request). Hooks see everything pass and copy
 * nothing; on_done is the last, exactly once, and the exchange is gone by then.
 */
#ifndef HTTP_PROXY_H
#define HTTP_PROXY_H

#include "http/client.h"
#include "http/server.h"

struct proxy_hooks {
	/* The answer's head, before it is relayed. */
	void (*on_head)(void *user, const struct h1_head *head);
	void (*on_body)(void *user, struct span piece); /* after it went to the client */
	/*
	 * Nothing was answered yet and the upstream failed. True: the hook has taken the exchange
	 * back (to answer it, or to try another upstream) and the proxy is gone, without on_done.
	 * False: the proxy answers with exchange_fail.
	 */
	bool (*on_fail)(void *user, struct exchange *x, const struct err *why, bool sent);
	/*
	 * An answer of 400 or above, whole, up to PROXY_REFUSAL_MAX_BYTES of its body: the hook has
	 * taken the exchange back as above and answers it. NULL: it is relayed as any other.
	 */
	void (*on_refusal)(void *user, struct exchange *x, int status, struct span body);
	/* Broken off in mid-stream: bytes put into `last` are still delivered (an error event). */
	void (*on_broken)(void *user, const struct err *why, struct buf *last);
	/* NULL: complete; ERR_CANCELED: the client left; else the upstream's fault. 0: no status */
	void (*on_done)(void *user, const struct err *why, int status);
}; /* each may be NULL */

#define PROXY_FIELDS_MAX 32	     /* of each kind that the options name */
#define PROXY_LAST_MAX_BYTES 2048    /* what on_broken may add */
#define PROXY_REFUSAL_MAX_BYTES 4096 /* what on_refusal is shown */

struct proxy_options {
	struct client *client;
	/* The method is the exchange's; the body lives as long as the request, or is streamed. */
	struct client_options request;
	const struct span *pass; /* names of request fields that go along with those above */
	size_t pass_count;
	bool stream_body;	 /* from the exchange */
	uint64_t body_max_bytes; /* of a streamed one; above: 413 */
	const struct h1_field
		*reply_fields; /* added to the answer; copied when it begins: must live */
	size_t reply_field_count;
	const struct proxy_hooks *hooks; /* borrowed, may be NULL */
	void *user;
};

struct proxy;

struct proxy *proxy_start(struct exchange *x, const struct proxy_options *options);
/*
 * Ends it from our side: what on_broken would add is `last` (may be empty), then an unclean end;
 * before an answer began, exchange_fail(why). on_done comes from inside this call.
 */
void proxy_stop(struct proxy *p, const struct err *why, struct span last);

#endif
