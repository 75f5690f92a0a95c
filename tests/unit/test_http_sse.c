/* SPDX-License-Identifier: MIT */
/* Event streams: the parser under every cut, the writer as the parser reads it, the live stream. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/sse.h"
#include "http_rig.h"
#include "unit.h"

static void note(void *user, const struct sse_event *event)
{
	assert_int_equal(
		buf_printf(user, "[%.*s|%.*s]", SPAN_ARG(event->type), SPAN_ARG(event->data)), 0);
}

/* What the parser tells about a stream that comes in steps. */
static void parse(struct span text, size_t step, size_t max_bytes, struct buf *seen,
		  uint64_t *ret_skipped)
{
	struct sse_parser p;

	buf_clear(seen);
	sse_parser_init(&p, max_bytes, note, seen);
	for (size_t at = 0; at < text.len; at += step) {
		struct span piece = span_from(text, at);

		piece.len = piece.len < step ? piece.len : step;
		char *copy = mem_spandup(piece); /* so that a span kept too long is found */

		sse_parse(&p, (struct span){ copy, piece.len });
		free(copy);
	}
	*ret_skipped = p.skipped;
	sse_parser_finish(&p);
}

static void streams_mean_the_same_however_they_are_cut(void **state)
{
	static const struct {
		const char *text, *seen;
	} rows[] = {
		{ "data: a\n\n", "[message|a]" },
		{ "data:a\r\ndata: b\r\n\r\ndata:  c\r\r", "[message|a\nb][message| c]" },
		{ "\xef\xbb\xbf"
		  "data: bom\n\n",
		  "[message|bom]" },
		{ ": ping\n\n: ping\ndata: x\n\n", "[message|x]" },
		{ "event: delta\ndata: {\"a\":1}\nid: 7\nretry: 5\n\ndata: y\n\n",
		  "[delta|{\"a\":1}][message|y]" },
		{ "event: alone\n\ndata: z\n\n", "[message|z]" },
		{ "data\n\n", "[message|]" },
		{ "data\ndata\n\n", "[message|\n]" },
		{ "data: no end\n", "" },
		{ "data: no end", "" },
		{ "database: no\n Data: no\nDATA: no\n\n", "" },
		{ "data: \xc3\xa9\xe2\x82\xac\n\ndata: [DONE]\n\n",
		  "[message|\xc3\xa9\xe2\x82\xac][message|[DONE]]" },
	};
	struct buf seen;
	uint64_t skipped;

	(void)state;
	buf_init(&seen, 10000);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t step = 1; step <= strlen(rows[i].text); step++) {
			parse(span_of(rows[i].text), step, 1000, &seen, &skipped);
			assert_string_equal(buf_text(&seen), rows[i].seen);
			assert_int_equal(skipped, 0);
		}
	}
	buf_finish(&seen);
}

static void an_event_that_is_too_long_is_skipped_and_the_next_is_not(void **state)
{
	struct buf seen;
	uint64_t skipped;

	(void)state;
	buf_init(&seen, 10000);
	for (size_t step = 1; step < 60; step++) {
		parse(SPAN_LIT("data: 12345678901\n\ndata: ok\n\ndata: 123456\ndata: 123456\n\n"
			       "data: fine\n\n"),
		      step, 10, &seen, &skipped);
		assert_string_equal(buf_text(&seen), "[message|ok][message|fine]");
		assert_int_equal(skipped, 2);
	}
	buf_finish(&seen);
}

static void an_event_of_one_mib_passes(void **state)
{
	size_t size = 1u << 20;
	struct buf text, seen;
	uint64_t skipped;

	(void)state;
	buf_init(&text, 2 * size);
	buf_init(&seen, 2 * size);
	buf_add_text(&text, "data: ");
	while (text.len < size) {
		buf_add_char(&text, 'e');
	}
	buf_add_text(&text, "\n\n");
	parse(buf_span(&text), 65536, 2 * size, &seen, &skipped);
	assert_int_equal(seen.len, size - 6 + strlen("[message|]"));
	buf_finish(&text);
	buf_finish(&seen);
}

static void what_is_written_is_read_back(void **state)
{
	struct buf text, seen;
	uint64_t skipped;

	(void)state;
	buf_init(&text, 64);
	buf_init(&seen, 1000);
	assert_int_equal(sse_write(&text, "state", SPAN_LIT("{\n}")), 0);
	assert_int_equal(sse_write(&text, NULL, SPAN_LIT("")), 0);
	size_t len = text.len;

	assert_int_equal(sse_write(&text, NULL, SPAN_LIT("far too long for what is left of it")),
			 ERR_FULL);
	assert_int_equal(text.len, len);
	parse(buf_span(&text), 3, 100, &seen, &skipped);
	assert_string_equal(buf_text(&seen), "[state|{\n}][message|]");
	buf_finish(&text);
	buf_finish(&seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_mean_the_same_however_they_are_cut),
		cmocka_unit_test(an_event_that_is_too_long_is_skipped_and_the_next_is_not),
		cmocka_unit_test(an_event_of_one_mib_passes),
		cmocka_unit_test(what_is_written_is_read_back),
	};

	return cmocka_run_group_tests_name("http_sse", tests, NULL, NULL);
}
