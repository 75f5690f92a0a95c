/* SPDX-License-Identifier: MIT */
#include "backend/error_body.h"

#include "base/json.h"
#include "http/sse.h"

#define ERROR_MAX_BYTES 2048

/* X(code, OpenAI's code, Anthropic's type); all others: null, "api_error" */
#define WORDS_TABLE(X) \
	X(ERR_INVALID, NULL, "invalid_request_error") \
	X(ERR_METHOD, NULL, "invalid_request_error") \
	X(ERR_FULL, NULL, "request_too_large") \
	X(ERR_NOT_FOUND, "model_not_found", "not_found_error") \
	X(ERR_UNAUTHENTICATED, "invalid_api_key", "authentication_error") \
	X(ERR_DENIED, NULL, "permission_error") \
	X(ERR_RATE, "rate_limit_exceeded", "rate_limit_error") \
	X(ERR_UNAVAILABLE, NULL, "overloaded_error")

static const char *openai_code(int code)
{
#define CODE(row, openai, anthropic) \
	if (code == (row)) { \
		return openai; \
	}
	WORDS_TABLE(CODE)
#undef CODE
	return NULL;
}

static const char *anthropic_type(int code)
{
#define TYPE(row, openai, anthropic) \
	if (code == (row)) { \
		return anthropic; \
	}
	WORDS_TABLE(TYPE)
#undef TYPE
	return "api_error";
}

void error_body_write(enum dialect dialect, const struct err *why, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	jsonw_object(&w);
	if (dialect == DIALECT_ANTHROPIC) {
		jsonw_member_text(&w, "type", "error");
	}
	jsonw_key(&w, "error");
	jsonw_object(&w);
	jsonw_member_text(&w, "message", why->text);
	switch (dialect) {
	case DIALECT_OPENAI:
		jsonw_member_text(&w, "type", err_openai_type(why->code));
		jsonw_member_text(&w, "param", why->code == ERR_NOT_FOUND ? "model" : NULL);
		jsonw_member_text(&w, "code", openai_code(why->code));
		break;
	case DIALECT_ANTHROPIC:
		jsonw_member_text(&w, "type", anthropic_type(why->code));
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
