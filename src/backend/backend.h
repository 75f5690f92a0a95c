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
	const char *address; /* numeric */
	uint16_t port;
	const char *const *hosts, *const *origins; /* http/server.h */
	const char *local_peer;
	const char *const *model_roots; /* NULL-terminated; the first stands for /models */
	const char *keys_folder, *usage_path, *bench_path;
	struct puller_place downloads;
	const char *base_url; /* the gateway as containers reach it */
	bool keys_always;     /* clients on this machine need a key too */
	size_t body_max_bytes;
	uint32_t queue_max, queue_ms, first_token_ms, cache_ram_mib;
	int conns_max;
};

struct backend;

struct backend *backend_start(struct loop *loop, const struct backend_options *options,
			      struct err *err);
uint16_t backend_port(const struct backend *b);
void backend_leave(struct backend *b, void (*on_end)(void *user), void *user);
void backend_close(struct backend *b); /* NULL is fine; frees later */

#endif
