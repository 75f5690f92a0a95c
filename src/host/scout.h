/* SPDX-License-Identifier: MIT */
/*
 * Asks an installed llama-server what it can do: runs it three times (--version, --help,
 * --list-devices) at once and hands what it printed to engine/probe.
 */
#ifndef HOST_SCOUT_H
#define HOST_SCOUT_H

#include "engine/probe.h"
#include "io/loop.h"

#define SCOUT_MS 30000 /* for all three; loading GPU drivers can take seconds */

struct scout;

/* status 0, or ERR_NO_ENGINE in err; abilities are borrowed until the scout is closed. */
typedef void scout_fn(void *user, const struct engine_abilities *abilities, const struct err *err);

/* path and env are copied by the system before this returns. */
struct scout *scout_start(struct loop *loop, const char *engine_path, const char *const *env,
			  scout_fn *on_end, void *user);
void scout_close(struct scout *s); /* ends what still runs; NULL is fine */

#endif
