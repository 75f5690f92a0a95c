/* SPDX-License-Identifier: MIT */
/*
 * What an engine printed: whole in a file of bounded size, its last lines in memory.
 *
 * The file never stops an engine. Bytes that cannot be written are counted, and the next write that
 * works says how many are missing. A file that is full is moved aside: the head of the run to .1,
 * later pieces to .2. Lines in memory are cut at SHIM_LOG_LINE_MAX_BYTES and kept as they go over
 * the socket, "log TEXT\n".
 */
#ifndef HOST_SHIM_LOG_H
#define HOST_SHIM_LOG_H

#include "base/buf.h"

struct shim_log {
	const char *path; /* borrowed */
	uint64_t max_bytes;
	uint64_t written_bytes; /* to the file that is open */
	uint64_t lost_bytes;	/* since the last write that worked */
	int lost_errno;
	int fd;		  /* -1: to be opened at the next write */
	bool was_rotated; /* the head of this run is in .1 */
	bool is_in_line;  /* the file does not end with '\n' */
	struct buf line;  /* the one that is not complete yet */
	struct buf ring;
	void (*on_line)(void *user, struct span encoded); /* each line, once it is complete */
	void *user;
};

/* Moves the log of the run before to .1. on_line is called by shim_log_add and _say only. */
void shim_log_init(struct shim_log *l, const char *path, uint64_t max_bytes,
		   void (*on_line)(void *user, struct span encoded), void *user);
void shim_log_finish(struct shim_log *l);

void shim_log_add(struct shim_log *l, struct span output); /* as the engine wrote it */
void shim_log_say(struct shim_log *l, struct span line);   /* a whole line of ours, without '\n' */
void shim_log_end_line(struct shim_log *l);		   /* no more output: the rest is a line */

#endif
