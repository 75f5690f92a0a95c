/* SPDX-License-Identifier: MIT */
/*
 * Changing a registry's file: read, change, replace, under a lock, so that the command line and the
 * backend cannot undo each other's work. The lock is a file beside the registry.
 */
#ifndef MODEL_REGISTRY_EDIT_H
#define MODEL_REGISTRY_EDIT_H

#include "model/registry.h"

struct registry_edit {
	struct registry registry; /* change it between begin and commit */
	char *path;
	int lock; /* private: descriptor */
};

/*
 * Takes the lock and reads; a file that is not there is an empty registry. ERR_BUSY: another
 * process did not let go of the lock within seconds.
 */
int registry_edit_begin(struct registry_edit *e, const char *path, uint16_t port_min,
			uint16_t port_max, struct err *err);
/* Writes what was changed; ends the edit whatever comes of it. */
int registry_edit_commit(struct registry_edit *e, struct err *err);
void registry_edit_abandon(struct registry_edit *e);

#endif
