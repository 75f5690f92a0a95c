/* SPDX-License-Identifier: MIT */
/*
 * The only user of yyjson. struct json is a yyjson_doc and struct json_value a yyjson_val: the
 * casts here are the door. The writer is ours, so that it streams into a bounded buf.
 */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <yyjson.h>

#include "base/mem.h"

static yyjson_val *val_of(const struct json_value *v)
{
	return (yyjson_val *)(uintptr_t)v;
}

static const struct json_value *of_val(const yyjson_val *v)
{
	return (const struct json_value *)v;
}

/*
 * Whether brackets nest too deeply, for which most trees have too few. A tree is one run of values,
 * each container before its own.
 */
static bool is_too_deep(yyjson_val *root)
{
	yyjson_val *ends[JSON_DEPTH_MAX];
	yyjson_val *end = unsafe_yyjson_get_next(root);
	size_t containers = 0, depth = 0;

	for (yyjson_val *v = root; v < end; v++) {
		containers += yyjson_is_ctn(v);
	}
	if (containers <= JSON_DEPTH_MAX) {
		return false;
	}
	for (yyjson_val *v = root; v < end; v++) {
		while (depth > 0 && v >= ends[depth - 1]) {
			depth--;
		}
		if (yyjson_is_ctn(v)) {
			if (depth == JSON_DEPTH_MAX) {
				return true;
			}
			ends[depth++] = unsafe_yyjson_get_next(v);
		}
	}
	return false;
}

/*
 * yyjson first asks for 16 bytes of tree a 6 bytes of text, and for more when values are shorter
 * still. More than TREE_MAX_BYTES is given to the first guess only, most of which stays untouched.
 */
static void *tree_alloc(void *arg, size_t bytes)
{
	struct json_room *room = arg;
	size_t rounded = (bytes + 15) / 16 * 16;

	if (room == NULL || rounded > sizeof(room->bytes) - room->used) {
		return malloc(bytes);
	}
	room->used += rounded;
	return room->bytes + room->used - rounded;
}

static bool is_in(const struct json_room *room, const void *memory)
{
	return room != NULL && (const char *)memory >= room->bytes &&
	       (const char *)memory < room->bytes + sizeof(room->bytes);
}

static void *tree_resize(void *arg, void *old, size_t old_bytes, size_t bytes)
{
	void *fresh;

	if (bytes > JSON_TREE_MAX_BYTES && bytes > old_bytes) {
		return NULL;
	}
	if (!is_in(arg, old)) {
		return realloc(old, bytes);
	}
	fresh = malloc(bytes);
	return fresh != NULL ? memcpy(fresh, old, old_bytes < bytes ? old_bytes : bytes) : NULL;
}

static void tree_free(void *arg, void *old)
{
	if (!is_in(arg, old)) {
		free(old);
	}
}

struct json *json_parse_in(struct json_room *room, struct span text, bool only_first,
			   struct err *err)
{
	yyjson_alc allocator = { tree_alloc, tree_resize, tree_free, room };
	yyjson_read_err why;

	if (room != NULL) {
		room->used = 0;
	}
	yyjson_doc *doc =
		yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len,
				 only_first ? YYJSON_READ_STOP_WHEN_DONE : 0, &allocator, &why);
	if (doc == NULL) {
		err_set(err, ERR_INVALID, "not JSON at byte %zu: %s", why.pos,
			text.len > 0 ? why.msg : "there is nothing");
	} else if (is_too_deep(yyjson_doc_get_root(doc))) {
		err_set(err, ERR_INVALID, "JSON is nested deeper than %d", JSON_DEPTH_MAX);
		yyjson_doc_free(doc);
		doc = NULL;
	}
	return (struct json *)doc;
}

struct json *json_parse(struct span text, struct err *err)
{
	return json_parse_in(NULL, text, false, err);
}

void json_destroy(struct json *json)
{
	yyjson_doc_free((yyjson_doc *)json);
}

const struct json_value *json_root(const struct json *json)
{
	return of_val(yyjson_doc_get_root((yyjson_doc *)(uintptr_t)json));
}

enum json_type json_type(const struct json_value *v)
{
	static const enum json_type types[YYJSON_TYPE_MASK + 1] = {
		[YYJSON_TYPE_NULL] = JSON_NULL,	 [YYJSON_TYPE_BOOL] = JSON_BOOL,
		[YYJSON_TYPE_NUM] = JSON_NUMBER, [YYJSON_TYPE_STR] = JSON_STRING,
		[YYJSON_TYPE_ARR] = JSON_ARRAY,	 [YYJSON_TYPE_OBJ] = JSON_OBJECT,
	};

	return types[yyjson_get_type(val_of(v))];
}

const char *json_type_name(enum json_type type)
{
	static const char *const names[] = { "nothing",	 "null",   "a boolean", "a number",
					     "a string", "a list", "an object" };

	return names[type];
}

const struct json_value *json_member(const struct json_value *object, struct span key)
{
	return of_val(yyjson_obj_getn(val_of(object), key.ptr, key.len));
}

size_t json_count(const struct json_value *array_or_object)
{
	yyjson_val *v = val_of(array_or_object);

	return yyjson_is_ctn(v) ? yyjson_get_len(v) : 0;
}

bool json_to_bool(const struct json_value *v, bool *ret)
{
	if (!yyjson_is_bool(val_of(v))) {
		return false;
	}
	*ret = yyjson_get_bool(val_of(v));
	return true;
}

bool json_to_i64(const struct json_value *v, int64_t *ret)
{
	yyjson_val *val = val_of(v);

	if (yyjson_is_sint(val) || (yyjson_is_uint(val) && yyjson_get_uint(val) <= INT64_MAX)) {
		*ret = yyjson_get_sint(val);
		return true;
	}
	if (yyjson_is_real(val)) {
		double real = yyjson_get_real(val);

		if (real == floor(real) && fabs(real) < 9007199254740992.0) {
			*ret = (int64_t)real;
			return true;
		}
	}
	return false;
}

bool json_to_double(const struct json_value *v, double *ret)
{
	if (!yyjson_is_num(val_of(v))) {
		return false;
	}
	*ret = yyjson_get_num(val_of(v));
	return true;
}

bool json_to_span(const struct json_value *v, struct span *ret)
{
	if (!yyjson_is_str(val_of(v))) {
		return false;
	}
	*ret = (struct span){ yyjson_get_str(val_of(v)), yyjson_get_len(val_of(v)) };
	return true;
}

const char *json_text_at(const struct json_value *object, const char *key, const char *fallback)
{
	struct span s;

	return json_to_span(json_get(object, key), &s) && strlen(s.ptr) == s.len ? s.ptr : fallback;
}

struct json_iter json_iter(const struct json_value *array_or_object)
{
	yyjson_val *v = val_of(array_or_object);
	size_t left = json_count(array_or_object);

	return (struct json_iter){ .next = left > 0 ? of_val(unsafe_yyjson_get_first(v)) : NULL,
				   .left = left,
				   .is_object = yyjson_is_obj(v) };
}

bool json_next(struct json_iter *it)
{
	yyjson_val *v = val_of(it->next);

	if (it->left == 0) {
		return false;
	}
	if (it->is_object) {
		it->key = (struct span){ yyjson_get_str(v), yyjson_get_len(v) };
		v++;
	}
	it->value = of_val(v);
	it->left--;
	it->next = of_val(unsafe_yyjson_get_next(v));
	return true;
}

/* Writing */

void jsonw_init(struct json_writer *w, struct buf *out)
{
	*w = (struct json_writer){ .out = out, .first = true };
}

static void put(struct json_writer *w, const char *bytes, size_t len)
{
	if (w->status == 0) {
		w->status = buf_add(w->out, bytes, len);
	}
}

static void new_line(struct json_writer *w)
{
	if (w->pretty) {
		put(w, "\n", 1);
		for (int i = 0; i < w->depth; i++) {
			put(w, "  ", 2);
		}
	}
}

static void separate(struct json_writer *w)
{
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	if (!w->first) {
		put(w, ",", 1);
	}
	if (w->depth > 0) {
		new_line(w);
	}
	w->first = false;
}

static void begin(struct json_writer *w, char opener, char closer)
{
	separate(w);
	put(w, &opener, 1);
	ENSURE(w->depth < JSONW_DEPTH_MAX);
	w->closers[w->depth++] = closer;
	w->first = true;
}

void jsonw_object(struct json_writer *w)
{
	begin(w, '{', '}');
}

void jsonw_array(struct json_writer *w)
{
	begin(w, '[', ']');
}

void jsonw_end(struct json_writer *w)
{
	ENSURE(w->depth > 0 && !w->after_key);
	w->depth--;
	if (!w->first) {
		new_line(w);
	}
	put(w, &w->closers[w->depth], 1);
	w->first = false;
}

/* One escaped character at p; returns how many bytes of the input it took. */
static size_t put_escaped(struct json_writer *w, const char *p, size_t left)
{
	char text[8];
	unsigned char c = (unsigned char)*p;
	const char *short_form = c == '"'    ? "\\\""
				 : c == '\\' ? "\\\\"
				 : c == '\n' ? "\\n"
				 : c == '\r' ? "\\r"
				 : c == '\t' ? "\\t"
					     : NULL;

	if (short_form != NULL) {
		put(w, short_form, 2);
		return 1;
	}
	if (c < 0x20 || c == 0x7f) {
		snprintf(text, sizeof(text), "\\u%04x", c);
		put(w, text, 6);
		return 1;
	}
	for (size_t len = 2; len <= 4 && len <= left; len++) {
		if (span_is_utf8((struct span){ p, len })) {
			put(w, p, len);
			return len;
		}
	}
	put(w, "\xef\xbf\xbd", 3);
	return 1;
}

static void put_string(struct json_writer *w, struct span s)
{
	size_t plain = 0; /* start of the run that needs no escape */
	size_t at = 0;

	put(w, "\"", 1);
	while (at < s.len) {
		unsigned char c = (unsigned char)s.ptr[at];

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
			at++;
			continue;
		}
		put(w, s.ptr + plain, at - plain);
		at += put_escaped(w, s.ptr + at, s.len - at);
		plain = at;
	}
	if (at > plain) {
		put(w, s.ptr + plain, at - plain);
	}
	put(w, "\"", 1);
}

void jsonw_key_span(struct json_writer *w, struct span key)
{
	separate(w);
	put_string(w, key);
	put(w, ": ", w->pretty ? 2 : 1);
	w->after_key = true;
}

void jsonw_key(struct json_writer *w, const char *key)
{
	jsonw_key_span(w, span_of(key));
}

void jsonw_raw(struct json_writer *w, struct span json)
{
	separate(w);
	put(w, json.ptr, json.len);
}

void jsonw_null(struct json_writer *w)
{
	jsonw_raw(w, SPAN_LIT("null"));
}

void jsonw_bool(struct json_writer *w, bool v)
{
	jsonw_raw(w, v ? SPAN_LIT("true") : SPAN_LIT("false"));
}

void jsonw_i64(struct json_writer *w, int64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)v);
	jsonw_raw(w, span_of(text));
}

void jsonw_u64(struct json_writer *w, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	jsonw_raw(w, span_of(text));
}

void jsonw_double(struct json_writer *w, double v, int decimals)
{
	char text[352];

	if (!isfinite(v)) {
		jsonw_null(w);
		return;
	}
	snprintf(text, sizeof(text), "%.*f", decimals, v);
	jsonw_raw(w, span_of(text));
}

void jsonw_span(struct json_writer *w, struct span s)
{
	separate(w);
	put_string(w, s);
}

void jsonw_text(struct json_writer *w, const char *text)
{
	if (text == NULL) {
		jsonw_null(w);
	} else {
		jsonw_span(w, span_of(text));
	}
}

void jsonw_value(struct json_writer *w, const struct json_value *v)
{
	size_t len = 0;

	if (yyjson_is_ctn(val_of(v))) {
		bool is_object = json_type(v) == JSON_OBJECT;

		begin(w, is_object ? '{' : '[', is_object ? '}' : ']');
		JSON_EACH (it, v) {
			if (is_object) {
				jsonw_key_span(w, it.key);
			}
			jsonw_value(w, it.value);
		}
		jsonw_end(w);
		return;
	}
	char *text = v != NULL ? yyjson_val_write(val_of(v), YYJSON_WRITE_NOFLAG, &len) : NULL;

	jsonw_raw(w, text != NULL ? (struct span){ text, len } : SPAN_LIT("null"));
	free(text);
}

#define MEMBER_WRITER(name, type) \
	void jsonw_member_##name(struct json_writer *w, const char *key, type value) \
	{ \
		jsonw_key(w, key); \
		jsonw_##name(w, value); \
	}
MEMBER_WRITER(text, const char *)
MEMBER_WRITER(span, struct span)
MEMBER_WRITER(i64, int64_t)
MEMBER_WRITER(u64, uint64_t)
MEMBER_WRITER(bool, bool)
#undef MEMBER_WRITER

void jsonw_member_double(struct json_writer *w, const char *key, double v, int decimals)
{
	jsonw_key(w, key);
	jsonw_double(w, v, decimals);
}

void jsonw_member_object(struct json_writer *w, const char *key)
{
	jsonw_key(w, key);
	jsonw_object(w);
}

void jsonw_member_array(struct json_writer *w, const char *key)
{
	jsonw_key(w, key);
	jsonw_array(w);
}

int jsonw_end_all(struct json_writer *w)
{
	while (w->depth > 0) {
		jsonw_end(w);
	}
	return w->status;
}
