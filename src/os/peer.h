/* SPDX-License-Identifier: MIT */
/*
 * The other end of a socket. Who that is, for UNIX sockets: SO_PEERCRED on Linux, getpeereid and
 * LOCAL_PEERPID on macOS. What it has not taken yet: SIOCOUTQ, SO_NWRITE.
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

/* Bytes that the system holds for it; 0 when it does not tell. */
size_t peer_untaken(int fd);

#endif
