/* SPDX-License-Identifier: MIT */
/*
 * The last starts of one model: what became of each. It tells how long the next load may take, and
 * a person what happened before. Pure; the agent keeps all of them in one file.
 */
#ifndef HOST_HISTORY_H
#define HOST_HISTORY_H

#include "base/json.h"
#include "wire/server.h"

#define HISTORY_STARTS_MAX 50
#define HISTORY_EXIT_NONE INT32_MIN /* it has not ended */

struct history_start {
	int64_t unix_ms;  /* of the spawn */
	uint32_t load_ms; /* 0: it never became ready */
	int32_t exit;	  /* exit code, -signal, or HISTORY_EXIT_NONE */
	enum receipt_verdict verdict;
};

struct history {
	struct history_start starts[HISTORY_STARTS_MAX]; /* the oldest first */
	size_t count;
};

/* A start begins; its fields are filled in as they become known. Borrowed until the next one. */
struct history_start *history_begin(struct history *h, int64_t unix_ms);
struct history_start *history_last(struct history *h); /* NULL: there is none */

/* Median of the last five loads that came to an end; 0: there was none. */
uint32_t history_expected_load_ms(const struct history *h);

/* Whether a load was much slower than those before it; then err says so, with both times. */
bool history_is_slow(const struct history *h, uint32_t load_ms, struct err *err);

void history_write(struct json_writer *w, const struct history *h);	    /* one array */
void history_read(const struct json_value *v, struct history *ret_history); /* bad ones: left out */

#endif
