/* SPDX-License-Identifier: MIT */
#include "cli/demo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/registry.h"

static int add(struct registry *r, const char *id, char *path, uint16_t port, struct err *err)
{
	struct model m = {
		.name = (char *)(uintptr_t)id, .file_path = path, .enabled = true, .port = port
	};

	settings_init(&m.settings);
	snprintf(m.id, sizeof(m.id), "%s", id);
	return registry_add(r, &m, err);
}

int demo_register(const struct cli *cli, struct err *err)
{
	const struct config *c = &cli->config;
	char *registry_path = cli_registry_path(cli);
	char *model_path = fs_join(cli->layout.demo, "ronzal-demo.gguf");
	uint16_t port = (uint16_t)c->engine_port_min;
	struct registry r;
	int status = 0;

	if (access(registry_path, F_OK) != 0 && fs_is_file(model_path)) {
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
	free(registry_path);
	return status;
}
