/* SPDX-License-Identifier: MIT */
/* Reads the input as a registry; what is accepted must survive a rewrite unchanged. */
#include <stddef.h>
#include <stdint.h>

#include "model/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct registry *r)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct model *m = &r->models[i];

		ENSURE(registry_id_is_valid(span_of(m->id)));
		ENSURE(m->file_path[0] == '/' && m->name != NULL);
		ENSURE(m->port >= r->port_min && m->port <= r->port_max);
		ENSURE(registry_find(r, span_of(m->id)) == m);
		for (size_t k = 0; k < setting_row_count; k++) {
			int32_t value = setting_get(&m->settings, &setting_rows[k]);

			ENSURE(value == SETTING_UNSET ||
			       (value >= setting_rows[k].min && value <= setting_rows[k].max));
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct registry first, again;
	struct buf text, text_again;

	if (registry_parse(&first, (struct span){ (const char *)data, size }, 8080, 8099, NULL) !=
	    0) {
		return 0;
	}
	check_accepted(&first);
	buf_init(&text, 4 * REGISTRY_FILE_MAX_BYTES);
	buf_init(&text_again, 4 * REGISTRY_FILE_MAX_BYTES);
	if (registry_write(&first, &text) == 0 && text.len <= REGISTRY_FILE_MAX_BYTES) {
		ENSURE(registry_parse(&again, buf_span(&text), 8080, 8099, NULL) == 0);
		ENSURE(again.count == first.count);
		check_accepted(&again);
		ENSURE(registry_write(&again, &text_again) == 0);
		ENSURE(span_equal(buf_span(&text), buf_span(&text_again)));
		registry_finish(&again);
	}
	buf_finish(&text);
	buf_finish(&text_again);
	registry_finish(&first);
	return 0;
}
