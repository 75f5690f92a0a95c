/* SPDX-License-Identifier: MIT */
/*
 * The list itself: finding, adding, removing. Reading is registry_read.c, writing registry_write.c.
 */
#include "model/registry.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <strings.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/registry_fields.h"

/* The folder of models as the registry, which containers read, calls it. */
#define REGISTRY_ROOT "/models/"

#define FIELD_ROW(name, kind, member, max) \
	{ name, FIELD_##kind, offsetof(struct model, member), max },
#define SETTING_FIELD_ROW(field, json, kind, min, max, help) { json, FIELD_SETTING, 0, 0 },
const struct field field_rows[] = { FIELD_TABLE(FIELD_ROW) SETTING_TABLE(SETTING_FIELD_ROW) };
#undef SETTING_FIELD_ROW
#undef FIELD_ROW

const size_t field_row_count = ARRAY_LEN(field_rows);

const struct field *field_find(struct span name)
{
	for (size_t i = 0; i < field_row_count; i++) {
		if (span_is(name, field_rows[i].name)) {
			return &field_rows[i];
		}
	}
	return NULL;
}

bool registry_id_is_valid(struct span id)
{
	if (id.len == 0 || id.len >= REGISTRY_ID_MAX_BYTES || !isalnum((unsigned char)id.ptr[0])) {
		return false;
	}
	for (size_t i = 0; i < id.len; i++) {
		unsigned char c = (unsigned char)id.ptr[i];

		if (c >= 0x80 || (!isalnum(c) && strchr("._-", c) == NULL)) {
			return false;
		}
	}
	return true;
}

/* C0, DEL, C1, and what reorders or breaks a line: U+200E/F, U+2028-202E, U+2066-2069. */
static bool has_controls(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		unsigned char next = i + 1 < text.len ? (unsigned char)text.ptr[i + 1] : 0;
		unsigned char last = i + 2 < text.len ? (unsigned char)text.ptr[i + 2] : 0;

		if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next <= 0x9f)) {
			return true;
		}
		if (c == 0xe2 && ((next == 0x80 && (last == 0x8e || last == 0x8f ||
						    (last >= 0xa8 && last <= 0xae))) ||
				  (next == 0x81 && last >= 0xa6 && last <= 0xa9))) {
			return true;
		}
	}
	return false;
}

const char *field_text_fault(struct span text, size_t max_bytes)
{
	if (text.len == 0) {
		return "is empty";
	}
	if (text.len > max_bytes) {
		return "is too long";
	}
	if (!span_is_utf8(text) || has_controls(text)) {
		return "holds control characters";
	}
	return NULL;
}

const char *field_path_fault(struct span path)
{
	struct span rest = path;
	const char *fault = field_text_fault(path, FIELD_PATH_MAX_BYTES);

	if (fault != NULL) {
		return fault;
	}
	if (path.ptr[0] != '/' || path.ptr[path.len - 1] == '/') {
		return "must be the absolute path of a file";
	}
	while (rest.ptr != NULL) {
		if (span_is(span_split(&rest, '/'), "..")) {
			return "must not hold '..'";
		}
	}
	return NULL;
}

char *registry_host_path(const char *root, const char *file_path)
{
	struct span path = span_of(file_path);

	if (root == NULL || file_path == NULL) {
		return mem_strdup(file_path);
	}
	if (span_has_prefix(path, REGISTRY_ROOT)) {
		return fs_join(root, file_path + sizeof(REGISTRY_ROOT) - 1);
	}
	return file_path[0] != '/' ? fs_join(root, file_path) : mem_strdup(file_path);
}

char *registry_file_path(const char *root, const char *host_path)
{
	size_t len = root != NULL ? strlen(root) : 0;

	while (len > 1 && root[len - 1] == '/') {
		len--;
	}
	if (host_path != NULL && len > 0 && strncmp(host_path, root, len) == 0 &&
	    host_path[len] == '/') {
		return fs_join(REGISTRY_ROOT, host_path + len);
	}
	return mem_strdup(host_path);
}

char *model_made_name(const char *file_path)
{
	const char *slash = strrchr(file_path, '/');
	struct span stem = span_of(slash != NULL ? slash + 1 : file_path);
	char name[FIELD_NAME_MAX_BYTES + 1];

	if (stem.len > 5 && span_is_nocase(span_from(stem, stem.len - 5), ".gguf")) {
		stem.len -= 5;
	}
	span_copy(stem, name, sizeof(name));
	return mem_strdup(name);
}

void model_finish(struct model *m)
{
	if (m == NULL) {
		return;
	}
	free(m->name);
	free(m->file_path);
	free(m->mmproj_path);
	free(m->family);
	free(m->quantization);
	for (int i = 0; i < m->alias_count; i++) {
		free(m->aliases[i]);
	}
	*m = (struct model){ 0 };
}

void registry_init_empty(struct registry *r, uint16_t port_min, uint16_t port_max)
{
	*r = (struct registry){ .port_min = port_min, .port_max = port_max };
}

void registry_finish(struct registry *r)
{
	if (r == NULL) {
		return;
	}
	for (size_t i = 0; i < r->count; i++) {
		model_finish(&r->models[i]);
	}
	free(r->models);
	free(r->refused);
	json_destroy(r->doc);
	*r = (struct registry){ 0 };
}

struct model *registry_find(const struct registry *r, struct span id_or_alias)
{
	for (size_t i = 0; i < r->count; i++) {
		if (span_is_nocase(id_or_alias, r->models[i].id)) {
			return &r->models[i];
		}
	}
	for (size_t i = 0; i < r->count; i++) {
		for (int a = 0; a < r->models[i].alias_count; a++) {
			if (span_is_nocase(id_or_alias, r->models[i].aliases[a])) {
				return &r->models[i];
			}
		}
	}
	return NULL;
}

const char *registry_nearest(const struct registry *r, struct span id)
{
	struct nearest nearest = { .word = id };

	for (size_t i = 0; i < r->count; i++) {
		nearest_try(&nearest, r->models[i].id);
	}
	return nearest.name;
}

const struct model *registry_port_holder(const struct registry *r, int64_t port)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->models[i].port == port) {
			return &r->models[i];
		}
	}
	return NULL;
}

uint16_t registry_free_port(const struct registry *r, uint16_t from)
{
	for (uint32_t port = from; port <= r->port_max; port++) {
		if (registry_port_holder(r, port) == NULL) {
			return (uint16_t)port;
		}
	}
	return 0;
}

void registry_append(struct registry *r, const struct model *m)
{
	if (r->count == r->capacity) {
		r->capacity = r->capacity > 0 ? r->capacity * 2 : 8;
		r->models = mem_resize(r->models, r->capacity, sizeof(r->models[0]));
	}
	r->models[r->count++] = *m;
}

/* Written and read back, so that only the reader knows what a model may be. */
static int reread(const struct registry *r, const struct model *m, struct registry *ret_read,
		  struct err *err)
{
	struct registry one = { .models = (struct model *)(uintptr_t)m,
				.count = 1,
				.port_min = r->port_min,
				.port_max = r->port_max };
	struct buf text;

	if (m->file_path == NULL || !span_is_utf8(span_of(m->file_path))) {
		return err_set(err, ERR_INVALID, "adding %s: its file_path is no text", m->id);
	}
	buf_init(&text, REGISTRY_FILE_MAX_BYTES);
	int status = registry_write(&one, &text);

	if (status == 0) {
		status = registry_parse(ret_read, buf_span(&text), r->port_min, r->port_max, err);
	}
	buf_finish(&text);
	if (status == 0 && ret_read->count == 0) {
		status = err_set(err, ERR_INVALID, "adding %s", ret_read->problems[0].text);
		registry_finish(ret_read);
	}
	return status;
}

static int check_room(const struct registry *r, const struct model *m, struct err *err)
{
	ENSURE(r->models != NULL || r->count == 0);
	for (int i = -1; i < m->alias_count; i++) {
		const char *name = i < 0 ? m->id : m->aliases[i];
		const struct model *holder = registry_find(r, span_of(name));

		if (holder != NULL) {
			return err_set(err, ERR_BUSY,
				       "adding a model: the name %s belongs to %s already", name,
				       holder->id);
		}
	}
	if (r->count >= REGISTRY_MODELS_MAX) {
		return err_set(err, ERR_FULL, "adding %s: there are %d models already", m->id,
			       REGISTRY_MODELS_MAX);
	}
	if (m->port != 0 && registry_port_holder(r, m->port) != NULL) {
		return err_set(err, ERR_BUSY, "adding %s: port %u belongs to another model", m->id,
			       m->port);
	}
	if (m->port == 0 && registry_free_port(r, r->port_min) == 0) {
		return err_set(
			err, ERR_FULL,
			"adding %s: no port is free in %u..%u; widen port_range or remove a model",
			m->id, r->port_min, r->port_max);
	}
	return 0;
}

int registry_add(struct registry *r, const struct model *m, struct err *err)
{
	struct registry read = { 0 };
	int status = check_room(r, m, err);

	if (status == 0) {
		status = reread(r, m, &read, err);
	}
	if (status == 0) {
		struct model *copy = read.models;

		ENSURE(copy != NULL);
		copy->port = m->port != 0 ? m->port : registry_free_port(r, r->port_min);
		copy->entry = 0;
		registry_append(r, copy);
		read.count = 0; /* it is the other's now */
		registry_finish(&read);
	}
	return status;
}

static int remove_refused(struct registry *r, const char *id)
{
	struct json_iter it = json_iter(json_get(json_root(r->doc), "models"));

	for (size_t i = 0; json_next(&it); i++) {
		if (r->refused[i] && span_is_nocase(it.key, id)) {
			r->refused[i] = false;
			return 0;
		}
	}
	return ERR_NOT_FOUND;
}

int registry_set_port(struct registry *r, struct model *m, int64_t port, struct err *err)
{
	const struct model *holder = registry_port_holder(r, port);

	if (port < r->port_min || port > r->port_max) {
		return err_set(err, ERR_INVALID, "port: %lld is outside %u..%u", (long long)port,
			       r->port_min, r->port_max);
	}
	if (holder != NULL && holder != m) {
		return err_set(err, ERR_BUSY, "port %u is %s's", (unsigned)port, holder->id);
	}
	m->port = (uint16_t)port;
	return 0;
}

int registry_remove(struct registry *r, const char *id)
{
	for (size_t i = 0; i < r->count; i++) {
		if (strcasecmp(r->models[i].id, id) == 0) {
			model_finish(&r->models[i]);
			r->count--;
			memmove(&r->models[i], &r->models[i + 1],
				(r->count - i) * sizeof(r->models[0]));
			return 0;
		}
	}
	return r->doc != NULL ? remove_refused(r, id) : ERR_NOT_FOUND;
}
