/* SPDX-License-Identifier: MIT */
/*
 * A link to the agent of this machine, over its UNIX socket.
 */
#ifndef LINK_UNIX_H
#define LINK_UNIX_H

#include "link/link.h"

/*
 * socket_path: agent.sock or control.sock in the run folder. controller: "" for a person. While
 * nobody listens there on_down says ERR_NO_AGENT and what to do.
 */
struct link *link_unix_create(struct loop *loop, const char *socket_path, const char *controller,
			      const char *who, const struct link_callbacks *callbacks, void *user);

#endif
