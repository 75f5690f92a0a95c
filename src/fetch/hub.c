/* SPDX-License-Identifier: MIT */
#include "fetch/hub.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"

#define NAME_MAX_BYTES 96     /* of an organisation or a repository: the hub's own limit */
#define SPLIT_SUFFIX_BYTES 20 /* "-00001-of-00003.gguf" */

/* Names */

static bool is_word(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c >= 0x80 || (!isalnum(c) && strchr("-_.", c) == NULL)) {
			return false;
		}
	}
	return s.len > 0 && s.len <= NAME_MAX_BYTES && s.ptr[0] != '.' && s.ptr[0] != '-' &&
	       span_find(s, "--") == s.len && span_find(s, "..") == s.len;
}

bool hub_source(struct span text, struct span *ret_repo, struct span *ret_name)
{
	struct span name = text, repo = span_split(&name, ':');
	struct span second = repo, first = span_split(&second, '/');

	if (!is_word(first) || !is_word(second) || (name.ptr != NULL && name.len == 0)) {
		return false;
	}
	*ret_repo = repo;
	*ret_name = name;
	return true;
}

static bool is_hash(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

/* A relative path of plain names. */
static bool is_path(struct span path)
{
	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.ptr[i];

		if (c < 0x20 || c == 0x7f || c == '\\') {
			return false;
		}
	}
	while (path.ptr != NULL) {
		struct span part = span_split(&path, '/');

		if (part.len == 0 || span_is(part, ".") || span_is(part, "..")) {
			return false;
		}
	}
	return true;
}

static bool is_quantization(struct span word)
{
	static const char *const names[] = { "F16",  "BF16", "F32",   "FP16",
					     "FP32", "FP8",  "MXFP4", "NVFP4" };
	size_t letters = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (span_is_nocase(word, names[i])) {
			return true;
		}
	}
	while (letters < word.len && isalpha((unsigned char)word.ptr[letters])) {
		letters++;
	}
	struct span head = { word.ptr, letters };

	return letters < word.len && isdigit((unsigned char)word.ptr[letters]) &&
	       (span_is_nocase(head, "Q") || span_is_nocase(head, "IQ") ||
		span_is_nocase(head, "TQ"));
}

/* The file's name without folder, ".gguf" and the number of a part. */
static struct span stem_of(struct span path)
{
	struct span name = path;

	while (path.ptr != NULL) {
		name = span_split(&path, '/');
	}
	bool is_part = name.len > SPLIT_SUFFIX_BYTES &&
		       span_has_prefix(span_from(name, name.len - SPLIT_SUFFIX_BYTES + 6), "-of-");

	name.len -= is_part ? SPLIT_SUFFIX_BYTES : strlen(".gguf");
	return name;
}

struct span hub_quantization(struct span path)
{
	struct span rest = stem_of(path), found = { rest.ptr + rest.len, 0 }, before = { 0 };

	while (rest.len > 0) {
		size_t dash = span_find_char(rest, '-'), dot = span_find_char(rest, '.');
		struct span word = { rest.ptr, dash < dot ? dash : dot };

		if (is_quantization(word)) {
			found = word;
			if (span_is_nocase(before, "UD")) {
				found = (struct span){ before.ptr, before.len + 1 + word.len };
			}
		}
		before = word;
		rest = span_from(rest, word.len + 1);
	}
	return found;
}

static bool has_word(struct span path, const char *word)
{
	size_t len = strlen(word), at = 0;

	while (at + len <= path.len && strncasecmp(path.ptr + at, word, len) != 0) {
		at++;
	}
	return at + len <= path.len;
}

/* Reading */

static int refuse(struct err *err, const char *what)
{
	return err_set(err, ERR_PROTOCOL,
		       "the hub's answer is not what it should be (%s). If HF_ENDPOINT is set: is "
		       "it a hub?",
		       what);
}

/* 1: it is taken, 0: it is no GGUF, else an error. */
static int read_file(const struct json_value *v, struct hub_file *f, struct err *err)
{
	struct span path = span_of(json_text_at(v, "rfilename", ""));
	const struct json_value *lfs = json_get(v, "lfs");
	const char *sha256 = json_text_at(lfs, "sha256", "");
	const char *blob = lfs != NULL ? sha256 : json_text_at(v, "blobId", "");
	int64_t bytes = json_i64_at(v, "size", -1);

	if (!span_has_suffix(path, ".gguf") || stem_of(path).len == 0) {
		return 0;
	}
	if (!is_path(path)) {
		return refuse(err, "a file's path");
	}
	if (bytes < 0 || !(is_hash(blob, 64) || (lfs == NULL && is_hash(blob, 40)))) {
		return refuse(err, "a file's size or hash");
	}
	f->path = mem_spandup(path);
	f->bytes = (uint64_t)bytes;
	span_copy(span_of(blob), f->blob, sizeof(f->blob));
	span_copy(span_of(sha256), f->sha256, sizeof(f->sha256));
	return 1;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct hub_file *)a)->path, ((const struct hub_file *)b)->path);
}

static int by_bytes(const void *a, const void *b)
{
	const struct hub_model *x = a, *y = b;

	return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : strcmp(x->name, y->name);
}

static int read_files(struct hub_repo *r, const struct json_value *list, struct err *err)
{
	if (json_type(list) != JSON_ARRAY || json_count(list) > HUB_FILES_MAX) {
		return refuse(err, "the list of files");
	}
	r->files = mem_alloc((json_count(list) + 1) * sizeof(*r->files));
	JSON_EACH (it, list) {
		int status = read_file(it.value, &r->files[r->file_count], err);

		if (status < 0) {
			return status;
		}
		r->file_count += (size_t)status;
	}
	qsort(r->files, r->file_count, sizeof(*r->files), by_path);
	return 0;
}

/* Parts of a split model have the same folder and stem. */
static bool is_same_model(const struct hub_file *a, const struct hub_file *b)
{
	struct span x = stem_of(span_of(a->path)), y = stem_of(span_of(b->path));
	size_t len = (size_t)(x.ptr - a->path) + x.len;

	return len == (size_t)(y.ptr - b->path) + y.len && strncmp(a->path, b->path, len) == 0;
}

static struct span quantization_of(const struct hub_repo *r, size_t model)
{
	return hub_quantization(span_of(r->files[r->models[model].first].path));
}

static void name_models(struct hub_repo *r)
{
	for (size_t i = 0; i < r->model_count; i++) {
		char *name = r->models[i].name;

		span_copy(quantization_of(r, i), name, sizeof(r->models[i].name));
		bool is_alone = name[0] != '\0';

		for (size_t k = 0; is_alone && k < r->model_count; k++) {
			is_alone = k == i || !span_is_nocase(quantization_of(r, k), name);
		}
		if (!is_alone) {
			span_copy(stem_of(span_of(r->files[r->models[i].first].path)), name,
				  sizeof(r->models[i].name));
		}
	}
}

static void group_files(struct hub_repo *r)
{
	r->models = mem_alloc((r->file_count + 1) * sizeof(*r->models));
	for (size_t i = 0; i < r->file_count; i++) {
		const struct hub_file *f = &r->files[i];
		struct span path = span_of(f->path);

		if (has_word(path, "mmproj")) {
			if (r->projector == NULL || span_is_nocase(hub_quantization(path), "F16")) {
				r->projector = f;
			}
		} else if (r->model_count > 0 && i > 0 && is_same_model(f, f - 1)) {
			r->models[r->model_count - 1].parts++;
			r->models[r->model_count - 1].bytes += f->bytes;
		} else if (!has_word(path, "imatrix")) {
			r->models[r->model_count++] = (struct hub_model){ "", i, 1, f->bytes };
		}
	}
	name_models(r);
	qsort(r->models, r->model_count, sizeof(*r->models), by_bytes);
}

int hub_read(struct hub_repo *r, struct span repo, struct span answer, struct err *err)
{
	struct json *doc = json_parse(answer, NULL);
	const struct json_value *root = json_root(doc);
	const char *commit = json_text_at(root, "sha", "");
	int status;

	*r = (struct hub_repo){ 0 };
	span_copy(repo, r->name, sizeof(r->name));
	if (!is_hash(commit, 40)) {
		status = refuse(err, doc == NULL ? "it is no JSON" : "the commit");
	} else {
		span_copy(span_of(commit), r->commit, sizeof(r->commit));
		status = read_files(r, json_get(root, "siblings"), err);
	}
	json_destroy(doc);
	if (status == 0) {
		group_files(r);
	}
	if (status == 0 && r->model_count == 0) {
		status = err_set(err, ERR_NOT_FOUND,
				 "%s has no GGUF file. Look for a repository whose name ends in "
				 "-GGUF",
				 r->name);
	}
	return status;
}

void hub_finish(struct hub_repo *r)
{
	for (size_t i = 0; i < r->file_count; i++) {
		free(r->files[i].path);
	}
	free(r->files);
	free(r->models);
	*r = (struct hub_repo){ 0 };
}

const struct hub_model *hub_find(const struct hub_repo *r, struct span name)
{
	for (size_t i = 0; i < r->model_count; i++) {
		const struct hub_model *m = &r->models[i];
		const char *path = r->files[m->first].path;

		ENSURE(path != NULL);
		if (span_is_nocase(name, m->name) || span_is(name, path) ||
		    span_equal(name, stem_of(span_of(path)))) {
			return m;
		}
	}
	return NULL;
}

/* Places */

char *hub_folder(const char *cache, const char *repo)
{
	size_t org = span_find_char(span_of(repo), '/');

	return mem_printf("%s/models--%.*s--%s", cache, (int)org, repo, repo + org + 1);
}

char *hub_blob_path(const char *folder, const struct hub_file *f)
{
	return mem_printf("%s/blobs/%s", folder, f->blob);
}

char *hub_snapshot_path(const char *folder, const struct hub_repo *r, const struct hub_file *f)
{
	return mem_printf("%s/snapshots/%s/%s", folder, r->commit, f->path);
}

char *hub_link_target(const struct hub_file *f)
{
	struct buf up;

	buf_init(&up, 4096);
	buf_add_text(&up, "../../");
	for (const char *c = f->path; *c != '\0'; c++) {
		if (*c == '/') {
			buf_add_text(&up, "../");
		}
	}
	buf_printf(&up, "blobs/%s", f->blob);
	return buf_detach(&up);
}

char *hub_url(const char *endpoint, const struct hub_repo *r, const struct hub_file *f)
{
	struct buf url;

	buf_init(&url, 16384);
	buf_printf(&url, "%s/%s/resolve/%s/", endpoint, r->name, r->commit);
	for (const unsigned char *c = (const unsigned char *)f->path; *c != '\0'; c++) {
		if (*c < 0x80 && (isalnum(*c) || strchr("-._~/", *c) != NULL)) {
			buf_add_char(&url, (char)*c);
		} else {
			buf_printf(&url, "%%%02X", *c);
		}
	}
	return buf_detach(&url);
}
