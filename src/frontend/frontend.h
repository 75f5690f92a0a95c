/* SPDX-License-Identifier: MIT */
/*
 * The page's own server on :5173: the built page from memory, and /api and /v1 passed on to the
 * backend, so that the browser has one origin. The page asks for no password: this server checks
 * Host and Origin and adds the management token itself. Only clients on the listed hosts get here.
 */
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include "base/err.h"
#include "io/loop.h"

/* All text is borrowed for the frontend's life. */
struct frontend_options {
	const char *address; /* numeric */
	uint16_t port;
	const char *const *hosts, *const *origins; /* http/server.h */
	const char *web_root;
	const char *backend_host;
	uint16_t backend_port;
	const char *token;	/* added to what goes to the backend */
	uint64_t first_byte_ms; /* the backend may be silent that long */
	uint64_t body_max_bytes;
	int conns_max;
};

struct frontend;

struct frontend *frontend_start(struct loop *loop, const struct frontend_options *options,
				struct err *err);
void frontend_close(struct frontend *f); /* NULL is fine */

#endif
