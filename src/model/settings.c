/* SPDX-License-Identifier: MIT */
#include "model/settings.h"

#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"

#define SETTING_ROW(field, json, kind, min, max, help) \
	{ json, SETTING_##kind, min, max, help, offsetof(struct settings, field) },
const struct setting_row setting_rows[] = { SETTING_TABLE(SETTING_ROW) };
#undef SETTING_ROW

const size_t setting_row_count = ARRAY_LEN(setting_rows);

#define KV_TYPE_NAME(name, text, bytes) text,
#define KV_TYPE_BYTES(name, text, bytes) bytes,
static const char *const kv_names[] = { KV_TYPE_TABLE(KV_TYPE_NAME) };
static const uint32_t kv_block_bytes[] = { KV_TYPE_TABLE(KV_TYPE_BYTES) };
static const char *const tri_names[] = { "off", "on", "auto" };

/* The words that a kind takes, in the order of their values. */
static const struct {
	const char *const *words;
	size_t count;
} kinds[] = {
	[SETTING_INT] = { NULL, 0 },
	[SETTING_BOOL] = { tri_names, TRI_ON + 1 },
	[SETTING_TRI] = { tri_names, ARRAY_LEN(tri_names) },
	[SETTING_KV] = { kv_names, ARRAY_LEN(kv_names) },
};

uint32_t kv_type_block_bytes(enum kv_type type)
{
	return kv_block_bytes[type];
}

const struct setting_row *setting_find(struct span name)
{
	for (size_t i = 0; i < setting_row_count; i++) {
		if (span_is(name, setting_rows[i].name)) {
			return &setting_rows[i];
		}
	}
	return NULL;
}

void settings_init(struct settings *s)
{
	for (size_t i = 0; i < setting_row_count; i++) {
		setting_put(s, &setting_rows[i], SETTING_UNSET);
	}
}

int32_t setting_get(const struct settings *s, const struct setting_row *row)
{
	int32_t value;

	memcpy(&value, (const char *)s + row->offset, sizeof(value));
	return value;
}

void setting_put(struct settings *s, const struct setting_row *row, int32_t value)
{
	memcpy((char *)s + row->offset, &value, sizeof(value));
}

static int refuse(const struct setting_row *row, struct err *err)
{
	size_t count = kinds[row->kind].count;
	struct buf choices;

	if (row->kind == SETTING_INT) {
		return err_set(err, ERR_INVALID, "must be a whole number in %d..%d", row->min,
			       row->max);
	}
	buf_init(&choices, 160);
	for (size_t i = 0; i < count; i++) {
		const char *between = i == 0 ? "" : i + 1 < count ? ", " : " or ";

		buf_printf(&choices, "%s%s", between, kinds[row->kind].words[i]);
	}
	int status = err_set(err, ERR_INVALID, "must be %s", buf_text(&choices));

	buf_finish(&choices);
	return status;
}

static int check_bounds(const struct setting_row *row, int64_t value, int32_t *ret_value,
			struct err *err)
{
	if (value < row->min || value > row->max) {
		return err_set(err, ERR_INVALID, "%lld is outside %d..%d", (long long)value,
			       row->min, row->max);
	}
	*ret_value = (int32_t)value;
	return 0;
}

/* The value that a word names, or SETTING_UNSET. */
static int32_t word_value(enum setting_kind kind, struct span word)
{
	for (size_t i = 0; i < kinds[kind].count; i++) {
		if (span_is_nocase(word, kinds[kind].words[i])) {
			return (int32_t)i;
		}
	}
	return SETTING_UNSET;
}

int setting_parse(const struct setting_row *row, struct span text, int32_t *ret_value,
		  struct err *err)
{
	uint64_t number;
	int status = 0;
	int32_t value = word_value(row->kind, text);

	if (row->kind == SETTING_INT && span_to_u64(text, INT64_MAX, &number) == 0) {
		status = check_bounds(row, (int64_t)number, &value, err);
	} else if (row->kind == SETTING_BOOL && (span_is(text, "true") || span_is(text, "false"))) {
		value = span_is(text, "true");
	} else if (value == SETTING_UNSET && !span_is(text, "default")) {
		status = refuse(row, err);
	}
	if (status != 0) {
		err_prefix(err, "%s=%.*s", row->name, SPAN_ARG(text));
		return status;
	}
	*ret_value = value;
	return 0;
}

void setting_print(const struct setting_row *row, int32_t value, char *text, size_t room)
{
	if (value == SETTING_UNSET) {
		snprintf(text, room, "default");
	} else if (row->kind == SETTING_INT) {
		snprintf(text, room, "%d", value);
	} else {
		snprintf(text, room, "%s", kinds[row->kind].words[value]);
	}
}

int setting_read(const struct setting_row *row, const struct json_value *v, int32_t *ret_value,
		 struct err *err)
{
	int64_t number;
	int32_t value = SETTING_UNSET;
	struct span word;
	bool flag;

	if (row->kind == SETTING_INT && json_to_i64(v, &number)) {
		return check_bounds(row, number, ret_value, err);
	}
	if ((row->kind == SETTING_BOOL || row->kind == SETTING_TRI) && json_to_bool(v, &flag)) {
		value = flag ? TRI_ON : TRI_OFF;
	} else if (row->kind != SETTING_BOOL && json_to_span(v, &word)) {
		value = word_value(row->kind, word);
	}
	if (value == SETTING_UNSET && json_type(v) != JSON_NULL) {
		return refuse(row, err);
	}
	*ret_value = value;
	return 0;
}

void setting_write(struct json_writer *w, const struct setting_row *row, int32_t value)
{
	char text[24];

	if (value == SETTING_UNSET) {
		jsonw_null(w);
	} else if (row->kind == SETTING_INT) {
		jsonw_i64(w, value);
	} else if (row->kind == SETTING_BOOL) {
		jsonw_bool(w, value != 0);
	} else {
		setting_print(row, value, text, sizeof(text));
		jsonw_text(w, text);
	}
}
