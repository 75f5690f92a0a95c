/* SPDX-License-Identifier: MIT */
/*
 * Reading JSON (RFC 8259) as a tree of const values, and writing it as a stream into a buf.
 *
 * Reading: a json owns its tree and copies of its strings; values and spans live as long as it.
 * Every getter takes NULL and answers "not there", so that paths can be chained.
 * Writing: commas, quotes and escapes are the writer's; begin and end must pair. A buf that
 * becomes full makes the writer fail once and stay failed: check jsonw_end_all.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define JSON_DEPTH_MAX 64 /* deepest nesting that is read */
#define JSON_TREE_MAX_BYTES (64u << 20)
#define JSONW_DEPTH_MAX 96 /* ... and written: what was read fits into an envelope */

struct json;	   /* a document */
struct json_value; /* a node of it */

enum json_type {
	JSON_NONE, /* NULL was passed: the value is not there */
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

/* Reading */

/*
 * Whole text, UTF-8 checked, depth <= JSON_DEPTH_MAX; NULL and err with the byte offset. Takes at
 * most JSON_TREE_MAX_BYTES for its tree, or 3 bytes a byte of a text so long that this is more.
 */
struct json *json_parse(struct span text, struct err *err);

/*
 * For short texts that are read often: the tree is made in `room`, which must outlive it, as far as
 * it fits there. With `only_first` what follows the first value is not read.
 */
struct json_room { /* for one tree; need not be initialised */
	_Alignas(16) char bytes[4096];
	size_t used;
};
struct json *json_parse_in(struct json_room *room, struct span text, bool only_first,
			   struct err *err);
void json_destroy(struct json *json);
const struct json_value *json_root(const struct json *json);

enum json_type json_type(const struct json_value *v);
const char *json_type_name(enum json_type type);
const struct json_value *json_member(const struct json_value *object, struct span key);
static inline const struct json_value *json_get(const struct json_value *object, const char *key)
{
	return json_member(object, span_of(key));
}

size_t json_count(const struct json_value *array_or_object);

/* false when v is absent or of another type; *ret is untouched then. */
bool json_to_bool(const struct json_value *v, bool *ret);
bool json_to_i64(const struct json_value *v, int64_t *ret); /* integers only: 4.0 counts, 4.5 not */
bool json_to_double(const struct json_value *v, double *ret);
bool json_to_span(const struct json_value *v, struct span *ret);

/*
 * Shortcuts for members: the value or the fallback. Strings are NUL-terminated, owned by the
 * json.
 */
static inline bool json_bool_at(const struct json_value *object, const char *key, bool fallback)
{
	json_to_bool(json_get(object, key), &fallback);
	return fallback;
}

static inline int64_t json_i64_at(const struct json_value *object, const char *key,
				  int64_t fallback)
{
	json_to_i64(json_get(object, key), &fallback);
	return fallback;
}

static inline double json_double_at(const struct json_value *object, const char *key,
				    double fallback)
{
	json_to_double(json_get(object, key), &fallback);
	return fallback;
}

const char *json_text_at(const struct json_value *object, const char *key,
			 const char *fallback); /* also for a text that holds a NUL */

/*
 * Walks an array or object in order. JSON_EACH (it, v) is the loop over all of v; where it may end
 * early: `struct json_iter it = json_iter(v); while (has_room && json_next(&it))`.
 */
struct json_iter {
	struct span key; /* of a member; ptr NULL in an array */
	const struct json_value *value;
	const struct json_value *next; /* private, as what follows */
	size_t left;
	bool is_object;
};
struct json_iter json_iter(const struct json_value *array_or_object);
bool json_next(struct json_iter *it); /* false: there is no more */
#define JSON_EACH(it, v) for (struct json_iter it = json_iter(v); json_next(&it);)

/* Writing */

struct json_writer {
	struct buf *out;
	int depth;
	int status;		       /* 0, or the first error */
	bool pretty;		       /* two spaces an indent, one member a line */
	bool first;		       /* nothing written yet at this depth */
	bool after_key;		       /* a key waits for its value */
	char closers[JSONW_DEPTH_MAX]; /* '}' or ']' per depth */
};

void jsonw_init(struct json_writer *w, struct buf *out);
void jsonw_object(struct json_writer *w);
void jsonw_array(struct json_writer *w);
void jsonw_end(struct json_writer *w); /* the innermost object or array */
void jsonw_key(struct json_writer *w, const char *key);
void jsonw_key_span(struct json_writer *w, struct span key);

void jsonw_null(struct json_writer *w);
void jsonw_bool(struct json_writer *w, bool v);
void jsonw_i64(struct json_writer *w, int64_t v);
void jsonw_u64(struct json_writer *w, uint64_t v);
void jsonw_double(struct json_writer *w, double v, int decimals); /* NaN and infinity as null */
void jsonw_text(struct json_writer *w, const char *text); /* NULL as null; bad UTF-8 as U+FFFD */
void jsonw_span(struct json_writer *w, struct span s);
void jsonw_value(struct json_writer *w, const struct json_value *v); /* a read value, whole */
void jsonw_raw(struct json_writer *w, struct span json); /* must be one valid JSON value */

/* key and value in one */
void jsonw_member_text(struct json_writer *w, const char *key, const char *value);
void jsonw_member_span(struct json_writer *w, const char *key, struct span value);
void jsonw_member_i64(struct json_writer *w, const char *key, int64_t value);
void jsonw_member_u64(struct json_writer *w, const char *key, uint64_t value);
void jsonw_member_bool(struct json_writer *w, const char *key, bool value);
void jsonw_member_double(struct json_writer *w, const char *key, double v, int decimals);
void jsonw_member_object(struct json_writer *w, const char *key); /* jsonw_end ends them */
void jsonw_member_array(struct json_writer *w, const char *key);

/* Closes what is open; 0 or ERR_FULL (the buf then holds part of a document). */
int jsonw_end_all(struct json_writer *w);

#endif
