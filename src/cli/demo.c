/* SPDX-License-Identifier: MIT */
#include "cli/demo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/term.h"
#include "model/gguf.h"
#include "model/registry.h"

#define DEMO_FILE "ronzal-demo.gguf"

static const char *const ids[] = { DEMO_ID, DEMO_ID "-2" };

static int add(struct registry *r, const char *id, char *path, uint16_t port, struct err *err)
{
	struct model m = {
		.name = (char *)(uintptr_t)id, .file_path = path, .enabled = true, .port = port
	};

	settings_init(&m.settings);
	snprintf(m.id, sizeof(m.id), "%s", id);
	return registry_add(r, &m, err);
}

/*
 * As containers and the host both understand it, when the model lies in the first root; else where
 * this program has it, if nobody narrowed the roots. NULL when it is nowhere. ret_file: as this
 * process opens it. free() both.
 */
static char *demo_path(const struct cli *cli, char **ret_file)
{
	const char *const *roots = cli->places.model_roots;
	char *in_root = fs_join(roots[0] != NULL ? roots[0] : "", DEMO_FILE);
	char *own = fs_join(cli->places.demo, DEMO_FILE);
	char *path = NULL;

	if (fs_is_file(in_root)) {
		path = mem_strdup("/models/" DEMO_FILE);
		*ret_file = mem_strdup(in_root);
	} else if (cli->config.model_roots[0] == '\0' && fs_is_file(own)) {
		path = mem_strdup(own);
		*ret_file = mem_strdup(own);
	}
	free(own);
	free(in_root);
	return path;
}

static int make_registry(const struct cli *cli, char *model_path, struct err *err)
{
	uint16_t port = (uint16_t)cli->config.engine_port_min;
	struct registry r;
	int status;

	registry_init_empty(&r, port, (uint16_t)cli->config.engine_port_max);
	status = add(&r, ids[0], model_path, port, err);
	if (status == 0) {
		status = add(&r, ids[1], model_path, (uint16_t)(port + 1), err);
	}
	if (status == 0) {
		status = registry_save(&r, cli->places.registry, err);
	}
	registry_finish(&r);
	return status;
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

static int mend_registry(const struct cli *cli, const char *model_path, struct err *err)
{
	const struct config *c = &cli->config;
	bool is_changed = false;
	struct registry r;
	int status = registry_load(&r, cli->places.registry, (uint16_t)c->engine_port_min,
				   (uint16_t)c->engine_port_max, NULL);

	if (status != 0) {
		return 0; /* the agent says what is wrong with it */
	}
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct model *m = registry_find(&r, span_of(ids[i]));

		if (m != NULL && is_stale(cli, m)) {
			free(m->file_path);
			m->file_path = mem_strdup(model_path);
			is_changed = true;
		}
	}
	status = is_changed ? registry_save(&r, cli->places.registry, err) : 0;
	registry_finish(&r);
	return status;
}

int demo_register(const struct cli *cli, struct err *err)
{
	char *file = NULL, *model_path = demo_path(cli, &file);
	int status = 0;

	if (model_path != NULL && access(cli->places.registry, F_OK) != 0) {
		status = make_registry(cli, model_path, err);
	} else if (model_path != NULL) {
		status = mend_registry(cli, model_path, err);
	}
	free(model_path);
	free(file);
	return status;
}

void demo_print(const struct cli *cli)
{
	char *file = NULL, *path = demo_path(cli, &file);
	struct gguf g = { .parameters = 0 };
	char size[32];

	if (file != NULL && gguf_read_path(&g, file, NULL) == 0) {
		term_bytes(g.file_bytes, size, sizeof(size));
		printf("model    " DEMO_ID " (%.1f M parameters, %s)   ok\n",
		       (double)g.parameters / 1e6, size);
	}
	gguf_finish(&g);
	free(path);
	free(file);
}
