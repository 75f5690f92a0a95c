/* SPDX-License-Identifier: MIT */
/* A line between shim and agent that is accepted says the same after it was written again. */
#include "host/shim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct shim_message *m)
{
	struct buf line;
	struct shim_message again;

	buf_init(&line, SHIM_LINE_MAX_BYTES);
	if (shim_encode(m, &line) == 0) {
		ENSURE(line.data[line.len - 1] == '\n');
		ENSURE(span_find_char(buf_span(&line), '\n') == line.len - 1);
		ENSURE(shim_decode((struct span){ line.data, line.len - 1 }, &again, NULL) == 0);
		ENSURE(again.verb == m->verb && again.number == m->number);
		ENSURE(span_equal(again.text, m->text));
		ENSURE(strcmp(again.hello.model, m->hello.model) == 0);
		ENSURE(again.hello.engine.started == m->hello.engine.started);
	} else {
		ENSURE(line.len == 0 && m->text.len > SHIM_NOTE_MAX_BYTES);
	}
	buf_finish(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span all = { (const char *)data, size };
	struct span line = { all.ptr, span_find_char(all, '\n') };
	char printed[SHIM_IDENTITY_MAX_BYTES];
	struct shim_identity id, id_again;
	struct shim_message m;
	struct err err;

	if (shim_decode(line, &m, &err) == 0) {
		check_again(&m);
	}
	if (shim_identity_parse(all, &id) == 0) {
		shim_identity_print(&id, printed);
		ENSURE(shim_identity_parse(span_of(printed), &id_again) == 0);
		ENSURE(id_again.engine.pid == id.engine.pid);
		ENSURE(id_again.shim.started == id.shim.started);
	}
	return 0;
}
