/* SPDX-License-Identifier: MIT */
#include "fetch/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "fetch/hasher.h"

#define ROOM_SPARE_BYTES (256ull << 20) /* a disk is not filled to the last byte */

/* A file on its way. */
struct coming {
	const struct store_file *file;
	struct transfer_file way; /* to the incomplete file */
	char *path;		  /* of that */
	struct report *report;
	struct hasher *hasher;
};

static char *incomplete_path(const struct store_file *f)
{
	return mem_printf("%s%s%s.incomplete", f->path, f->tag[0] != '\0' ? "." : "", f->tag);
}

/* What there is of it already. */
static uint64_t have_of(const struct store_file *f)
{
	char *path = incomplete_path(f);
	uint64_t have = 0;

	if (fs_size(f->path, &have) != 0) {
		fs_size(path, &have);
	}
	free(path);
	return have;
}

static int check_room(const char *folder, uint64_t bytes, struct err *err)
{
	struct statvfs fs;

	if (statvfs(folder, &fs) != 0) {
		return err_set_os(err, -errno, "asking how much room is in %s", folder);
	}
	uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;

	if (free_bytes >= bytes + ROOM_SPARE_BYTES) {
		return 0;
	}
	return err_set(
		err, ERR_IO,
		"there is no room in %s: %.1f GiB are to come, %.1f GiB are free. Make room, "
		"or name another folder with HF_HUB_CACHE",
		folder, (double)bytes / (1 << 30), (double)free_bytes / (1 << 30));
}

/* Opens it for this process alone; what is too long, or cannot be gone on with, is cut off. */
static int open_incomplete(struct coming *c, struct err *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const struct store_file *f = c->file;
	struct transfer_file *way = &c->way;
	struct stat st = { 0 };

	way->fd = open(c->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (way->fd < 0) {
		return err_set_os(err, -errno, "making %s", c->path);
	}
	if (fcntl(way->fd, F_SETLK, &lock) != 0) {
		return err_set(err, ERR_BUSY,
			       "%s is being downloaded by another program. Wait for that one",
			       f->what);
	}
	fstat(way->fd, &st);
	if ((f->sha256[0] != '\0' || f->tag[0] != '\0') && (uint64_t)st.st_size <= f->bytes) {
		way->have = (uint64_t)st.st_size;
	}
	return ftruncate(way->fd, (off_t)way->have) == 0
		       ? 0
		       : err_set_os(err, -errno, "shortening %s", c->path);
}

static void on_bytes(void *user, uint64_t have)
{
	struct coming *c = user;

	if (have == 0 && c->hasher != NULL) { /* from the beginning again */
		hasher_abandon(c->hasher);
		c->hasher = hasher_start(c->way.fd, NULL);
	}
	report_bytes(c->report, have);
}

static int check_hash(struct coming *c, struct err *err)
{
	const struct store_file *f = c->file;
	struct hasher *h = c->hasher != NULL ? c->hasher : hasher_start(c->way.fd, err);
	char hex[DIGEST_HEX_BYTES];

	c->hasher = NULL;
	if (h == NULL) {
		return err->code;
	}
	int status = hasher_finish(h, hex, err);

	if (status == 0 && strcmp(hex, f->sha256) != 0) {
		unlink(c->path);
		return err_set(
			err, ERR_PROTOCOL,
			"%s is not what the hub says: its SHA-256 is %.12s..., not %.12s.... "
			"It was deleted; say the same again. If that does not help, something "
			"on the way changes it",
			f->what, hex, f->sha256);
	}
	return status;
}

static int check_magic(struct coming *c, struct err *err)
{
	char magic[4] = "";

	if (pread(c->way.fd, magic, sizeof(magic), 0) == 4 && memcmp(magic, "GGUF", 4) == 0) {
		return 0;
	}
	unlink(c->path);
	return err_set(err, ERR_INVALID,
		       "%s is no GGUF file (perhaps a page about one), and was deleted. Use the "
		       "address of the file itself",
		       c->file->what);
}

/* Whole, as said, on the disk, in its place. */
static int put_in_place(struct coming *c, struct err *err)
{
	report_phase(c->report, PULL_CHECKING);
	int status = c->file->sha256[0] != '\0' ? check_hash(c, err) : 0;

	if (status == 0) {
		status = check_magic(c, err);
	}
	if (status == 0 && (fsync(c->way.fd) != 0 || rename(c->path, c->file->path) != 0)) {
		status = err_set_os(err, -errno, "putting %s in its place", c->file->path);
	}
	return status;
}

static int bring(struct coming *c, struct transfer *t, struct err *err)
{
	int status = open_incomplete(c, err);

	if (status == 0 && c->file->sha256[0] != '\0') {
		c->hasher = hasher_start(c->way.fd, err);
		status = c->hasher != NULL ? 0 : err->code;
	}
	if (status == 0) {
		report_bytes(c->report, c->way.have);
		report_phase(c->report, PULL_DOWNLOADING);
		status = transfer_file(t, &c->way, err);
	}
	return status == 0 ? put_in_place(c, err) : status;
}

static int get(const struct store_file *f, struct transfer *t, struct report *r, struct err *err)
{
	struct coming c = { .file = f, .report = r, .path = incomplete_path(f) };

	c.way = (struct transfer_file){ .what = f->what,
					.url = f->url,
					.fd = -1,
					.bytes = f->bytes,
					.on_bytes = on_bytes,
					.user = &c };
	int status = bring(&c, t, err);

	hasher_abandon(c.hasher);
	if (status != 0 && status != ERR_BUSY && c.way.have == 0) {
		unlink(c.path); /* nothing came */
	}
	if (c.way.fd >= 0) {
		close(c.way.fd);
	}
	free(c.path);
	return status;
}

int store_get(const struct store_file *files, size_t count, const char *folder, struct transfer *t,
	      struct report *r, struct err *err)
{
	uint64_t there = 0, bytes;
	int status = fs_mkdirs(folder, 0755, err);

	for (size_t i = 0; i < count; i++) {
		r->pull.total_bytes += files[i].bytes;
		there += have_of(&files[i]);
	}
	if (status == 0 && there < r->pull.total_bytes) {
		status = check_room(folder, r->pull.total_bytes - there, err);
	}
	for (size_t i = 0; status == 0 && i < count; i++) {
		if (fs_size(files[i].path, &bytes) != 0 || bytes != files[i].bytes) {
			status = get(&files[i], t, r, err);
		}
		if (status == 0) {
			report_file_done(r, files[i].bytes);
		}
	}
	return status;
}

void store_files_free(struct store_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(files[i].what);
		free(files[i].url);
		free(files[i].path);
	}
	free(files);
}
