/* SPDX-License-Identifier: MIT */
/*
 * A request head: read the same however it is cut, and what was accepted and is written again by us
 * is accepted again with the same meaning.
 */
#include <stdlib.h>

#include "http/h1.h"
#include "http/policy.h"

/* Shows the bytes in pieces of `step`; the head or NULL. */
static struct h1_head *parse(struct span bytes, size_t step)
{
	struct h1_reader *reader = NULL;
	struct h1_head *head = NULL;
	int found = 0;

	for (size_t at = 0; at < bytes.len && found == 0; at += step) {
		struct span piece = span_from(bytes, at);

		piece.len = piece.len < step ? piece.len : step;
		found = h1_read_request(&reader, &piece, &head, NULL);
	}
	h1_reader_free(reader);
	return found == 1 ? head : NULL;
}

static void check_rewritten(const struct h1_head *head)
{
	struct buf text;

	buf_init(&text, 4 * H1_HEAD_MAX_BYTES);
	h1_add_request_line(&text, head->method, head->target);
	h1_add_fields(&text, head->fields, head->field_count);
	ENSURE(buf_add_text(&text, "\r\n") == 0);
	/* Ours has a blank behind each colon: it may be the bytes that no longer fit. */
	if (text.len <= head->text.len) {
		struct h1_head *again = parse(buf_span(&text), text.len);

		ENSURE(again != NULL && again->text.len == text.len);
		ENSURE(again->method == head->method && span_equal(again->target, head->target));
		ENSURE(again->field_count == head->field_count);
		if (head->minor == 1) {
			ENSURE(again->framing == head->framing &&
			       again->content_length == head->content_length);
		}
		free(again);
	}
	buf_finish(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = { (const char *)data, size };
	struct h1_head *whole = parse(bytes, size > 0 ? size : 1);
	struct h1_head *cut = parse(bytes, 1 + size % 7);

	ENSURE((whole == NULL) == (cut == NULL));
	if (whole != NULL) {
		char path[H1_LINE_MAX_BYTES + 1];
		struct policy_target target;
		struct policy_host host;

		ENSURE(whole->text.len == cut->text.len && whole->framing == cut->framing);
		check_rewritten(whole);
		if (policy_host(whole, &host, NULL) == 0 &&
		    policy_target(whole->target, host.host, &target, NULL) == 0 &&
		    policy_path(target.path, path, NULL) == 0) {
			ENSURE(path[0] == '/' && strstr(path, "//") == NULL &&
			       strstr(path, "/../") == NULL);
		}
	}
	free(whole);
	free(cut);
	return 0;
}
