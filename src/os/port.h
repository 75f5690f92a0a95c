/* SPDX-License-Identifier: MIT */
/*
 * Who listens on a TCP port of this machine. Linux: /proc/net/tcp{,6} and the descriptors in /proc;
 * macOS: libproc. Other users' descriptors are seen by root only.
 */
#ifndef OS_PORT_H
#define OS_PORT_H

#include "os/proc.h"

struct port_holder {
	pid_t pid;			/* 0 when somebody listens but the owner cannot be seen */
	char name[PROC_NAME_MAX_BYTES]; /* "?" then */
};

/* 0 and the holder; -ENOENT when nobody listens on that port on any address. */
int port_holder_of(uint16_t port, struct port_holder *ret_holder);

#endif
