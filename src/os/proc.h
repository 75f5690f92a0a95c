/* SPDX-License-Identifier: MIT */
/*
 * Processes of this machine. A pid alone names nothing, because pids are used again: a process is a
 * pid and the moment it started (struct proc). Sources: Linux /proc and pidfd_open(2); macOS
 * libproc (proc_pidinfo, proc_pid_rusage; its own proc_name is why ours is proc_name_of) and
 * kqueue.
 */
#ifndef OS_PROC_H
#define OS_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_NAME_MAX_BYTES 64

struct proc {
	pid_t pid;
	uint64_t started; /* opaque, equal for the same process only, also over reboots */
};

/* 0, or -ESRCH when no such process runs (a zombie does not run). */
int proc_identify(pid_t pid, struct proc *ret_proc);

static inline bool proc_is_alive(struct proc p)
{
	struct proc now;

	return proc_identify(p.pid, &now) == 0 && now.started == p.started;
}

/* Signals exactly that process: -ESRCH when it is gone or the pid belongs to another one. */
int proc_signal(struct proc p, int signum);
/*
 * The same for the whole process group that p leads. p itself may already be gone: then the group
 * is what its pid still names, and -ESRCH when that is nothing or the pid belongs to another
 * process.
 */
int proc_signal_group(struct proc p, int signum);

struct proc_usage {
	uint64_t memory_bytes; /* kept from others: Linux RSS, macOS phys_footprint */
	uint64_t cpu_ms;       /* of all its threads, since it started */
};

/* 0 or -errno. */
int proc_usage(pid_t pid, struct proc_usage *ret_usage);

/* Short name of the program ("python3"); "?" when it cannot be told. */
void proc_name_of(pid_t pid, char name[PROC_NAME_MAX_BYTES]);

/* A descriptor that becomes readable when p ends, or -errno (-ENOSYS where there is none). */
int proc_watch(struct proc p);

/* In a fresh child: be killed when the parent dies, where the system can do that (Linux). */
void proc_die_with_parent(void);

/* Absolute path of the running program, also when its file was replaced since. 0 or -errno. */
int proc_self_path(char *path, size_t room);

#endif
