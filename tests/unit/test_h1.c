/* SPDX-License-Identifier: MIT */
/* Heads and bodies without sockets: what is taken, what is refused, and that cuts change nothing. */
#include <stdlib.h>

#include "unit.h"

#include "base/mem.h"
#include "http/h1.h"

#define BODY_MAX_BYTES 65536

/* A span over a literal that may hold NUL. */
#define BYTES(literal) SPAN_INIT(literal)

struct sample {
	const char *name;
	struct span bytes;
	int code; /* of the err; 0: taken */
};

/* Scans in pieces of `step` bytes, then parses. NULL and err: refused. */
static struct h1_head *read_head(struct span bytes, size_t step, bool is_request, struct err *err)
{
	struct h1_scan scan = { 0 };

	for (size_t at = 0; at < bytes.len; at += step) {
		size_t len = bytes.len - at < step ? bytes.len - at : step;
		int found = h1_scan(&scan, (struct span){ bytes.ptr + at, len }, err);

		if (found < 0) {
			return NULL;
		}
		if (found == 1) {
			struct span head = { bytes.ptr, scan.bytes };

			return is_request ? h1_parse_request(head, &scan, err)
					  : h1_parse_response(head, &scan, err);
		}
	}
	err_set(err, ERR_CLOSED, "the head is not complete");
	return NULL;
}

static void check_heads(const struct sample *samples, size_t count, bool is_request)
{
	for (size_t i = 0; i < count; i++) {
		const struct sample *sample = &samples[i];

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
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

static void request_heads_are_judged_strictly(void **state)
{
	static const struct sample samples[] = {
		{ "plain", BYTES(GET "\r\n"), 0 },
		{ "blanks around a value", BYTES(GET "X: \t v \t\r\n\r\n"), 0 },
		{ "empty value", BYTES(GET "X:\r\n\r\n"), 0 },
		{ "bytes of UTF-8 in a value", BYTES(GET "X: \xc3\xa9\r\n\r\n"), 0 },
		{ "length", BYTES(POST "Content-Length: 5\r\n\r\n"), 0 },
		{ "chunked in capitals", BYTES(POST "TRANSFER-ENCODING: Chunked\r\n\r\n"), 0 },
		{ "1.0 without Host", BYTES("GET / HTTP/1.0\r\n\r\n"), 0 },
		/* Length and encoding */
		{ "both", BYTES(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
		  ERR_INVALID },
		{ "both, other order",
		  BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
		  ERR_INVALID },
		{ "two lengths", BYTES(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
		  ERR_INVALID },
		{ "twice the same length",
		  BYTES(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), ERR_INVALID },
		{ "list of lengths", BYTES(POST "Content-Length: 5, 5\r\n\r\n"), ERR_INVALID },
		{ "length with plus", BYTES(POST "Content-Length: +5\r\n\r\n"), ERR_INVALID },
		{ "length in hex", BYTES(POST "Content-Length: 0x5\r\n\r\n"), ERR_INVALID },
		{ "empty length", BYTES(POST "Content-Length:\r\n\r\n"), ERR_INVALID },
		{ "blank length", BYTES(POST "Content-Length:  \r\n\r\n"), ERR_INVALID },
		{ "negative length", BYTES(POST "Content-Length: -1\r\n\r\n"), ERR_INVALID },
		{ "length of 2^64", BYTES(POST "Content-Length: 18446744073709551616\r\n\r\n"),
		  ERR_INVALID },
		{ "length of 2^63", BYTES(POST "Content-Length: 9223372036854775808\r\n\r\n"),
		  ERR_INVALID },
		{ "length with underscore", BYTES(POST "Content-Length: 1_0\r\n\r\n"),
		  ERR_INVALID },
		{ "length with inner blank", BYTES(POST "Content-Length: 1 0\r\n\r\n"),
		  ERR_INVALID },
		{ "xchunked", BYTES(POST "Transfer-Encoding: xchunked\r\n\r\n"), ERR_INVALID },
		{ "chunked, gzip", BYTES(POST "Transfer-Encoding: chunked, gzip\r\n\r\n"),
		  ERR_INVALID },
		{ "gzip, chunked", BYTES(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
		  ERR_INVALID },
		{ "chunked, chunked", BYTES(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
		  ERR_INVALID },
		{ "two encodings",
		  BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
		  ERR_INVALID },
		{ "identity", BYTES(POST "Transfer-Encoding: identity\r\n\r\n"), ERR_INVALID },
		{ "empty encoding", BYTES(POST "Transfer-Encoding:\r\n\r\n"), ERR_INVALID },
		{ "quoted chunked", BYTES(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
		  ERR_INVALID },
		{ "chunked with parameter", BYTES(POST "Transfer-Encoding: chunked;q=1\r\n\r\n"),
		  ERR_INVALID },
		{ "chunked behind a vertical tab",
		  BYTES(POST "Transfer-Encoding: \x0b"
			     "chunked\r\n\r\n"),
		  ERR_INVALID },
		{ "encoding in 1.0", BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
		  ERR_INVALID },
		/* The request line */
		{ "0.9", BYTES("GET /\r\n\r\n"), ERR_INVALID },
		{ "version 0.9", BYTES("GET / HTTP/0.9\r\n\r\n"), ERR_INVALID },
		{ "version 1.2", BYTES("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), ERR_INVALID },
		{ "version 1.10", BYTES("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), ERR_INVALID },
		{ "version 2.0", BYTES("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), ERR_INVALID },
		{ "version 01.1", BYTES("GET / HTTP/01.1\r\nHost: a\r\n\r\n"), ERR_INVALID },
		{ "version without number", BYTES("GET / HTTP\r\nHost: a\r\n\r\n"), ERR_INVALID },
		{ "version in small letters", BYTES("GET / http/1.1\r\nHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "blank behind the version", BYTES("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "another protocol", BYTES("GET / ICY/1.1\r\nHost: a\r\n\r\n"), ERR_INVALID },
		{ "two blanks before the target", BYTES("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "two blanks behind the target", BYTES("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "tab before the target", BYTES("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "blank in the target", BYTES("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "tab in the target", BYTES("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "byte over 0x7f in the target",
		  BYTES("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_INVALID },
		{ "no target", BYTES("GET HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_INVALID },
		{ "empty line first", BYTES("\r\n" GET "\r\n"), ERR_INVALID },
		{ "blank first", BYTES(" " GET "\r\n"), ERR_INVALID },
		{ "method in small letters", BYTES("get / HTTP/1.1\r\nHost: a\r\n\r\n"),
		  ERR_METHOD },
		{ "unknown method", BYTES("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_METHOD },
		{ "CONNECT", BYTES("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), ERR_METHOD },
		{ "HTTP/2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ERR_INVALID },
		{ "TLS", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), ERR_INVALID },
		{ "a line of nothing", BYTES("()\r\n\r\n"), ERR_INVALID },
		/* Fields */
		{ "no name", BYTES(GET ": v\r\n\r\n"), ERR_INVALID },
		{ "no colon", BYTES(GET "X\r\n\r\n"), ERR_INVALID },
		{ "blank before the colon", BYTES(GET "X : v\r\n\r\n"), ERR_INVALID },
		{ "tab before the colon", BYTES(GET "X\t: v\r\n\r\n"), ERR_INVALID },
		{ "blank in the name", BYTES(GET "X Y: v\r\n\r\n"), ERR_INVALID },
		{ "folded", BYTES(GET "X: v\r\n w\r\n\r\n"), ERR_INVALID },
		{ "folded by a tab", BYTES(GET "X: v\r\n\tw\r\n\r\n"), ERR_INVALID },
		{ "blank before the first field", BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
		  ERR_INVALID },
		{ "NUL in a name", BYTES(GET "X\0Y: v\r\n\r\n"), ERR_INVALID },
		{ "NUL in a value", BYTES(GET "X: v\0w\r\n\r\n"), ERR_INVALID },
		{ "DEL in a value", BYTES(GET "X: v\x7fw\r\n\r\n"), ERR_INVALID },
		{ "escape in a value", BYTES(GET "X: \x1b[1m\r\n\r\n"), ERR_INVALID },
		{ "CR in a value", BYTES(GET "X: v\rw\r\n\r\n"), ERR_INVALID },
		{ "slash in a name", BYTES(GET "X/Y: v\r\n\r\n"), ERR_INVALID },
		{ "byte over 0x7f in a name", BYTES(GET "X\xc3\xa9: v\r\n\r\n"), ERR_INVALID },
		/* Line ends */
		{ "LF behind the request line", BYTES("GET / HTTP/1.1\nHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "LF behind a field", BYTES("GET / HTTP/1.1\r\nHost: a\n\r\n"), ERR_INVALID },
		{ "LF as the end", BYTES(GET "\n"), ERR_INVALID },
		{ "CR behind the request line", BYTES("GET / HTTP/1.1\rHost: a\r\n\r\n"),
		  ERR_INVALID },
		{ "CR as the end", BYTES(GET "\rX: v\r\n\r\n"), ERR_INVALID },
		{ "CR CR LF", BYTES("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), ERR_INVALID },
	};

	(void)state;
	check_heads(samples, ARRAY_LEN(samples), true);
}

static void response_heads_are_judged_strictly(void **state)
{
	static const struct sample samples[] = {
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
	} rows[] = {
		{ "GET /", "x", H1_LINE_MAX_BYTES - 1, " HTTP/1.1\r\n\r\n" },
		{ GET "X:", "v", H1_LINE_MAX_BYTES - 2, "\r\n\r\n" },
		{ "GET / HTTP/1.1\r\n", "X: v\r\n", H1_FIELDS_MAX, "\r\n" },
		{ "GET / HTTP/1.1\r\n",
		  "X0123456789012345678901234567890: "
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345"
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345"
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345"
		  "0123456789012345678901234567890123456789012345678901234567890123456789012345\r"
		  "\n",
		  H1_HEAD_MAX_BYTES / 340, "\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t extra = 0; extra <= 1; extra++) {
			char *text = repeat(rows[i].prefix, rows[i].unit, rows[i].most + extra,
					    rows[i].suffix);
			struct sample sample = { rows[i].unit, span_of(text),
						 extra ? ERR_FULL : 0 };

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

struct body_sample {
	const char *name;
	struct span wire;
	const char *body; /* NULL: refused */
	size_t rest;	  /* bytes behind the body that must be left */
};

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
	static const struct body_sample samples[] = {
		{ "empty", BYTES("0\r\n\r\n"), "", 0 },
		{ "two chunks", BYTES("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "abcde", 0 },
		{ "capital digit", BYTES("A\r\n0123456789\r\n0\r\n\r\n"), "0123456789", 0 },
		{ "leading zeros", BYTES("0000000000000003\r\nabc\r\n000\r\n\r\n"), "abc", 0 },
		{ "extensions", BYTES("3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n"), "abc", 0 },
		{ "trailers", BYTES("3\r\nabc\r\n0\r\nContent-Length: 5\r\nHost: b\r\n\r\n"), "abc",
		  0 },
		{ "what follows is left", BYTES("1\r\na\r\n0\r\n\r\nGET /"), "a", 5 },
		{ "line ends as data", BYTES("4\r\n\r\n\r\n\r\n0\r\n\r\n"), "\r\n\r\n", 0 },
		{ "underscore", BYTES("0_2e\r\nabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "plus", BYTES("+5\r\nabcde\r\n0\r\n\r\n"), NULL, 0 },
		{ "minus", BYTES("-1\r\nabcde\r\n0\r\n\r\n"), NULL, 0 },
		{ "0x", BYTES("0x5\r\nabcde\r\n0\r\n\r\n"), NULL, 0 },
		{ "17 digits", BYTES("00000000000000005\r\nabcde\r\n0\r\n\r\n"), NULL, 0 },
		{ "17 digits, too many", BYTES("10000000000000005\r\nabcde\r\n0\r\n\r\n"), NULL,
		  0 },
		{ "no size", BYTES("\r\nabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "no size but an extension", BYTES(";a\r\nabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "size ended by LF", BYTES("3\nabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "size ended by CR", BYTES("3\rabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "extension ended by LF", BYTES("3;a\nabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "NUL in an extension", BYTES("3;a\0\r\nabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "blank before the size", BYTES(" 3\r\nabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "blank behind the size", BYTES("3 \r\nabc\r\n0\r\n\r\n"), NULL, 0 },
		{ "no CRLF behind data", BYTES("3\r\nabc0\r\n\r\n"), NULL, 0 },
		{ "data longer than said", BYTES("3\r\nabcd\r\n0\r\n\r\n"), NULL, 0 },
		{ "data ended by LF", BYTES("3\r\nabc\n0\r\n\r\n"), NULL, 0 },
		{ "data ended by CR CR", BYTES("3\r\nabc\r\r\n0\r\n\r\n"), NULL, 0 },
		{ "end by LF", BYTES("3\r\nabc\r\n0\r\n\n"), NULL, 0 },
		{ "trailer without name", BYTES("0\r\n: v\r\n\r\n"), NULL, 0 },
		{ "trailer with a blank in its name", BYTES("0\r\na b: v\r\n\r\n"), NULL, 0 },
		{ "trailer without colon", BYTES("0\r\nabc\r\n\r\n"), NULL, 0 },
		{ "folded trailer", BYTES("0\r\na: v\r\n w\r\n\r\n"), NULL, 0 },
		{ "NUL in a trailer", BYTES("0\r\na: \0\r\n\r\n"), NULL, 0 },
		{ "trailer ended by LF", BYTES("0\r\na: v\n\r\n"), NULL, 0 },
	};

	(void)state;
	check_bodies(samples, ARRAY_LEN(samples));
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
