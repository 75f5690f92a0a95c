/* SPDX-License-Identifier: MIT */
#include "wire/members.h"

#include <math.h>

#include "wire/server.h"

static void member_write(struct json_writer *w, const struct member *m, const void *at)
{
	jsonw_key(w, m->name);
	switch (m->kind) {
	case MEMBER_TEXT:
		jsonw_text(w, at);
		break;
	case MEMBER_SPAN:
		jsonw_span(w, *(const struct span *)at);
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

void members_write(struct json_writer *w, const struct member *rows, size_t count,
		   const void *object)
{
	for (size_t i = 0; i < count; i++) {
		member_write(w, &rows[i], (const char *)object + rows[i].offset);
	}
}

/* Reading: a member that is absent leaves what is there, one of a wrong kind is ERR_INVALID. */

static int whole_read(const struct json_value *v, const struct member *m, void *at)
{
	static const struct {
		int64_t min, max;
	} bounds[] = {
		[MEMBER_INT] = { INT32_MIN, INT32_MAX }, [MEMBER_I64] = { INT64_MIN, INT64_MAX },
		[MEMBER_U16] = { 0, UINT16_MAX },	 [MEMBER_U32] = { 0, UINT32_MAX },
		[MEMBER_U64] = { 0, INT64_MAX },
	};
	int64_t value;

	if (!json_to_i64(v, &value) || value < bounds[m->kind].min || value > bounds[m->kind].max) {
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
	case MEMBER_SPAN:
		return json_to_span(v, at) ? 0 : ERR_INVALID;
	case MEMBER_BOOL:
		return json_to_bool(v, at) ? 0 : ERR_INVALID;
	case MEMBER_PHASE:
		return json_to_span(v, &text) ? server_phase_from_name(text, at) : ERR_INVALID;
	case MEMBER_VERDICT:
		return json_to_span(v, &text) ? receipt_verdict_from_name(text, at) : ERR_INVALID;
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

int members_read(const struct json_value *object, const struct member *rows, size_t count,
		 void *ret_object, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct json_value *v = json_get(object, rows[i].name);

		if (v != NULL &&
		    member_read(v, &rows[i], (char *)ret_object + rows[i].offset) != 0) {
			return err_set(err, ERR_INVALID, "%s: %s is not what belongs there",
				       rows[i].name, json_type_name(json_type(v)));
		}
	}
	return 0;
}
