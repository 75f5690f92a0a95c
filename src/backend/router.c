/* SPDX-License-Identifier: MIT */
#include "backend/router.h"

#include <stdlib.h>

#include "base/json_scan.h"
#include "base/mem.h"

#define ROUTE_ROW(path, method, kind, dialect) \
	{ path, H1_##method, ROUTE_##kind, DIALECT_##dialect },
static const struct route routes[] = { ROUTE_TABLE(ROUTE_ROW) };
#undef ROUTE_ROW

#define MODELS_PREFIX "/v1/models/"
#define NAMES_MAX_BYTES 400
#define PART_MAX_BYTES 4096 /* of a form: the head of a part and a model's name */

const struct route *route_find(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (strcmp(routes[i].path, path) == 0) {
			return &routes[i];
		}
	}
	return strncmp(path, MODELS_PREFIX, strlen(MODELS_PREFIX)) == 0 ? &routes[0] : NULL;
}

/* Members that would reach files, adapters or slots of the engine. */
static const char *const refused[] = { "lora",	 "lora_adapters", "model_path",
				       "mmproj", "id_slot",	  "slot_id" };

struct reading {
	struct routing *routing;
	bool has_model, has_stream;
	struct err err;
};

static void read_model(struct reading *r, const struct json_member *member)
{
	if (r->has_model) {
		err_set(&r->err, ERR_INVALID, "'model' stands twice in the body");
	} else if (member->type != JSON_NULL &&
		   !json_scan_text(member->value, r->routing->model, sizeof(r->routing->model))) {
		err_set(&r->err, ERR_INVALID, "'model' is not a model's name");
	}
	r->has_model = true;
}

static void read_stream(struct reading *r, const struct json_member *member)
{
	if (r->has_stream) {
		err_set(&r->err, ERR_INVALID, "'stream' stands twice in the body");
	} else if (member->type != JSON_NULL && member->type != JSON_BOOL) {
		err_set(&r->err, ERR_INVALID, "'stream' is neither true nor false");
	}
	r->has_stream = true;
	r->routing->stream = span_is(member->value, "true");
}

static void on_member(void *user, const struct json_member *member)
{
	struct reading *r = user;

	if (r->err.code != 0) {
		return;
	}
	if (json_scan_key_is(member->key, "model")) {
		read_model(r, member);
	} else if (json_scan_key_is(member->key, "stream")) {
		read_stream(r, member);
	} else if (json_scan_key_is(member->key, "n_discard") && member->value.ptr[0] == '-') {
		err_set(&r->err, ERR_INVALID, "'n_discard' is negative");
	}
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (json_scan_key_is(member->key, refused[i])) {
			err_set(&r->err, ERR_INVALID,
				"'%s' is not accepted here: it reaches into the engine",
				refused[i]);
		}
	}
}

int routing_read_json(struct span body, struct routing *ret_routing, struct err *err)
{
	struct routing routing = { .stream = false };
	struct reading reading = { .routing = &routing };
	int status = json_scan(body, on_member, &reading, err);

	if (status == 0 && reading.err.code != 0) {
		status = err_set(err, reading.err.code, "%s", reading.err.text);
	}
	if (status == 0) {
		*ret_routing = routing;
	}
	return status;
}

/* The value of `name=` in a header's parameters, quotes taken off; ptr NULL when not there. */
static struct span parameter(struct span header, const char *name)
{
	while (header.ptr != NULL) {
		struct span value = span_trim(span_split(&header, ';'));
		struct span key = span_split(&value, '=');

		if (value.ptr != NULL && span_is_nocase(span_trim(key), name)) {
			value = span_trim(value);
			if (value.len >= 2 && value.ptr[0] == '"') {
				value = (struct span){ value.ptr + 1, value.len - 2 };
			}
			return value;
		}
	}
	return (struct span){ NULL, 0 };
}

/* The Content-Disposition of a part's head has name="model". */
static bool is_model_part(struct span head)
{
	while (head.ptr != NULL) {
		struct span line = span_trim(span_split(&head, '\n'));
		struct span value = line;
		struct span name = span_split(&value, ':');

		if (value.ptr != NULL && span_is_nocase(name, "Content-Disposition")) {
			if (value.len > 0 && value.ptr[value.len - 1] == '\r') {
				value.len--;
			}
			return span_is(parameter(value, "name"), "model");
		}
	}
	return false;
}

int routing_read_form(struct span body, struct span content_type, struct routing *ret_routing,
		      struct err *err)
{
	struct span boundary = parameter(content_type, "boundary");
	struct routing routing = { .stream = false };
	bool found = false;

	if (boundary.ptr == NULL || boundary.len == 0 || boundary.len > 70) {
		return err_set(err, ERR_INVALID,
			       "the body is not multipart/form-data with a boundary");
	}
	char *mark = mem_printf("--%.*s", SPAN_ARG(boundary));

	for (size_t at = span_find(body, mark); at < body.len; at = span_find(body, mark)) {
		body = span_from(body, at + strlen(mark));
		struct span head = { body.ptr,
				     body.len < PART_MAX_BYTES ? body.len : PART_MAX_BYTES };
		size_t head_len = span_find(head, "\r\n\r\n");
		struct span value = span_from(head, head_len + 4);

		head.len = head_len;
		value.len = span_find(value, "\r\n");
		if (is_model_part(head) && !found) {
			found = true;
			span_copy(value, routing.model, sizeof(routing.model));
		} else if (is_model_part(head)) {
			free(mark);
			return err_set(err, ERR_INVALID, "'model' stands twice in the form");
		}
	}
	free(mark);
	*ret_routing = routing;
	return 0;
}

/* The only model that `is_meant`, or NULL. */
static struct fleet_model *only_one(const struct fleet *f,
				    bool (*is_meant)(const struct fleet_model *m))
{
	const struct list *models = fleet_models(f);
	struct fleet_model *found = NULL;

	LIST_FOR_EACH (it, following, models) {
		struct fleet_model *m = LIST_ITEM(it, struct fleet_model, link);

		if (is_meant(m)) {
			if (found != NULL) {
				return NULL;
			}
			found = m;
		}
	}
	return found;
}

static bool runs(const struct fleet_model *m)
{
	return server_phase_is_accepting(m->server.phase) && !m->is_draining;
}

static bool is_enabled(const struct fleet_model *m)
{
	return m->server.enabled;
}

static int say_not_found(const struct fleet *f, const char *name, struct err *err)
{
	const struct list *models = fleet_models(f);
	struct nearest nearest = { .word = span_of(name) };
	struct buf names;

	buf_init(&names, NAMES_MAX_BYTES);
	LIST_FOR_EACH (it, following, models) {
		const struct fleet_model *m = LIST_ITEM(it, struct fleet_model, link);
		buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", m->server.id);
		nearest_try(&nearest, m->server.id);
	}
	if (name[0] == '\0') {
		err_set(err, ERR_INVALID, "'model' is missing. Models: %s", buf_text(&names));
	} else if (nearest.name != NULL) {
		err_set(err, ERR_NOT_FOUND,
			"model '%s' is not here. Models: %s. Did you mean '%s'?", name,
			buf_text(&names), nearest.name);
	} else {
		err_set(err, ERR_NOT_FOUND, "model '%s' is not here. Models: %s", name,
			names.len > 0 ? buf_text(&names) : "none");
	}
	buf_finish(&names);
	return name[0] == '\0' ? ERR_INVALID : ERR_NOT_FOUND;
}

int routing_choose(const struct fleet *f, const char *name, struct fleet_model **ret_model,
		   struct err *err)
{
	struct fleet_model *m = NULL;

	if (name[0] != '\0') {
		m = fleet_find(f, span_of(name));
	} else {
		m = only_one(f, runs);
		m = m != NULL ? m : only_one(f, is_enabled);
	}
	if (m == NULL) {
		return say_not_found(f, name, err);
	}
	*ret_model = m;
	return 0;
}
