/* SPDX-License-Identifier: MIT */
/*
 * Requests and chunked bodies, good and bad, with what must become of them: told to the parser by
 * test_h1.c and to the server over a socket by test_http_server.c.
 */
#ifndef HTTP_SAMPLES_H
#define HTTP_SAMPLES_H

#include "base/span.h"

/* A span over a literal that may hold NUL. */
#define BYTES(literal) SPAN_INIT(literal)

struct head_sample {
	const char *name;
	struct span bytes;
	int code; /* of the err; 0: taken */
};

struct body_sample {
	const char *name;
	struct span wire;
	const char *body; /* NULL: refused */
	size_t rest;	  /* bytes behind the body that must be left */
};

extern const struct head_sample request_samples[];
extern const size_t request_sample_count;
extern const struct body_sample chunked_samples[];
extern const size_t chunked_sample_count;

#endif
