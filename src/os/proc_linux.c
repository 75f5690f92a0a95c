/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* syscall */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "os/procfs.h"

#define STAT_MAX_BYTES 2048
#define BOOT_ID_MAX_BYTES 64
#define TICK_BITS 40 /* 348 years at 100 Hz; the bits above tell one boot from another */
#define REPLACED_SUFFIX " (deleted)"

/* Reads /proc/PID/NAME into `out`. 0 or -errno. */
static int read_proc_file(pid_t pid, const char *name, struct buf *out)
{
	char path[64];
	int status;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	status = fs_read(path, out, NULL);
	return status == -ENOENT ? -ESRCH : status;
}

/* Bits of this boot's random id, in place above the ticks; 0 where there is no such id. */
static uint64_t boot_bits(void)
{
	struct buf text;
	uint64_t hash = 0;

	buf_init(&text, BOOT_ID_MAX_BYTES);
	if (fs_read("/proc/sys/kernel/random/boot_id", &text, NULL) == 0) {
		for (size_t i = 0; i < text.len; i++) {
			hash = hash * 31 + (unsigned char)text.data[i];
		}
	}
	buf_finish(&text);
	return hash << TICK_BITS;
}

/* Zombies have a stat too. */
static int read_stat(pid_t pid, struct procfs_stat *ret_stat)
{
	struct buf text;
	int status;

	buf_init(&text, STAT_MAX_BYTES);
	status = pid > 0 ? read_proc_file(pid, "stat", &text) : -ESRCH;
	if (status == 0 && !procfs_read_stat(buf_span(&text), ret_stat)) {
		status = -EPROTO;
	}
	buf_finish(&text);
	return status;
}

static uint64_t started_of(const struct procfs_stat *stat)
{
	return stat->start_ticks ^ boot_bits();
}

int proc_identify(pid_t pid, struct proc *ret_proc)
{
	struct procfs_stat stat;
	int status = read_stat(pid, &stat);

	if (status != 0) {
		return status;
	}
	if (stat.state == 'Z' || stat.state == 'X') {
		return -ESRCH;
	}
	*ret_proc = (struct proc){ .pid = pid, .started = started_of(&stat) };
	return 0;
}

int proc_watch(struct proc p)
{
	int fd = (int)syscall(SYS_pidfd_open, p.pid, 0);
	int status = fd < 0 ? -errno : 0;

	if (status == 0 && !proc_is_alive(p)) {
		close(fd);
		status = -ESRCH;
	}
	return status == 0 ? fd : status;
}

int proc_signal(struct proc p, int signum)
{
	int fd = proc_watch(p); /* holds the process, so that its pid cannot change hands */

	if (fd >= 0) {
		long sent = syscall(SYS_pidfd_send_signal, fd, signum, NULL, 0);
		int status = sent == 0 ? 0 : -errno;

		close(fd);
		return status;
	}
	if (!proc_is_alive(p)) {
		return -ESRCH;
	}
	return kill(p.pid, signum) == 0 ? 0 : -errno; /* a kernel without pidfd */
}

int proc_signal_group(struct proc p, int signum)
{
	struct procfs_stat stat;

	if (p.pid <= 1 || (read_stat(p.pid, &stat) == 0 && started_of(&stat) != p.started)) {
		return -ESRCH;
	}
	return kill(-p.pid, signum) == 0 ? 0 : -errno;
}

int proc_usage(pid_t pid, struct proc_usage *ret_usage)
{
	struct procfs_stat stat;
	struct buf text;
	uint64_t pages;
	int status;

	buf_init(&text, STAT_MAX_BYTES);
	status = read_proc_file(pid, "statm", &text);
	if (status == 0 && !procfs_read_resident(buf_span(&text), &pages)) {
		status = -EPROTO;
	}
	if (status == 0) {
		status = read_stat(pid, &stat);
	}
	if (status == 0) {
		ret_usage->memory_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
		ret_usage->cpu_ms = stat.cpu_ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
	}
	buf_finish(&text);
	return status;
}

void proc_name_of(pid_t pid, char name[PROC_NAME_MAX_BYTES])
{
	struct procfs_stat stat;
	bool is_known = read_stat(pid, &stat) == 0 && stat.name[0] != '\0';

	snprintf(name, PROC_NAME_MAX_BYTES, "%s", is_known ? stat.name : "?");
}

void proc_die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int proc_self_path(char *path, size_t room)
{
	ssize_t len = readlink("/proc/self/exe", path, room);

	if (len < 0) {
		return -errno;
	}
	if ((size_t)len >= room) {
		return -ENAMETOOLONG;
	}
	struct span whole = { path, (size_t)len };

	if (span_has_suffix(whole, REPLACED_SUFFIX)) {
		whole.len -= sizeof(REPLACED_SUFFIX) - 1;
	}
	path[whole.len] = '\0';
	return 0;
}
