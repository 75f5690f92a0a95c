/* SPDX-License-Identifier: MIT */
/*
 * A span is a borrowed run of bytes: pointer and length, no terminator, no ownership.
 * It stays valid as long as what it points into; inside a callback, until the callback returns.
 */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct span {
	const char *ptr;
	size_t len;
};

/* For printf("%.*s", SPAN_ARG(s)). */
#define SPAN_ARG(s) (int)(s).len, (s).ptr

/* A span over a string literal; and the same as an initialiser of a static one. */
#define SPAN_LIT(literal) ((struct span)SPAN_INIT(literal))
#define SPAN_INIT(literal) \
	{ \
		(literal), sizeof(literal) - 1 \
	}

static inline struct span span_of(const char *text)
{
	return (struct span){ text, text != NULL ? strlen(text) : 0 };
}

static inline bool span_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool span_is(struct span s, const char *text)
{
	return span_equal(s, span_of(text));
}

/* Like the two above, ignoring the case of ASCII letters (RFC 9110 field names). */
static inline bool span_equal_nocase(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool span_is_nocase(struct span s, const char *text)
{
	return span_equal_nocase(s, span_of(text));
}

bool span_begins(struct span s, struct span prefix);
static inline bool span_has_prefix(struct span s, const char *prefix)
{
	return span_begins(s, span_of(prefix));
}

bool span_has_suffix(struct span s, const char *suffix);

/* Index of the first occurrence, or s.len when there is none. */
size_t span_find_span(struct span s, struct span needle);
static inline size_t span_find(struct span s, const char *needle)
{
	return span_find_span(s, span_of(needle));
}

static inline size_t span_find_char(struct span s, char c)
{
	const char *found = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;

	return found != NULL ? (size_t)(found - s.ptr) : s.len;
}

static inline bool span_has(struct span s, const char *needle)
{
	return span_find(s, needle) < s.len;
}

/* The bytes from `from` (clamped) to the end. */
static inline struct span span_from(struct span s, size_t from)
{
	from = from < s.len ? from : s.len;
	return (struct span){ from > 0 ? s.ptr + from : s.ptr, s.len - from };
}

/* Without leading and trailing spaces and tabs. */
struct span span_trim(struct span s);

/*
 * Cuts *rest at the first `sep`: returns what stood before it and moves *rest behind it.
 * Without a `sep` returns all of *rest and leaves *rest empty with ptr NULL, so that
 * `while (rest.ptr != NULL)` visits every field, empty ones included.
 */
struct span span_split(struct span *rest, char sep);

/*
 * Whole-span decimal number without sign, blank or leading '+': 0, or ERR_INVALID when it is
 * not one or exceeds max. *ret_value is untouched on failure.
 */
int span_to_u64(struct span s, uint64_t max, uint64_t *ret_value);

/*
 * Copies s into text[room], terminated. What does not fit is cut off at the start of a UTF-8
 * sequence, so that a clipped name stays a name. room >= 1.
 */
void span_copy(struct span s, char *text, size_t room);

/*
 * What a mistyped word may mean: begin with { .word = ... }, try every candidate; name is then the
 * one with the fewest slips (letters changed, added, dropped or swapped, whatever their case), if
 * these are few for the word's length or the word is a part of it; else NULL.
 */
struct nearest {
	struct span word;
	const char *name;
	size_t slips; /* private */
};
void nearest_try(struct nearest *n, const char *candidate);

/* Whether all bytes are well-formed UTF-8 (Unicode 15, table 3-7). */
bool span_is_utf8(struct span s);

#endif
