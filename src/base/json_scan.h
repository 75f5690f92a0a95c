/* SPDX-License-Identifier: MIT */
/*
 * Looks into a JSON text (RFC 8259) without building anything: checks all of it and reports the
 * members of the outermost object. No allocation, one pass, time linear in the length.
 *
 * Refused: anything after or before the value but blanks, NaN and the like, control bytes in
 * strings, bad escapes, lone surrogates, bytes that are not UTF-8, nesting over JSON_DEPTH_MAX.
 */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/json.h"

struct json_member {
	struct span key;   /* between the quotes, as written: compare with json_scan_key_is */
	struct span value; /* as written, quotes and brackets included */
	enum json_type type;
};

/* Called for each member in order, once its value is known to be well formed. */
typedef void json_scan_fn(void *user, const struct json_member *member);

/*
 * 0, or ERR_INVALID with a sentence that says what is wrong at which byte (or that the outermost
 * value is not an object). Members may have been reported before that.
 */
int json_scan(struct span text, json_scan_fn *on_member, void *user, struct err *err);

/* Whether a string as written between quotes means `text`; escapes are decoded. */
bool json_scan_key_is(struct span written, const char *text);

/*
 * Decodes a string value as written (with its quotes) into room bytes, with a terminator. False
 * when it does not fit, holds U+0000, or is no string.
 */
bool json_scan_text(struct span value, char *ret_text, size_t room);

#endif
