/* SPDX-License-Identifier: MIT */
/*
 * A child process as a value.
 *
 * The caller (1) fills child_options, (2) calls child_start, (3) talks through the conns it asked
 * for and closes them when done, (4) learns the end by on_exit, (5) calls child_close, which is
 * allowed at any time and neither kills nor waits: a child that should end must be told so first.
 * Descriptors of the parent are close-on-exec everywhere; the child gets 0-2 only, default signal
 * dispositions and an empty mask.
 */
#ifndef IO_CHILD_H
#define IO_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "io/conn.h"

enum child_stdio {
	CHILD_NULL,    /* /dev/null */
	CHILD_INHERIT, /* the parent's */
	CHILD_PIPE,    /* a conn: child_stdin / child_stdout / child_stderr */
	CHILD_FD,      /* options.fds[i], borrowed during child_start */
};

struct child_options {
	const char *const
		*argv;		/* NULL-terminated; argv[0] is looked up in PATH if it has no '/' */
	const char *const *env; /* NULL-terminated "NAME=value"; NULL: the parent's environment */
	const char *folder;	/* working directory; NULL: the parent's */
	enum child_stdio stdio[3];
	int fds[3];
	bool new_session; /* setsid: survives our terminal and our process group */
	/* exit_code >= 0, or -signal when a signal ended it. */
	void (*on_exit)(void *user, int exit_code);
	void *user;
};

struct child;

/*
 * NULL and an err when the program cannot be run: a failed exec never looks like a started child.
 */
struct child *child_start(struct loop *loop, const struct child_options *options, struct err *err);

pid_t child_pid(const struct child *c); /* 0 once it has exited */
int child_kill(struct child *c,
	       int signum); /* 0 or a negative code; ended children are left alone */

/*
 * The parent's end of a CHILD_PIPE, handed over once (NULL after that): the caller's to conn_start
 * and conn_close.
 */
struct conn *child_take_pipe(struct child *c, int which);

void child_close(struct child *c); /* closes pipes not taken, forgets the child; NULL is fine */

#endif
