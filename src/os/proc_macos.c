/* SPDX-License-Identifier: MIT */
#include "os/proc.h"

#include <errno.h>
#include <libproc.h>
#include <mach-o/dyld.h>
#include <mach/mach_time.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/proc.h>
#include <sys/proc_info.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fs.h"
#include "os/darwin.h"

/* Zombies may have one too. */
static int read_info(pid_t pid, struct proc_bsdinfo *ret_info)
{
	struct proc_bsdinfo info;

	errno = 0;
	int got = pid > 0 ? proc_pidinfo(pid, PROC_PIDTBSDINFO, 0, &info, sizeof(info)) : 0;

	if (got != (int)sizeof(info)) {
		return errno == EPERM ? -EPERM : -ESRCH;
	}
	*ret_info = info;
	return 0;
}

/* Microseconds of the wall clock: also tells one boot from another. */
static uint64_t started_of(const struct proc_bsdinfo *info)
{
	return info->pbi_start_tvsec * 1000000u + info->pbi_start_tvusec;
}

int proc_identify(pid_t pid, struct proc *ret_proc)
{
	struct proc_bsdinfo info;
	int status = read_info(pid, &info);

	if (status != 0) {
		return status;
	}
	if (info.pbi_status == SZOMB) {
		return -ESRCH;
	}
	*ret_proc = (struct proc){ .pid = pid, .started = started_of(&info) };
	return 0;
}

int proc_signal(struct proc p, int signum)
{
	if (!proc_is_alive(p)) {
		return -ESRCH;
	}
	return kill(p.pid, signum) == 0 ? 0 : -errno;
}

int proc_signal_group(struct proc p, int signum)
{
	struct proc_bsdinfo info;
	int status = p.pid > 1 ? read_info(p.pid, &info) : -EPERM;

	if (status == -EPERM || (status == 0 && started_of(&info) != p.started)) {
		return -ESRCH; /* somebody else's by now */
	}
	return kill(-p.pid, signum) == 0 ? 0 : -errno;
}

int proc_usage(pid_t pid, struct proc_usage *ret_usage)
{
	struct rusage_info_v4 usage;
	mach_timebase_info_data_t tick; /* of the times in it, in ns */

	if (proc_pid_rusage(pid, RUSAGE_INFO_V4, (rusage_info_t *)&usage) != 0) {
		return -errno;
	}
	mach_timebase_info(&tick);
	ret_usage->memory_bytes = usage.ri_phys_footprint;
	ret_usage->cpu_ms =
		(usage.ri_user_time + usage.ri_system_time) * tick.numer / tick.denom / 1000000;
	return 0;
}

void proc_name_of(pid_t pid, char name[PROC_NAME_MAX_BYTES])
{
	char path[PROC_PIDPATHINFO_MAXSIZE];
	const char *known = "?";

	if (proc_pidpath(pid, path, sizeof(path)) > 0) {
		const char *slash = strrchr(path, '/');

		known = slash != NULL && slash[1] != '\0' ? slash + 1 : path;
	}
	snprintf(name, PROC_NAME_MAX_BYTES, "%s", known);
}

int proc_watch(struct proc p)
{
	struct kevent change;
	int fd = kqueue();
	int status = fd < 0 ? -errno : 0;

	EV_SET(&change, (uintptr_t)p.pid, EVFILT_PROC, EV_ADD | EV_ONESHOT, NOTE_EXIT, 0, NULL);
	if (status == 0 && kevent(fd, &change, 1, NULL, 0, NULL) != 0) {
		status = -errno;
	}
	if (status == 0 && !proc_is_alive(p)) {
		status = -ESRCH;
	}
	if (status != 0 && fd >= 0) {
		close(fd);
	}
	return status == 0 ? fd : status;
}

void proc_die_with_parent(void)
{
	/* There is no such thing here: whoever watches the parent ends the child. */
}

/* Of a program out of Homebrew's cellar: the path that outlives an upgrade. */
int proc_self_path(char *path, size_t room)
{
	char raw[FS_PATH_MAX_BYTES];
	uint32_t raw_room = sizeof(raw);

	if (_NSGetExecutablePath(raw, &raw_room) != 0) {
		return -ENAMETOOLONG;
	}
	char *real = realpath(raw, NULL);

	if (real == NULL) {
		return -errno;
	}
	int status = strlen(real) < room ? 0 : -ENAMETOOLONG;

	if (status == 0 && (!darwin_lasting_path(real, path, room) || access(path, X_OK) != 0)) {
		memcpy(path, real, strlen(real) + 1);
	}
	free(real);
	return status;
}
