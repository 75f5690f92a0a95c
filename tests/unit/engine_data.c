/* SPDX-License-Identifier: MIT */
#include "engine_data.h"

#include <stdio.h>

#include "base/fs.h"
#include "unit.h"

struct buf engine_data(const char *name)
{
	char path[256];
	struct buf text;
	struct err err = { 0 };

	snprintf(path, sizeof(path), "tests/data/engine/%s", name);
	buf_init(&text, ENGINE_DATA_MAX_BYTES);
	if (fs_read(path, &text, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return text;
}

struct engine_abilities engine_data_abilities(const char *help_name)
{
	struct engine_abilities a;
	struct buf help = engine_data(help_name);

	probe_read(SPAN_LIT("version: 1 (test)"), buf_span(&help), SPAN_LIT(""), &a, NULL);
	buf_finish(&help);
	return a;
}
