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

/*
 * To the agent of this machine. socket_path: agent.sock or control.sock in the run folder.
 * controller: "" for a person. While nobody listens there on_down says ERR_NO_AGENT and what to do.
 */
struct link *link_unix_create(struct loop *loop, const char *socket_path, const char *controller,
			      const char *who, const struct link_callbacks *callbacks, void *user);

/*
 * To the agent of a host by an ssh child with the restricted key: `ssh -F CONFIG HOST
 * start-metal-servers`; everything about how it connects stands in CONFIG, which set-up wrote.
 */
struct link_ssh_options {
	const char *program;	/* "ssh" */
	const char *config;	/* path of ssh's configuration */
	const char *host;	/* Host entry in it */
	const char *controller; /* persistent id, see wire_request */
	const char *who;
	const struct link_callbacks *callbacks; /* borrowed for the link's life */
	void *user;
};

/* Texts are copied. */
struct link *link_ssh_create(struct loop *loop, const struct link_ssh_options *options);

/*
 * Why the channel ended, for a person, from how ssh did (its exit code, or -signal) and what it
 * wrote to stderr. Pure.
 */
void ssh_explain(int exit_code, struct span said, struct err *ret_why);

/*
 * To a host's agent through the Host API: its events by one stream of server-sent events, requests
 * by POSTs (hostapi/hostapi.h says which). Up while the stream is and the Host API's own link is.
 */
struct link_hostapi_options {
	const char *url;			/* "http://host-api:9090" */
	const char *secret;			/* shared with the Host API */
	const struct link_callbacks *callbacks; /* borrowed for the link's life */
	void *user;
};

/* Texts are copied. NULL and ERR_INVALID when url is not of that form. */
struct link *link_hostapi_create(struct loop *loop, const struct link_hostapi_options *options,
				 struct err *err);

/* "http://NAME[:PORT][/]" (port 80 without) cut into its parts; free *ret_host. Pure. */
int hostapi_url_parse(const char *url, char **ret_host, uint16_t *ret_port, struct err *err);

#endif
