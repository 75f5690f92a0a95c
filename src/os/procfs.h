/* SPDX-License-Identifier: MIT */
/*
 * Readers of the texts of Linux' /proc and cgroup v2. Pure; every one answers false, and leaves its
 * result alone, when the text is not what it should be.
 */
#ifndef OS_PROCFS_H
#define OS_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "os/proc.h"

struct procfs_stat {
	char name[PROC_NAME_MAX_BYTES]; /* the program's, may hold spaces and brackets */
	char state;			/* 'R', 'S', 'T', 'Z', ... */
	uint64_t start_ticks;		/* since boot */
	uint64_t cpu_ticks;		/* user and system */
};

/* /proc/PID/stat */
bool procfs_read_stat(struct span text, struct procfs_stat *ret_stat);

/* /proc/PID/statm: resident pages. */
bool procfs_read_resident(struct span text, uint64_t *ret_pages);

/* /proc/net/tcp, tcp6: the inode of the first socket that listens on the port. */
bool procfs_find_listener(struct span text, uint16_t port, uint64_t *ret_inode);

/* /proc/self/cgroup: the path of the unified hierarchy ("0::/user.slice"); borrowed. */
bool procfs_read_cgroup(struct span text, struct span *ret_path);

/* memory.max, memory.current: one number; false for "max". */
bool procfs_read_limit(struct span text, uint64_t *ret_bytes);

/* memory.stat: "inactive_file 4096"; /proc/meminfo: "MemTotal:  16384 kB" (16384). */
bool procfs_read_field(struct span text, const char *name, uint64_t *ret_value);

/*
 * /proc/net/route: the gateway of the first default route, in network byte order as it stands
 * there.
 */
bool procfs_read_gateway(struct span text, uint32_t *ret_address);

#endif
