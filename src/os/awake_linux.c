/* SPDX-License-Identifier: MIT */
#include "os/awake.h"

void awake_tool_init(struct awake_tool *tool, pid_t pid)
{
	(void)pid;
	*tool = (struct awake_tool){ .pid = "" };
}
