/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events (WHATWG HTML, section 9.2) as text: a parser for accounting, and how they are
 * written. http/feed.h sends them.
 */
#ifndef HTTP_SSE_H
#define HTTP_SSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define SSE_TYPE_MAX_BYTES 128 /* longer event types are taken for none */

/*
 * Parser: feed bytes as they come; on_event gets each event whose blank line has come. Events that
 * lie whole in one piece with one data line are not copied. One whose data exceeds max_bytes is
 * skipped and counted. Comments, id and retry are passed over.
 */
struct sse_event {
	struct span type; /* "message" when the stream names none */
	struct span data; /* data lines joined by LF; borrowed until return */
};

struct sse_parser {
	size_t max_bytes;
	uint64_t skipped; /* too long */
	void (*on_event)(void *user, const struct sse_event *event);
	void *user;
	struct sse_kept *kept; /* private: what the end of a piece has cut, else NULL */
	struct span data;      /* private: of the event at hand; in the piece, or kept */
	struct span type;      /* private: the same */
	bool has_data, is_skipping, after_cr, is_begun;
};

void sse_parser_init(struct sse_parser *p, size_t max_bytes,
		     void (*on_event)(void *user, const struct sse_event *event), void *user);
void sse_parser_finish(struct sse_parser *p);
void sse_parse(struct sse_parser *p, struct span more);

/* One event as text: "event: type\ndata: ...\n\n"; type NULL leaves that line away. 0, ERR_FULL. */
int sse_write(struct buf *out, const char *type, struct span data);

#endif
