/* SPDX-License-Identifier: MIT */
/*
 * Where a user's files belong. With RONZAL_HOME set all four lie under it ("state", "run", "logs",
 * "config"). Else Linux: XDG_STATE_HOME, XDG_RUNTIME_DIR, XDG_CONFIG_HOME; macOS:
 * ~/Library/Application Support/ronzal, ~/Library/Logs/ronzal.
 */
#ifndef OS_PATHS_H
#define OS_PATHS_H

#include "base/err.h"

#define PATHS_SOCKET_MAX_BYTES 103 /* sun_path on macOS, without the terminator */

struct paths {
	char *state;  /* registry by default, last good copies, history, secrets */
	char *run;    /* sockets, locks; short enough for a socket of <= 24 characters in it */
	char *logs;   /* agent.log, MODEL.log */
	char *config; /* host.conf */
};

/* Fills all four and makes the folders, 0700. Errors name the folder and the variable to set. */
int paths_init(struct paths *p, struct err *err);
void paths_finish(struct paths *p);

#endif
