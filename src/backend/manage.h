/* SPDX-License-Identifier: MIT */
/*
 * The management API (docs/openapi.yaml), routes in one table. Who may: the holder of the
 * management token, and clients on this machine.
 */
#ifndef BACKEND_MANAGE_H
#define BACKEND_MANAGE_H

#include "backend/backend_core.h"

#define MANAGE_BODY_MAX_BYTES 65536
#define MANAGE_REPLY_MAX_BYTES (64u << 20)

/*
 * X(method, path, handler, open to everybody). scripts/lint.sh compares these rows with
 * docs/openapi.yaml.
 */
#define MANAGE_ROUTES(X) \
	X(GET, "/health", health, true) \
	X(GET, "/ready", ready, true) \
	X(GET, "/metrics", metrics, true) \
	X(GET, "/api/models/registry", registry, false) \
	X(POST, "/api/models/rescan", rescan, false) \
	X(POST, "/api/models/pull", pull, false) \
	X(GET, "/api/models/pulls", pulls, false) \
	X(DELETE, "/api/models/pulls/{id}", cancel_pull, false) \
	X(GET, "/api/models/servers", servers, false) \
	X(POST, "/api/models/servers/start-all", order, false) \
	X(POST, "/api/models/servers/stop-all", order, false) \
	X(POST, "/api/models/servers/{id}/start", order, false) \
	X(POST, "/api/models/servers/{id}/stop", order, false) \
	X(POST, "/api/models/servers/{id}/restart", order, false) \
	X(GET, "/api/models/servers/{id}/logs", logs, false) \
	X(DELETE, "/api/models/{id}", remove_model, false) \
	X(PUT, "/api/models/{id}/enabled", set_enabled, false) \
	X(PUT, "/api/models/{id}/port", set_port, false) \
	X(PUT, "/api/models/{id}/runtime-settings", set_settings, false) \
	X(POST, "/api/models/{id}/estimate", estimate, false) \
	X(GET, "/api/models/{id}/history", history, false) \
	X(GET, "/api/events", events, false) \
	X(GET, "/api/host", host, false) \
	X(GET, "/api/requests", requests, false) \
	X(GET, "/api/usage", usage, false) \
	X(GET, "/api/bench", bench, false) \
	X(GET, "/api/keys", keys, false) \
	X(POST, "/api/keys", add_key, false) \
	X(DELETE, "/api/keys/{id}", revoke_key, false)

struct manage;

struct manage *manage_create(struct backend *b);
bool manage_has_path(const char *path);
void manage_handle(struct manage *m, struct exchange *x);
void manage_write_error(const struct err *why, struct buf *out);
void manage_end(struct manage *m);   /* ends all streams */
void manage_close(struct manage *m); /* frees later; NULL is fine */

#endif
