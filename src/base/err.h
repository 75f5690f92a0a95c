/* SPDX-License-Identifier: MIT */
/*
 * Errors: a code that programs branch on and a sentence that a person reads.
 *
 * Codes are 0 or negative. System and libuv codes are passed as they are (-errno); ours lie below
 * -10000 and each is one row of ERR_TABLE: name, HTTP status, OpenAI error type, exit code of the
 * command line, default sentence. A `struct err *` comes last in a parameter list, may be NULL, and
 * is untouched on success.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#define ERR_TEXT_MAX_BYTES 768

/* X(name, number, http status, openai type, exit code, sentence) */
#define ERR_TABLE(X) \
	X(INVALID, 1, 400, "invalid_request_error", 2, "the input is not valid") \
	X(FULL, 2, 413, "invalid_request_error", 2, "a limit is reached") \
	X(NOT_FOUND, 3, 404, "invalid_request_error", 3, "not found") \
	X(DENIED, 4, 403, "permission_error", 4, "not allowed") \
	X(UNAUTHENTICATED, 5, 401, "authentication_error", 4, "the key is missing or wrong") \
	X(BUSY, 6, 409, "conflict_error", 5, "somebody else is at it") \
	X(UNAVAILABLE, 7, 503, "server_error", 6, "not available at the moment") \
	X(TIMEOUT, 8, 504, "server_error", 7, "it took too long") \
	X(PROTOCOL, 9, 502, "server_error", 8, "the other side does not follow the protocol") \
	X(CLOSED, 10, 502, "server_error", 8, "the other side closed the connection") \
	X(CANCELED, 11, 499, "server_error", 130, "canceled") \
	X(NO_MEMORY, 12, 507, "insufficient_memory", 9, "it does not fit the memory") \
	X(NO_AGENT, 13, 503, "server_error", 10, "the agent is not running") \
	X(NO_ENGINE, 14, 503, "server_error", 11, "llama-server is not usable") \
	X(ENGINE_FAILED, 15, 502, "server_error", 12, "llama-server failed") \
	X(VERSION, 16, 502, "server_error", 13, "the two sides do not speak the same version") \
	X(IO, 17, 500, "server_error", 14, "the system reported an error") \
	X(RATE, 18, 429, "rate_limit_error", 6, "too many requests wait already") \
	X(METHOD, 19, 405, "invalid_request_error", 2, "this method is not offered here") \
	X(INTERNAL, 20, 500, "server_error", 70, "an internal error") \
	X(UNHEALTHY, 21, 500, "server_error", 1, "doctor found something that needs mending") \
	X(TOO_LONG, 22, 414, "invalid_request_error", 2, "the address is too long")

#define ERR_BASE (-10000)
#define ERR_ENUM(name, number, http, type, exit_code, text) ERR_##name = ERR_BASE - (number),
enum err_code { ERR_TABLE(ERR_ENUM) };
#undef ERR_ENUM

struct err {
	int code;
	char text[ERR_TEXT_MAX_BYTES];
};

/* Sets code and sentence; returns code, so that `return err_set(err, ERR_INVALID, "...")` works. */
int err_set(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int err_vset(struct err *err, int code, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* err_set with ": " and the system's words for `code` (-errno or a libuv code) appended. */
int err_set_os(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "what: " before the sentence that is there. Returns err->code. */
int err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *err_name(int code);	       /* "NOT_FOUND"; for a system code "OS_ERROR" */
const char *err_sentence(int code);    /* the table's sentence, or strerror */
int err_http_status(int code);	       /* 500 for a system code */
const char *err_openai_type(int code); /* "server_error" for a system code */
int err_exit_code(int code);	       /* 0 for 0; 14 for a system code */
int err_from_name(const char *name);   /* inverse of err_name; ERR_INTERNAL when unknown */

/* Invariants, on in every build. Never for input, the network or a child. */
#define ENSURE(condition) \
	((condition) ? (void)0 : err_ensure_failed(#condition, __FILE__, __LINE__))
_Noreturn void err_ensure_failed(const char *condition, const char *file, int line);

#endif
