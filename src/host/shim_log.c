/* SPDX-License-Identifier: MIT */
#include "host/shim_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/shim.h"

#define GAP_TEXT_MAX_BYTES 160

static void move_aside(const struct shim_log *l, int number)
{
	char *aside = mem_printf("%s.%d", l->path, number);

	rename(l->path, aside);
	free(aside);
}

static int open_file(struct shim_log *l)
{
	struct stat st;
	int fd = open(l->path,
		      O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
		      0600);

	if (fd < 0) {
		return -errno;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	l->fd = fd;
	l->written_bytes = 0;
	l->is_in_line = false;
	return 0;
}

static void rotate(struct shim_log *l)
{
	close(l->fd);
	l->fd = -1;
	move_aside(l, l->was_rotated ? 2 : 1);
	l->was_rotated = true;
}

void shim_log_init(struct shim_log *l, const char *path, uint64_t max_bytes,
		   void (*on_line)(void *user, struct span encoded), void *user)
{
	char *piece = mem_printf("%s.2", path);

	*l = (struct shim_log){
		.path = path, .max_bytes = max_bytes, .fd = -1, .on_line = on_line, .user = user
	};
	buf_init(&l->line, SHIM_LOG_LINE_MAX_BYTES);
	buf_init(&l->ring, SHIM_RING_MAX_BYTES);
	unlink(piece);
	free(piece);
	move_aside(l, 1);
	open_file(l); /* if it fails, every write tries again */
}

void shim_log_finish(struct shim_log *l)
{
	if (l->fd >= 0) {
		close(l->fd);
	}
	buf_finish(&l->line);
	buf_finish(&l->ring);
}

/* Returns how many bytes were written; fewer than all with *ret_errno. */
static size_t write_some(struct shim_log *l, struct span bytes, int *ret_errno)
{
	size_t done = 0;

	while (done < bytes.len) {
		ssize_t put = write(l->fd, bytes.ptr + done, bytes.len - done);

		if (put < 0 && errno != EINTR) {
			*ret_errno = errno;
			break;
		}
		done += put > 0 ? (size_t)put : 0;
	}
	if (done > 0) {
		l->is_in_line = bytes.ptr[done - 1] != '\n';
		l->written_bytes += done;
	}
	return done;
}

/* Says what is missing, if anything is. false: that cannot be written either. */
static bool mend_gap(struct shim_log *l)
{
	char text[GAP_TEXT_MAX_BYTES];
	int len;

	if (l->lost_bytes == 0) {
		return true;
	}
	len = snprintf(text, sizeof(text), "%sronzal: %llu bytes are missing here: %s\n",
		       l->is_in_line ? "\n" : "", (unsigned long long)l->lost_bytes,
		       strerror(l->lost_errno));
	struct span gap = { text, (size_t)len };

	if (write_some(l, gap, &l->lost_errno) < gap.len) {
		return false;
	}
	l->lost_bytes = 0;
	return true;
}

static void write_file(struct shim_log *l, struct span bytes)
{
	size_t done = 0;

	if (l->fd >= 0 && l->written_bytes > 0 && l->written_bytes + bytes.len > l->max_bytes) {
		rotate(l);
	}
	int status = l->fd >= 0 ? 0 : open_file(l);

	if (status != 0) {
		l->lost_errno = -status;
	} else if (mend_gap(l)) {
		done = write_some(l, bytes, &l->lost_errno);
	}
	l->lost_bytes += bytes.len - done;
}

/* Memory */

/*
 * Into the ring as it goes over the socket. A ring that is full loses a quarter at once, so that
 * memory is not moved at every line.
 */
static void complete_line(struct shim_log *l, struct span text)
{
	struct shim_message m = { .verb = SHIM_LOG, .text = text };
	size_t before;

	if (buf_room(&l->ring) < text.len + sizeof("log \n")) {
		while (buf_room(&l->ring) < SHIM_RING_MAX_BYTES / 4) {
			buf_consume(&l->ring, span_find_char(buf_span(&l->ring), '\n') + 1);
		}
	}
	before = l->ring.len;
	if (shim_encode(&m, &l->ring) == 0) {
		l->on_line(l->user, span_from(buf_span(&l->ring), before));
	}
}

void shim_log_end_line(struct shim_log *l)
{
	if (l->line.len > 0) {
		complete_line(l, buf_span(&l->line));
		buf_clear(&l->line);
	}
}

void shim_log_add(struct shim_log *l, struct span output)
{
	write_file(l, output);
	while (output.len > 0) {
		size_t end = span_find_char(output, '\n');
		size_t room = buf_room(&l->line);

		buf_add(&l->line, output.ptr, end < room ? end : room);
		if (end < output.len) {
			complete_line(l, buf_span(&l->line));
			buf_clear(&l->line);
			end++;
		}
		output = span_from(output, end);
	}
}

void shim_log_say(struct shim_log *l, struct span line)
{
	if (l->is_in_line && l->lost_bytes == 0) {
		write_file(l, SPAN_LIT("\n"));
	}
	write_file(l, line);
	write_file(l, SPAN_LIT("\n"));
	if (line.len > SHIM_LOG_LINE_MAX_BYTES) {
		line.len = SHIM_LOG_LINE_MAX_BYTES;
	}
	complete_line(l, line);
}
