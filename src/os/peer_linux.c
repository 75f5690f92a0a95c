/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* struct ucred */
#include "os/peer.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int peer_of(int fd, struct peer *ret_peer)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
		return -errno;
	}
	if (who.uid == (uid_t)-1) {
		return -ENOTCONN; /* not a UNIX socket */
	}
	*ret_peer = (struct peer){ .uid = who.uid, .pid = who.pid };
	return 0;
}

size_t peer_untaken(int fd)
{
	int bytes = 0;

	return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}
