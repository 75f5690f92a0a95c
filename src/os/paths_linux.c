/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "os/paths.h"

/*
 * $VARIABLE/ronzal, or HOME/FALLBACK/ronzal; relative values do not count (XDG base directories).
 */
static char *xdg(const char *variable, const char *home, const char *fallback)
{
	const char *value = getenv(variable);

	if (value != NULL && value[0] == '/') {
		return fs_join(value, "ronzal");
	}
	return mem_printf("%s/%s/ronzal", home, fallback);
}

/*
 * Sockets do not lie in XDG_RUNTIME_DIR: a login by the restricted key, a cron job and an agent
 * that outlives the session do not have it, and all must find the same place.
 */
void paths_below_home(struct paths *p, const char *home)
{
	p->state = xdg("XDG_STATE_HOME", home, ".local/state");
	p->config = xdg("XDG_CONFIG_HOME", home, ".config");
	p->logs = fs_join(p->state, "logs");
	p->run = fs_join(p->state, "run");
}
