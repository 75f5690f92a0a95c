/* SPDX-License-Identifier: MIT */
/* An option file is read whole or not at all, and what was read can be printed and read again. */
#include "base/err.h"
#include "conf/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c, again;
	struct buf text;

	config_init(&c);
	if (config_read_text(&c, (struct span){ (const char *)data, size }, "fuzz", NULL) == 0) {
		config_init(&again);
		buf_init(&text, 1u << 20);
		config_print_file(&text, &c);
		ENSURE(config_read_text(&again, buf_span(&text), "printed", NULL) == 0);
		ENSURE(again.backend_port == c.backend_port);
		buf_finish(&text);
		config_finish(&again);
	}
	config_finish(&c);
	return 0;
}
