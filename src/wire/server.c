/* SPDX-License-Identifier: MIT */
/*
 * The JSON form of struct server, struct receipt and struct host_info. One table of members per
 * struct feeds both the writer and the reader, so that the two cannot drift apart; lists and nested
 * structs are the only members that stand outside the tables.
 */
#include "wire/server.h"

#include <math.h>
#include <stddef.h>

#include "base/mem.h"

enum member_kind {
	MEMBER_TEXT, /* char[]; longer texts are clipped when read */
	MEMBER_BOOL,
	MEMBER_INT, /* int or int32_t */
	MEMBER_I64,
	MEMBER_U16,
	MEMBER_U32,
	MEMBER_U64,
	MEMBER_FLOAT,
	MEMBER_PHASE,	/* enum server_phase as its name */
	MEMBER_VERDICT, /* enum receipt_verdict as its name */
	MEMBER_CODE,	/* int of enum err_code as its name; 0 as null */
};

struct member {
	const char *name;
	enum member_kind kind;
	size_t offset;
	size_t size;
};

#define MEMBER(type, field, kind) \
	{ #field, MEMBER_##kind, offsetof(struct type, field), sizeof(((struct type *)NULL)->field) }

static const struct member server_members[] = {
	MEMBER(server, id, TEXT),
	MEMBER(server, name, TEXT),
	MEMBER(server, host, TEXT),
	MEMBER(server, phase, PHASE),
	MEMBER(server, enabled, BOOL),
	MEMBER(server, by_controller, BOOL),
	MEMBER(server, port, U16),
	MEMBER(server, pid, INT),
	MEMBER(server, starts, U32),
	MEMBER(server, restarts, U32),
	MEMBER(server, phase_unix_ms, I64),
	MEMBER(server, ready_unix_ms, I64),
	MEMBER(server, load_ms, U32),
	MEMBER(server, progress, FLOAT),
	MEMBER(server, eta_ms, INT),
	MEMBER(server, retry_ms, INT),
	MEMBER(server, estimate_bytes, U64),
	MEMBER(server, memory_bytes, U64),
	MEMBER(server, error_code, CODE),
	MEMBER(server, error, TEXT),
	MEMBER(server, next_step, TEXT),
};

static const struct member receipt_members[] = {
	MEMBER(receipt, verdict, VERDICT),
	MEMBER(receipt, wanted, BOOL),
	MEMBER(receipt, engine, TEXT),
	MEMBER(receipt, device, TEXT),
	MEMBER(receipt, device_name, TEXT),
	MEMBER(receipt, layers_offloaded, INT),
	MEMBER(receipt, layers_total, INT),
	MEMBER(receipt, device_bytes, U64),
	MEMBER(receipt, host_bytes, U64),
	MEMBER(receipt, context_tokens, U32),
	MEMBER(receipt, slots, U32),
	MEMBER(receipt, why, TEXT),
};

static const struct member device_members[] = {
	MEMBER(host_device, id, TEXT),
	MEMBER(host_device, name, TEXT),
	MEMBER(host_device, total_bytes, U64),
	MEMBER(host_device, free_bytes, U64),
};

static const struct member host_members[] = {
	MEMBER(host_info, name, TEXT),
	MEMBER(host_info, engine, TEXT),
	MEMBER(host_info, engine_path, TEXT),
	MEMBER(host_info, engine_error, TEXT),
	MEMBER(host_info, channel, TEXT),
	MEMBER(host_info, memory_total_bytes, U64),
	MEMBER(host_info, memory_available_bytes, U64),
	MEMBER(host_info, memory_budget_bytes, U64),
};

/* Names */

struct phase_row {
	const char *name;
	bool running, accepting;
};

#define PHASE_ROW(name, text, running, accepting) { text, running, accepting },
static const struct phase_row phase_rows[] = { SERVER_PHASE_TABLE(PHASE_ROW) };
#undef PHASE_ROW

#define VERDICT_NAME(name, text) text,
static const char *const verdict_names[] = { RECEIPT_VERDICT_TABLE(VERDICT_NAME) };
#undef VERDICT_NAME

const char *server_phase_name(enum server_phase phase)
{
	return phase_rows[phase].name;
}

int server_phase_from_name(struct span name, enum server_phase *ret_phase)
{
	for (size_t i = 0; i < ARRAY_LEN(phase_rows); i++) {
		if (span_is(name, phase_rows[i].name)) {
			*ret_phase = (enum server_phase)i;
			return 0;
		}
	}
	return ERR_INVALID;
}

bool server_phase_is_running(enum server_phase phase)
{
	return phase_rows[phase].running;
}

bool server_phase_is_accepting(enum server_phase phase)
{
	return phase_rows[phase].accepting;
}

const char *receipt_verdict_name(enum receipt_verdict verdict)
{
	return verdict_names[verdict];
}

static int verdict_from_name(struct span name, enum receipt_verdict *ret_verdict)
{
	for (size_t i = 0; i < ARRAY_LEN(verdict_names); i++) {
		if (span_is(name, verdict_names[i])) {
			*ret_verdict = (enum receipt_verdict)i;
			return 0;
		}
	}
	return ERR_INVALID;
}

/* Writing */

static void member_write(struct json_writer *w, const struct member *m, const void *at)
{
	jsonw_key(w, m->name);
	switch (m->kind) {
	case MEMBER_TEXT:
		jsonw_text(w, at);
		break;
	case MEMBER_BOOL:
		jsonw_bool(w, *(const bool *)at);
		break;
	case MEMBER_INT:
		jsonw_i64(w, *(const int *)at);
		break;
	case MEMBER_I64:
		jsonw_i64(w, *(const int64_t *)at);
		break;
	case MEMBER_U16:
		jsonw_u64(w, *(const uint16_t *)at);
		break;
	case MEMBER_U32:
		jsonw_u64(w, *(const uint32_t *)at);
		break;
	case MEMBER_U64:
		jsonw_u64(w, *(const uint64_t *)at);
		break;
	case MEMBER_FLOAT:
		jsonw_double(w, (double)*(const float *)at, 3);
		break;
	case MEMBER_PHASE:
		jsonw_text(w, server_phase_name(*(const enum server_phase *)at));
		break;
	case MEMBER_VERDICT:
		jsonw_text(w, receipt_verdict_name(*(const enum receipt_verdict *)at));
		break;
	case MEMBER_CODE:
		jsonw_text(w, *(const int *)at == 0 ? NULL : err_name(*(const int *)at));
		break;
	}
}

static void members_write(struct json_writer *w, const struct member *rows, size_t count,
			  const void *object)
{
	for (size_t i = 0; i < count; i++) {
		member_write(w, &rows[i], (const char *)object + rows[i].offset);
	}
}

void receipt_write(struct json_writer *w, const struct receipt *r)
{
	jsonw_object(w);
	members_write(w, receipt_members, ARRAY_LEN(receipt_members), r);
	jsonw_key(w, "evidence");
	jsonw_array(w);
	for (int i = 0; i < r->evidence_count; i++) {
		jsonw_text(w, r->evidence[i]);
	}
	jsonw_end(w);
	jsonw_end(w);
}

void server_write(struct json_writer *w, const struct server *s)
{
	jsonw_object(w);
	members_write(w, server_members, ARRAY_LEN(server_members), s);
	jsonw_key(w, "receipt");
	receipt_write(w, &s->receipt);
	jsonw_end(w);
}

void host_info_write(struct json_writer *w, const struct host_info *h)
{
	jsonw_object(w);
	members_write(w, host_members, ARRAY_LEN(host_members), h);
	jsonw_key(w, "devices");
	jsonw_array(w);
	for (int i = 0; i < h->device_count; i++) {
		jsonw_object(w);
		members_write(w, device_members, ARRAY_LEN(device_members), &h->devices[i]);
		jsonw_end(w);
	}
	jsonw_end(w);
	jsonw_end(w);
}

/* Reading: a member that is absent leaves what is there, one of a wrong kind is ERR_INVALID. */

static int whole_read(const struct json_value *v, const struct member *m, void *at)
{
	static const struct {
		int64_t min, max;
	} bounds[] = {
		[MEMBER_INT] = { INT32_MIN, INT32_MAX },
		[MEMBER_I64] = { INT64_MIN, INT64_MAX },
		[MEMBER_U16] = { 0, UINT16_MAX },
		[MEMBER_U32] = { 0, UINT32_MAX },
		[MEMBER_U64] = { 0, INT64_MAX },
	};
	int64_t value;

	if (!json_to_i64(v, &value) || value < bounds[m->kind].min ||
	    value > bounds[m->kind].max) {
		return ERR_INVALID;
	}
	if (m->kind == MEMBER_INT) {
		*(int *)at = (int)value;
	} else if (m->kind == MEMBER_I64) {
		*(int64_t *)at = value;
	} else if (m->kind == MEMBER_U16) {
		*(uint16_t *)at = (uint16_t)value;
	} else if (m->kind == MEMBER_U32) {
		*(uint32_t *)at = (uint32_t)value;
	} else {
		*(uint64_t *)at = (uint64_t)value;
	}
	return 0;
}

static int float_read(const struct json_value *v, float *ret_value)
{
	double value;

	if (!json_to_double(v, &value) || !(fabs(value) <= 1e6)) {
		return ERR_INVALID;
	}
	*ret_value = (float)value;
	return 0;
}

static int code_read(const struct json_value *v, int *ret_code)
{
	struct span name;

	if (json_type(v) == JSON_NULL) {
		*ret_code = 0;
		return 0;
	}
	if (!json_to_span(v, &name)) {
		return ERR_INVALID;
	}
	*ret_code = err_from_name(name.ptr);
	return 0;
}

static int member_read(const struct json_value *v, const struct member *m, void *at)
{
	struct span text = SPAN_LIT("");

	switch (m->kind) {
	case MEMBER_TEXT:
		if (!json_to_span(v, &text)) {
			return ERR_INVALID;
		}
		span_copy(text, at, m->size);
		return 0;
	case MEMBER_BOOL:
		return json_to_bool(v, at) ? 0 : ERR_INVALID;
	case MEMBER_PHASE:
		return json_to_span(v, &text) ? server_phase_from_name(text, at) : ERR_INVALID;
	case MEMBER_VERDICT:
		return json_to_span(v, &text) ? verdict_from_name(text, at) : ERR_INVALID;
	case MEMBER_CODE:
		return code_read(v, at);
	case MEMBER_FLOAT:
		return float_read(v, at);
	case MEMBER_INT:
	case MEMBER_I64:
	case MEMBER_U16:
	case MEMBER_U32:
	case MEMBER_U64:
		break;
	}
	return whole_read(v, m, at);
}

static int members_read(const struct json_value *object, const struct member *rows, size_t count,
			void *ret_object, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct json_value *v = json_get(object, rows[i].name);

		if (v != NULL && member_read(v, &rows[i], (char *)ret_object + rows[i].offset) != 0) {
			return err_set(err, ERR_INVALID, "%s: %s is not what belongs there",
				       rows[i].name, json_type_name(json_type(v)));
		}
	}
	return 0;
}

static void evidence_read(const struct json_value *list, struct receipt *r)
{
	struct json_iter it = json_iter(list);
	const struct json_value *v;
	struct span key, line;

	while (r->evidence_count < RECEIPT_EVIDENCE_MAX && json_next(&it, &key, &v)) {
		if (json_to_span(v, &line)) {
			span_copy(line, r->evidence[r->evidence_count++], RECEIPT_LINE_MAX_BYTES);
		}
	}
}

void receipt_read(const struct json_value *v, struct receipt *ret_receipt)
{
	const struct receipt none = { .layers_offloaded = -1, .layers_total = -1 };

	*ret_receipt = none;
	if (members_read(v, receipt_members, ARRAY_LEN(receipt_members), ret_receipt, NULL) != 0) {
		*ret_receipt = none; /* half a receipt proves nothing */
		return;
	}
	evidence_read(json_get(v, "evidence"), ret_receipt);
}

int server_read(const struct json_value *v, struct server *ret_server, struct err *err)
{
	struct server s = { .progress = -1, .eta_ms = -1 };
	struct span id;

	if (!json_to_span(json_get(v, "id"), &id) || id.len == 0 || id.len >= sizeof(s.id)) {
		return err_set(err, ERR_INVALID, "server: id: is missing, empty or longer than %zu",
			       sizeof(s.id) - 1);
	}
	if (json_get(v, "phase") == NULL) {
		return err_set(err, ERR_INVALID, "server '%s': phase: is missing", id.ptr);
	}
	int status = members_read(v, server_members, ARRAY_LEN(server_members), &s, err);
	if (status != 0) {
		if (err != NULL) {
			err_prefix(err, "server '%s'", id.ptr);
		}
		return status;
	}
	receipt_read(json_get(v, "receipt"), &s.receipt);
	*ret_server = s;
	return 0;
}

void host_info_read(const struct json_value *v, struct host_info *ret_host)
{
	struct json_iter it = json_iter(json_get(v, "devices"));
	const struct json_value *device;
	struct span key;

	memset(ret_host, 0, sizeof(*ret_host));
	members_read(v, host_members, ARRAY_LEN(host_members), ret_host, NULL);
	while (ret_host->device_count < HOST_DEVICES_MAX && json_next(&it, &key, &device)) {
		members_read(device, device_members, ARRAY_LEN(device_members),
			     &ret_host->devices[ret_host->device_count++], NULL);
	}
}
