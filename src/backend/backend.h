/* SPDX-License-Identifier: MIT */
/*
 * The backend: fleet, gateway, management API and accounting behind one HTTP server.
 *
 * Leaving (backend_leave): accepts no more, lets what runs go on for drain_ms, ends the rest with
 * an error in each caller's dialect, then calls on_end. Engines are the agent's and stay.
 */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "backend/fleet.h"
#include "backend/gateway.h"
#include "fetch/puller.h"

/* All text is borrowed for the backend's life. */
struct backend_options {
	const char *version;
	struct fleet_options fleet;
	struct gateway_options gateway;	 /* its limits and who needs a key; the rest is ours */
	struct http_server_options http; /* where to listen and who may call; the rest is ours */
	const char *const *model_roots;	 /* NULL-terminated; the first stands for /models */
	const char *keys_folder, *usage_path, *bench_path;
	struct puller_place downloads;
	const char *base_url; /* the gateway as containers reach it */
	uint32_t cache_ram_mib;
};

struct backend;

struct backend *backend_start(struct loop *loop, const struct backend_options *options,
			      struct err *err);
void backend_leave(struct backend *b, void (*on_end)(void *user), void *user);
void backend_close(struct backend *b); /* NULL is fine; frees later */

#endif
