/* SPDX-License-Identifier: MIT */
/*
 * The JSON form of struct server, struct receipt and struct host_info; lists and nested structs are
 * the only members that stand outside the tables.
 */
#include "wire/server.h"

#include <stddef.h>

#include "base/mem.h"
#include "wire/members.h"

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
	MEMBER(server, busy_slots, U32),
	MEMBER(server, tokens_per_second, FLOAT),
	MEMBER(server, error_code, CODE),
	MEMBER(server, error, TEXT),
	MEMBER(server, next_step, TEXT),
};

static const struct member receipt_members[] = {
	MEMBER(receipt, verdict, VERDICT),  MEMBER(receipt, wanted, BOOL),
	MEMBER(receipt, engine, TEXT),	    MEMBER(receipt, device, TEXT),
	MEMBER(receipt, device_name, TEXT), MEMBER(receipt, layers_offloaded, INT),
	MEMBER(receipt, layers_total, INT), MEMBER(receipt, device_bytes, U64),
	MEMBER(receipt, host_bytes, U64),   MEMBER(receipt, context_tokens, U32),
	MEMBER(receipt, slots, U32),	    MEMBER(receipt, why, TEXT),
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
	MEMBER(host_info, registry_error, TEXT),
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

int receipt_verdict_from_name(struct span name, enum receipt_verdict *ret_verdict)
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

void server_write_members(struct json_writer *w, const struct server *s)
{
	const struct receipt *r = &s->receipt;

	members_write(w, server_members, ARRAY_LEN(server_members), s);
	jsonw_member_object(w, "receipt");
	members_write(w, receipt_members, ARRAY_LEN(receipt_members), r);
	jsonw_member_array(w, "evidence");
	for (int i = 0; i < r->evidence_count; i++) {
		jsonw_text(w, r->evidence[i]);
	}
	jsonw_end(w);
	jsonw_end(w);
}

void server_write(struct json_writer *w, const struct server *s)
{
	jsonw_object(w);
	server_write_members(w, s);
	jsonw_end(w);
}

void host_info_write_members(struct json_writer *w, const struct host_info *h)
{
	members_write(w, host_members, ARRAY_LEN(host_members), h);
	jsonw_member_array(w, "devices");
	for (int i = 0; i < h->device_count; i++) {
		jsonw_object(w);
		members_write(w, device_members, ARRAY_LEN(device_members), &h->devices[i]);
		jsonw_end(w);
	}
	jsonw_end(w);
}

void host_info_write(struct json_writer *w, const struct host_info *h)
{
	jsonw_object(w);
	host_info_write_members(w, h);
	jsonw_end(w);
}

void receipt_read(const struct json_value *v, struct receipt *ret_receipt)
{
	struct receipt r = { .layers_offloaded = -1, .layers_total = -1 };
	struct json_iter it = json_iter(json_get(v, "evidence"));
	struct span line;

	*ret_receipt = r;
	if (members_read(v, receipt_members, ARRAY_LEN(receipt_members), &r, NULL) != 0) {
		return; /* half a receipt proves nothing */
	}
	while (r.evidence_count < RECEIPT_EVIDENCE_MAX && json_next(&it)) {
		if (json_to_span(it.value, &line)) {
			span_copy(line, r.evidence[r.evidence_count++], RECEIPT_LINE_MAX_BYTES);
		}
	}
	*ret_receipt = r;
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

	memset(ret_host, 0, sizeof(*ret_host));
	members_read(v, host_members, ARRAY_LEN(host_members), ret_host, NULL);
	while (ret_host->device_count < HOST_DEVICES_MAX && json_next(&it)) {
		members_read(it.value, device_members, ARRAY_LEN(device_members),
			     &ret_host->devices[ret_host->device_count++], NULL);
	}
}
