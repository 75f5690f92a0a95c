/* SPDX-License-Identifier: MIT */
/*
 * `--stdio`: carries the control channel between stdin/stdout and the agent's restricted socket,
 * line by line and unread but for two of them: a first line within WIRE_SILENCE_MS makes it a
 * dialogue; silence or end of input makes it the one-shot form, for which we say the hello. The
 * agent's bye is the exit code.
 */
#ifndef CLI_RELAY_H
#define CLI_RELAY_H

#include "base/err.h"
#include "wire/messages.h"

/* Blocks until either side ends. *ret_exit: the process's exit code. ERR_NO_AGENT, ERR_CLOSED. */
int relay_run(const char *socket_path, const char *once, int *ret_exit, struct err *err);

#endif
