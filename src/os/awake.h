/* SPDX-License-Identifier: MIT */
/*
 * What keeps this machine from falling asleep by itself: a tool of the system that does so for as
 * long as it runs. macOS: caffeinate(8). Linux: none, machines that serve are set not to sleep.
 */
#ifndef OS_AWAKE_H
#define OS_AWAKE_H

#include <sys/types.h>

#define AWAKE_WORDS_MAX 5

struct awake_tool {
	char pid[16];
	const char *argv[AWAKE_WORDS_MAX]; /* NULL-terminated; empty: there is none */
};

/* The tool ends by itself when process `pid` does. Its argv points into *tool. */
void awake_tool_init(struct awake_tool *tool, pid_t pid);

#endif
