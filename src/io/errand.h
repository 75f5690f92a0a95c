/* SPDX-License-Identifier: MIT */
/*
 * A program that is run for what it prints: to its end or its time limit, with nothing to read.
 */
#ifndef IO_ERRAND_H
#define IO_ERRAND_H

#include "base/buf.h"
#include "io/child.h"

struct errand;

/*
 * The end: both the program's and its outputs', which may come later. text is borrowed until the
 * errand is closed; exit_code as io/child.h says it. err: why the program could not be run, or
 * ERR_TIMEOUT when the limit came first.
 */
typedef void errand_fn(void *user, struct span text, int exit_code, const struct err *err);

struct errand_options {
	const char *const *argv; /* as in child_options, copied by the system */
	const char *const *env;	 /* NULL: ours */
	bool with_stderr;	 /* its text comes in between */
	size_t text_max_bytes;	 /* what is more is dropped */
	uint32_t limit_ms;
	errand_fn *on_end; /* not for errand_run */
	void *user;
};

/* Answers in any case, and never before it returns. */
struct errand *errand_start(struct loop *loop, const struct errand_options *options);
void errand_close(struct errand *e); /* kills what still runs, frees later; NULL is fine */

/*
 * The same, waited for on a loop of its own. text is begun here, to be finished by the caller in
 * any case. The exit code, or a negative code in err; a program that was ended by a signal is
 * ERR_CANCELED.
 */
int errand_run(const struct errand_options *options, struct buf *text, struct err *err);

#endif
