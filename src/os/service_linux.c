/* SPDX-License-Identifier: MIT */
#include "os/service.h"

#include <stdio.h>
#include <unistd.h>

/* The user manager's own socket; its place does not depend on the environment of this login. */
enum service_manager service_manager(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/run/user/%ld/systemd/private", (long)getuid());
	return access(path, F_OK) == 0 ? SERVICE_SYSTEMD : SERVICE_NONE;
}

bool service_has_session(void)
{
	return service_manager() == SERVICE_SYSTEMD;
}
