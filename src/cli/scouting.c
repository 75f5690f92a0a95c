/* SPDX-License-Identifier: MIT */
#include "cli/scouting.h"

#include <stdlib.h>

#include "engine/launch.h"
#include "host/preflight.h"
#include "host/scout.h"
#include "io/conn.h"
#include "os/memory.h"

struct scouting {
	struct loop *loop;
	struct engine_abilities *abilities;
	struct err err;
};

static void on_scouted(void *user, const struct engine_abilities *abilities, const struct err *err)
{
	struct scouting *s = user;

	*s->abilities = *abilities;
	s->err = *err;
	loop_stop(s->loop);
}

char **scouting_environment(const struct cli *cli, struct err *err)
{
	const char *library = cli->config.engine_library_path;

	return launch_environment(cli->environment, library[0] != '\0' ? library : NULL, err);
}

int scouting_ask(const struct cli *cli, char ret_path[FS_PATH_MAX_BYTES],
		 struct engine_abilities *ret_abilities, struct err *err)
{
	struct scouting s = { .abilities = ret_abilities };
	struct fs_stamp stamp;
	char **environment = NULL;

	if (preflight_find_engine(cli->places.engine, ret_path, &stamp, &s.err) == 0) {
		environment = scouting_environment(cli, &s.err);
	}
	if (environment != NULL) {
		s.loop = loop_create();
		struct scout *scout = scout_start(s.loop, ret_path,
						  (const char *const *)environment, on_scouted, &s);

		loop_run(s.loop);
		scout_close(scout);
		loop_destroy(s.loop);
	}
	free(environment);
	return s.err.code != 0 ? err_set(err, s.err.code, "%s", s.err.text) : 0;
}

struct memory_machine scouting_machine(const struct cli *cli, const struct engine_abilities *a)
{
	uint64_t budget = (uint64_t)cli->config.memory_budget_mib << 20;
	struct memory_machine machine = { .budget_free_bytes = budget > 0 ? budget : UINT64_MAX };
	struct memory memory = { .available_bytes = UINT64_MAX }; /* if the system does not tell */

	memory_read(&memory);
	machine.host_free_bytes = memory.available_bytes;
	machine.is_unified = memory.gpu_wired_limit_bytes > 0;
	for (int i = 0; i < a->device_count; i++) {
		machine.device_free_bytes += a->devices[i].free_bytes;
	}
	return machine;
}

int scouting_listen(const char *address, uint16_t *ret_port, struct err *err)
{
	struct loop *loop = loop_create();
	struct listener *listener = listener_start(
		loop, &(struct listener_options){ .address = address, .conns_max = 1 }, err);
	int status = listener != NULL ? 0 : err->code;

	if (listener != NULL) {
		*ret_port = listener_port(listener);
	}
	listener_close(listener);
	loop_destroy(loop);
	return status;
}
