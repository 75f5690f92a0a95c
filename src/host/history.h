/* SPDX-License-Identifier: MIT */
/*
 * How long the last loads of one model took, which tells how long the next one may take. Pure; the
 * agent keeps all of them in one file.
 */
#ifndef HOST_HISTORY_H
#define HOST_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

#define HISTORY_LOADS_MAX 5

struct history {
	uint32_t loads_ms[HISTORY_LOADS_MAX]; /* that came to an end; the oldest first */
	size_t count;
};

void history_add(struct history *h, uint32_t load_ms); /* the oldest makes room */

/* The median; 0: there was no load. */
uint32_t history_expected_load_ms(const struct history *h);

/* Whether a load was much slower than those before it; then err says so, with both times. */
bool history_is_slow(const struct history *h, uint32_t load_ms, struct err *err);

void history_write(struct json_writer *w, const struct history *h);	    /* one array */
void history_read(const struct json_value *v, struct history *ret_history); /* bad ones: left out */

#endif
