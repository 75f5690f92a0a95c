/* SPDX-License-Identifier: MIT */
/*
 * A chunked body against llhttp: what ours accepts, llhttp accepts with the same bytes and the same
 * end. (Ours refuses more, never less.)
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

static size_t unframe(struct span text, size_t step, struct buf *out)
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
	size_t used = unframe(text, size + 1, &ours);

	ENSURE(unframe(text, 1 + size % 6, &cut) == used);
	if (used > 0) {
		ENSURE(span_equal(buf_span(&cut), buf_span(&ours)));
		ENSURE(unframe_by_llhttp(text, &theirs) == used);
		ENSURE(span_equal(buf_span(&theirs), buf_span(&ours)));
	}
	buf_finish(&ours);
	buf_finish(&cut);
	buf_finish(&theirs);
	return 0;
}
