/* SPDX-License-Identifier: MIT */
/*
 * An order to the agent and how it goes: rows that are redrawn on a terminal, lines elsewhere.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/visit.h"

/*
 * visit_ask, with one row for each model that the request names. Failures are printed then, with
 * their next steps; err has no text in that case. Quiet: nothing is printed at all.
 */
int progress_ask(struct visit *s, const struct wire_request *request, bool quiet, struct err *err);

#endif
