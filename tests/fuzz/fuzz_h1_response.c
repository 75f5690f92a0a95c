/* SPDX-License-Identifier: MIT */
/*
 * A whole response, head and body: pieces lie in the input, in order, and their number of bytes
 * does not depend on how the input is cut.
 */
#include <stdlib.h>

#include "http/h1.h"

/* Unframes what follows the head; the bytes of body, or -1 when it is not well framed. */
static long unframe(const struct h1_head *head, struct span rest, size_t step)
{
	struct h1_body body;
	long total = 0;

	h1_body_init(&body, h1_has_no_body(head, H1_GET) ? H1_NO_BODY : head->framing,
		     head->content_length);
	for (size_t at = 0; at < rest.len && !h1_body_is_done(&body); at += step) {
		struct span input = span_from(rest, at);

		input.len = input.len < step ? input.len : step;
		while (input.len > 0 && !h1_body_is_done(&body)) {
			const char *start = input.ptr;
			struct span piece;

			if (h1_body_next(&body, &input, &piece, NULL) != 0) {
				return -1;
			}
			ENSURE(piece.ptr >= start && piece.ptr + piece.len <= input.ptr);
			ENSURE(input.ptr > start || h1_body_is_done(&body));
			total += (long)piece.len;
		}
	}
	return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = { (const char *)data, size };
	struct span rest = bytes;
	struct h1_reader *reader = NULL;
	struct h1_head *head = NULL;

	if (h1_read_response(&reader, &rest, &head, NULL) == 1) {
		ENSURE(head->status >= 100 && head->status <= 599);
		ENSURE(unframe(head, rest, rest.len + 1) == unframe(head, rest, 1 + size % 5));
	}
	h1_reader_free(reader);
	free(head);
	return 0;
}
