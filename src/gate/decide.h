/* SPDX-License-Identifier: MIT */
/* What the restricted key may run: exactly two byte strings. Pure, no allocation. */
#ifndef GATE_DECIDE_H
#define GATE_DECIDE_H

#include <stddef.h>

enum gate_verdict { GATE_REFUSED, GATE_START, GATE_STOP };

/* "" stands for a login without a command. */
enum gate_verdict gate_decide(const char *command);

/* The first NAME=value of env whose value is WIRE_SSH_CANARY, or NULL. */
const char *gate_find_canary(char *const *env);

/*
 * Foreign text for a log: fewer than `room` (at least 8) characters of printable ASCII without
 * quotes; other bytes and backslashes as \xHH; "..." at the end when it was clipped.
 */
void gate_quote(const char *foreign, char *text, size_t room);

#endif
