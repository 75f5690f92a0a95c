/* SPDX-License-Identifier: MIT */
/*
 * A link (link/link.h) that speaks the control channel over a byte stream: everything but the
 * stream itself. It says hello, pings, matches replies to requests, skips foreign noise before the
 * agent's first line, tells the loss of the stream and asks for a new one with growing, jittered
 * backoff.
 *
 * The stream comes from a transport (link/unix.c: a socket; link/ssh.c: a child with two pipes):
 *   1. channel_create; the channel asks for a stream by transport->dial (from the loop),
 *   2. the transport answers once, at once or later, with channel_opened or channel_failed,
 *   3. when the stream is of no more use the channel closes its conns and calls hang_up; the
 *      transport may say why it broke by channel_failed before that,
 *   4. link_close ends with transport->destroy.
 */
#ifndef LINK_CHANNEL_H
#define LINK_CHANNEL_H

#include "io/conn.h"
#include "link/link.h"

#define CHANNEL_REQUESTS_MAX 256 /* that wait for a reply; more are refused at once */
#define CHANNEL_BACKOFF_MIN_MS 250
#define CHANNEL_BACKOFF_MAX_MS 10000

struct channel_transport {
	void (*dial)(void *transport);
	void (*hang_up)(void *transport); /* conns are closed already; end what carried them */
	void (*destroy)(void *transport); /* the last call */
	/*
	 * Once the stream has ended the transport may say why, by channel_failed, for so long; then
	 * the channel says only that it has ended. 0: it has nothing to add.
	 */
	uint32_t explain_ms;
};

struct channel_options {
	const char *controller; /* persistent id; "": a visitor, who holds no lease */
	const char *who;	/* shown to people */
	const char *peer;	/* in errors: "the agent", "the agent on the host" */
	uint32_t hello_ms;	/* from dial to the agent's hello */
	const struct channel_transport *transport;
	void *transport_data;
	const struct link_callbacks *callbacks; /* borrowed for the link's life */
	void *user;
};

/* Texts are copied. Dials at once (from the loop). */
struct link *channel_create(struct loop *loop, const struct channel_options *options);

/* The stream stands: the channel owns both conns from here (they may be the same one). */
void channel_opened(struct link *link, struct conn *in, struct conn *out);
/* No stream, or the stream broke: why. Before channel_opened, or while it is open. */
void channel_failed(struct link *link, const struct err *why);

#endif
