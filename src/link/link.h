/* SPDX-License-Identifier: MIT */
/*
 * A link is one controller's way to the agent of one host. Three kinds, one interface:
 * a UNIX socket on the same machine, an ssh child, and the Host API over HTTP.
 *
 * A link keeps itself up: it dials, says hello, pings, and dials again with backoff after a loss.
 * After on_up it says the full state of every server once (SERVER each, then SYNCED), then every
 * change. Callbacks come from the loop, never from inside a call; the last statement of
 * whoever makes them.
 */
#ifndef LINK_LINK_H
#define LINK_LINK_H

#include "base/err.h"
#include "io/loop.h"
#include "wire/messages.h"

struct link;

struct link_callbacks {
	void (*on_up)(void *user);
	/* HOST, SERVER, PROGRESS, REMOVED, SYNCED or LOG (wire/messages.h), until it returns. */
	void (*on_event)(void *user, const struct wire_event *event);
	/* Lost, or could not be made: why, in one sentence. Tried again by itself. */
	void (*on_down)(void *user, const struct err *why);
};

/* Exactly once per link_send, also when the link is lost (ERR_UNAVAILABLE) or closed. */
typedef void link_reply_fn(void *user, const struct wire_reply *reply);

/*
 * START, STOP, RESTART, CREDENTIALS, RELOAD or SHUTDOWN; the link gives the request its number. No
 * ids: all that are enabled (start), run (stop) or exist. Copied.
 */
void link_send(struct link *link, const struct wire_request *request, link_reply_fn *on_reply,
	       void *user);
/*
 * Logs of these models from now on; replaces the former set. Those that are new to it begin with
 * their last `tail` lines.
 */
void link_follow_logs(struct link *link, const char *const *ids, size_t count, uint32_t tail);

/* Why it is down, for an error to somebody who needs it; code 0 while it is up. */
const struct err *link_error(const struct link *link);
bool link_is_up(const struct link *link);
void link_close(struct link *link); /* frees later; NULL is fine */

#endif
