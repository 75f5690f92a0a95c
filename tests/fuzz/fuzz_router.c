/* SPDX-License-Identifier: MIT */
/* Request bodies as the gateway reads them: JSON, and forms whose first line is the boundary. */
#include <stdlib.h>

#include "backend/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = { (const char *)data, size };
	struct span boundary = span_split(&body, '\n');
	struct routing routing = { .stream = false };
	struct err err;

	if (routing_read_json((struct span){ (const char *)data, size }, &routing, &err) == 0) {
		ENSURE(span_is_utf8(span_of(routing.model)));
	}
	routing_read_form(body, boundary, &routing, &err);
	ENSURE(strlen(routing.model) < sizeof(routing.model));
	return 0;
}
