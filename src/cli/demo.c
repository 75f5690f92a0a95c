/* SPDX-License-Identifier: MIT */
#include "cli/demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/models.h"
#include "cli/term.h"
#include "model/gguf.h"

#define DEMO_FILE "ronzal-demo.gguf"

static const char *const ids[] = { DEMO_ID, DEMO_ID "-2" };

/*
 * Where the smoke model lies: in the first root, from where containers see it too, else where this
 * program has it, if nobody narrowed the roots. free() it; NULL when it is nowhere.
 */
static char *demo_file(const struct cli *cli)
{
	const char *root = cli->places.model_roots[0];
	const char *const folders[] = { root != NULL ? root : "", cli->places.demo };
	size_t count = cli->config.model_roots[0] == '\0' ? ARRAY_LEN(folders) : 1;

	for (size_t i = 0; i < count; i++) {
		char *file = fs_join(folders[i], DEMO_FILE);

		if (fs_is_file(file)) {
			return file;
		}
		free(file);
	}
	return NULL;
}

/* Whether it names the smoke model of a checkout that is gone, or that lies in no root any more. */
static bool is_stale(const struct cli *cli, const struct model *m)
{
	char path[FS_PATH_MAX_BYTES];

	if (!span_has_suffix(span_of(m->file_path), "/" DEMO_FILE) ||
	    span_has_prefix(span_of(m->file_path), "/models/")) {
		return false;
	}
	for (const char *const *root = cli->places.model_roots; *root != NULL; root++) {
		if (fs_resolve_inside(m->file_path, *root, path, NULL) == 0) {
			return false;
		}
	}
	return true;
}

static int add(struct registry *r, const char *id, char *path, struct err *err)
{
	struct model m = { .name = (char *)(uintptr_t)id, .file_path = path, .enabled = true };

	settings_init(&m.settings);
	snprintf(m.id, sizeof(m.id), "%s", id);
	return registry_add(r, &m, err);
}

/* Adds both entries to a new registry, mends those of an old one. */
static int edit(struct registry_edit *e, const struct cli *cli, const char *file, struct err *err)
{
	bool is_new = access(cli->places.registry, F_OK) != 0, is_changed = is_new;
	char *path = registry_file_path(cli->places.model_roots[0], file);
	int status = 0;

	for (size_t i = 0; status == 0 && i < ARRAY_LEN(ids); i++) {
		struct model *m = registry_find(&e->registry, span_of(ids[i]));

		if (is_new) {
			status = add(&e->registry, ids[i], path, err);
		} else if (m != NULL && is_stale(cli, m)) {
			free(m->file_path);
			m->file_path = mem_strdup(path);
			is_changed = true;
		}
	}
	free(path);
	if (status == 0 && is_changed) {
		return registry_edit_commit(e, err);
	}
	registry_edit_abandon(e);
	return status;
}

int demo_register(const struct cli *cli, struct err *err)
{
	bool was_there = access(cli->places.registry, F_OK) == 0;
	char *file = demo_file(cli);
	struct registry_edit e;

	if (file == NULL) {
		return 0;
	}
	int status = models_begin(&e, cli, was_there ? NULL : err);

	if (status == 0) {
		status = edit(&e, cli, file, err);
	} else if (was_there) {
		status = 0; /* the agent says what is wrong with it */
	}
	free(file);
	return status;
}

void demo_print(const struct cli *cli)
{
	char *file = demo_file(cli);
	struct gguf g = { .parameters = 0 };

	if (file != NULL && gguf_read_path(&g, file, NULL) == 0) {
		printf("model    " DEMO_ID " (%.1f M parameters, %s)   ok\n",
		       (double)g.parameters / 1e6, term_bytes(g.file_bytes).text);
	}
	gguf_finish(&g);
	free(file);
}
