/* SPDX-License-Identifier: MIT */
/*
 * What keeps programs of a user running on this machine.
 */
#ifndef OS_SERVICE_H
#define OS_SERVICE_H

enum service_manager {
	SERVICE_NONE,	 /* nothing: a background process has to do */
	SERVICE_SYSTEMD, /* Linux with a systemd user manager that runs now */
	SERVICE_LAUNCHD, /* macOS: LaunchAgents of the login session */
};

enum service_manager service_manager(void);

#endif
