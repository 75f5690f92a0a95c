/* SPDX-License-Identifier: MIT */
/*
 * Downloads that the page asked for, by the machine that runs the engines: this one, or the host
 * whose agent is asked now and then how they are. A model that has come is put into the registry,
 * enabled. Ended ones stay until somebody takes them off the list.
 */
#ifndef BACKEND_PULLS_H
#define BACKEND_PULLS_H

#include "backend/backend_core.h"
#include "fetch/desk.h"

#define PULLS_MAX DESK_MAX

struct pulls;

struct pulls *pulls_create(const struct backend *b);
void pulls_close(struct pulls *p); /* ends what runs here; frees later; NULL is fine */

/*
 * ORG/REPO or ORG/REPO:NAME. A former download of the same that has ended is replaced.
 * ERR_INVALID; ERR_BUSY when it runs already, or too many do.
 */
int pulls_start(struct pulls *p, const char *source, const struct pull **ret_pull, struct err *err);
/* Cancels it or takes it off the list: 0 or ERR_NOT_FOUND. */
int pulls_drop(struct pulls *p, const char *id, struct err *err);
/* {"pulls":[...]}, oldest first; left open for more members. */
void pulls_write(const struct pulls *p, struct json_writer *w);

#endif
