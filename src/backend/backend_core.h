/* SPDX-License-Identifier: MIT */
/*
 * What the backend consists of, for those of its parts that speak of the others: the management
 * API, events and downloads. backend.c makes and ends all of it.
 */
#ifndef BACKEND_BACKEND_CORE_H
#define BACKEND_BACKEND_CORE_H

#include "backend/backend.h"
#include "io/timer.h"

struct backend {
	struct loop *loop;
	struct backend_options options;
	struct keys keys;
	struct fleet *fleet;
	struct metrics *metrics;
	struct usage *usage;
	struct events *events;
	struct pulls *pulls;
	struct gateway *gateway;
	struct manage *manage;
	struct http_server *server;
	struct account_sink sink;
	struct fleet_listener starts; /* tells usage of each server's change */
	struct timer leaving;
	uint64_t leave_by_ms;
	void (*on_end)(void *user);
	void *user;
};

#endif
