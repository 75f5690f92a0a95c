/* SPDX-License-Identifier: MIT */
#include "cli/demo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/registry.h"

#define DEMO_FILE "ronzal-demo.gguf"

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
 * this program has it, if nobody narrowed the roots. free() it; NULL when it is nowhere.
 */
static char *demo_path(const struct cli *cli)
{
	char *const *roots = cli->places.model_roots;
	char *in_root = fs_join(roots[0] != NULL ? roots[0] : "", DEMO_FILE);
	char *own = fs_join(cli->layout.demo, DEMO_FILE);
	char *path = NULL;

	if (fs_is_file(in_root)) {
		path = mem_strdup("/models/" DEMO_FILE);
	} else if (cli->config.model_roots[0] == '\0' && fs_is_file(own)) {
		path = mem_strdup(own);
	}
	free(own);
	free(in_root);
	return path;
}

int demo_register(const struct cli *cli, struct err *err)
{
	const struct config *c = &cli->config;
	const char *registry_path = cli->places.registry;
	char *model_path = demo_path(cli);
	uint16_t port = (uint16_t)c->engine_port_min;
	struct registry r;
	int status = 0;

	if (access(registry_path, F_OK) != 0 && model_path != NULL) {
		registry_init_empty(&r, port, (uint16_t)c->engine_port_max);
		status = add(&r, "ronzal-demo", model_path, port, err);
		if (status == 0) {
			status = add(&r, "ronzal-demo-2", model_path, (uint16_t)(port + 1), err);
		}
		if (status == 0) {
			status = registry_save(&r, registry_path, err);
		}
		registry_finish(&r);
	}
	free(model_path);
	return status;
}
