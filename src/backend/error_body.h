/* SPDX-License-Identifier: MIT */
/*
 * Errors as the caller's API words them, so that its client libraries understand. Pure.
 */
#ifndef BACKEND_ERROR_BODY_H
#define BACKEND_ERROR_BODY_H

#include "base/buf.h"
#include "base/err.h"

enum dialect { DIALECT_OPENAI, DIALECT_ANTHROPIC, DIALECT_LLAMA };

/* One JSON object. */
void error_body_write(enum dialect dialect, const struct err *why, struct buf *out);
/* The same as the last event of a stream that broke off. */
void error_event_write(enum dialect dialect, const struct err *why, struct buf *out);

#endif
