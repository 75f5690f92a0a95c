/* SPDX-License-Identifier: MIT */
#include "os/port.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "os/procfs.h"

#define TCP_TABLE_MAX_BYTES (16u << 20) /* 100,000 connections */
#define FD_LINK_MAX_BYTES 64

static int find_inode(const char *table, uint16_t port, uint64_t *ret_inode)
{
	struct buf text;
	int status;

	buf_init(&text, TCP_TABLE_MAX_BYTES);
	status = fs_read(table, &text, NULL);
	if (status == 0 && !procfs_find_listener(buf_span(&text), port, ret_inode)) {
		status = -ENOENT;
	}
	buf_finish(&text);
	return status;
}

/* Whether one of the process's descriptors is the socket "socket:[INODE]". */
static bool has_socket(const char *pid, const char *socket)
{
	char path[64], target[FD_LINK_MAX_BYTES];
	struct dirent *entry;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	DIR *folder = opendir(path);

	if (folder == NULL) {
		return false;
	}
	while (!found && (entry = readdir(folder)) != NULL) {
		ssize_t len = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target));

		found = len > 0 && span_is((struct span){ target, (size_t)len }, socket);
	}
	closedir(folder);
	return found;
}

static pid_t find_process(uint64_t inode)
{
	char socket[FD_LINK_MAX_BYTES];
	struct dirent *entry;
	uint64_t pid = 0;
	bool found = false;
	DIR *folder = opendir("/proc");

	snprintf(socket, sizeof(socket), "socket:[%llu]", (unsigned long long)inode);
	while (folder != NULL && !found && (entry = readdir(folder)) != NULL) {
		found = span_to_u64(span_of(entry->d_name), INT32_MAX, &pid) == 0 &&
			has_socket(entry->d_name, socket);
	}
	if (folder != NULL) {
		closedir(folder);
	}
	return found ? (pid_t)pid : 0;
}

int port_holder_of(uint16_t port, struct port_holder *ret_holder)
{
	struct port_holder holder;
	uint64_t inode;
	int status = find_inode("/proc/net/tcp", port, &inode);

	if (status == -ENOENT) {
		status = find_inode("/proc/net/tcp6", port, &inode);
	}
	if (status != 0) {
		return status;
	}
	holder.pid = find_process(inode);
	proc_name_of(holder.pid, holder.name);
	*ret_holder = holder;
	return 0;
}
