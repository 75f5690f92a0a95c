/* SPDX-License-Identifier: MIT */
/*
 * Writing model_registry.json: the document that was read is walked again, in its order; what
 * ronzal does not know, refused models, and known members that did not change go out as they came
 * in, so that another program's file stays that program's file.
 */
#include "model/registry.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/registry_fields.h"

static const char *text_of(const struct model *m, const struct field *f)
{
	char *text;

	memcpy(&text, (const char *)m + f->offset, sizeof(text));
	return text;
}

/* Whether the display name is the one that is made when the file says none. */
static bool is_made_name(const struct model *m, const struct field *f)
{
	char *made =
		f->offset == offsetof(struct model, name) ? model_made_name(m->file_path) : NULL;
	bool same = made != NULL && strcmp(m->name, made) == 0;

	free(made);
	return same;
}

/*
 * Whether the file says what the model holds. An absent or null value says "unset". What a model
 * keeps as it was read is only said where the file does not have it: by a model that was added.
 */
static bool field_equals(const struct model *m, const struct field *f, const struct json_value *v)
{
	const struct setting_row *row;
	int64_t port = 0;
	int32_t value = SETTING_UNSET;
	bool enabled = false;
	struct span text;

	switch (f->kind) {
	case FIELD_PATH:
	case FIELD_TEXT:
		if (json_to_span(v, &text)) {
			return text_of(m, f) != NULL && span_is(text, text_of(m, f));
		}
		return text_of(m, f) == NULL || is_made_name(m, f);
	case FIELD_PARAMS:
		return v != NULL || m->size_params <= 0;
	case FIELD_ALIASES:
		return v != NULL || m->alias_count == 0;
	case FIELD_PORT:
		json_to_i64(v, &port);
		return port == m->port;
	case FIELD_ENABLED:
		json_to_bool(v, &enabled);
		return enabled == m->enabled;
	case FIELD_ID:
		return true;
	case FIELD_SETTING:
		row = setting_find(span_of(f->name));
		setting_read(row, v, &value, NULL);
		return value == setting_get(&m->settings, row);
	}
	return true;
}

static void write_field(struct json_writer *w, const struct model *m, const struct field *f)
{
	const struct setting_row *row;

	switch (f->kind) {
	case FIELD_PATH:
	case FIELD_TEXT:
		jsonw_text(w, text_of(m, f));
		break;
	case FIELD_PARAMS:
		jsonw_double(w, m->size_params, 3);
		break;
	case FIELD_ALIASES:
		jsonw_array(w);
		for (int i = 0; i < m->alias_count; i++) {
			jsonw_text(w, m->aliases[i]);
		}
		jsonw_end(w);
		break;
	case FIELD_PORT:
		jsonw_u64(w, m->port);
		break;
	case FIELD_ENABLED:
		jsonw_bool(w, m->enabled);
		break;
	case FIELD_ID:
		jsonw_text(w, m->id);
		break;
	case FIELD_SETTING:
		row = setting_find(span_of(f->name));
		setting_write(w, row, setting_get(&m->settings, row));
		break;
	}
}

/* Members that the file does not have and the model does; `v` NULL: it has none at all. */
static void write_missing(struct json_writer *w, const struct model *m, const struct json_value *v)
{
	for (size_t i = 0; i < field_row_count; i++) {
		const struct field *f = &field_rows[i];
		bool is_wanted = v == NULL && (f->kind == FIELD_ID || f->kind == FIELD_ENABLED);

		if (json_get(v, f->name) == NULL && (is_wanted || !field_equals(m, f, NULL))) {
			jsonw_key(w, f->name);
			write_field(w, m, f);
		}
	}
}

static void write_model(struct json_writer *w, const struct model *m, const struct json_value *v)
{
	jsonw_key(w, m->id);
	jsonw_object(w);
	JSON_EACH (it, v) {
		const struct field *f = field_find(it.key);

		jsonw_key_span(w, it.key);
		if (f != NULL && !field_equals(m, f, it.value)) {
			write_field(w, m, f);
		} else {
			jsonw_value(w, it.value); /* as it was */
		}
	}
	write_missing(w, m, v);
	jsonw_end(w);
}

/* Models of the file in its order, then those added since. */
static void write_models(struct json_writer *w, const struct registry *r)
{
	struct json_iter it = json_iter(json_get(json_root(r->doc), "models"));
	size_t next = 0; /* of r->models; both lists are in the file's order */

	jsonw_object(w);
	for (size_t i = 0; json_next(&it); i++) {
		if (r->refused[i]) {
			jsonw_key_span(w, it.key);
			jsonw_value(w, it.value);
		} else if (next < r->count && r->models[next].entry == i + 1) {
			write_model(w, &r->models[next++], it.value);
		}
	}
	for (; next < r->count; next++) {
		write_model(w, &r->models[next], NULL);
	}
	jsonw_end(w);
}

int registry_write(const struct registry *r, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	w.pretty = true;
	jsonw_object(&w);
	JSON_EACH (it, json_root(r->doc)) {
		jsonw_key_span(&w, it.key);
		if (span_is(it.key, "models")) {
			write_models(&w, r);
		} else {
			jsonw_value(&w, it.value);
		}
	}
	if (r->doc == NULL) {
		jsonw_key(&w, "models");
		write_models(&w, r);
		jsonw_key(&w, "port_range");
		jsonw_array(&w);
		jsonw_u64(&w, r->port_min);
		jsonw_u64(&w, r->port_max);
		jsonw_end(&w);
	}
	jsonw_end(&w);
	if (w.status == 0) {
		w.status = buf_add_char(out, '\n');
	}
	return w.status;
}

int registry_save(const struct registry *r, const char *path, struct err *err)
{
	struct buf text;

	buf_init(&text, REGISTRY_FILE_MAX_BYTES);
	int status = registry_write(r, &text);

	if (status == 0) {
		status = fs_replace(path, buf_span(&text), 0644, err);
	} else {
		err_set(err, status, "saving %s: it would be larger than %u bytes; remove models",
			path, REGISTRY_FILE_MAX_BYTES);
	}
	buf_finish(&text);
	return status;
}
