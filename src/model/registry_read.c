/* SPDX-License-Identifier: MIT */
/*
 * Reading model_registry.json, which may be hostile. One pass over the members; a fault is noted
 * with its JSON path and the reading goes on, so that all faults of a file are said at once. Names
 * that were accepted are kept sorted: the work stays far from quadratic whatever the file holds.
 */
#include "model/registry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/registry_fields.h"

#define NAMES_MAX ((size_t)REGISTRY_MODELS_MAX * (1 + REGISTRY_ALIASES_MAX))

struct reader {
	struct registry *r;
	char id[REGISTRY_ID_MAX_BYTES]; /* of the model being read; "" when it is not valid */
	char where[REGISTRY_ID_MAX_BYTES + 16]; /* "models.qwen3" or "models[17]" */
	bool is_bad;				/* the model being read is refused */
	uint64_t seen;				/* bit per field: those that were there already */
	struct span *names;			/* accepted ids and aliases, sorted without case */
	size_t name_count;
};

__attribute__((format(printf, 2, 3))) static void note(struct reader *rd, const char *format, ...)
{
	struct registry *r = rd->r;
	va_list args;

	rd->is_bad = true;
	if (r->problem_count++ >= REGISTRY_PROBLEMS_MAX) {
		return;
	}
	struct registry_problem *p = &r->problems[r->problem_count - 1];

	va_start(args, format);
	vsnprintf(p->text, sizeof(p->text), format, args);
	va_end(args);
	memcpy(p->id, rd->id, sizeof(p->id));
}

static void note_member(struct reader *rd, const char *member, const char *fault)
{
	note(rd, "%s.%s: %s", rd->where, member, fault);
}

static void note_type(struct reader *rd, const char *member, const char *wanted,
		      const struct json_value *v)
{
	note(rd, "%s.%s: must be %s, is %s", rd->where, member, wanted,
	     json_type_name(json_type(v)));
}

/* Names */

static int compare_names(struct span a, struct span b)
{
	int order = strncasecmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Where the name is or belongs; true when it is there. */
static bool names_find(const struct reader *rd, struct span name, size_t *ret_at)
{
	size_t low = 0, high = rd->name_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_names(rd->names[middle], name) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	*ret_at = low;
	return low < rd->name_count && compare_names(rd->names[low], name) == 0;
}

static void names_add(struct reader *rd, struct span name)
{
	size_t at;

	if (!names_find(rd, name, &at)) {
		memmove(&rd->names[at + 1], &rd->names[at],
			(rd->name_count - at) * sizeof(rd->names[0]));
		rd->names[at] = name;
		rd->name_count++;
	}
}

/* Members */

static void read_text(struct reader *rd, const struct field *f, const struct json_value *v,
		      struct model *m)
{
	struct span text;

	if (!json_to_span(v, &text)) {
		note_type(rd, f->name, "a string", v);
		return;
	}
	const char *fault = f->kind == FIELD_PATH ? field_path_fault(text)
						  : field_text_fault(text, f->max_bytes);

	if (fault != NULL) {
		note_member(rd, f->name, fault);
		return;
	}
	char *copy = mem_spandup(text);

	memcpy((char *)m + f->offset, &copy, sizeof(copy));
}

static void read_params(struct reader *rd, const struct json_value *v, struct model *m)
{
	double billions;

	if (!json_to_double(v, &billions)) {
		note_type(rd, "size_params", "a number", v);
	} else if (!(billions >= 0 && billions <= FIELD_PARAMS_MAX)) {
		note(rd, "%s.size_params: %g is outside 0..%g", rd->where, billions,
		     FIELD_PARAMS_MAX);
	} else {
		m->size_params = billions;
	}
}

static void read_port(struct reader *rd, const struct json_value *v, struct model *m)
{
	const struct registry *r = rd->r;
	int64_t port;

	if (!json_to_i64(v, &port)) {
		note_type(rd, "port", "a whole number", v);
	} else if (port < r->port_min || port > r->port_max) {
		note(rd, "%s.port: %lld is outside %u..%u", rd->where, (long long)port, r->port_min,
		     r->port_max);
	} else if (registry_port_holder(r, port) != NULL) {
		note(rd, "%s.port: %lld belongs to another model already", rd->where,
		     (long long)port);
	} else {
		m->port = (uint16_t)port;
	}
}

static void read_aliases(struct reader *rd, const struct json_value *v, struct model *m)
{
	struct span alias;
	size_t at;

	if (json_type(v) != JSON_ARRAY || json_count(v) > REGISTRY_ALIASES_MAX) {
		note(rd, "%s.aliases: must be a list of at most %d names", rd->where,
		     REGISTRY_ALIASES_MAX);
		return;
	}
	JSON_EACH (it, v) {
		if (!json_to_span(it.value, &alias) || !registry_id_is_valid(alias)) {
			note_member(rd, "aliases", "holds what is not a name");
		} else if (names_find(rd, alias, &at)) {
			note(rd, "%s.aliases: the name %.*s is taken", rd->where, SPAN_ARG(alias));
		} else {
			m->aliases[m->alias_count++] = mem_spandup(alias);
		}
	}
}

static void read_setting(struct reader *rd, const struct setting_row *row,
			 const struct json_value *v, struct model *m)
{
	struct err why;
	int32_t value;

	if (setting_read(row, v, &value, &why) != 0) {
		note_member(rd, row->name, why.text);
	} else {
		setting_put(&m->settings, row, value);
	}
}

static void read_field(struct reader *rd, const struct field *f, const struct json_value *v,
		       struct model *m)
{
	struct span id;

	switch (f->kind) {
	case FIELD_PATH:
	case FIELD_TEXT:
		read_text(rd, f, v, m);
		break;
	case FIELD_PARAMS:
		read_params(rd, v, m);
		break;
	case FIELD_ALIASES:
		read_aliases(rd, v, m);
		break;
	case FIELD_PORT:
		read_port(rd, v, m);
		break;
	case FIELD_ENABLED:
		if (!json_to_bool(v, &m->enabled)) {
			note_type(rd, f->name, "a boolean", v);
		}
		break;
	case FIELD_ID:
		if (!json_to_span(v, &id) || !span_is(id, m->id)) {
			note_member(rd, f->name,
				    "differs from the key that the model stands under");
		}
		break;
	case FIELD_SETTING:
		read_setting(rd, setting_find(span_of(f->name)), v, m);
		break;
	}
}

static void read_member(struct reader *rd, struct span key, const struct json_value *v,
			struct model *m)
{
	const struct field *f = field_find(key);
	uint64_t bit = f != NULL ? (uint64_t)1 << (f - field_rows) : 0;

	if ((rd->seen & bit) != 0) { /* readers differ in which one they take */
		note_member(rd, f->name, "is given twice");
	} else if (f != NULL && json_type(v) != JSON_NULL) {
		read_field(rd, f, v, m);
	}
	rd->seen |= bit;
}

/* Models */

static void begin_model(struct reader *rd, size_t index, struct span key)
{
	rd->is_bad = false;
	rd->seen = 0;
	rd->id[0] = '\0';
	if (registry_id_is_valid(key)) {
		snprintf(rd->id, sizeof(rd->id), "%.*s", SPAN_ARG(key));
		snprintf(rd->where, sizeof(rd->where), "models.%s", rd->id);
	} else {
		snprintf(rd->where, sizeof(rd->where), "models[%zu]", index);
	}
}

/* Whether it is worth looking into the value. */
static bool check_model(struct reader *rd, size_t index, struct span key,
			const struct json_value *v)
{
	size_t at;

	if (index >= REGISTRY_MODELS_MAX) {
		note(rd, "%s: there are more than %d models", rd->where, REGISTRY_MODELS_MAX);
	} else if (rd->id[0] == '\0') {
		note(rd,
		     "%s: its id must be 1 to %d letters, digits, '.', '_' and '-', the first a "
		     "letter or digit",
		     rd->where, REGISTRY_ID_MAX_BYTES - 1);
	} else if (json_type(v) != JSON_OBJECT) {
		note(rd, "%s: must be an object, is %s", rd->where, json_type_name(json_type(v)));
	} else if (names_find(rd, key, &at)) {
		note(rd, "%s: the name is taken (upper and lower case are the same)", rd->where);
	}
	return !rd->is_bad;
}

static void read_model(struct reader *rd, size_t index, struct span key, const struct json_value *v)
{
	struct model m = { .entry = index + 1 };

	begin_model(rd, index, key);
	if (!check_model(rd, index, key, v)) {
		rd->r->refused[index] = true;
		return;
	}
	settings_init(&m.settings);
	memcpy(m.id, rd->id, sizeof(m.id));
	JSON_EACH (it, v) {
		read_member(rd, it.key, it.value, &m);
	}
	if (m.file_path == NULL && !rd->is_bad) {
		note_member(rd, "file_path", "is missing");
	}
	if (rd->is_bad) {
		rd->r->refused[index] = true;
		model_finish(&m);
		return;
	}
	if (m.name == NULL) {
		m.name = model_made_name(m.file_path);
	}
	names_add(rd, key);
	for (int i = 0; i < m.alias_count; i++) {
		names_add(rd, span_of(m.aliases[i]));
	}
	registry_append(rd->r, &m);
}

/* Gives the models that named no port one of those that nobody named, in the file's order. */
static void assign_ports(struct reader *rd)
{
	struct registry *r = rd->r;
	uint16_t port = r->port_min;
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		struct model *m = &r->models[i];

		if (m->port == 0 && port != 0) {
			port = registry_free_port(r, port);
			m->port = port;
		}
		if (m->port != 0) {
			r->models[kept++] = *m;
			continue;
		}
		memcpy(rd->id, m->id, sizeof(rd->id));
		note(rd, "models.%s.port: none is free in %u..%u", m->id, r->port_min, r->port_max);
		r->refused[m->entry - 1] = true;
		model_finish(m);
	}
	r->count = kept;
}

/* Narrows the caller's ports to the file's port_range. */
static void read_port_range(struct reader *rd, const struct json_value *v)
{
	struct registry *r = rd->r;
	struct json_iter it = json_iter(v);
	int64_t bounds[2] = { -1, -1 };

	if (json_type(v) == JSON_NONE || json_type(v) == JSON_NULL) {
		return;
	}
	for (int i = 0; i < 2 && json_next(&it); i++) {
		json_to_i64(it.value, &bounds[i]);
	}
	if (json_type(v) != JSON_ARRAY || json_count(v) != 2 || bounds[0] < 1 ||
	    bounds[1] < bounds[0] || bounds[1] > UINT16_MAX) {
		note(rd, "port_range: must be a list of two ports, the lowest and the highest");
	} else if (bounds[1] < r->port_min || bounds[0] > r->port_max) {
		note(rd, "port_range: %lld..%lld lies outside %u..%u, which is used instead",
		     (long long)bounds[0], (long long)bounds[1], r->port_min, r->port_max);
	} else {
		r->port_min = bounds[0] > r->port_min ? (uint16_t)bounds[0] : r->port_min;
		r->port_max = bounds[1] < r->port_max ? (uint16_t)bounds[1] : r->port_max;
	}
}

static int check_root(const struct json_value *root, struct err *err)
{
	int models = 0;

	if (json_type(root) != JSON_OBJECT) {
		return err_set(err, ERR_INVALID, "the registry must be an object, is %s",
			       json_type_name(json_type(root)));
	}
	JSON_EACH (it, root) {
		models += span_is(it.key, "models");
	}
	if (models != 1) {
		return err_set(err, ERR_INVALID,
			       "the registry must hold one object \"models\", has %s",
			       models == 0 ? "none" : "several");
	}
	if (json_type(json_get(root, "models")) != JSON_OBJECT) {
		return err_set(err, ERR_INVALID, "models: must be an object, is %s",
			       json_type_name(json_type(json_get(root, "models"))));
	}
	return 0;
}

int registry_parse(struct registry *r, struct span text, uint16_t port_min, uint16_t port_max,
		   struct err *err)
{
	struct reader rd = { .r = r };
	struct json *doc;

	if (text.len > REGISTRY_FILE_MAX_BYTES) {
		return err_set(err, ERR_INVALID, "the registry is larger than %u bytes",
			       REGISTRY_FILE_MAX_BYTES);
	}
	doc = json_parse(text, err);
	if (doc == NULL) {
		return ERR_INVALID;
	}
	if (check_root(json_root(doc), err) != 0) {
		json_destroy(doc);
		return ERR_INVALID;
	}
	const struct json_value *models = json_get(json_root(doc), "models");
	struct json_iter it = json_iter(models);

	registry_init_empty(r, port_min, port_max);
	r->doc = doc;
	r->refused = mem_alloc(json_count(models) * sizeof(r->refused[0]));
	rd.names = mem_alloc(NAMES_MAX * sizeof(rd.names[0]));
	read_port_range(&rd, json_get(json_root(doc), "port_range"));
	for (size_t i = 0; json_next(&it); i++) {
		read_model(&rd, i, it.key, it.value);
	}
	assign_ports(&rd);
	free(rd.names);
	return 0;
}

int registry_load(struct registry *r, const char *path, uint16_t port_min, uint16_t port_max,
		  struct err *err)
{
	struct buf text;

	buf_init(&text, REGISTRY_FILE_MAX_BYTES);
	int status = fs_read(path, &text, err);

	if (status == 0) {
		status = registry_parse(r, buf_span(&text), port_min, port_max, err);
		if (status != 0) {
			err_prefix(err, "%s", path);
		}
	}
	buf_finish(&text);
	return status;
}
