/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.1 client with a pool of kept connections per upstream.
 *
 * A request is answered by any number of on_piece (one per read of the upstream, at once), of which
 * the last says `done`, or by on_fail; then it is gone. client_cancel ends it earlier, silently,
 * and closes its connection. No callback comes from inside client_send.
 *
 * A connection goes back to the pool only when both messages were exact and complete. An idle one
 * is watched; its peer may have closed it nevertheless, unseen yet. So an idempotent request is
 * repeated, once and on a fresh connection, if a reused one brought no byte of an answer; for any
 * other the connection is asked once more before it is used, and it is tried a second time only if
 * no byte of it had left.
 */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "http/h1.h"
#include "io/conn.h"

#define CLIENT_CONNECT_MS 5000		     /* default of connect_ms */
#define CLIENT_FIRST_BYTE_MS 60000	     /* default of first_byte_ms */
#define CLIENT_IDLE_MS 300000		     /* default of idle_ms */
#define CLIENT_POOL_MAX 64		     /* idle connections kept per upstream */
#define CLIENT_POOL_MS 3000		     /* ... for so long; llama-server closes after 5 s */
#define CLIENT_INTERIM_MAX 8		     /* 1xx answers before the real one */
#define CLIENT_SEND_MAX_BYTES (65536 + 4096) /* kept of a request body: one full read, framed */

struct client;
struct client_request;

/* One per loop and purpose. Requests must have ended or been cancelled before client_close. */
struct client *client_create(struct loop *loop);
void client_close(struct client *c); /* closes idle connections; frees later; NULL is fine */

struct client_address {
	const char *host; /* name or numeric address */
	uint16_t port;
	const char *unix_path; /* instead of host and port */
};

struct client_piece {
	const struct h1_head *head; /* with the first piece, NULL later; borrowed until return */
	struct span body;	    /* unframed bytes, may be empty; borrowed until return */
	bool done;		    /* the answer is complete, and the request gone on return */
};

struct client_callbacks {
	void (*on_piece)(void *user, const struct client_piece *piece);
	/*
	 * No (complete) answer: why, with the address and the phase in the sentence. `sent`: bytes
	 * of the request had left, so that it may have had its effect. ERR_UNAVAILABLE: no
	 * connection; ERR_TIMEOUT; ERR_CLOSED: ended early; ERR_PROTOCOL: not HTTP as it must be.
	 */
	void (*on_fail)(void *user, const struct err *why, bool sent);
	/* Streamed bodies: there is a connection, or all that was kept is gone: send (more). */
	void (*on_drain)(void *user);
};

#define CLIENT_BODY_STREAMED_CHUNKED UINT64_MAX /* streamed, of a length not known */

struct client_options {
	struct client_address to; /* copied */
	enum h1_method method;
	struct span target; /* "/v1/models?x=1", sent as it is */
	/* Host (unless given here), framing and Connection are added. Copied. */
	const struct h1_field *fields;
	size_t field_count;
	struct span body;   /* whole; borrowed until an answer comes and client_has_sent_body */
	bool is_idempotent; /* whatever its method; GET and HEAD always are (RFC 9110 9.2.2) */
	bool is_streamed;   /* body comes by client_send_body instead, streamed_bytes long */
	uint64_t streamed_bytes;
	uint64_t connect_ms, first_byte_ms, idle_ms; /* 0: the default */
};

/* `callbacks` is borrowed until the request is gone. Never fails at once: on_fail comes later. */
struct client_request *client_send(struct client *c, const struct client_options *options,
				   const struct client_callbacks *callbacks, void *user);
/* Closes the upstream's connection now. NULL is fine. */
void client_cancel(struct client_request *r);
/* Stops reading the answer (no on_piece), goes on. */
void client_pause(struct client_request *r);
void client_resume(struct client_request *r);

/* More of a streamed body, from the first on_drain on. 0, or ERR_FULL and none taken. */
int client_send_body(struct client_request *r, struct span bytes, bool last);
size_t client_kept(const struct client_request *r);
/* Whether the connection has taken all of the body, of either kind. */
bool client_has_sent_body(const struct client_request *r);

/*
 * For short answers: collects the body up to max_bytes and calls on_reply once, from the loop:
 * err->code 0 and status and body (both borrowed), or why not. Cancel as above.
 */
struct client_reply {
	struct err err;
	int status;
	struct span body;
};
typedef void client_reply_fn(void *user, const struct client_reply *reply);
struct client_fetch;
struct client_fetch *client_fetch(struct client *c, const struct client_options *options,
				  size_t max_bytes, client_reply_fn *on_reply, void *user);
void client_fetch_cancel(struct client_fetch *f); /* NULL is fine */

#endif
