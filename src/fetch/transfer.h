/* SPDX-License-Identifier: MIT */
/*
 * Bytes from an HTTP server, by libcurl: a text, a window of a file, or a file as a whole. Blocks.
 *
 * Connections are kept between calls. The token goes to the endpoint's host alone, never to where
 * that redirects. Only https, unless the endpoint itself is http (a mirror, a test) or this machine
 * is meant; never from https to http. Proxies are libcurl's business (https_proxy, no_proxy, ...).
 *
 * What passes by itself (a connection that broke after bytes had come, 429 and 503 with
 * Retry-After) is tried again here, however long the file takes, as long as bytes come.
 */
#ifndef FETCH_TRANSFER_H
#define FETCH_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define TRANSFER_WAIT_MAX_S 300 /* a server that asks for more is an error that says so */
#define TRANSFER_TRIES 6	/* without a single byte between two of them */

struct transfer;

struct transfer_options {			      /* borrowed */
	const char *endpoint;			      /* "https://huggingface.co" */
	const char *token;			      /* NULL: none */
	void (*on_wait)(void *user, const char *why); /* said before a pause; "" after it */
	void *user;
};

struct transfer *transfer_create(const struct transfer_options *options, struct err *err);
void transfer_destroy(struct transfer *t); /* NULL is fine */

/*
 * All of them: 0; ERR_UNAUTHENTICATED, ERR_DENIED, ERR_NOT_FOUND, ERR_RATE, ERR_UNAVAILABLE and so
 * on, with one line that says what to do. `what` names for people what is asked for.
 *
 * transfer_text: `len` bytes from there (the server must know ranges), or with 0 all; ERR_PROTOCOL
 * when they do not fit.
 */
int transfer_text(struct transfer *t, const char *what, const char *url, uint64_t from, size_t len,
		  struct buf *out, struct err *err);

/* Size and validator of a file that no hub describes. "" where the server says none. */
int transfer_look(struct transfer *t, const char *what, const char *url, uint64_t *ret_bytes,
		  char ret_etag[128], struct err *err);

struct transfer_file {
	const char *what, *url;
	int fd;
	uint64_t bytes; /* that it must come to */
	uint64_t have;	/* there already: goes on behind them */
	/* Called as bytes come; 0: the server could not go on, it begins anew. */
	void (*on_bytes)(void *user, uint64_t have);
	void *user;
};

int transfer_file(struct transfer *t, struct transfer_file *f, struct err *err);

#endif
