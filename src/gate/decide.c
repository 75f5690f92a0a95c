/* SPDX-License-Identifier: MIT */
#include "gate/decide.h"

#include <stdio.h>
#include <string.h>

#include "wire/constants.h"

enum gate_verdict gate_decide(const char *command)
{
	if (strcmp(command, WIRE_SSH_START) == 0) {
		return GATE_START;
	}
	return strcmp(command, WIRE_SSH_STOP) == 0 ? GATE_STOP : GATE_REFUSED;
}

const char *gate_find_canary(char *const *env)
{
	for (; *env != NULL; env++) {
		const char *equals = strchr(*env, '=');

		if (equals != NULL && strcmp(equals + 1, WIRE_SSH_CANARY) == 0) {
			return *env;
		}
	}
	return NULL;
}

void gate_quote(const char *foreign, char *text, size_t room)
{
	size_t len = 0;

	text[0] = '\0';
	for (; *foreign != '\0'; foreign++) {
		unsigned char byte = (unsigned char)*foreign;
		int plain = byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\';

		if (room - len < sizeof "\\x00...") {
			snprintf(text + len, room - len, "...");
			return;
		}
		len += (size_t)snprintf(text + len, room - len, plain ? "%c" : "\\x%02x", byte);
	}
}
