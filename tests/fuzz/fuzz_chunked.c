/* SPDX-License-Identifier: MIT */
/*
 * A chunked body against llhttp: what ours accepts, llhttp accepts with the same bytes and the same
 * end, if it has neither extensions nor trailers. (These we drop; only that they cannot hide the
 * end of a line matters, so their grammar is not ours to judge.)
 */
#include <llhttp.h>

#include "http/h1.h"

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
	return buf_add(parser->data, at, len);
}

static int on_complete(llhttp_t *parser)
{
	(void)parser;
	return HPE_PAUSED;
}

/* Bytes taken up to the end of the body, or 0 when it is refused or has no end. */
static size_t unframe_by_llhttp(struct span text, struct buf *out)
{
	static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
	llhttp_settings_t settings;
	llhttp_t parser;

	llhttp_settings_init(&settings);
	settings.on_body = on_body;
	settings.on_message_complete = on_complete;
	llhttp_init(&parser, HTTP_REQUEST, &settings);
	parser.data = out;
	ENSURE(llhttp_execute(&parser, head, sizeof(head) - 1) == HPE_OK);
	if (llhttp_execute(&parser, text.ptr, text.len) != HPE_PAUSED) {
		return 0;
	}
	return (size_t)(llhttp_get_error_pos(&parser) - text.ptr);
}

static size_t unframe(struct span text, size_t step, struct buf *out, bool *ret_is_plain)
{
	struct h1_body body;
	size_t used = 0;

	h1_body_init(&body, H1_CHUNKED, 0);
	while (used < text.len) {
		struct span input = span_from(text, used);
		struct span piece;

		input.len = input.len < step ? input.len : step;
		if (h1_body_next(&body, &input, &piece, NULL) != 0) {
			return 0;
		}
		used = (size_t)(input.ptr - text.ptr);
		buf_add_span(out, piece);
		if (h1_body_is_done(&body)) {
			*ret_is_plain = body.extensions == 0 && body.trailers == strlen("\r\n");
			return used;
		}
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct buf ours, cut, theirs;

	buf_init(&ours, size);
	buf_init(&cut, size);
	buf_init(&theirs, size);
	bool is_plain = false;
	size_t used = unframe(text, size + 1, &ours, &is_plain);

	ENSURE(unframe(text, 1 + size % 6, &cut, &is_plain) == used);
	if (used > 0) {
		ENSURE(span_equal(buf_span(&cut), buf_span(&ours)));
		size_t theirs_used = unframe_by_llhttp(text, &theirs);

		ENSURE(theirs_used == used || (theirs_used == 0 && !is_plain));
		ENSURE(theirs_used == 0 || span_equal(buf_span(&theirs), buf_span(&ours)));
	}
	buf_finish(&ours);
	buf_finish(&cut);
	buf_finish(&theirs);
	return 0;
}
