/* SPDX-License-Identifier: MIT */
/*
 * The engine of this machine, asked for its abilities from the command line.
 */
#ifndef CLI_SCOUTING_H
#define CLI_SCOUTING_H

#include "base/fs.h"
#include "cli/cli.h"
#include "engine/probe.h"
#include "model/memory.h"

/* 0 with path and abilities, or ERR_NO_ENGINE; what is known is filled in any case. Blocks. */
int scouting_ask(const struct cli *cli, char ret_path[FS_PATH_MAX_BYTES],
		 struct engine_abilities *ret_abilities, struct err *err);
/* What this machine has for one more engine, under the budget of host.conf. */
struct memory_machine scouting_machine(const struct cli *cli, const struct engine_abilities *a);
/* Listens at a numeric address for a moment: 0 and a port that is free there, or why it cannot. */
int scouting_listen(const char *address, uint16_t *ret_port, struct err *err);
/* The environment that the agent would give an engine; free() it. NULL with err. */
char **scouting_environment(const struct cli *cli, struct err *err);

#endif
