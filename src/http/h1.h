/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 messages (RFC 9112), strictly: heads are judged by llhttp and then by us, bodies are
 * unframed by us. Pure: bytes in, values out, no I/O; this file is llhttp's only door.
 *
 * What is refused although others let it pass: bare CR or LF anywhere, line folding, control
 * bytes, Content-Length that is not one plain number given once, any Transfer-Encoding but a
 * single `chunked`, both of them together, either in the wrong version, versions other than 1.0
 * and 1.1. Trailers are checked and dropped, chunk extensions too.
 */
#ifndef HTTP_H1_H
#define HTTP_H1_H

#include "base/buf.h"
#include "base/err.h"

#define H1_HEAD_MAX_BYTES 32768
#define H1_LINE_MAX_BYTES 8192 /* a field line, and the target of a request */
#define H1_FIELDS_MAX 100
#define H1_CHUNK_EXTENSIONS_MAX_BYTES 16384 /* per body, all extensions together */
#define H1_TRAILERS_MAX_BYTES 8192
#define H1_FRAME_MAX_BYTES 18 /* a chunk's size line: 16 digits and CRLF */

/* Methods that are known here; any other is ERR_METHOD. */
#define H1_METHOD_TABLE(X) X(GET) X(HEAD) X(POST) X(PUT) X(PATCH) X(DELETE) X(OPTIONS)
#define H1_METHOD_ENUM(name) H1_##name,
enum h1_method { H1_METHOD_TABLE(H1_METHOD_ENUM) };
#undef H1_METHOD_ENUM

const char *h1_method_name(enum h1_method method);

enum h1_framing {
	H1_NO_BODY,
	H1_LENGTH, /* content_length bytes */
	H1_CHUNKED,
	H1_UNTIL_CLOSE, /* responses only */
};

struct h1_field {
	struct span name, value; /* as received; the value without blanks around it */
};

/* A parsed head: one block of memory, spans point into it. */
struct h1_head {
	enum h1_method method;	 /* requests */
	struct span target;	 /* requests: as received, at most H1_LINE_MAX_BYTES */
	int status;		 /* responses: 100..599 */
	int minor;		 /* HTTP/1.minor: 0 or 1 */
	bool keep_alive;	 /* the sender means to go on; never in 1.0 */
	bool expects_continue;	 /* Expect: 100-continue */
	bool wants_upgrade;	 /* Connection: upgrade, or an Upgrade field */
	enum h1_framing framing; /* a response's as if to GET: see h1_has_no_body */
	uint64_t content_length; /* the field's value, 0 without */
	uint64_t names;		 /* private: the h1_name_bit of each field */
	size_t field_count;
	const struct h1_field *fields;
	struct span text; /* the whole head as received */
};

/*
 * Reading a head, whose bytes may come one by one. The reader is NULL while none of them has come,
 * so that a connection that waits holds nothing, and NULL again after any result but 0.
 *
 * Takes from the front of *input, at most up to a head's end. 1: *ret_head is complete, free() it.
 * 0: *input is used up and more is needed. Negative: refused as early as possible, with the
 * sentence: ERR_INVALID, ERR_METHOD, ERR_FULL for a limit, ERR_TOO_LONG for that of the target.
 */
struct h1_reader;
int h1_read_request(struct h1_reader **reader, struct span *input, struct h1_head **ret_head,
		    struct err *err);
int h1_read_response(struct h1_reader **reader, struct span *input, struct h1_head **ret_head,
		     struct err *err);
void h1_reader_free(struct h1_reader *reader); /* NULL is fine */

/* Few names share one: by length and first letter, whose case is not in its low bits. */
static inline uint64_t h1_name_bit(struct span name)
{
	return UINT64_C(1) << ((name.len % 8) << 3 | (name.len > 0 ? name.ptr[0] & 7 : 0));
}

/*
 * The next field of that name at or behind `from`, or field_count; h1_search is for h1_find alone.
 * Names match without regard to case.
 */
size_t h1_search(const struct h1_head *head, struct span name, size_t from);
static inline size_t h1_find(const struct h1_head *head, struct span name, size_t from)
{
	return head->names & h1_name_bit(name) ? h1_search(head, name, from) : head->field_count;
}

/* The first field of that name, or ptr NULL. */
static inline struct span h1_get(const struct h1_head *head, const char *name)
{
	size_t at = h1_find(head, span_of(name), 0);

	return at < head->field_count ? head->fields[at].value : (struct span){ NULL, 0 };
}

/* How many there are of that name; *ret_first is the first one's value, or ptr NULL. */
static inline size_t h1_count(const struct h1_head *head, const char *name, struct span *ret_first)
{
	size_t count = 0;

	*ret_first = (struct span){ NULL, 0 };
	for (size_t at = 0; (at = h1_find(head, span_of(name), at)) < head->field_count; at++) {
		*ret_first = count++ == 0 ? head->fields[at].value : *ret_first;
	}
	return count;
}

/* Whether a comma-separated field (all of that name) has the element, without regard to case. */
bool h1_lists(const struct h1_head *head, struct span name, struct span element);
/* Fields that concern one connection (RFC 9110 7.6.1) and are never forwarded. */
bool h1_is_hop_by_hop(const struct h1_head *head, struct span name);

/* A response that has no body whatever its fields say: to HEAD, 1xx, 204, 304. */
bool h1_has_no_body(const struct h1_head *response, enum h1_method asked);

/* A body being unframed. */
struct h1_body {
	enum h1_framing framing;
	uint64_t left;	     /* of the length or the chunk */
	uint8_t state;	     /* private: place in the chunk grammar */
	uint8_t digits;	     /* private */
	uint16_t extensions; /* private: bytes so far */
	uint16_t trailers;   /* private: bytes so far */
};

void h1_body_init(struct h1_body *b, enum h1_framing framing, uint64_t content_length);
bool h1_body_is_done(const struct h1_body *b); /* always false for H1_UNTIL_CLOSE */
/*
 * Takes from the front of *input up to and including one run of body bytes, which it gives as
 * *ret_piece (a part of *input; empty when only framing was left). 0, or ERR_INVALID for a body
 * that is not well framed. Never takes bytes behind the end of the body.
 */
int h1_body_next(struct h1_body *b, struct span *input, struct span *ret_piece, struct err *err);

int h1_hex_digit(char c); /* its value, or -1 */

/*
 * Puts bytes as one chunk, if there are any, and with is_last the end of the body behind the parts
 * that there are (at most three more); their new count. size_line has to live as long.
 */
size_t h1_frame(struct span *parts, size_t count, struct span bytes, bool is_last,
		char size_line[H1_FRAME_MAX_BYTES + 1]);

/* Writing heads. Bytes that are not allowed in a field become spaces. */
void h1_add_request_line(struct buf *out, enum h1_method method, struct span target);
void h1_add_field(struct buf *out, struct span name, struct span value);
void h1_add_length(struct buf *out, uint64_t content_length);
void h1_add_fields(struct buf *out, const struct h1_field *fields, size_t count);

#endif
