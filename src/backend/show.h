/* SPDX-License-Identifier: MIT */
/* The JSON forms of docs/openapi.yaml that more than one route or event says; an object each. */
#ifndef BACKEND_SHOW_H
#define BACKEND_SHOW_H

#include <math.h>

#include "backend/backend_core.h"

void show_server(struct json_writer *w, const struct fleet_model *m);
void show_host(struct json_writer *w, const struct backend *b);
/*
 * The members error_key and "next_step": a sentence, and behind a newline in it what to do; both
 * empty when its code is 0.
 */
void show_error(struct json_writer *w, const char *error_key, const struct err *why);
/* A member whose value is known if it is above 0, else null. */
static inline void show_positive(struct json_writer *w, const char *key, double value, int decimals)
{
	jsonw_member_double(w, key, value > 0 ? value : (double)NAN, decimals);
}

#endif
