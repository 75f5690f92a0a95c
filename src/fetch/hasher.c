/* SPDX-License-Identifier: MIT */
/*
 * One socket pair: our end closed for writing says that the file is whole, the hash comes back.
 */
#include "fetch/hasher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/proc.h"

#define CHUNK_BYTES (256u << 10)
#define LOOK_MS 20 /* at the end of what there is, for more */
#define NICE 10

struct hasher {
	pid_t pid;
	int fd;
};

struct answer {
	int status;
	char hex[DIGEST_HEX_BYTES];
};

/* The child's life. */
static void follow(int file, int parent)
{
	struct digest *d = digest_create();
	char *chunk = mem_alloc(CHUNK_BYTES);
	struct pollfd p = { .fd = parent, .events = POLLIN };
	struct answer a = { 0 };
	off_t at = 0;
	ssize_t got;

	for (bool is_whole = false;;) {
		got = pread(file, chunk, CHUNK_BYTES, at);
		if (got > 0) {
			digest_add(d, chunk, (size_t)got);
			at += got;
		} else if (got < 0 || is_whole) {
			break;
		} else {
			is_whole = poll(&p, 1, LOOK_MS) > 0; /* then once more to the end */
		}
	}
	a.status = got < 0 ? -errno : 0;
	digest_hex(d, a.hex);
	send(parent, &a, sizeof(a), 0);
}

struct hasher *hasher_start(int fd, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
		err_set_os(err, -errno, "starting a process for the checksum");
		return NULL;
	}
	pid_t pid = fork();

	if (pid == 0) {
		proc_die_with_parent();
		close(pair[0]);
		close(STDOUT_FILENO); /* its end is the end of the download */
		setpriority(PRIO_PROCESS, 0, NICE);
		follow(fd, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	if (pid < 0) {
		err_set_os(err, -errno, "starting a process for the checksum");
		close(pair[0]);
		return NULL;
	}
	struct hasher *h = mem_alloc(sizeof(*h));

	*h = (struct hasher){ pid, pair[0] };
	return h;
}

int hasher_finish(struct hasher *h, char ret_hex[DIGEST_HEX_BYTES], struct err *err)
{
	struct answer a = { .status = -EPIPE };

	shutdown(h->fd, SHUT_WR);
	if (recv(h->fd, &a, sizeof(a), MSG_WAITALL) == sizeof(a) && a.status == 0) {
		memcpy(ret_hex, a.hex, sizeof(a.hex));
	}
	hasher_abandon(h);
	return a.status == 0 ? 0 : err_set_os(err, a.status, "reading back what was downloaded");
}

void hasher_abandon(struct hasher *h)
{
	if (h != NULL) {
		close(h->fd);
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
		free(h);
	}
}
