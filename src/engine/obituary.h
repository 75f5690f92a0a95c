/* SPDX-License-Identifier: MIT */
/*
 * Why an engine ended, in one plain sentence, and what to do next. The cause is the first line of
 * its log that names one (later lines repeat it in vaguer words), together with the exit code.
 */
#ifndef ENGINE_OBITUARY_H
#define ENGINE_OBITUARY_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"
#include "wire/server.h"

/* A value of fixed size; nothing to finish. */
struct obituary_parser {
	int cause;			   /* private: a row of the table, or -1 */
	bool is_ready;			   /* the model had been loaded */
	char line[RECEIPT_LINE_MAX_BYTES]; /* that names the cause, else the last error's, or "" */
};

struct obituary {
	int code; /* enum err_code */
	char sentence[SERVER_TEXT_MAX_BYTES];
	char next_step[SERVER_TEXT_MAX_BYTES];
};

void obituary_parser_init(struct obituary_parser *p);

/* One line of the engine's log, as to receipt_parser_feed. */
void obituary_parser_feed(struct obituary_parser *p, struct span line);

/* exit_code >= 0, or -signal: as io/child.h says it. Not for ends that ronzal asked for. */
void obituary_read(const struct obituary_parser *p, int exit_code, struct obituary *ret_obituary);

#endif
