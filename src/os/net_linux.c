/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* getifaddrs */

#include "os/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "base/fs.h"
#include "os/procfs.h"

#define ROUTES_MAX_BYTES 65536

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

int net_default_gateway(char *address, size_t room)
{
	struct buf table;
	uint32_t gateway;
	int status;

	buf_init(&table, ROUTES_MAX_BYTES);
	status = fs_read("/proc/net/route", &table, NULL);
	if (status == 0 && !procfs_read_gateway(buf_span(&table), &gateway)) {
		status = -ENOENT;
	}
	buf_finish(&table);
	if (status == 0 &&
	    inet_ntop(AF_INET, &(struct in_addr){ gateway }, address, (socklen_t)room) == NULL) {
		status = -errno;
	}
	return status;
}
