/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* realpath: glibc hides it from POSIX.1-2008 alone */
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define FS_CHUNK_BYTES 65536
#define LOCK_TRIES 200 /* 2 s: a change takes milliseconds, and who waits must be able to end */
#define LOCK_POLL_MS 10

static int read_all(int fd, const char *path, struct buf *out, struct err *err)
{
	for (;;) {
		size_t want = buf_room(out) < FS_CHUNK_BYTES ? buf_room(out) : FS_CHUNK_BYTES;
		char extra;
		char *room = want > 0 ? buf_reserve(out, want) : &extra;
		ssize_t got = read(fd, room, want > 0 ? want : 1);

		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return err_set_os(err, -errno, "reading %s", path);
		}
		if (got == 0) {
			return 0;
		}
		if (want == 0) {
			return err_set(err, ERR_FULL, "%s is larger than %zu bytes", path,
				       out->max_bytes);
		}
		buf_added(out, (size_t)got);
	}
}

int fs_read(const char *path, struct buf *out, struct err *err)
{
	struct stat st;
	int status;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		return err_set_os(err, -errno, "opening %s", path);
	}
	if (fstat(fd, &st) != 0) {
		status = err_set_os(err, -errno, "looking at %s", path);
	} else if (!S_ISREG(st.st_mode)) {
		status = err_set(err, ERR_INVALID, "%s is not a regular file", path);
	} else {
		status = read_all(fd, path, out, err);
	}
	close(fd);
	return status;
}

static int write_all(int fd, struct span content)
{
	while (content.len > 0) {
		ssize_t put = write(fd, content.ptr, content.len);

		if (put < 0 && errno == EINTR) {
			continue;
		}
		if (put < 0) {
			return -errno;
		}
		content = span_from(content, (size_t)put);
	}
	return 0;
}

/* fsync of the folder that holds path, so that the rename survives a power cut. */
static int sync_folder_of(const char *path)
{
	char *folder = mem_strdup(path);
	char *slash = strrchr(folder, '/');
	int status = 0;

	if (slash != NULL) {
		slash[slash == folder ? 1 : 0] = '\0';
	}
	int fd = open(slash != NULL ? folder : ".", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0) {
		status = errno == EINVAL ? 0 : -errno; /* some file systems cannot sync a folder */
	}
	if (fd >= 0) {
		close(fd);
	}
	free(folder);
	return status;
}

int fs_replace(const char *path, struct span content, mode_t mode, struct err *err)
{
	char *temporary = mem_printf("%s.XXXXXX", path);
	int fd = mkstemp(temporary);
	int status = fd < 0 ? -errno : 0;

	if (fd >= 0) {
		status = write_all(fd, content);
		if (status == 0 && (fchmod(fd, mode) != 0 || fsync(fd) != 0)) {
			status = -errno;
		}
		if (close(fd) != 0 && status == 0) {
			status = -errno;
		}
		if (status == 0 && rename(temporary, path) != 0) {
			status = -errno;
		}
		if (status != 0) {
			unlink(temporary);
		} else {
			status = sync_folder_of(path);
		}
	}
	free(temporary);
	return status == 0 ? 0 : err_set_os(err, status, "writing %s", path);
}

int fs_lock(const char *path, struct err *err)
{
	char *lock_path = mem_printf("%s.lock", path);
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int status = fd < 0 ? err_set_os(err, -errno, "opening %s", lock_path) : 0;

	for (int i = 0; status == 0 && fcntl(fd, F_SETLK, &whole) != 0; i++) {
		if (errno != EAGAIN && errno != EACCES) {
			status = err_set_os(err, -errno, "locking %s", lock_path);
		} else if (i == LOCK_TRIES) {
			status = err_set(err, ERR_BUSY, "another process keeps %s locked: end it",
					 lock_path);
		}
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_POLL_MS * 1000000L }, NULL);
	}
	if (status != 0 && fd >= 0) {
		close(fd);
	}
	free(lock_path);
	return status == 0 ? fd : status;
}

int fs_mkdirs(const char *path, mode_t mode, struct err *err)
{
	char *partial = mem_strdup(path);
	int status = 0;

	for (char *slash = partial; status == 0 && slash != NULL;) {
		slash = strchr(slash + 1, '/');
		if (slash != NULL) {
			*slash = '\0';
		}
		if (mkdir(partial, mode) != 0 && errno != EEXIST) {
			status = err_set_os(err, -errno, "making the folder %s", partial);
		}
		if (slash != NULL) {
			*slash = '/';
		}
	}
	if (status == 0 && !fs_is_folder(path)) {
		status = err_set(err, -ENOTDIR, "%s is there and is not a folder", path);
	}
	free(partial);
	return status;
}

int fs_resolve_inside(const char *path, const char *root, char ret_path[FS_PATH_MAX_BYTES],
		      struct err *err)
{
	char *real_root = realpath(root, NULL);
	char *real_path = real_root != NULL ? realpath(path, NULL) : NULL;
	size_t len = real_root != NULL && strcmp(real_root, "/") != 0 ? strlen(real_root) : 0;
	int status = 0;

	if (real_root == NULL) {
		status = err_set_os(err, -errno, "looking for the folder %s", root);
	} else if (real_path == NULL) {
		status = err_set_os(err, -errno, "looking for %s", path);
	} else if (strncmp(real_path, real_root, len) != 0 ||
		   (real_path[len] != '/' && real_path[len] != '\0')) {
		status = err_set(err, ERR_DENIED, "%s leads out of %s", path, root);
	} else if (strlen(real_path) >= FS_PATH_MAX_BYTES) {
		status = err_set(err, ERR_FULL, "the path of %s is too long", path);
	} else {
		memcpy(ret_path, real_path, strlen(real_path) + 1);
	}
	free(real_path);
	free(real_root);
	return status;
}

char *fs_join(const char *folder, const char *name)
{
	size_t len = strlen(folder);

	while (len > 1 && folder[len - 1] == '/') {
		len--;
	}
	return mem_printf("%.*s/%s", len == 1 && folder[0] == '/' ? 0 : (int)len, folder,
			  name[0] == '/' ? name + 1 : name);
}

bool fs_is_file(const char *path)
{
	uint64_t bytes;

	return fs_size(path, &bytes) == 0;
}

bool fs_is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int fs_size(const char *path, uint64_t *ret_bytes)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		return -errno;
	}
	if (!S_ISREG(st.st_mode)) {
		return -EINVAL;
	}
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

bool fs_changed(const char *path, struct fs_stamp *stamp)
{
	struct stat st = { 0 };
	time_t looked_s = time(NULL);

	stat(path, &st);
	struct fs_stamp now = { st.st_dev, st.st_ino, st.st_mtime, st.st_size };
	bool is_other = memcmp(&now, stamp, sizeof(now)) != 0;

	*stamp = now;
	if (st.st_mtime == looked_s || st.st_mtime == looked_s + 1) {
		stamp->written_s = -1; /* is none that it can have next time */
	}
	return is_other;
}
