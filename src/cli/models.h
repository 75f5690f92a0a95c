/* SPDX-License-Identifier: MIT */
/*
 * The registry as the commands change it.
 */
#ifndef CLI_MODELS_H
#define CLI_MODELS_H

#include "cli/cli.h"
#include "host/preflight.h"
#include "model/registry_edit.h"

/* registry_load, registry_edit_begin, preflight_check_files with what the options say. */
int models_load(struct registry *r, const struct cli *cli, struct err *err);
int models_begin(struct registry_edit *e, const struct cli *cli, struct err *err);
int models_check_files(const struct cli *cli, const struct model *m, struct preflight *ret_found);
/*
 * Ends an edit, whose status is returned: abandons it unless that is 0, else commits it and tells a
 * running agent to read it.
 */
int models_end(struct registry_edit *e, const struct cli *cli, int status, struct err *err);
/* Whether an agent is there and runs it. */
bool models_is_running(const struct cli *cli, const char *id);
/* By id or alias; ERR_NOT_FOUND with the nearest one. */
int models_find(const struct registry *r, const char *word, struct model **ret_model,
		struct err *err);
/*
 * Registers a model file, with its further parts, enabled, and says how to start it. It must lie
 * where models may. mmproj_path: "" for none.
 */
int models_add(struct cli *cli, const char *path, const char *mmproj_path, struct err *err);
/* Takes a model out of the registry, and with --delete-file its files off the disk; asks first. */
int models_remove(struct cli *cli, struct args *args, struct err *err);
/* Looks for model files below the roots and registers new ones, not enabled. */
int models_scan(struct cli *cli, struct args *args, struct err *err);

#endif
