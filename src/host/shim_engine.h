/* SPDX-License-Identifier: MIT */
/*
 * The engine as the shim's child: forked and held back, executed, ended, buried.
 *
 * It gets descriptors 0-2 only (/dev/null, and one pipe for stdout and stderr), default signal
 * dispositions, an empty mask, a session and process group of its own and the shim's environment,
 * and it dies with the shim where the system can do that.
 */
#ifndef HOST_SHIM_ENGINE_H
#define HOST_SHIM_ENGINE_H

#include "base/err.h"
#include "os/proc.h"

struct shim_engine {
	struct proc proc;
	int output_fd; /* what it prints, non-blocking; -1 when all has been read */
	int start_fd;  /* a byte here lets it execute; closed instead, it ends */
	bool is_running;
	int exit_status; /* exit code, or -signal, once is_running is false */
};

/*
 * Forks a child that waits, so that its identity can be written down before anything runs: should
 * the shim die now, the child ends by itself. -errno when there is no child.
 */
int shim_engine_fork(struct shim_engine *e, char *const *argv, struct err *err);

/* Executes argv in the child. On failure the child is gone; the sentence names the program. */
int shim_engine_exec(struct shim_engine *e, const char *program, struct err *err);

/* Instead of shim_engine_exec: the child ends and is reaped. */
void shim_engine_cancel(struct shim_engine *e);

/* To the whole process group; nothing once the engine was buried. */
void shim_engine_signal(const struct shim_engine *e, int signum);

/*
 * Looks whether the engine has ended; if so kills what is left of its process group while the
 * leader's pid is still ours, reaps it and returns true.
 */
bool shim_engine_bury(struct shim_engine *e);

#endif
