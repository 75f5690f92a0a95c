/* SPDX-License-Identifier: MIT */
/* Reads the input as the hub's answer about a repository; what is accepted leads nowhere else. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "fetch/hub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_file(const struct hub_repo *r, const struct hub_file *f)
{
	char *path = hub_snapshot_path("/cache", r, f), *target = hub_link_target(f);

	ENSURE(strstr(path, "/../") == NULL && strstr(path, "//") == NULL);
	ENSURE(strchr(f->blob, '/') == NULL &&
	       span_find(span_of(f->blob), "..") == strlen(f->blob));
	ENSURE(span_has_suffix(span_of(target), f->blob));
	free(target);
	free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hub_repo r;
	size_t parts = 0;

	if (hub_read(&r, SPAN_LIT("a/b"), (struct span){ (const char *)data, size }, NULL) == 0) {
		for (size_t i = 0; i < r.file_count; i++) {
			check_file(&r, &r.files[i]);
		}
		for (size_t i = 0; i < r.model_count; i++) {
			const struct hub_model *m = &r.models[i];

			ENSURE(m->name[0] != '\0' && m->parts > 0);
			ENSURE(m->first + m->parts <= r.file_count);
			parts += m->parts;
		}
		ENSURE(parts <= r.file_count && r.model_count > 0);
	}
	hub_finish(&r);
	return 0;
}
