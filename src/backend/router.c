/* SPDX-License-Identifier: MIT */
#include "backend/router.h"

#include <stdlib.h>

#include "base/json.h"
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

enum dialect route_dialect(const char *path)
{
	const struct route *route = route_find(path);

	return route != NULL					 ? route->dialect
	       : span_has_prefix(span_of(path), "/v1/messages/") ? DIALECT_ANTHROPIC
								 : DIALECT_OPENAI;
}

/* Members that would reach files, adapters or slots of the engine. */
static const struct span refused[] = {
	SPAN_INIT("lora"),   SPAN_INIT("lora_adapters"), SPAN_INIT("model_path"),
	SPAN_INIT("mmproj"), SPAN_INIT("id_slot"),	 SPAN_INIT("slot_id"),
};

static int read_model(const struct json_value *v, char model[SERVER_ID_MAX_BYTES], struct err *err)
{
	struct span name = SPAN_LIT("");

	if (json_type(v) != JSON_NULL &&
	    (!json_to_span(v, &name) || name.len >= SERVER_ID_MAX_BYTES ||
	     span_find_char(name, '\0') < name.len)) {
		return err_set(err, ERR_INVALID, "'model' is not a model's name");
	}
	span_copy(name, model, SERVER_ID_MAX_BYTES);
	return 0;
}

static int read_member(struct span key, const struct json_value *v, struct routing *routing,
		       struct err *err)
{
	double number = 0;

	if (span_is(key, "model")) {
		return read_model(v, routing->model, err);
	}
	if (span_is(key, "stream") && !json_to_bool(v, &routing->stream) &&
	    json_type(v) != JSON_NULL) {
		return err_set(err, ERR_INVALID, "'stream' is neither true nor false");
	}
	if (span_is(key, "n_discard") && json_to_double(v, &number) && number < 0) {
		return err_set(err, ERR_INVALID, "'n_discard' is negative");
	}
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (span_equal(key, refused[i])) {
			return err_set(err, ERR_INVALID,
				       "'%.*s' is not accepted here: it reaches into the engine",
				       SPAN_ARG(refused[i]));
		}
	}
	return 0;
}

/* What decides where a request goes must not stand twice: readers differ in which one counts. */
static int read_members(const struct json_value *object, struct routing *routing, struct err *err)
{
	struct json_iter it = json_iter(object);
	bool has_model = false, has_stream = false;
	int status = 0;

	if (json_type(object) != JSON_OBJECT) {
		return err_set(err, ERR_INVALID, "the body is not an object of JSON");
	}
	while (status == 0 && json_next(&it)) {
		bool is_model = span_is(it.key, "model"), is_stream = span_is(it.key, "stream");

		if ((is_model && has_model) || (is_stream && has_stream)) {
			return err_set(err, ERR_INVALID, "'%.*s' stands twice in the body",
				       SPAN_ARG(it.key));
		}
		has_model |= is_model;
		has_stream |= is_stream;
		status = read_member(it.key, it.value, routing, err);
	}
	return status;
}

int routing_read_json(struct span body, struct routing *ret_routing, struct err *err)
{
	struct json_room room;
	struct json *json = json_parse_in(&room, body, false, err);
	struct routing routing = { .stream = false };
	int status = json != NULL ? read_members(json_root(json), &routing, err) : ERR_INVALID;

	json_destroy(json);
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

/* The only model that runs, or the only one that is enabled, or NULL. */
static struct fleet_model *only_one(const struct fleet *f)
{
	struct fleet_model *running = NULL, *enabled = NULL;
	size_t running_count = 0, enabled_count = 0;

	FLEET_EACH (m, f) {
		if (server_phase_is_accepting(m->server.phase) && !m->is_draining) {
			running = m;
			running_count++;
		}
		if (m->server.enabled) {
			enabled = m;
			enabled_count++;
		}
	}
	return running_count == 1 ? running : enabled_count == 1 ? enabled : NULL;
}

static int say_not_found(const struct fleet *f, const struct key *key, const char *name,
			 struct err *err)
{
	struct nearest nearest = { .word = span_of(name) };
	struct buf names;

	buf_init(&names, NAMES_MAX_BYTES);
	FLEET_EACH (m, f) {
		if (key == NULL || key_opens(key, m->server.id)) {
			buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", m->server.id);
			nearest_try(&nearest, m->server.id);
		}
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

int routing_choose(const struct fleet *f, const struct key *key, const char *name,
		   struct fleet_model **ret_model, struct err *err)
{
	struct fleet_model *m = name[0] != '\0' ? fleet_find(f, span_of(name)) : only_one(f);

	if (m == NULL) {
		return say_not_found(f, key, name, err);
	}
	if (key != NULL && !key_opens(key, m->server.id)) {
		return err_set(err, ERR_DENIED, "the key '%s' does not open model '%s'", key->name,
			       m->server.id);
	}
	*ret_model = m;
	return 0;
}
