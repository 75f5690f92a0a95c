/* SPDX-License-Identifier: MIT */
#include "os/awake.h"

#include <stdio.h>

void awake_tool_init(struct awake_tool *tool, pid_t pid)
{
	*tool = (struct awake_tool){ .argv = { "/usr/bin/caffeinate", "-i", "-w", tool->pid } };
	snprintf(tool->pid, sizeof(tool->pid), "%ld", (long)pid);
}
