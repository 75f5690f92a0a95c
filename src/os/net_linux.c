/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* getifaddrs */

#include "os/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

int net_docker_bridge(char *address, size_t room)
{
	struct ifaddrs *all = NULL;
	int status = -ENOENT;

	if (getifaddrs(&all) != 0) {
		return -errno;
	}
	for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET &&
		    strcmp(i->ifa_name, "docker0") == 0) {
			const struct sockaddr_in *in = (const void *)i->ifa_addr;

			if (inet_ntop(AF_INET, &in->sin_addr, address, (socklen_t)room) != NULL) {
				status = 0;
			}
		}
	}
	freeifaddrs(all);
	return status;
}
