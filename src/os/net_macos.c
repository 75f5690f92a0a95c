/* SPDX-License-Identifier: MIT */
#include "os/net.h"

#include <errno.h>

int net_docker_bridge(char *address, size_t room)
{
	(void)address;
	(void)room;
	return -ENOENT;
}

int net_default_gateway(char *address, size_t room)
{
	(void)address;
	(void)room;
	return -ENOENT; /* containers run Linux */
}
