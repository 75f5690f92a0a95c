/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct err_row {
	int code;
	int http_status;
	int exit_code;
	const char *name;
	const char *openai_type;
	const char *sentence;
};

#define ERR_ROW(name, number, http, type, exit_code, text) \
	{ ERR_##name, http, exit_code, #name, type, text },
static const struct err_row rows[] = { ERR_TABLE(ERR_ROW) };
#undef ERR_ROW

static const struct err_row *row_of(int code)
{
	/* Of the system's codes, which have sentences of their own. */
	static const struct err_row other = { 0, 500, 14, "OS_ERROR", "server_error", NULL };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].code == code) {
			return &rows[i];
		}
	}
	return &other;
}

int err_vset(struct err *err, int code, const char *format, va_list args)
{
	if (err != NULL) {
		err->code = code;
		vsnprintf(err->text, sizeof(err->text), format, args);
	}
	return code;
}

int err_set(struct err *err, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_vset(err, code, format, args);
	va_end(args);
	return code;
}

int err_set_os(struct err *err, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_vset(err, code, format, args);
	va_end(args);
	if (err != NULL) {
		size_t len = strlen(err->text);

		snprintf(err->text + len, sizeof(err->text) - len, ": %s", err_sentence(code));
	}
	return code;
}

int err_prefix(struct err *err, const char *format, ...)
{
	char old[ERR_TEXT_MAX_BYTES];
	va_list args;

	if (err == NULL) {
		return ERR_INTERNAL;
	}
	memcpy(old, err->text, sizeof(old));
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	size_t len = strlen(err->text);

	snprintf(err->text + len, sizeof(err->text) - len, ": %s", old);
	return err->code;
}

const char *err_name(int code)
{
	return row_of(code)->name;
}

const char *err_sentence(int code)
{
	const char *sentence = row_of(code)->sentence;

	return sentence != NULL ? sentence : strerror(code < 0 ? -code : code);
}

int err_http_status(int code)
{
	return row_of(code)->http_status;
}

const char *err_openai_type(int code)
{
	return row_of(code)->openai_type;
}

int err_exit_code(int code)
{
	return code != 0 ? row_of(code)->exit_code : 0;
}

int err_from_name(const char *name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(rows[i].name, name) == 0) {
			return rows[i].code;
		}
	}
	return ERR_INTERNAL;
}

void err_ensure_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "ronzal: %s:%d: broken invariant: %s. This is a defect of ronzal.\n", file,
		line, condition);
	abort();
}
