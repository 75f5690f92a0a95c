/* SPDX-License-Identifier: MIT */
/*
 * What keeps programs of a user running on this machine.
 */
#ifndef OS_SERVICE_H
#define OS_SERVICE_H

#include <stdbool.h>

enum service_manager {
	SERVICE_NONE,	 /* nothing: a background process has to do */
	SERVICE_SYSTEMD, /* Linux with a systemd user manager that runs now */
	SERVICE_LAUNCHD, /* macOS: LaunchAgents of the login session */
};

enum service_manager service_manager(void);

/*
 * Whether it can start something for this user now. macOS: the user is logged in at the screen,
 * where Metal is; a login by ssh alone has no such session.
 */
bool service_has_session(void);

#endif
