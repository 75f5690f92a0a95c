/* SPDX-License-Identifier: MIT */
#include "model/registry_edit.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

int registry_edit_begin(struct registry_edit *e, const char *path, uint16_t port_min,
			uint16_t port_max, struct err *err)
{
	*e = (struct registry_edit){ .path = mem_strdup(path), .lock = fs_lock(path, err) };
	int status = e->lock < 0 ? e->lock : 0;

	if (status == 0) {
		status = registry_load(&e->registry, path, port_min, port_max, err);
		if (status == -ENOENT) {
			registry_init_empty(&e->registry, port_min, port_max);
			status = 0;
		}
	}
	if (status != 0) {
		registry_edit_abandon(e);
	}
	return status;
}

int registry_edit_commit(struct registry_edit *e, struct err *err)
{
	int status = registry_save(&e->registry, e->path, err);

	registry_edit_abandon(e);
	return status;
}

void registry_edit_abandon(struct registry_edit *e)
{
	registry_finish(&e->registry);
	if (e->lock >= 0) {
		close(e->lock); /* the lock goes with it */
	}
	free(e->path);
	*e = (struct registry_edit){ .lock = -1 };
}
