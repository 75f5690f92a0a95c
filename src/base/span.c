/* SPDX-License-Identifier: MIT */
#include "base/span.h"

#include <ctype.h>

#include "base/err.h"

#define SLIPS_MAX_BYTES 128 /* of a word are compared */
#define PART_MIN_BYTES 4    /* a part of a name this long is taken for it */

bool span_begins(struct span s, struct span prefix)
{
	return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

bool span_has_suffix(struct span s, const char *suffix)
{
	size_t len = strlen(suffix);

	return s.len >= len && memcmp(s.ptr + s.len - len, suffix, len) == 0;
}

/* Looked for by its second byte: the first is often a quote or a CR, of which there are many. */
size_t span_find_span(struct span s, struct span needle)
{
	size_t len = needle.len;
	size_t second = len > 1;

	if (len == 0 || s.len == 0) {
		return 0;
	}
	for (size_t i = 0; i + len <= s.len; i++) {
		const char *next =
			memchr(s.ptr + i + second, needle.ptr[second], s.len - len - i + 1);

		if (next == NULL) {
			break;
		}
		i = (size_t)(next - s.ptr) - second;
		if (memcmp(s.ptr + i, needle.ptr, len) == 0) {
			return i;
		}
	}
	return s.len;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
	while (s.len > 0 && is_blank(s.ptr[0])) {
		s = span_from(s, 1);
	}
	while (s.len > 0 && is_blank(s.ptr[s.len - 1])) {
		s.len--;
	}
	return s;
}

struct span span_split(struct span *rest, char sep)
{
	size_t at = span_find_char(*rest, sep);
	struct span field = { rest->ptr, at };

	if (at == rest->len) {
		*rest = (struct span){ NULL, 0 };
	} else {
		*rest = span_from(*rest, at + 1);
	}
	return field;
}

void span_copy(struct span s, char *text, size_t room)
{
	size_t len = s.len;

	if (len >= room) {
		len = room - 1;
		while (len > 0 && ((unsigned char)s.ptr[len] & 0xc0) == 0x80) {
			len--;
		}
	}
	if (len > 0) {
		memcpy(text, s.ptr, len);
	}
	text[len] = '\0';
}

int span_to_u64(struct span s, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (s.len == 0) {
		return ERR_INVALID;
	}
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9') {
			return ERR_INVALID;
		}
		uint64_t digit = (uint64_t)(s.ptr[i] - '0');
		if (value > (max - digit) / 10 || digit > max) {
			return ERR_INVALID;
		}
		value = value * 10 + digit;
	}
	*ret_value = value;
	return 0;
}

/* Length of the well-formed sequence of several bytes at p, or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		len = 3;
		low = p[0] == 0xe0 ? 0xa0 : 0x80;
		high = p[0] == 0xed ? 0x9f : 0xbf;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		low = p[0] == 0xf0 ? 0x90 : 0x80;
		high = p[0] == 0xf4 ? 0x8f : 0xbf;
	} else {
		return 0;
	}
	if (left < len || p[1] < low || p[1] > high) {
		return 0;
	}
	for (size_t i = 2; i < len; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf) {
			return 0;
		}
	}
	return len;
}

bool span_is_utf8(struct span s)
{
	size_t at = 0;

	while (at < s.len) {
		const unsigned char *p = (const unsigned char *)s.ptr + at;
		size_t len = *p < 0x80 ? 1 : utf8_sequence(p, s.len - at);

		if (len == 0) {
			return false;
		}
		at += len;
	}
	return true;
}

/* Optimal string alignment: Levenshtein's distance with swapped neighbours as one slip. */
static size_t count_slips(struct span a, struct span b)
{
	size_t rows[3][SLIPS_MAX_BYTES + 1]; /* rows[i % 3][j]: slips from a[0..i) to b[0..j) */

	a.len = a.len < SLIPS_MAX_BYTES ? a.len : SLIPS_MAX_BYTES;
	b.len = b.len < SLIPS_MAX_BYTES ? b.len : SLIPS_MAX_BYTES;
	for (size_t i = 0; i <= a.len; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			bool same = i > 0 && tolower((unsigned char)a.ptr[i - 1]) ==
						     tolower((unsigned char)b.ptr[j - 1]);
			size_t best = row[j - 1] + 1;

			if (i > 0 && above[j] + 1 < best) {
				best = above[j] + 1;
			}
			if (i > 0 && above[j - 1] + !same < best) {
				best = above[j - 1] + !same;
			}
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] &&
			    a.ptr[i - 2] == b.ptr[j - 1] && rows[(i + 1) % 3][j - 2] + 1 < best) {
				best = rows[(i + 1) % 3][j - 2] + 1;
			}
			row[j] = best;
		}
	}
	return rows[a.len % 3][b.len];
}

void nearest_try(struct nearest *n, const char *candidate)
{
	struct span word = n->word;
	size_t slips = count_slips(word, span_of(candidate));

	for (const char *at = candidate; word.len >= PART_MIN_BYTES && *at != '\0'; at++) {
		slips = strncasecmp(at, word.ptr, word.len) == 0 ? 1 : slips;
	}

	if (word.len > 0 && slips <= word.len / 3 + 1 && (n->name == NULL || slips < n->slips)) {
		n->name = candidate;
		n->slips = slips;
	}
}
