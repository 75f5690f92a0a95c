/* SPDX-License-Identifier: MIT */
/*
 * Where a user's files belong. With RONZAL_HOME (an absolute path) set all four lie under it
 * ("state", "run", "logs", "config"). Else Linux: XDG_STATE_HOME, XDG_CONFIG_HOME;
 * macOS: ~/Library/Application Support/ronzal, ~/Library/Logs/ronzal.
 */
#ifndef OS_PATHS_H
#define OS_PATHS_H

#include "base/err.h"

#define PATHS_SOCKET_MAX_BYTES 103     /* sun_path on macOS, without the terminator */
#define PATHS_SOCKET_NAME_MAX_BYTES 24 /* of a socket in `run` */

struct paths {
	char *state;  /* registry by default, last good copies, history, secrets */
	char *run;    /* sockets, locks; short enough for a socket of <= 24 characters in it */
	char *logs;   /* agent.log, MODEL.log */
	char *config; /* host.conf */
};

/*
 * Fills all four and makes the folders, 0700. A folder that is there must belong to us or root; one
 * of ours is narrowed to 0700. Errors name the folder and the variable to set; p is empty then.
 */
int paths_init(struct paths *p, struct err *err);
void paths_finish(struct paths *p);

/* The platform's half of paths_init: where the four lie for a user whose home folder is `home`. */
void paths_below_home(struct paths *p, const char *home);

#endif
