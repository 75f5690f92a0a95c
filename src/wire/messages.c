/* SPDX-License-Identifier: MIT */
#include "wire/messages.h"

#include <stdlib.h>

#include "base/mem.h"
#include "wire/members.h"

static const struct member hello_members[] = {
	MEMBER(wire_request, version, U32),	MEMBER(wire_request, version_min, U32),
	MEMBER(wire_request, controller, TEXT), MEMBER(wire_request, who, TEXT),
	MEMBER(wire_request, once, TEXT),
};

static const struct member request_members[] = { MEMBER(wire_request, seq, U64) };

static const struct member stop_members[] = {
	MEMBER(wire_request, seq, U64),
	MEMBER(wire_request, drain_ms, U32),
	MEMBER(wire_request, deadline_ms, U32),
};

static const struct member subscribe_members[] = {
	MEMBER(wire_request, none, BOOL),
	MEMBER(wire_request, tail, U32),
};

static const struct member pull_members[] = {
	MEMBER(wire_request, seq, U64),
	MEMBER(wire_request, source, TEXT),
	MEMBER(wire_request, begin, BOOL),
	MEMBER(wire_request, none, BOOL),
};

static const struct member agent_hello_members[] = {
	MEMBER_AS(wire_event, "version", hello.version, U32),
	MEMBER_AS(wire_event, "version_min", hello.version_min, U32),
	MEMBER_AS(wire_event, "agent", hello.agent, TEXT),
	MEMBER_AS(wire_event, "restricted", hello.restricted, BOOL),
};

static const struct member removed_members[] = {
	MEMBER_AS(wire_event, "id", removed.id, TEXT),
};

static const struct member progress_members[] = {
	MEMBER_AS(wire_event, "id", progress.id, TEXT),
	MEMBER_AS(wire_event, "fraction", progress.fraction, FLOAT),
	MEMBER_AS(wire_event, "eta_ms", progress.eta_ms, INT),
};

static const struct member log_members[] = {
	MEMBER_AS(wire_event, "id", log.id, TEXT),
	MEMBER_AS(wire_event, "line", log.line, SPAN),
	MEMBER_AS(wire_event, "dropped", log.dropped, U64),
};

static const struct member reply_members[] = {
	MEMBER_AS(wire_event, "seq", reply.seq, U64),
	MEMBER_AS(wire_event, "code", reply.err.code, CODE),
	MEMBER_AS(wire_event, "text", reply.err.text, TEXT),
};

static const struct member bye_members[] = {
	MEMBER_AS(wire_event, "exit", bye.exit, INT),
	MEMBER_AS(wire_event, "code", bye.err.code, CODE),
	MEMBER_AS(wire_event, "text", bye.err.text, TEXT),
};

static const struct member result_members[] = {
	MEMBER(wire_result, id, TEXT),
	MEMBER_AS(wire_result, "code", err.code, CODE),
	MEMBER_AS(wire_result, "text", err.text, TEXT),
	MEMBER(wire_result, key, TEXT), /* only of credentials, as what follows */
	MEMBER(wire_result, address, TEXT),
	MEMBER(wire_result, port, U16),
};
#define RESULT_MEMBERS_OPEN 3 /* those before the key */

/* A type of message: its name, its members, and whether control.sock accepts it. */
struct form {
	const char *type;
	const struct member *rows;
	size_t count;
	bool restricted;
};

#define ROWS(table) table, ARRAY_LEN(table)
#define NO_ROWS NULL, 0
#define VERB_FORM(name, type, rows, restricted) { type, rows, restricted },
static const struct form verbs[] = { VERB_TABLE(VERB_FORM) };
#undef VERB_FORM

#define EVENT_FORM(name, type, rows) { type, rows, true },
static const struct form events[] = { EVENT_TABLE(EVENT_FORM) };
#undef EVENT_FORM

const char *verb_name(enum verb verb)
{
	return verbs[verb].type;
}

bool verb_is_restricted(enum verb verb)
{
	return verbs[verb].restricted;
}

const char *event_name(enum wire_event_type type)
{
	return events[type].type;
}

/* Lines */

static void line_begin(struct json_writer *w, struct buf *out, const struct form *form,
		       const void *message)
{
	jsonw_init(w, out);
	jsonw_object(w);
	jsonw_member_text(w, "type", form->type);
	members_write(w, form->rows, form->count, message);
}

static int line_end(struct json_writer *w, struct buf *out, size_t start)
{
	int status = jsonw_end_all(w);

	if (status == 0) {
		status = buf_add_char(out, '\n');
	}
	if (status == 0 && out->len - start > WIRE_LINE_MAX_BYTES) {
		status = ERR_FULL;
	}
	if (status != 0) {
		buf_truncate(out, start);
	}
	return status;
}

/* The document of a line and which of the forms it has. */
static int line_parse(struct span line, const struct form *forms, size_t count,
		      struct json **ret_doc, size_t *ret_row, struct err *err)
{
	struct json *doc;
	const char *type;
	int status;

	if (line.len >= WIRE_LINE_MAX_BYTES) {
		return err_set(err, ERR_INVALID, "a line of the control channel exceeds %d bytes",
			       WIRE_LINE_MAX_BYTES);
	}
	doc = json_parse(line, err);
	if (doc == NULL) {
		err_prefix(err, "control channel");
		return ERR_INVALID;
	}
	type = json_text_at(json_root(doc), "type", NULL);
	for (size_t row = 0; type != NULL && row < count; row++) {
		if (strcmp(type, forms[row].type) == 0) {
			*ret_doc = doc;
			*ret_row = row;
			return 0;
		}
	}
	status = type == NULL
			 ? err_set(err, ERR_INVALID,
				   "type: a message of the control channel has none")
			 : err_set(err, ERR_VERSION,
				   "type: not a message of control channel version %d: upgrade the "
				   "older side",
				   WIRE_VERSION);
	json_destroy(doc);
	return status;
}

/* Requests */

int wire_request_encode(const struct wire_request *r, struct buf *out)
{
	struct json_writer w;
	size_t start = out->len;

	if (r->id_count > WIRE_IDS_MAX) {
		return ERR_FULL;
	}
	line_begin(&w, out, &verbs[r->verb], r);
	if (r->id_count > 0) {
		jsonw_member_array(&w, "models");
		for (size_t i = 0; i < r->id_count; i++) {
			jsonw_text(&w, r->ids[i]);
		}
		jsonw_end(&w);
	}
	return line_end(&w, out, start);
}

static int ids_read(const struct json_value *list, struct wire_request *r, struct err *err)
{
	const char **ids;
	struct span id;

	if (list == NULL) {
		return 0;
	}
	if (json_type(list) != JSON_ARRAY || json_count(list) == 0 ||
	    json_count(list) > WIRE_IDS_MAX) {
		return err_set(err, ERR_INVALID,
			       "models: not a list of 1 to %d ids; leave it out for all models",
			       WIRE_IDS_MAX);
	}
	ids = mem_alloc(json_count(list) * sizeof(*ids));
	r->ids = ids;
	JSON_EACH (it, list) {
		if (!json_to_span(it.value, &id) || id.len == 0 || id.len >= SERVER_ID_MAX_BYTES ||
		    strlen(id.ptr) != id.len) {
			return err_set(err, ERR_INVALID, "models: element %zu is not a model's id",
				       r->id_count);
		}
		ids[r->id_count++] = id.ptr;
	}
	return 0;
}

/* Everything behind the verb. Takes over r->doc. */
static int request_read(struct wire_request *r, struct wire_request *ret_request, struct err *err)
{
	const struct json_value *root = json_root(r->doc);
	int status = members_read(root, verbs[r->verb].rows, verbs[r->verb].count, r, err);

	if (status == 0) {
		status = ids_read(json_get(root, "models"), r, err);
	}
	if (status != 0) {
		wire_request_finish(r);
		return status;
	}
	*ret_request = *r;
	return 0;
}

int wire_request_decode(struct span line, struct wire_request *ret_request, struct err *err)
{
	struct wire_request r = { 0 };
	size_t verb = 0;
	int status = line_parse(line, verbs, ARRAY_LEN(verbs), &r.doc, &verb, err);

	if (status != 0) {
		return status;
	}
	r.verb = (enum verb)verb;
	return request_read(&r, ret_request, err);
}

int wire_request_decode_as(enum verb verb, struct span text, struct wire_request *ret_request,
			   struct err *err)
{
	struct wire_request r = { .verb = verb };

	r.doc = json_parse(text.len > 0 ? text : SPAN_LIT("{}"), err);
	if (r.doc == NULL) {
		return ERR_INVALID;
	}
	if (json_type(json_root(r.doc)) != JSON_OBJECT) {
		json_destroy(r.doc);
		return err_set(err, ERR_INVALID, "the body is not a JSON object");
	}
	return request_read(&r, ret_request, err);
}

void wire_request_finish(struct wire_request *r)
{
	if (r != NULL) {
		free((void *)(uintptr_t)r->ids);
		json_destroy(r->doc);
		*r = (struct wire_request){ 0 };
	}
}

/* Events */

static void results_write(struct json_writer *w, const struct wire_result *results, size_t count)
{
	jsonw_member_array(w, "models");
	for (size_t i = 0; i < count; i++) {
		bool has_key = results[i].key[0] != '\0';

		jsonw_object(w);
		members_write(w, result_members,
			      has_key ? ARRAY_LEN(result_members) : RESULT_MEMBERS_OPEN,
			      &results[i]);
		jsonw_end(w);
	}
	jsonw_end(w);
}

static int event_encode_some(const struct wire_event *e, struct buf *out, size_t result_count)
{
	struct json_writer w;
	size_t start = out->len;

	line_begin(&w, out, &events[e->type], e);
	if (e->type == EVENT_HOST) {
		jsonw_key(&w, "host");
		host_info_write(&w, &e->host);
	} else if (e->type == EVENT_SERVER) {
		jsonw_key(&w, "server");
		server_write(&w, &e->server);
	} else if (e->type == EVENT_REPLY) {
		results_write(&w, e->reply.results, result_count);
		if (e->reply.pull != NULL) {
			jsonw_key(&w, "pull");
			pull_write(&w, e->reply.pull);
		}
	}
	return line_end(&w, out, start);
}

int wire_event_encode(const struct wire_event *e, struct buf *out)
{
	size_t result_count = e->type == EVENT_REPLY ? e->reply.count : 0;
	int status;

	if (result_count > WIRE_IDS_MAX) {
		result_count = WIRE_IDS_MAX;
	}
	while ((status = event_encode_some(e, out, result_count)) != 0 && result_count > 0) {
		result_count /= 2;
	}
	return status;
}

static int results_read(const struct json_value *list, struct wire_event *e, struct err *err)
{
	struct json_iter it = json_iter(list);
	int status = 0;

	if (list == NULL) {
		return 0;
	}
	if (json_type(list) != JSON_ARRAY || json_count(list) > WIRE_IDS_MAX) {
		return err_set(err, ERR_INVALID, "models: not a list of at most %d results",
			       WIRE_IDS_MAX);
	}
	e->results = mem_alloc((json_count(list) + 1) * sizeof(*e->results));
	e->reply.results = e->results;
	while (status == 0 && json_next(&it)) {
		struct wire_result *r = &e->results[e->reply.count++];

		status = members_read(it.value, result_members, ARRAY_LEN(result_members), r, err);
	}
	return status;
}

static int event_read(const struct json_value *root, struct wire_event *e, struct err *err)
{
	int status = members_read(root, events[e->type].rows, events[e->type].count, e, err);

	if (status == 0 && e->type == EVENT_HOST) {
		host_info_read(json_get(root, "host"), &e->host);
	} else if (status == 0 && e->type == EVENT_SERVER) {
		status = server_read(json_get(root, "server"), &e->server, err);
	} else if (status == 0 && e->type == EVENT_REPLY) {
		status = results_read(json_get(root, "models"), e, err);
		if (status == 0 && json_get(root, "pull") != NULL) {
			e->reply.pull = e->pull = mem_alloc(sizeof(*e->pull));
			status = pull_read(json_get(root, "pull"), e->pull, err);
		}
	}
	return status;
}

int wire_event_decode(struct span line, struct wire_event *ret_event, struct err *err)
{
	struct json *doc = NULL;
	size_t row = 0;
	int status = line_parse(line, events, ARRAY_LEN(events), &doc, &row, err);

	if (status != 0) {
		return status;
	}
	memset(ret_event, 0, sizeof(*ret_event));
	ret_event->doc = doc;
	ret_event->type = (enum wire_event_type)row;
	status = event_read(json_root(doc), ret_event, err);
	if (status != 0) {
		wire_event_finish(ret_event);
	}
	return status;
}

void wire_event_finish(struct wire_event *e)
{
	if (e != NULL) {
		json_destroy(e->doc);
		free(e->results);
		free(e->pull);
		e->doc = NULL;
		e->results = NULL;
		e->pull = NULL;
	}
}

int wire_versions_agree(uint32_t version, uint32_t version_min, const char *other, struct err *err)
{
	if (version < WIRE_VERSION_MIN) {
		return err_set(
			err, ERR_VERSION,
			"%s speaks version %u of the control channel and this side %d to %d: "
			"upgrade %s",
			other, version, WIRE_VERSION_MIN, WIRE_VERSION, other);
	}
	if (version_min > WIRE_VERSION) {
		return err_set(err, ERR_VERSION,
			       "%s speaks version %u of the control channel or newer and this side "
			       "%d at most: upgrade this side",
			       other, version_min, WIRE_VERSION);
	}
	return 0;
}
