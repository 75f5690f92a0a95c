/* SPDX-License-Identifier: MIT */
/*
 * The shim's files, used by shim and agent. The lock is the truth about who keeps a port: whoever
 * has it may remove the others' files. It is removed with them, so a lock counts only if its file
 * is still the one at that path.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "host/shim.h"

#define FILE_PREFIX "shim-"
#define LOCK_TRIES_MAX 10 /* each lost to a holder that left in between */
#define POLL_MS 10

static const struct timespec poll_pause = { .tv_nsec = POLL_MS * 1000000L };

char *shim_path(const char *run_folder, uint16_t port, const char *suffix)
{
	return mem_printf("%s/" FILE_PREFIX "%u.%s", run_folder, port, suffix);
}

bool shim_port_of(const char *file_name, const char *suffix, uint16_t *ret_port)
{
	struct span rest = span_of(file_name);
	uint64_t port;

	if (!span_has_prefix(rest, FILE_PREFIX)) {
		return false;
	}
	rest = span_from(rest, sizeof(FILE_PREFIX) - 1);
	if (span_to_u64(span_split(&rest, '.'), UINT16_MAX, &port) != 0 || !span_is(rest, suffix)) {
		return false;
	}
	*ret_port = (uint16_t)port;
	return true;
}

int shim_identity_read(const char *run_folder, uint16_t port, struct shim_identity *ret_id)
{
	char *path = shim_path(run_folder, port, "id");
	struct buf line;
	int status;

	buf_init(&line, SHIM_IDENTITY_MAX_BYTES);
	status = fs_read(path, &line, NULL);
	if (status == 0) {
		status = shim_identity_parse(buf_span(&line), ret_id);
	}
	buf_finish(&line);
	free(path);
	return status;
}

static void remove_file(const char *run_folder, uint16_t port, const char *suffix)
{
	char *path = shim_path(run_folder, port, suffix);

	unlink(path);
	free(path);
}

static int say_busy(const char *run_folder, uint16_t port, struct err *err)
{
	struct shim_identity id;

	if (shim_identity_read(run_folder, port, &id) != 0) {
		return err_set(err, ERR_BUSY, "port %u is kept by another shim that just starts",
			       port);
	}
	return err_set(err, ERR_BUSY, "port %u is kept by the shim of model %s (pid %lld)", port,
		       id.model, (long long)id.shim.pid);
}

/* The descriptor of the locked file, -EAGAIN when it was removed meanwhile, or another -errno. */
static int try_lock(const char *path)
{
	struct stat ours, there;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int status = 0;

	if (fd < 0) {
		return -errno;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		status = errno == EWOULDBLOCK ? ERR_BUSY : -errno;
	} else if (fstat(fd, &ours) != 0 || stat(path, &there) != 0 ||
		   ours.st_ino != there.st_ino || ours.st_dev != there.st_dev) {
		status = -EAGAIN;
	}
	if (status != 0) {
		close(fd);
	}
	return status == 0 ? fd : status;
}

/* Whether it is done with its engine, or not there yet: then its lock is free in a moment. */
static bool is_passing(const char *run_folder, uint16_t port)
{
	struct shim_identity id;

	return shim_identity_read(run_folder, port, &id) != 0 || !proc_is_alive(id.engine);
}

static int end_orphan(const char *run_folder, uint16_t port, int wait_ms, struct err *err)
{
	struct shim_identity id;

	if (shim_identity_read(run_folder, port, &id) != 0) {
		return 0;
	}
	proc_signal_group(id.engine, SIGKILL);
	while (proc_is_alive(id.engine)) {
		if (wait_ms <= 0) {
			return err_set(err, ERR_TIMEOUT,
				       "the engine that an earlier shim left on port %u (pid %lld) "
				       "is still ending: try again in a moment",
				       port, (long long)id.engine.pid);
		}
		nanosleep(&poll_pause, NULL);
		wait_ms -= POLL_MS;
	}
	return 0;
}

int shim_lock(const char *run_folder, uint16_t port, int wait_ms, int *ret_fd, struct err *err)
{
	char *path = shim_path(run_folder, port, "lock");
	int fd = -EAGAIN;
	int status;

	for (int i = 0; i < LOCK_TRIES_MAX && fd == -EAGAIN; i++) {
		fd = try_lock(path);
		while (fd == ERR_BUSY && wait_ms > 0 && is_passing(run_folder, port)) {
			nanosleep(&poll_pause, NULL);
			wait_ms -= POLL_MS;
			fd = try_lock(path);
		}
	}
	if (fd < 0) {
		status = fd == ERR_BUSY ? say_busy(run_folder, port, err)
					: err_set_os(err, fd, "locking %s", path);
		goto out;
	}
	status = end_orphan(run_folder, port, wait_ms, err);
	if (status != 0) {
		close(fd);
		goto out;
	}
	remove_file(run_folder, port, "sock");
	remove_file(run_folder, port, "id");
	*ret_fd = fd;
out:
	free(path);
	return status;
}

void shim_unlock(const char *run_folder, uint16_t port, int fd)
{
	remove_file(run_folder, port, "sock");
	remove_file(run_folder, port, "id");
	remove_file(run_folder, port, "lock");
	close(fd);
}
