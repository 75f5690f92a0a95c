/* SPDX-License-Identifier: MIT */
#include "backend/error_body.h"

#include "base/json.h"
#include "http/sse.h"

#define ERROR_MAX_BYTES 2048

struct words {
	int code;
	const char *openai_code, *anthropic_type;
};

static const struct words words[] = {
	{ ERR_INVALID, NULL, "invalid_request_error" },
	{ ERR_METHOD, NULL, "invalid_request_error" },
	{ ERR_FULL, NULL, "request_too_large" },
	{ ERR_NOT_FOUND, "model_not_found", "not_found_error" },
	{ ERR_UNAUTHENTICATED, "invalid_api_key", "authentication_error" },
	{ ERR_DENIED, NULL, "permission_error" },
	{ ERR_RATE, "rate_limit_exceeded", "rate_limit_error" },
	{ ERR_UNAVAILABLE, NULL, "overloaded_error" },
	{ 0, NULL, "api_error" }, /* all others */
};

static const struct words *words_of(int code)
{
	const struct words *row = words;

	while (row->code != code && row->code != 0) {
		row++;
	}
	return row;
}

void error_body_write(enum dialect dialect, const struct err *why, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	jsonw_object(&w);
	if (dialect == DIALECT_ANTHROPIC) {
		jsonw_member_text(&w, "type", "error");
	}
	jsonw_member_object(&w, "error");
	jsonw_member_text(&w, "message", why->text);
	switch (dialect) {
	case DIALECT_OPENAI:
		jsonw_member_text(&w, "type", err_openai_type(why->code));
		jsonw_member_text(&w, "param", why->code == ERR_NOT_FOUND ? "model" : NULL);
		jsonw_member_text(&w, "code", words_of(why->code)->openai_code);
		break;
	case DIALECT_ANTHROPIC:
		jsonw_member_text(&w, "type", words_of(why->code)->anthropic_type);
		break;
	case DIALECT_LLAMA:
		jsonw_member_text(&w, "type", err_openai_type(why->code));
		jsonw_member_i64(&w, "code", err_http_status(why->code));
		break;
	}
	jsonw_end_all(&w);
}

void error_event_write(enum dialect dialect, const struct err *why, struct buf *out)
{
	struct buf body;

	buf_init(&body, ERROR_MAX_BYTES);
	error_body_write(dialect, why, &body);
	sse_write(out, dialect == DIALECT_ANTHROPIC ? "error" : NULL, buf_span(&body));
	buf_finish(&body);
}
