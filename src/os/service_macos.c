/* SPDX-License-Identifier: MIT */
#include "os/service.h"

#include <sys/stat.h>
#include <unistd.h>

enum service_manager service_manager(void)
{
	return SERVICE_LAUNCHD;
}

/* The console belongs to who is logged in at the screen, to root at the login window. */
bool service_has_session(void)
{
	struct stat st;

	return stat("/dev/console", &st) == 0 && st.st_uid == getuid();
}
