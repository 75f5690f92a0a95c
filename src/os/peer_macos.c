/* SPDX-License-Identifier: MIT */
#include "os/peer.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int peer_of(int fd, struct peer *ret_peer)
{
	struct peer peer = { .pid = 0 };
	gid_t gid;
	pid_t pid;
	socklen_t len = sizeof(pid);

	if (getpeereid(fd, &peer.uid, &gid) != 0) {
		return -errno;
	}
	if (getsockopt(fd, SOL_LOCAL, LOCAL_PEERPID, &pid, &len) == 0) {
		peer.pid = pid;
	}
	*ret_peer = peer;
	return 0;
}

size_t peer_untaken(int fd)
{
	int bytes = 0;
	socklen_t len = sizeof(bytes);

	return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &len) == 0 && bytes > 0 ? (size_t)bytes
										     : 0;
}
