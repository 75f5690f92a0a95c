/* SPDX-License-Identifier: MIT */
#include "base/fs.h"
#include "os/paths.h"

void paths_below_home(struct paths *p, const char *home)
{
	p->state = fs_join(home, "Library/Application Support/ronzal");
	p->config = fs_join(p->state, "config");
	p->logs = fs_join(home, "Library/Logs/ronzal");
	p->run = fs_join(p->state, "run");
}
