/* SPDX-License-Identifier: MIT */
/*
 * The registry as it was last read. It is read again on demand, on another thread, since containers
 * write it at any time; a file that is broken or gone leaves the last good one in force, of which a
 * copy is kept in the agent's own state.
 */
#ifndef HOST_CATALOG_H
#define HOST_CATALOG_H

#include "io/loop.h"
#include "model/registry.h"

struct catalog;

struct catalog_options {
	const char *path;      /* model_registry.json */
	const char *copy_path; /* the last good one; only ours to write */
	uint16_t port_min, port_max;
	/*
	 * The read with that ticket, and all before it, is done. The former registry is freed after
	 * this returns: point to the new one.
	 */
	void (*on_read)(void *user, uint64_t ticket);
	void *user;
};

/* Empty until the first read. */
struct catalog *catalog_create(struct loop *loop, const struct catalog_options *options);
/* A read that begins no earlier than now; its ticket. */
uint64_t catalog_reload(struct catalog *c);
const struct registry *catalog_registry(const struct catalog *c);
/* What is wrong with the file, for a person; "" when nothing. */
const char *catalog_error(const struct catalog *c);
void catalog_close(struct catalog *c); /* NULL is fine; frees later */

#endif
