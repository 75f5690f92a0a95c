/* SPDX-License-Identifier: MIT */
/*
 * The address at which containers of this machine's Docker engine reach the machine itself. Linux:
 * the IPv4 address of docker0, which `host-gateway` stands for. macOS: none is needed, Docker
 * Desktop forwards host.docker.internal to 127.0.0.1.
 */
#ifndef OS_NET_H
#define OS_NET_H

#include <stddef.h>

/* 0 and a numeric address; -ENOENT when there is none (or none is needed). */
int net_docker_bridge(char *address, size_t room);

/*
 * Inside a container: the address of its default gateway, from which connections come that were
 * made to a port published on the host. 0 and a numeric IPv4 address; -ENOENT when there is none.
 */
int net_default_gateway(char *address, size_t room);

#endif
