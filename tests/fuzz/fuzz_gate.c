/* SPDX-License-Identifier: MIT */
/*
 * Whatever bytes come as SSH_ORIGINAL_COMMAND: accepted only when they are one of the two verbs,
 * and harmless in the audit line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gate/decide.h"
#include "wire/constants.h"

static int is_bytes(const uint8_t *data, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(data, text, len) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = strnlen((const char *)data, size); /* an environment value ends at the NUL */
	char *command = malloc(len + 1);
	enum gate_verdict verdict;
	char text[96];
	size_t i;

	if (command == NULL) {
		return 0;
	}
	memcpy(command, data, len);
	command[len] = '\0';
	verdict = gate_decide(command);
	if ((verdict == GATE_START) != is_bytes(data, len, WIRE_SSH_START) ||
	    (verdict == GATE_STOP) != is_bytes(data, len, WIRE_SSH_STOP)) {
		abort();
	}
	memset(text, 'x', sizeof text);
	gate_quote(command, text, sizeof text);
	if (memchr(text, '\0', sizeof text) == NULL) {
		abort();
	}
	for (i = 0; text[i] != '\0'; i++) {
		if (text[i] < ' ' || text[i] > '~' || text[i] == '"') {
			abort();
		}
	}
	free(command);
	return 0;
}
