/* SPDX-License-Identifier: MIT */
#include "os/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "os/procfs.h"

#define TEXT_MAX_BYTES 16384
#define CGROUP_ROOT "/sys/fs/cgroup"
#define WARN_BELOW_PERCENT 10 /* of the total still available */
#define CRITICAL_BELOW_PERCENT 4
#define LARGE_BLOCK_BYTES (1 << 20)

/*
 * One number out of CGROUP_ROOT/PATH/FILE, `field` NULL for the whole text; 0 when there is none.
 */
static uint64_t cgroup_number(struct span cgroup, const char *file, const char *field)
{
	char path[FS_PATH_MAX_BYTES];
	struct buf text;
	uint64_t value = 0;

	snprintf(path, sizeof(path), CGROUP_ROOT "%.*s/%s", SPAN_ARG(cgroup), file);
	buf_init(&text, TEXT_MAX_BYTES);
	if (fs_read(path, &text, NULL) == 0) {
		if (field != NULL) {
			procfs_read_field(buf_span(&text), field, &value);
		} else {
			procfs_read_limit(buf_span(&text), &value);
		}
	}
	buf_finish(&text);
	return value;
}

/* Narrows m by the limit of one cgroup; file pages that nobody used lately count as available. */
static void apply_limit(struct span cgroup, struct memory *m)
{
	uint64_t limit = cgroup_number(cgroup, "memory.max", NULL);
	uint64_t used = cgroup_number(cgroup, "memory.current", NULL);
	uint64_t cached = cgroup_number(cgroup, "memory.stat", "inactive_file");

	if (limit == 0) {
		return;
	}
	used = used > cached ? used - cached : 0;
	uint64_t left = limit > used ? limit - used : 0;

	m->total_bytes = limit < m->total_bytes ? limit : m->total_bytes;
	m->available_bytes = left < m->available_bytes ? left : m->available_bytes;
}

/* Our cgroup and all above it: each may have a limit. */
static void apply_cgroups(struct memory *m)
{
	struct buf text;
	struct span path;

	buf_init(&text, TEXT_MAX_BYTES);
	if (fs_read("/proc/self/cgroup", &text, NULL) == 0 &&
	    procfs_read_cgroup(buf_span(&text), &path)) {
		while (path.len > 0) {
			apply_limit(path, m);
			while (path.len > 0 && path.ptr[path.len - 1] != '/') {
				path.len--;
			}
			path.len -= path.len > 0;
		}
		apply_limit(SPAN_LIT(""), m); /* a container's own, mounted as the root */
	}
	buf_finish(&text);
}

int memory_read(struct memory *ret_memory)
{
	struct memory m = { .gpu_wired_limit_bytes = 0 };
	uint64_t total_kib, available_kib;
	struct buf text;
	int status;

	buf_init(&text, TEXT_MAX_BYTES);
	status = fs_read("/proc/meminfo", &text, NULL);
	if (status == 0 && (!procfs_read_field(buf_span(&text), "MemTotal:", &total_kib) ||
			    !procfs_read_field(buf_span(&text), "MemAvailable:", &available_kib))) {
		status = -EPROTO;
	}
	buf_finish(&text);
	if (status != 0) {
		return status;
	}
	m.total_bytes = total_kib * 1024;
	m.available_bytes = available_kib * 1024;
	apply_cgroups(&m);
	uint64_t percent = m.total_bytes > 0 ? m.available_bytes * 100 / m.total_bytes : 0;

	m.pressure = percent < CRITICAL_BELOW_PERCENT ? MEMORY_CRITICAL
		     : percent < WARN_BELOW_PERCENT   ? MEMORY_WARN
						      : MEMORY_NORMAL;
	*ret_memory = m;
	return 0;
}

int memory_forget_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		return -errno;
	}
	fsync(fd); /* what is not yet written cannot be dropped */
	int status = -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);

	close(fd);
	return status;
}

void memory_return_large_blocks(void)
{
#ifdef M_MMAP_THRESHOLD /* other C libraries have no such rising threshold */
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
#endif
}
