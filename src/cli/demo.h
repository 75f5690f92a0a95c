/* SPDX-License-Identifier: MIT */
/*
 * The first minute: where there is no registry yet, one with the smoke model, twice. Later: where
 * these two entries name a checkout that is gone, this one's smoke model.
 */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H

#include "cli/cli.h"

#define DEMO_ID "ronzal-demo"

/* Makes or mends it; nothing else of a registry that is there is touched. */
int demo_register(const struct cli *cli, struct err *err);
/* What the smoke model's file says that it is, in one line; nothing where it lacks. */
void demo_print(const struct cli *cli);

#endif
