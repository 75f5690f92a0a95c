/* SPDX-License-Identifier: MIT */
/*
 * The registry as it was last read. It is read again on demand, on another thread, since containers
 * write it at any time; a file that is broken or gone leaves the last good one in force, of which a
 * copy is kept in the agent's own state.
 */
#ifndef HOST_CATALOG_H
#define HOST_CATALOG_H

#include "model/registry.h"

struct agent;
struct catalog;

/* Empty until the first read. After each the agent hears agent_on_registry. */
struct catalog *catalog_create(struct agent *a);
/* A read that begins no earlier than now; its ticket. */
uint64_t catalog_reload(struct catalog *c);
const struct registry *catalog_registry(const struct catalog *c);
/* What is wrong with the file, for a person; "" when nothing. */
const char *catalog_error(const struct catalog *c);
void catalog_close(struct catalog *c); /* NULL is fine; frees later */

#endif
