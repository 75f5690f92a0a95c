/* SPDX-License-Identifier: MIT */
/*
 * GGUF files on disk, and the parts of a split model.
 */
#include "model/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/span.h"

#define PART_SUFFIX_BYTES 20 /* "-00001-of-00003.gguf" */

static ssize_t read_fd(void *context, uint64_t offset, void *to, size_t len)
{
	ssize_t got;

	do {
		got = pread(*(int *)context, to, len, (off_t)offset);
	} while (got < 0 && errno == EINTR);
	return got >= 0 ? got : -errno;
}

/* O_NONBLOCK: a FIFO in a hostile folder must not make us wait. */
static int read_file(struct gguf *g, const char *path, struct err *err)
{
	struct stat st;
	int status;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0) {
		status = err_set_os(err, -errno, "opening the model %s", path);
	} else if (!S_ISREG(st.st_mode)) {
		status = err_set(err, ERR_INVALID, "the model %s is not a regular file", path);
	} else {
		struct gguf_source source = { &fd, (uint64_t)st.st_size, read_fd };

		status = gguf_read(g, &source, err);
		if (status != 0) {
			err_prefix(err, "the model %s cannot be used", path);
		}
	}
	if (fd >= 0) {
		close(fd);
	}
	return status;
}

char *gguf_part_path(const char *path, uint32_t part, uint32_t *ret_part, uint32_t *ret_count)
{
	size_t len = strlen(path);
	const char *suffix = path + len - PART_SUFFIX_BYTES;
	uint64_t own, count;

	if (len <= PART_SUFFIX_BYTES || suffix[0] != '-' || strncmp(suffix + 6, "-of-", 4) != 0 ||
	    strcmp(suffix + 15, ".gguf") != 0 ||
	    span_to_u64((struct span){ suffix + 1, 5 }, GGUF_PARTS_MAX, &own) != 0 ||
	    span_to_u64((struct span){ suffix + 10, 5 }, GGUF_PARTS_MAX, &count) != 0 || own == 0 ||
	    own > count) {
		return NULL;
	}
	*ret_part = (uint32_t)own - 1;
	*ret_count = (uint32_t)count;
	return mem_printf("%.*s-%05u-of-%05u.gguf", (int)(len - PART_SUFFIX_BYTES), path, part + 1,
			  (unsigned)count);
}

static int read_part(struct gguf *g, const char *first, uint32_t part, struct err *err)
{
	uint32_t own, count;
	char *path = gguf_part_path(first, part, &own, &count);

	if (path == NULL || own != 0 || count != g->part_count) {
		free(path);
		return err_set(err, ERR_INVALID,
			       "the model %s is one of %u parts; name the first, ending in "
			       "-00001-of-%05u.gguf",
			       first, g->part_count, g->part_count);
	}
	int status = read_file(g, path, err);

	if (status == -ENOENT) {
		status = err_set(err, ERR_NOT_FOUND,
				 "the model %s is not complete: its part %s is not there; get it "
				 "again",
				 first, path);
	}
	free(path);
	return status;
}

int gguf_read_path(struct gguf *g, const char *path, struct err *err)
{
	int status = read_file(g, path, err);

	for (uint32_t part = 1; part < g->part_count && status == 0; part++) {
		status = read_part(g, path, part, err);
	}
	return status;
}
