/* SPDX-License-Identifier: MIT */
/*
 * Heads and bodies without sockets: what is taken, what is refused, and that cuts change nothing.
 */
#include <stdlib.h>

#include "http_samples.h"
#include "unit.h"

#include "base/mem.h"
#include "http/h1.h"

#define BODY_MAX_BYTES 65536

/* Reads in pieces of `step` bytes. NULL and err: refused. */
static struct h1_head *read_head(struct span bytes, size_t step, bool is_request, struct err *err)
{
	struct h1_reader *reader = NULL;
	struct h1_head *head = NULL;
	int status = 0;

	while (bytes.len > 0 && status == 0) {
		struct span piece = { bytes.ptr, bytes.len < step ? bytes.len : step };
		size_t len = piece.len;

		status = is_request ? h1_read_request(&reader, &piece, &head, err)
				    : h1_read_response(&reader, &piece, &head, err);
		assert_true(status == 0 ? piece.len == 0 && reader != NULL : reader == NULL);
		bytes = span_from(bytes, len);
	}
	if (status == 0) {
		err_set(err, ERR_CLOSED, "the head is not complete");
	}
	h1_reader_free(reader);
	return status == 1 ? head : NULL;
}

static void check_heads(const struct head_sample *samples, size_t count, bool is_request)
{
	for (size_t i = 0; i < count; i++) {
		const struct head_sample *sample = &samples[i];

		for (size_t step = 1; step <= sample->bytes.len; step += step < 3 ? 1 : 97) {
			struct err err = { 0 };
			struct h1_head *head = read_head(sample->bytes, step, is_request, &err);

			if (err.code != sample->code || (head != NULL) != (sample->code == 0)) {
				fail_msg("%s, in steps of %zu: %s (%s) instead of %s", sample->name,
					 step, err.code == 0 ? "taken" : err_name(err.code),
					 err.text,
					 sample->code == 0 ? "taken" : err_name(sample->code));
			}
			assert_true(err.code == 0 || err.text[0] != '\0');
			free(head);
		}
	}
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"

static void request_heads_are_judged_strictly(void **state)
{
	(void)state;
	check_heads(request_samples, request_sample_count, true);
}

static void response_heads_are_judged_strictly(void **state)
{
	static const struct head_sample samples[] = {
		{ "plain", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 0 },
		{ "no reason", BYTES("HTTP/1.1 200 \r\n\r\n"), 0 },
		{ "no reason, no blank", BYTES("HTTP/1.1 200\r\n\r\n"), 0 },
		{ "1.0", BYTES("HTTP/1.0 404 Not Found\r\n\r\n"), 0 },
		{ "two digits", BYTES("HTTP/1.1 20 OK\r\n\r\n"), ERR_INVALID },
		{ "four digits", BYTES("HTTP/1.1 2000 OK\r\n\r\n"), ERR_INVALID },
		{ "letters", BYTES("HTTP/1.1 abc OK\r\n\r\n"), ERR_INVALID },
		{ "signed", BYTES("HTTP/1.1 +20 OK\r\n\r\n"), ERR_INVALID },
		{ "zero", BYTES("HTTP/1.1 000 OK\r\n\r\n"), ERR_INVALID },
		{ "six hundred", BYTES("HTTP/1.1 600 OK\r\n\r\n"), ERR_INVALID },
		{ "no status", BYTES("HTTP/1.1\r\n\r\n"), ERR_INVALID },
		{ "two blanks", BYTES("HTTP/1.1  200 OK\r\n\r\n"), ERR_INVALID },
		{ "2.0", BYTES("HTTP/2.0 200 OK\r\n\r\n"), ERR_INVALID },
		{ "garbage", BYTES("hello\r\n\r\n"), ERR_INVALID },
		{ "a request", BYTES(GET "\r\n"), ERR_INVALID },
		{ "length and encoding",
		  BYTES("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: "
			"chunked\r\n\r\n"),
		  ERR_INVALID },
		{ "two lengths",
		  BYTES("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
		  ERR_INVALID },
		{ "no number", BYTES("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), ERR_INVALID },
		{ "unknown encoding", BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
		  ERR_INVALID },
		{ "LF", BYTES("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), ERR_INVALID },
		{ "folded", BYTES("HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n"), ERR_INVALID },
	};

	(void)state;
	check_heads(samples, ARRAY_LEN(samples), false);
}

/* prefix, `count` times `unit`, suffix; free() it. */
static char *repeat(const char *prefix, const char *unit, size_t count, const char *suffix)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	buf_add_text(&out, prefix);
	for (size_t i = 0; i < count; i++) {
		buf_add_text(&out, unit);
	}
	buf_add_text(&out, suffix);
	return buf_detach(&out);
}

static void limits_of_a_head_are_met_exactly(void **state)
{
	static const struct {
		const char *prefix, *unit;
		size_t most; /* repetitions that are taken */
		const char *suffix;
		int code; /* for one more */
	} rows[] = {
		{ "GET /", "x", H1_LINE_MAX_BYTES - 1, " HTTP/1.1\r\n\r\n", ERR_TOO_LONG },
		{ GET "X:", "v", H1_LINE_MAX_BYTES - 2, "\r\n\r\n", ERR_FULL },
		{ "GET / HTTP/1.1\r\n", "X: v\r\n", H1_FIELDS_MAX, "\r\n", ERR_FULL },
		{ "GET / HTTP/1.1\r\n",
		  "X0123456789012345678901234567890: "
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345"
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345"
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345"
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345\r"
		  "\n",
		  H1_HEAD_MAX_BYTES / 340, "\r\n", ERR_FULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t extra = 0; extra <= 1; extra++) {
			char *text = repeat(rows[i].prefix, rows[i].unit, rows[i].most + extra,
					    rows[i].suffix);
			struct head_sample sample = { rows[i].unit, span_of(text),
						      extra ? rows[i].code : 0 };

			check_heads(&sample, 1, true);
			free(text);
		}
	}
}

static void a_head_says_its_parts(void **state)
{
	struct err err;
	struct h1_head *head = read_head(
		SPAN_LIT(
			"POST /a?b HTTP/1.1\r\nHost: h\r\nConnection: x-one , CLOSE\r\nX-One: 1\r\n"
			"Content-Length: 12\r\nExpect: 100-Continue\r\n\r\nrest"),
		1000, true, &err);

	(void)state;
	assert_non_null(head);
	assert_int_equal(head->method, H1_POST);
	assert_true(span_is(head->target, "/a?b"));
	assert_int_equal(head->framing, H1_LENGTH);
	assert_int_equal(head->content_length, 12);
	assert_true(head->expects_continue);
	assert_false(head->keep_alive);
	assert_false(head->wants_upgrade);
	assert_int_equal(head->field_count, 5);
	assert_true(span_is(h1_get(head, "x-ONE"), "1"));
	assert_null(h1_get(head, "x").ptr);
	assert_true(h1_is_hop_by_hop(head, SPAN_LIT("x-one")));
	assert_true(h1_is_hop_by_hop(head, SPAN_LIT("Transfer-Encoding")));
	assert_false(h1_is_hop_by_hop(head, SPAN_LIT("Host")));
	assert_true(span_has_suffix(head->text, "\r\n\r\n"));
	free(head);
}

/* Bodies */

/* Unframes in pieces of `step`. 0 when the body ended, 1 when it did not, or an error. */
static int unframe(struct span wire, size_t step, struct buf *out, size_t *ret_rest)
{
	struct h1_body body;

	h1_body_init(&body, H1_CHUNKED, 0);
	for (size_t at = 0; at < wire.len;) {
		size_t len = wire.len - at < step ? wire.len - at : step;
		struct span input = { wire.ptr + at, len };
		struct span piece;

		while (input.len > 0 && !h1_body_is_done(&body)) {
			int status = h1_body_next(&body, &input, &piece, NULL);

			if (status != 0) {
				return status;
			}
			buf_add_span(out, piece);
		}
		at += len;
		if (h1_body_is_done(&body)) {
			*ret_rest = wire.len - at + input.len;
			return 0;
		}
	}
	return 1;
}

static void check_bodies(const struct body_sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct body_sample *sample = &samples[i];

		for (size_t step = 1; step <= sample->wire.len; step += step < 40 ? 1 : 4099) {
			struct buf out;
			size_t rest = 0;

			buf_init(&out, BODY_MAX_BYTES);
			int status = unframe(sample->wire, step, &out, &rest);
			bool as_expected = sample->body != NULL
						   ? status == 0 && rest == sample->rest &&
							     span_is(buf_span(&out), sample->body)
						   : status == ERR_INVALID;

			if (!as_expected) {
				fail_msg("%s, in steps of %zu: status %d, \"%s\", %zu bytes left",
					 sample->name, step, status, buf_text(&out), rest);
			}
			buf_finish(&out);
		}
	}
}

static void chunked_bodies_are_judged_strictly(void **state)
{
	(void)state;
	check_bodies(chunked_samples, chunked_sample_count);
}

static void extensions_and_trailers_have_limits(void **state)
{
	static const struct {
		const char *prefix;
		size_t most;
		const char *suffix;
	} rows[] = {
		{ "1;", H1_CHUNK_EXTENSIONS_MAX_BYTES - 1, "\r\na\r\n0\r\n\r\n" },
		{ "1\r\na\r\n0\r\nT: ", H1_TRAILERS_MAX_BYTES - 7, "\r\n\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t extra = 0; extra <= 1; extra++) {
			char *text =
				repeat(rows[i].prefix, "x", rows[i].most + extra, rows[i].suffix);
			struct body_sample sample = { extra ? "one more" : "the most",
						      span_of(text), extra ? NULL : "a", 0 };

			check_bodies(&sample, 1);
			free(text);
		}
	}
}

static void a_length_body_ends_where_it_says(void **state)
{
	struct h1_body body;
	struct span input = SPAN_LIT("abcdefGET /");
	struct span piece;

	(void)state;
	h1_body_init(&body, H1_LENGTH, 6);
	assert_int_equal(h1_body_next(&body, &input, &piece, NULL), 0);
	assert_true(span_is(piece, "abcdef"));
	assert_true(h1_body_is_done(&body));
	assert_true(span_is(input, "GET /"));
}

static void written_fields_cannot_break_out_of_their_line(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	h1_add_field(&out, SPAN_LIT("X"), SPAN_LIT("a\r\nEvil: 1\r\n\r\n\x1b\0z"));
	assert_string_equal(buf_text(&out), "X: a  Evil: 1      z\r\n");
	buf_finish(&out);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_heads_are_judged_strictly),
		cmocka_unit_test(response_heads_are_judged_strictly),
		cmocka_unit_test(limits_of_a_head_are_met_exactly),
		cmocka_unit_test(a_head_says_its_parts),
		cmocka_unit_test(chunked_bodies_are_judged_strictly),
		cmocka_unit_test(extensions_and_trailers_have_limits),
		cmocka_unit_test(a_length_body_ends_where_it_says),
		cmocka_unit_test(written_fields_cannot_break_out_of_their_line),
	};

	return cmocka_run_group_tests_name("h1", tests, NULL, NULL);
}
