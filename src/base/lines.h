/* SPDX-License-Identifier: MIT */
/*
 * Cuts a stream of bytes into lines. Pulled, so that the reader may stop, or go away, between two:
 *
 *   status = lines_add(&l, piece);
 *   while (status == 0 && lines_next(&l, &line)) { ... }
 *
 * Between two pieces it holds only the line that is not complete yet.
 */
#ifndef BASE_LINES_H
#define BASE_LINES_H

#include "base/buf.h"

struct lines {
	struct buf buf;
	size_t line_max_bytes;
	size_t taken;	/* private: bytes of the line that was handed out last */
	size_t scanned; /* private: bytes behind it that hold no newline */
};

#define LINES_PIECE_MAX_BYTES 65536 /* of one lines_add: a full read */

void lines_init(struct lines *l, size_t line_max_bytes); /* the newline counts */
void lines_finish(struct lines *l);

/* ERR_FULL: an incomplete line exceeds its limit. Call after lines_next has said false. */
int lines_add(struct lines *l, struct span piece);

/* The next whole line, without its newline, borrowed until the next call. */
bool lines_next(struct lines *l, struct span *ret_line);

#endif
