/* SPDX-License-Identifier: MIT */
/*
 * Files as values: read one whole, replace one whole. All paths are NUL-terminated.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define FS_PATH_MAX_BYTES 4096

/*
 * Reads a regular file whole into `out` (its limit is the file's limit). Opened with O_NOFOLLOW and
 * O_NONBLOCK, so that a link or a FIFO in a hostile folder is an error and not a wait.
 * -ENOENT when it is not there; ERR_FULL when it is larger than the limit; ERR_INVALID when it is
 * not a regular file. The sentence quotes the path, never the content.
 */
int fs_read(const char *path, struct buf *out, struct err *err);

/*
 * Replaces a file atomically: a temporary file beside it, fsync, rename, fsync of the folder.
 * On failure the old file is untouched and nothing is left behind.
 */
int fs_replace(const char *path, struct span content, mode_t mode, struct err *err);

/*
 * Takes the lock of a file, which is a file beside it ("PATH.lock"). A descriptor to close() when
 * done; ERR_BUSY when another process did not let go of it within seconds.
 */
int fs_lock(const char *path, struct err *err);

/* Makes a folder and its parents; those it makes get `mode`. An existing folder is fine. */
int fs_mkdirs(const char *path, mode_t mode, struct err *err);

/* Resolved by realpath, and whether that lies inside (or is) the resolved folder `root`. */
int fs_resolve_inside(const char *path, const char *root, char ret_path[FS_PATH_MAX_BYTES],
		      struct err *err);

/* Joins with exactly one '/'; free() it. */
char *fs_join(const char *folder, const char *name);

bool fs_is_file(const char *path);
bool fs_is_folder(const char *path);

/* 0 and the size in bytes of a regular file (links followed), or -errno. */
int fs_size(const char *path, uint64_t *ret_bytes);

/* Which file was found at a path, zeroed: none. */
struct fs_stamp {
	uint64_t device, inode;
	int64_t written_s, bytes;
};

/*
 * Whether another file is there than was at the last look, or one where none was, or none. While
 * the second lasts in which a file was written, the answer is yes: one that replaces it then may
 * look the same, down to the inode.
 */
bool fs_changed(const char *path, struct fs_stamp *stamp);

#endif
