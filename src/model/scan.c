/* SPDX-License-Identifier: MIT */
#include "model/scan.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"

#define FINGERPRINT_BYTES 65536 /* of the head and of the tail */
#define OLLAMA_MODEL "application/vnd.ollama.image.model"
#define OLLAMA_PROJECTOR "application/vnd.ollama.image.projector"

/* A folder being walked; the chain to the root tells links that lead in circles. */
struct place {
	const struct place *parent;
	const char *path;
	dev_t device;
	ino_t inode;
	int depth;
	const char *store; /* of Ollama, where the folder is within its manifests; else NULL */
};

static int walk(struct scan *s, const struct place *place, struct err *err);

void scan_fingerprint(const char *path, char ret_fingerprint[DIGEST_HEX_BYTES])
{
	uint64_t bytes;
	FILE *f = fs_size(path, &bytes) == 0 ? fopen(path, "rb") : NULL;

	ret_fingerprint[0] = '\0';
	if (f == NULL) {
		return;
	}
	struct digest *d = digest_create();
	char *chunk = mem_alloc(FINGERPRINT_BYTES);

	digest_add(d, &bytes, sizeof(bytes));
	digest_add(d, chunk, fread(chunk, 1, FINGERPRINT_BYTES, f));
	if (fseek(f, -FINGERPRINT_BYTES, SEEK_END) == 0) {
		digest_add(d, chunk, fread(chunk, 1, FINGERPRINT_BYTES, f));
	}
	digest_hex(d, ret_fingerprint);
	fclose(f);
	digest_destroy(d);
	free(chunk);
}

static void model_drop(struct scan_model *m)
{
	free(m->path);
	free(m->mmproj_path);
	free(m->name);
	gguf_finish(&m->gguf);
}

static bool is_there(const struct scan_model *list, size_t count, const struct scan_model *m)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].fingerprint, m->fingerprint) == 0) {
			return true;
		}
	}
	return false;
}

/* Appends it to the models or projectors; takes it over. */
static int keep(struct scan *s, struct scan_model *m, struct err *err)
{
	bool is_projector = m->gguf.role == GGUF_PROJECTOR;
	struct scan_model **list = is_projector ? &s->projectors : &s->models;
	size_t *count = is_projector ? &s->projector_count : &s->count;
	int status = 0;

	scan_fingerprint(m->path, m->fingerprint);
	if (m->gguf.role != GGUF_OTHER && !is_there(*list, *count, m)) {
		if (*count < SCAN_MODELS_MAX) {
			*list = mem_resize(*list, *count + 1, sizeof((*list)[0]));
			(*list)[(*count)++] = *m;
			return 0;
		}
		status = err_set(err, ERR_FULL, "the model %s is left out: %d are taken at most",
				 m->path, SCAN_MODELS_MAX);
	}
	model_drop(m);
	return status;
}

/*
 * One file that may be a model, or err why it cannot be used. `name` NULL: made from the file's. A
 * model in parts is told once: by the first of them, or by the second where that is missing.
 */
static int look_at(struct scan *s, const char *path, const char *name, const char *mmproj_path,
		   struct err *err)
{
	struct scan_model m = { .is_blob = name != NULL };
	uint32_t part = 0, count;
	char *first = gguf_part_path(path, 0, &part, &count);
	int status = 0;

	if (part == 1 && !fs_is_file(first)) {
		status = err_set(err, ERR_INVALID,
				 "the model %s is not complete: its first part is not there; get "
				 "it again",
				 path);
	} else if (part == 0) {
		status = gguf_read_path(&m.gguf, path, err);
		if (status == 0) {
			m.path = mem_strdup(path);
			m.name = name != NULL ? mem_strdup(name) : model_made_name(path);
			m.mmproj_path = mem_strdup(mmproj_path);
			status = keep(s, &m, err);
		} else {
			gguf_finish(&m.gguf);
		}
	}
	free(first);
	return status;
}

/* Ollama */

/* The path of the blob that a layer names, or NULL when it names none; free() it. */
static char *blob_path(const char *store, const struct json_value *layers, const char *media_type)
{
	JSON_EACH (it, layers) {
		struct span digest = span_of(json_text_at(it.value, "digest", ""));

		if (strcmp(json_text_at(it.value, "mediaType", ""), media_type) == 0 &&
		    digest.len == 71 && span_has_prefix(digest, "sha256:") &&
		    strspn(digest.ptr + 7, "0123456789abcdef") == 64) {
			return mem_printf("%s/blobs/sha256-%s", store, digest.ptr + 7);
		}
	}
	return NULL;
}

/* "llama3.2:3b" of ".../library/llama3.2/3b"; "org/model:tag" of others. */
static char *ollama_name(const char *manifest)
{
	const char *parts[3] = { manifest, manifest, manifest };

	for (const char *c = manifest; *c != '\0'; c++) {
		if (*c == '/') {
			parts[0] = parts[1];
			parts[1] = parts[2];
			parts[2] = c + 1;
		}
	}
	const char *from = strncmp(parts[0], "library/", 8) == 0 ? parts[1] : parts[0];

	return mem_printf("%.*s:%s", (int)(parts[2] - 1 - from), from, parts[2]);
}

static int look_at_manifest(struct scan *s, const char *store, const char *path, struct err *err)
{
	struct buf text;
	struct json *json = NULL;
	int status = 0;

	buf_init(&text, SCAN_MANIFEST_MAX_BYTES);
	if (fs_read(path, &text, NULL) == 0) {
		json = json_parse(buf_span(&text), NULL);
	}
	const struct json_value *layers = json_get(json_root(json), "layers");
	char *model = blob_path(store, layers, OLLAMA_MODEL);
	char *projector = blob_path(store, layers, OLLAMA_PROJECTOR);
	char *name = ollama_name(path);

	if (model != NULL) {
		status = look_at(s, model, name, projector, err);
	}
	free(name);
	free(projector);
	free(model);
	json_destroy(json);
	buf_finish(&text);
	return status;
}

/* Folders */

static bool is_circle(const struct place *place, const struct stat *st)
{
	for (; place != NULL; place = place->parent) {
		if (place->device == st->st_dev && place->inode == st->st_ino) {
			return true;
		}
	}
	return false;
}

static void visit(struct scan *s, const struct place *place, const char *name)
{
	char *path = fs_join(place->path, name);
	size_t len = strlen(name);
	bool is_model = len > 5 && strcasecmp(name + len - 5, ".gguf") == 0;
	struct stat st;
	struct err err;
	int status = 0;

	if (++s->entries > SCAN_ENTRIES_MAX) {
		status = err_set(&err, ERR_FULL,
				 "%s and what follows is left out: %d files are looked at", path,
				 SCAN_ENTRIES_MAX);
	} else if (stat(path, &st) != 0) {
		status = is_model ? err_set(&err, ERR_NOT_FOUND,
					    "the model %s is a link to a file that is gone", path)
				  : 0;
	} else if (S_ISDIR(st.st_mode) && !is_circle(place, &st)) {
		status = walk(s,
			      &(struct place){ place, path, st.st_dev, st.st_ino, place->depth + 1,
					       strcmp(name, "manifests") == 0 ? place->path
									      : place->store },
			      &err);
	} else if (S_ISREG(st.st_mode) && is_model) {
		status = look_at(s, path, NULL, NULL, &err);
	} else if (S_ISREG(st.st_mode) && place->store != NULL) {
		status = look_at_manifest(s, place->store, path, &err);
	}
	if (status != 0) {
		size_t at = s->problem_count++;

		span_copy(span_of(err.text),
			  s->problems[at < SCAN_PROBLEMS_MAX ? at : SCAN_PROBLEMS_MAX - 1],
			  sizeof(s->problems[0]));
	}
	free(path);
}

static size_t folder_len(const char *path)
{
	return (size_t)(strrchr(path, '/') - path);
}

static bool is_beside(const struct scan_model *a, const struct scan_model *b)
{
	size_t len = folder_len(a->path);

	return len == folder_len(b->path) && strncmp(a->path, b->path, len) == 0;
}

static bool same_model(const struct gguf *a, const struct gguf *b)
{
	return strcasecmp(a->basename, b->basename) == 0 &&
	       strcasecmp(a->size_label, b->size_label) == 0;
}

/* Of one folder's projectors: one made for the model, F16 before others. */
static void attach_projector(struct scan *s, struct scan_model *m)
{
	const struct scan_model *best = NULL;
	bool is_alone = true; /* no other model lies in the folder */

	for (size_t i = 0; i < s->count; i++) {
		is_alone = is_alone && (!is_beside(m, &s->models[i]) ||
					same_model(&m->gguf, &s->models[i].gguf));
	}
	for (size_t i = 0; i < s->projector_count; i++) {
		const struct scan_model *p = &s->projectors[i];
		bool fits = is_beside(m, p) && (is_alone || (m->gguf.basename[0] != '\0' &&
							     same_model(&m->gguf, &p->gguf)));

		if (fits && (best == NULL || strcmp(p->gguf.quantization, "F16") == 0)) {
			best = p;
		}
	}
	if (best != NULL) {
		m->mmproj_path = mem_strdup(best->path);
	}
}

static int walk(struct scan *s, const struct place *place, struct err *err)
{
	struct dirent **names;

	if (place->depth > SCAN_DEPTH_MAX) {
		return err_set(err, ERR_FULL, "the folder %s lies too deep to be looked into",
			       place->path);
	}
	int count = scandir(place->path, &names, NULL, alphasort);

	if (count < 0) {
		return err_set_os(err, -errno, "looking for models in %s", place->path);
	}
	for (int i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.' && s->entries <= SCAN_ENTRIES_MAX) {
			visit(s, place, names[i]->d_name);
		}
		free(names[i]);
	}
	free(names);
	return 0;
}

void scan_init(struct scan *s)
{
	*s = (struct scan){ 0 };
}

int scan_folder(struct scan *s, const char *folder, struct err *err)
{
	struct stat st = { 0 }; /* where it is not there, walk says so */
	size_t before = s->count;

	stat(folder, &st);
	int status =
		walk(s, &(struct place){ .path = folder, .device = st.st_dev, .inode = st.st_ino },
		     err);

	for (size_t i = before; status == 0 && i < s->count; i++) {
		if (!s->models[i].is_blob) {
			attach_projector(s, &s->models[i]);
		}
	}
	return status;
}

int scan_file(struct scan *s, const char *path, const char *mmproj_path, struct err *err)
{
	size_t before = s->count;
	int status = look_at(s, path, NULL, mmproj_path, err);

	if (status != 0 || s->count > before) {
		return status;
	}
	return err_set(
		err, ERR_INVALID,
		"%s is not a model by itself (a later part, a projector or an adapter). Name "
		"the model's first file",
		path);
}

void scan_finish(struct scan *s)
{
	if (s == NULL) {
		return;
	}
	for (size_t i = 0; i < s->count; i++) {
		model_drop(&s->models[i]);
	}
	for (size_t i = 0; i < s->projector_count; i++) {
		model_drop(&s->projectors[i]);
	}
	free(s->models);
	free(s->projectors);
	scan_init(s);
}
