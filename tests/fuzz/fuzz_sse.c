/* SPDX-License-Identifier: MIT */
/* An event stream tells the same events however it is cut, and within its limit. */
#include <stdlib.h>

#include "base/mem.h"
#include "http/sse.h"

#define MAX_BYTES 64

static void note(void *user, const struct sse_event *event)
{
	ENSURE(event->data.len <= MAX_BYTES && event->type.len <= SSE_TYPE_MAX_BYTES);
	ENSURE(buf_add_span(user, event->type) == 0 && buf_add_char(user, '\0') == 0);
	ENSURE(buf_add_span(user, event->data) == 0 && buf_add_char(user, '\0') == 0);
}

static uint64_t parse(struct span text, size_t step, struct buf *seen)
{
	struct sse_parser p;

	sse_parser_init(&p, MAX_BYTES, note, seen);
	for (size_t at = 0; at < text.len; at += step) {
		struct span piece = span_from(text, at);

		piece.len = piece.len < step ? piece.len : step;
		char *copy = mem_spandup(piece);

		sse_parse(&p, (struct span){ copy, piece.len });
		free(copy);
	}
	uint64_t skipped = p.skipped;

	sse_parser_finish(&p);
	return skipped;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct buf whole, cut;

	buf_init(&whole, 16 * size + 64);
	buf_init(&cut, 16 * size + 64);
	uint64_t skipped = parse(text, size + 1, &whole);

	ENSURE(parse(text, 1 + size % 9, &cut) == skipped);
	ENSURE(span_equal(buf_span(&whole), buf_span(&cut)));
	buf_finish(&whole);
	buf_finish(&cut);
	return 0;
}
