/* SPDX-License-Identifier: MIT */
/*
 * The machine's memory. Linux: /proc/meminfo and the cgroup's limit (a container sees its own);
 * macOS: host_statistics64, hw.memsize, iogpu.wired_limit_mb, kern.memorystatus_vm_pressure_level.
 */
#ifndef OS_MEMORY_H
#define OS_MEMORY_H

#include <stdint.h>

enum memory_pressure { MEMORY_NORMAL, MEMORY_WARN, MEMORY_CRITICAL };

struct memory {
	uint64_t total_bytes;
	uint64_t available_bytes;	/* without swapping */
	uint64_t gpu_wired_limit_bytes; /* what a GPU may wire of unified memory; 0: no limit */
	enum memory_pressure pressure;
};

/* 0 or -errno. */
int memory_read(struct memory *ret_memory);

/*
 * Drops what the system keeps of a file, so that it is read from the disk next time; what is
 * mapped somewhere stays. 0 or -errno: -ENOTSUP where the system has no such call (macOS).
 */
int memory_forget_file(const char *path);

/*
 * Has large blocks go back to the system as soon as they are freed, for the rest of the process.
 * glibc: by a fixed mmap threshold, which otherwise rises to the largest block ever freed, up to
 * 32 MiB. macOS: its allocator does so by itself, and nothing is done.
 */
void memory_return_large_blocks(void);

#endif
