/* SPDX-License-Identifier: MIT */
/*
 * What a request claims about itself, checked: its target, its host, its origin. Pure.
 */
#ifndef HTTP_POLICY_H
#define HTTP_POLICY_H

#include "http/h1.h"

/*
 * Checks the one Host field (RFC 9112 3.2): name or [address], perhaps a port. Absent only in
 * HTTP/1.0, both are empty then.
 */
struct policy_host {
	struct span host, name; /* as received; without the port */
};
int policy_host(const struct h1_head *head, struct policy_host *ret, struct err *err);

/*
 * Splits a target into path and query, both raw. Absolute form ("http://host/path") must name the
 * same host as the Host field; *ret_target is the target in origin form.
 */
struct policy_target {
	struct span target, path, query;
};
int policy_target(struct span target, struct span host, struct policy_target *ret, struct err *err);

/*
 * Decodes a raw path into ret_path, which has room for raw.len + 1 bytes. What two readers could
 * read differently is refused; see struct request in server.h.
 */
int policy_path(struct span raw, char *ret_path, struct err *err);

/* A value of a query, decoded and cut to room. Broken escapes and those of control bytes stay. */
void policy_query_value(struct span raw, char *ret_text, size_t room);

/* Whether the host's name is in the list. NULL list: any. */
bool policy_host_is_allowed(struct span name, const char *const *hosts);
/* No Origin, our own (same authority as Host), or one in the list (NULL: none). */
bool policy_origin_is_allowed(struct span origin, struct span host, const char *const *origins);

#endif
