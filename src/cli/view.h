/* SPDX-License-Identifier: MIT */
/*
 * How servers look in a terminal and as JSON: the table of `ronzal status`, the live rows of
 * `ronzal start`, and the sentences below them.
 */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include "cli/visit.h"

/* The table, then one sentence and next step for each server that has something to say. */
void view_status(const struct visit *s, struct buf *out);
void view_status_json(const struct visit *s, struct buf *out); /* {"host":…,"servers":[…]} */
/* All there is to know about one server. */
void view_server(const struct server *s, struct buf *out);

/*
 * visit_ask, with one row for each model that the request names: redrawn on a terminal, elsewhere a
 * line for each change. Failures are printed then, with their next steps; err has no text in that
 * case.
 */
int view_ask(struct visit *s, const struct wire_request *request, struct err *err);

#endif
