/* SPDX-License-Identifier: MIT */
/*
 * The first minute: where there is no registry yet, one with the smoke model, twice.
 */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H

#include "cli/cli.h"

/* Writes the registry when there is none. A registry that is there is left alone. */
int demo_register(const struct cli *cli, struct err *err);

#endif
