/* SPDX-License-Identifier: MIT */
/*
 * The frame of a daemon: one loop that runs until SIGTERM or SIGINT. Embed it, build on its loop,
 * then run it.
 *
 * A daemon that another of our processes keeps does not outlive it: started with --kept, it has the
 * read end of a pipe as standard input, whose other end its keeper holds and never writes to. End
 * of input means that the keeper is gone, however it ended, and is answered like a signal. Without
 * --kept standard input is not looked at.
 */
#ifndef CLI_DAEMON_H
#define CLI_DAEMON_H

#include "io/child.h"
#include "io/loop.h"
#include "io/timer.h"

struct daemon {
	struct loop *loop;
	void *what; /* that it runs: its user's */
	struct loop_signal *signals[2];
	void (*leave)(struct daemon *d); /* at each signal; ends in daemon_left, at once or later */
	int told;			 /* how often it was told to leave */
	bool is_kept, is_orphan;	 /* has a keeper; had one, which is gone */
	struct conn *keeper;		 /* private */
};

struct args;
void daemon_init(struct daemon *d, const struct args *args, void (*leave)(struct daemon *d));
/* Runs what was built until nothing is left of it: 0; or err's code when there is none. */
int daemon_run(struct daemon *d, const struct err *err);
void daemon_listen(struct daemon *d); /* to signals and keeper: for who runs the loop himself */
void daemon_left(struct daemon *d);   /* to neither any more: the loop ends with the rest */

/*
 * A child that is kept: when it ends by itself it is started again after a moment; when we end, so
 * does it. Its output goes where ours does, or to a log that grows.
 */
struct kept {
	struct loop *loop;
	const char *argv[5]; /* of one of our daemons, --kept among them */
	const char *log;     /* path; NULL: where ours goes */
	/* It has ended; the result is after how many ms it starts again. */
	uint32_t (*on_end)(struct kept *k, int exit_code);
	struct child *child; /* NULL while it does not run */
	struct timer again;  /* private */
	bool is_stopped;     /* private */
};

/*
 * child_start of one of our daemons, whose argv, input and on_exit options says already: output
 * goes to a log that grows, in a session of its own, or with log NULL where ours does.
 */
struct child *daemon_start(struct loop *loop, struct child_options *options, const char *log,
			   struct err *err);
void kept_start(struct kept *k); /* at once, if it waits; what fails is logged and tried again */
/* Signals it, and starts it no more; on_end is told as before. */
void kept_stop(struct kept *k, int signum);
void kept_close(struct kept *k); /* lets go of it, whether it runs or not */

#endif
