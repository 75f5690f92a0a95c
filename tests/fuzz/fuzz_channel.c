/* SPDX-License-Identifier: MIT */
/*
 * The control channel from either side: bytes cut into lines as they may arrive, each read as a
 * request and as an event; what is accepted can be written and says the same when read again.
 */
#include <stdlib.h>

#include "base/lines.h"
#include "base/mem.h"
#include "wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const struct wire_request *r)
{
	struct wire_request again;
	struct buf line;

	buf_init(&line, 2 * WIRE_LINE_MAX_BYTES);
	if (wire_request_encode(r, &line) == 0) {
		ENSURE(wire_request_decode((struct span){ line.data, line.len - 1 }, &again,
					   NULL) == 0);
		ENSURE(again.verb == r->verb && again.seq == (r->verb == VERB_HELLO ? 0 : r->seq));
		ENSURE(again.id_count == r->id_count && r->id_count <= WIRE_IDS_MAX);
		for (size_t i = 0; i < r->id_count; i++) {
			ENSURE(strcmp(again.ids[i], r->ids[i]) == 0);
		}
		wire_request_finish(&again);
	}
	buf_finish(&line);
}

static void check_event(const struct wire_event *e)
{
	struct wire_event *again = mem_alloc(sizeof(*again));
	struct buf line;

	buf_init(&line, 2 * WIRE_LINE_MAX_BYTES);
	if (wire_event_encode(e, &line) == 0) {
		ENSURE(line.len <= WIRE_LINE_MAX_BYTES);
		ENSURE(wire_event_decode((struct span){ line.data, line.len - 1 }, again, NULL) ==
		       0);
		ENSURE(again->type == e->type);
		wire_event_finish(again);
	}
	buf_finish(&line);
	free(again);
}

static void read_line(struct span line, struct wire_event *e)
{
	struct wire_request r;
	struct err err = { 0 };

	if (wire_request_decode(line, &r, &err) == 0) {
		check_request(&r);
		wire_request_finish(&r);
	} else {
		ENSURE(err.code != 0 && err.text[0] != '\0');
	}
	if (wire_event_decode(line, e, NULL) == 0) {
		check_event(e);
		wire_event_finish(e);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size > 0 ? 1 + data[0] : 1;
	struct span rest = { (const char *)data, size }, line;
	struct wire_event *e = mem_alloc(sizeof(*e));
	struct lines lines;
	int status = 0;

	lines_init(&lines, WIRE_LINE_MAX_BYTES);
	while (status == 0 && rest.len > 0) {
		size_t len = piece < rest.len ? piece : rest.len;

		status = lines_add(&lines, (struct span){ rest.ptr, len });
		while (status == 0 && lines_next(&lines, &line)) {
			read_line(line, e);
		}
		rest = span_from(rest, len);
	}
	lines_finish(&lines);
	free(e);
	return 0;
}
