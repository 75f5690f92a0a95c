/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of a UNIX socket. Linux: SO_PEERCRED; macOS: getpeereid, LOCAL_PEERPID.
 */
#ifndef OS_PEER_H
#define OS_PEER_H

#include <sys/types.h>

struct peer {
	uid_t uid;
	pid_t pid; /* 0 when the system does not tell */
};

/* 0 or -errno. */
int peer_of(int fd, struct peer *ret_peer);

#endif
