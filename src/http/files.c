/* SPDX-License-Identifier: MIT */
#include "http/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"

#define FILES_DEPTH_MAX 8

struct file {
	char *path; /* "/assets/index-Bx3kQ9aZ.js" */
	struct buf content;
	char etag[20]; /* quotes, 16 hex digits */
};

struct files {
	struct files_options options;
	struct file *list;
	size_t count;
	size_t total_bytes;
};

/* Loading */

static int load_file(struct files *f, const char *disk_path, const char *path, struct err *err)
{
	struct file file = { .path = NULL };
	char hex[DIGEST_HEX_BYTES];

	if (f->count == FILES_COUNT_MAX) {
		return err_set(err, ERR_FULL, "%s has more than %d files", f->options.folder,
			       FILES_COUNT_MAX);
	}
	buf_init(&file.content, FILES_TOTAL_MAX_BYTES - f->total_bytes);
	int status = fs_read(disk_path, &file.content, err);

	if (status != 0) {
		buf_finish(&file.content);
		return status;
	}
	digest_hex_of(buf_span(&file.content), hex);
	snprintf(file.etag, sizeof(file.etag), "\"%.16s\"", hex);
	file.path = mem_strdup(path);
	f->total_bytes += file.content.len;
	f->list = mem_resize(f->list, f->count + 1, sizeof(*f->list));
	f->list[f->count++] = file;
	return 0;
}

static int load_folder(struct files *f, const char *disk_path, const char *path, int depth,
		       struct err *err);

static int load_entry(struct files *f, const char *disk_folder, const char *folder,
		      const char *name, int depth, struct err *err)
{
	char *disk_path = fs_join(disk_folder, name);
	char *path = fs_join(folder, name);
	int status = 0;

	if (fs_is_folder(disk_path)) {
		status = load_folder(f, disk_path, path, depth + 1, err);
	} else if (fs_is_file(disk_path)) {
		status = load_file(f, disk_path, path, err);
	}
	free(path);
	free(disk_path);
	return status;
}

static int load_folder(struct files *f, const char *disk_path, const char *path, int depth,
		       struct err *err)
{
	DIR *dir = depth < FILES_DEPTH_MAX ? opendir(disk_path) : NULL;
	const struct dirent *entry;
	int status = 0;

	if (dir == NULL) {
		return err_set_os(err, depth < FILES_DEPTH_MAX ? -errno : -ELOOP,
				  "reading the folder %s", disk_path);
	}
	while (status == 0 && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			status = load_entry(f, disk_path, path, entry->d_name, depth, err);
		}
	}
	closedir(dir);
	return status;
}

struct files *files_load(const struct files_options *options, struct err *err)
{
	struct files *f = mem_alloc(sizeof(*f));

	ENSURE(options->field_count <= FILES_FIELDS_MAX);
	f->options = *options;
	if (load_folder(f, options->folder, "/", 0, err) != 0) {
		files_destroy(f);
		return NULL;
	}
	return f;
}

void files_destroy(struct files *f)
{
	if (f == NULL) {
		return;
	}
	for (size_t i = 0; i < f->count; i++) {
		free(f->list[i].path);
		buf_finish(&f->list[i].content);
	}
	free(f->list);
	free(f);
}

/* Serving */

static const struct file *find(const struct files *f, const char *path, const char *suffix)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < f->count; i++) {
		const char *candidate = f->list[i].path;

		if (strncmp(candidate, path, len) == 0 && strcmp(candidate + len, suffix) == 0) {
			return &f->list[i];
		}
	}
	return NULL;
}

static const char *content_type(const char *path)
{
	static const char *const types[][2] = {
		{ ".html", "text/html; charset=utf-8" },
		{ ".js", "text/javascript; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" },
		{ ".json", "application/json" },
		{ ".map", "application/json" },
		{ ".webmanifest", "application/manifest+json" },
		{ ".txt", "text/plain; charset=utf-8" },
		{ ".svg", "image/svg+xml" },
		{ ".png", "image/png" },
		{ ".ico", "image/x-icon" },
		{ ".woff2", "font/woff2" },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (span_has_suffix(span_of(path), types[i][0])) {
			return types[i][1];
		}
	}
	return "application/octet-stream";
}

static const struct file *resolve(const struct files *f, const char **path)
{
	const struct file *file;

	if (strcmp(*path, "/") == 0) {
		*path = "/index.html";
	}
	file = find(f, *path, "");
	if (file == NULL && f->options.fall_back_to_index && strchr(*path, '.') == NULL) {
		*path = "/index.html";
		file = find(f, *path, "");
	}
	if (span_has_suffix(span_of(*path), ".br") || span_has_suffix(span_of(*path), ".gz")) {
		return NULL; /* a form of another file */
	}
	return file;
}

/* The form that the browser can read best. */
static const struct file *choose(const struct files *f, const struct file *plain, const char *path,
				 const struct h1_head *head, const char **ret_encoding)
{
	static const char *const forms[][2] = { { "br", ".br" }, { "gzip", ".gz" } };

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		const struct file *file = find(f, path, forms[i][1]);

		if (file != NULL &&
		    h1_lists(head, SPAN_LIT("accept-encoding"), span_of(forms[i][0]))) {
			*ret_encoding = forms[i][0];
			return file;
		}
	}
	*ret_encoding = NULL;
	return plain;
}

void files_serve(const struct files *f, struct exchange *x)
{
	const struct request *request = exchange_request(x);
	const char *path = request->path;
	const struct file *file = resolve(f, &path);
	const char *encoding;

	if (request->method != H1_GET && request->method != H1_HEAD) {
		exchange_fail_method(x, "GET, HEAD",
				     &(struct err){ ERR_METHOD, "files are only read: use GET" });
		return;
	}
	if (file == NULL) {
		exchange_fail(x, &(struct err){ ERR_NOT_FOUND, "there is no such page" });
		return;
	}
	file = choose(f, file, path, request->head, &encoding);
	struct span caching = span_has_prefix(span_of(path), "/assets/")
				      ? SPAN_LIT("public, max-age=31536000, immutable")
				      : SPAN_LIT("no-cache");
	struct h1_field fields[4 + FILES_FIELDS_MAX] = {
		{ SPAN_LIT("ETag"), span_of(file->etag) },
		{ SPAN_LIT("Cache-Control"), caching },
		{ SPAN_LIT("Vary"), SPAN_LIT("Accept-Encoding") },
		{ SPAN_LIT("Content-Encoding"), span_of(encoding) },
	};
	struct reply reply = { 200, content_type(path), fields, encoding != NULL ? 4 : 3 };

	for (size_t i = 0; i < f->options.field_count; i++) {
		fields[reply.field_count++] = f->options.fields[i];
	}
	if (h1_lists(request->head, SPAN_LIT("if-none-match"), span_of(file->etag))) {
		reply.status = 304;
		exchange_reply(x, &reply, SPAN_LIT(""));
	} else {
		exchange_reply(x, &reply, buf_span(&file->content));
	}
}
