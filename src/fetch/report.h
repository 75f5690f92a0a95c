/* SPDX-License-Identifier: MIT */
/*
 * How a download is, said on standard output: one JSON line (wire/pull.h) at each change, while
 * bytes come at most twice a second. Whoever reads it going away ends this program by SIGPIPE.
 */
#ifndef FETCH_REPORT_H
#define FETCH_REPORT_H

#include "wire/pull.h"

#define REPORT_MS 500

struct report { /* zeroed but for the pull */
	struct pull pull;
	uint64_t before_bytes; /* of files that are done */
	uint64_t mark_ms, mark_bytes;
};

void report_say(struct report *r);
void report_phase(struct report *r, enum pull_phase phase);
void report_note(void *report, const char *note);
/* So many bytes of the present file are there. */
void report_bytes(struct report *r, uint64_t bytes);
/* The present file is there. */
void report_file_done(struct report *r, uint64_t bytes);

#endif
