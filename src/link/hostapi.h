/* SPDX-License-Identifier: MIT */
/*
 * The link to a host's agent through the Host API: its events by one stream of server-sent events,
 * requests by POSTs (hostapi/hostapi.h says which). It is up while the stream is and the Host API's
 * own link is up.
 */
#ifndef LINK_HOSTAPI_H
#define LINK_HOSTAPI_H

#include "link/link.h"

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
