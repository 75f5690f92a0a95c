/* SPDX-License-Identifier: MIT */
#include "os/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libproc.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/proc_info.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#define PROCESSES_MAX 16384
#define DESCRIPTORS_MAX 65536
#define CONNECT_WAIT_MS 200

static bool is_listener(pid_t pid, const struct proc_fdinfo *fd, uint16_t port)
{
	struct socket_fdinfo info;

	if (fd->proc_fdtype != PROX_FDTYPE_SOCKET ||
	    proc_pidfdinfo(pid, fd->proc_fd, PROC_PIDFDSOCKETINFO, &info, sizeof(info)) !=
		    (int)sizeof(info) ||
	    info.psi.soi_kind != SOCKINFO_TCP) {
		return false;
	}
	const struct tcp_sockinfo *tcp = &info.psi.soi_proto.pri_tcp;

	return tcp->tcpsi_state == TSI_S_LISTEN &&
	       ntohs((uint16_t)tcp->tcpsi_ini.insi_lport) == port;
}

static bool has_listener(pid_t pid, uint16_t port)
{
	int bytes = proc_pidinfo(pid, PROC_PIDLISTFDS, 0, NULL, 0);
	bool found = false;

	if (bytes <= 0 || bytes > (int)(DESCRIPTORS_MAX * sizeof(struct proc_fdinfo))) {
		return false;
	}
	struct proc_fdinfo *fds = mem_alloc((size_t)bytes);

	bytes = proc_pidinfo(pid, PROC_PIDLISTFDS, 0, fds, bytes);
	for (int i = 0; !found && i < bytes / (int)sizeof(*fds); i++) {
		found = is_listener(pid, &fds[i], port);
	}
	free(fds);
	return found;
}

static pid_t find_process(uint16_t port)
{
	pid_t *pids = mem_alloc(PROCESSES_MAX * sizeof(*pids));
	int bytes = proc_listpids(PROC_ALL_PIDS, 0, pids, PROCESSES_MAX * (int)sizeof(*pids));
	pid_t found = 0;

	for (int i = 0; found == 0 && i < bytes / (int)sizeof(*pids); i++) {
		found = pids[i] > 0 && has_listener(pids[i], port) ? pids[i] : 0;
	}
	free(pids);
	return found;
}

/* Whether a connection to the port is taken: the way to notice another user's listener. */
static bool is_answered(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool answered = false;

	if (fd < 0) {
		return false;
	}
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
		answered = true;
	} else if (errno == EINPROGRESS) {
		struct pollfd wait = { .fd = fd, .events = POLLOUT };
		int error = -1;
		socklen_t len = sizeof(error);

		answered = poll(&wait, 1, CONNECT_WAIT_MS) == 1 &&
			   getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
	}
	close(fd);
	return answered;
}

int port_holder_of(uint16_t port, struct port_holder *ret_holder)
{
	struct port_holder holder = { .pid = find_process(port), .name = "?" };

	if (holder.pid == 0 && !is_answered(port)) {
		return -ENOENT;
	}
	if (holder.pid != 0) {
		proc_name_of(holder.pid, holder.name);
	}
	*ret_holder = holder;
	return 0;
}
