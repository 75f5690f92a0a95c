/* SPDX-License-Identifier: MIT */
/*
 * Recursive descent, whose depth is bounded by JSON_DEPTH_MAX. Each function takes `at` to behind
 * what it is named after, or says the error and returns false.
 */
#include "base/json_scan.h"

#define ONES 0x0101010101010101u /* a byte of 1 in each place */
#define HIGHS 0x8080808080808080u

struct scan {
	const char *start, *at, *end;
	json_scan_fn *on_member;
	void *user;
	struct err *err;
};

static bool refuse(struct scan *s, const char *what)
{
	err_set(s->err, ERR_INVALID, "not JSON at byte %zu: %s", (size_t)(s->at - s->start), what);
	return false;
}

static void skip_blanks(struct scan *s)
{
	while (s->at < s->end &&
	       (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) {
		s->at++;
	}
}

static bool is_digit(const struct scan *s)
{
	return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

/* Strings */

/* Whether one of the 8 bytes ends a run of plain text: a quote, backslash, control or high byte. */
static bool has_special(const char *bytes)
{
	uint64_t v;

	memcpy(&v, bytes, sizeof(v));
	uint64_t quote = v ^ (ONES * '"');
	uint64_t backslash = v ^ (ONES * '\\');

	return ((v | ((v - ONES * 0x20) & ~v) | ((quote - ONES) & ~quote) |
		 ((backslash - ONES) & ~backslash)) &
		HIGHS) != 0;
}

/* The value of four hex digits, or -1. */
static int hex4(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 4) {
		return -1;
	}
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		char low = (char)(c | 0x20);

		if (c >= '0' && c <= '9') {
			value = value << 4 | (c - '0');
		} else if (low >= 'a' && low <= 'f') {
			value = value << 4 | (low - 'a' + 10);
		} else {
			return -1;
		}
	}
	return value;
}

static bool is_high_surrogate(int unit)
{
	return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_low_surrogate(int unit)
{
	return unit >= 0xdc00 && unit < 0xe000;
}

/*
 * The escape at p, which points to the backslash: its length and the code point, or 0 when it is
 * broken or half of a surrogate pair.
 */
static size_t read_escape(const char *p, const char *end, uint32_t *ret_code)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	const char *letter = end - p > 1 && p[1] != '\0' ? strchr(letters, p[1]) : NULL;

	if (letter != NULL) {
		*ret_code = (unsigned char)meanings[letter - letters];
		return 2;
	}
	int unit = end - p > 1 && p[1] == 'u' ? hex4(p + 2, end) : -1;

	if (unit < 0 || is_low_surrogate(unit)) {
		return 0;
	}
	if (!is_high_surrogate(unit)) {
		*ret_code = (uint32_t)unit;
		return 6;
	}
	int low = end - p > 7 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : -1;

	if (!is_low_surrogate(low)) {
		return 0;
	}
	*ret_code = 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
	return 12;
}

/* From behind the opening quote to behind the closing one. */
static bool scan_string(struct scan *s)
{
	const char *start = s->at;
	bool has_high = false;

	while (s->at < s->end && *s->at != '"') {
		unsigned char c = (unsigned char)*s->at;
		uint32_t code;

		if (s->end - s->at >= 8 && !has_special(s->at)) {
			s->at += 8;
		} else if (c == '\\') {
			size_t len = read_escape(s->at, s->end, &code);

			if (len == 0) {
				return refuse(s, "a bad escape in a string");
			}
			s->at += len;
		} else if (c < 0x20) {
			return refuse(s, "a control byte in a string");
		} else {
			has_high = has_high || c >= 0x80;
			s->at++;
		}
	}
	if (s->at == s->end) {
		return refuse(s, "a string without end");
	}
	if (has_high && !span_is_utf8((struct span){ start, (size_t)(s->at - start) })) {
		return refuse(s, "a string before here is not UTF-8");
	}
	s->at++;
	return true;
}

/* Values */

static bool scan_digits(struct scan *s)
{
	if (!is_digit(s)) {
		return refuse(s, "a number without digits");
	}
	while (is_digit(s)) {
		s->at++;
	}
	return true;
}

static bool scan_number(struct scan *s)
{
	s->at += *s->at == '-';
	if (s->at < s->end && *s->at == '0') {
		s->at++;
		if (is_digit(s)) {
			return refuse(s, "a number with a leading zero");
		}
	} else if (!scan_digits(s)) {
		return false;
	}
	if (s->at < s->end && *s->at == '.') {
		s->at++;
		if (!scan_digits(s)) {
			return false;
		}
	}
	if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
		s->at++;
		s->at += s->at < s->end && (*s->at == '+' || *s->at == '-');
		return scan_digits(s);
	}
	return true;
}

static bool scan_word(struct scan *s, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0) {
		return refuse(s, "no value");
	}
	s->at += len;
	return true;
}

static enum json_type type_at(const struct scan *s)
{
	switch (s->at < s->end ? *s->at : '\0') {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 't':
	case 'f':
		return JSON_BOOL;
	case 'n':
		return JSON_NULL;
	default:
		return is_digit(s) || (s->at < s->end && *s->at == '-') ? JSON_NUMBER : JSON_NONE;
	}
}

static bool scan_value(struct scan *s, int depth);

static bool scan_member(struct scan *s, int depth)
{
	const char *key = s->at + 1;

	if (s->at == s->end || *s->at != '"') {
		return refuse(s, "a member's name was expected");
	}
	s->at++;
	if (!scan_string(s)) {
		return false;
	}
	struct json_member member = { .key = { key, (size_t)(s->at - 1 - key) } };

	skip_blanks(s);
	if (s->at == s->end || *s->at != ':') {
		return refuse(s, "':' was expected");
	}
	s->at++;
	skip_blanks(s);
	member.value.ptr = s->at;
	member.type = type_at(s);
	if (!scan_value(s, depth)) {
		return false;
	}
	member.value.len = (size_t)(s->at - member.value.ptr);
	if (depth == 1) {
		s->on_member(s->user, &member);
	}
	return true;
}

/* An array or object, from its bracket on; depth counts it. */
static bool scan_container(struct scan *s, int depth)
{
	bool is_object = *s->at == '{';
	char closer = is_object ? '}' : ']';

	if (depth > JSON_DEPTH_MAX) {
		return refuse(s, "nested too deeply");
	}
	s->at++;
	skip_blanks(s);
	if (s->at < s->end && *s->at == closer) {
		s->at++;
		return true;
	}
	for (;;) {
		if (!(is_object ? scan_member(s, depth) : scan_value(s, depth))) {
			return false;
		}
		skip_blanks(s);
		if (s->at == s->end || (*s->at != ',' && *s->at != closer)) {
			return refuse(s, "',' or the closing bracket was expected");
		}
		if (*s->at++ == closer) {
			return true;
		}
		skip_blanks(s);
	}
}

/* A value inside `depth` containers. */
static bool scan_value(struct scan *s, int depth)
{
	switch (type_at(s)) {
	case JSON_OBJECT:
	case JSON_ARRAY:
		return scan_container(s, depth + 1);
	case JSON_STRING:
		s->at++;
		return scan_string(s);
	case JSON_NUMBER:
		return scan_number(s);
	case JSON_BOOL:
		return scan_word(s, *s->at == 't' ? "true" : "false");
	case JSON_NULL:
		return scan_word(s, "null");
	case JSON_NONE:
		break;
	}
	return refuse(s, "no value");
}

int json_scan(struct span text, json_scan_fn *on_member, void *user, struct err *err)
{
	struct scan s = {
		.start = text.ptr,
		.at = text.ptr,
		.end = text.ptr + text.len,
		.on_member = on_member,
		.user = user,
		.err = err,
	};

	skip_blanks(&s);
	if (type_at(&s) != JSON_OBJECT) {
		refuse(&s, "an object was expected");
		return ERR_INVALID;
	}
	if (!scan_value(&s, 0)) {
		return ERR_INVALID;
	}
	skip_blanks(&s);
	if (s.at != s.end) {
		refuse(&s, "something behind the object");
		return ERR_INVALID;
	}
	return 0;
}

/* Decoding */

static size_t encode_utf8(uint32_t code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	for (size_t i = len - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	out[0] = (char)(0xf00 >> len | (int)code);
	return len;
}

/* The next character's bytes, decoded; moves *rest behind it. 0: broken. */
static size_t next_bytes(struct span *rest, char out[4])
{
	uint32_t code;
	size_t used = 1;
	size_t len = 1;

	out[0] = rest->ptr[0];
	if (out[0] == '\\') {
		used = read_escape(rest->ptr, rest->ptr + rest->len, &code);
		len = used > 0 ? encode_utf8(code, out) : 0;
	}
	*rest = span_from(*rest, used);
	return len;
}

bool json_scan_key_is(struct span written, const char *text)
{
	struct span expected = span_of(text);
	char bytes[4];

	while (written.len > 0) {
		size_t len = next_bytes(&written, bytes);

		if (len == 0 || len > expected.len || memcmp(bytes, expected.ptr, len) != 0) {
			return false;
		}
		expected = span_from(expected, len);
	}
	return expected.len == 0;
}

bool json_scan_text(struct span value, char *ret_text, size_t room)
{
	size_t used = 0;
	char bytes[4];

	if (value.len < 2 || value.ptr[0] != '"') {
		return false;
	}
	struct span rest = { value.ptr + 1, value.len - 2 };

	while (rest.len > 0) {
		size_t len = next_bytes(&rest, bytes);

		if (len == 0 || bytes[0] == '\0' || used + len >= room) {
			return false;
		}
		memcpy(ret_text + used, bytes, len);
		used += len;
	}
	if (used >= room) {
		return false;
	}
	ret_text[used] = '\0';
	return true;
}
