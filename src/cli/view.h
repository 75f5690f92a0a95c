/* SPDX-License-Identifier: MIT */
/*
 * How servers look in a terminal and as JSON: the table of `ronzal status`, the live rows of
 * `ronzal start`, and the sentences below them.
 */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include "base/buf.h"
#include "wire/server.h"

/* The table, then one sentence and next step for each server that has something to say. */
void view_status(const struct server *servers, size_t count, struct buf *out);
/* {"host":…,"servers":[…]} */
void view_status_json(const struct host_info *host, const struct server *servers, size_t count,
		      struct buf *out);
/* "  qwen3-4b  :8080  ████████  ready   0.11 s   cpu" */
void view_progress_row(const struct server *s, int id_width, struct buf *out);
/* One line for a log or a pipe: "qwen3-4b: ready after 0.11 s, cpu" */
void view_change(const struct server *s, struct buf *out);
/* All there is to know about one server. */
void view_server(const struct server *s, struct buf *out);

#endif
