/* SPDX-License-Identifier: MIT */
/*
 * Finding the models that are on this machine: folder trees, Hugging Face's cache, LM Studio's and
 * llama.cpp's folders (all of them trees of .gguf files, with links), and Ollama's store (manifests
 * that name blobs). And putting what was found into a registry.
 *
 * Depth and counts are bounded, links that lead in circles end. A file that is there twice (by
 * link, by inode, or as a copy) is one model; the parts of a split model are one; a projector
 * (mmproj) is attached to the model beside it. What looks like a model and cannot be used, and what
 * lies beyond a bound, is told, not fatal.
 */
#ifndef MODEL_SCAN_H
#define MODEL_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "model/gguf.h"
#include "model/registry.h"

#define SCAN_DEPTH_MAX 10
#define SCAN_ENTRIES_MAX 200000
#define SCAN_MODELS_MAX REGISTRY_MODELS_MAX
#define SCAN_PROBLEMS_MAX 32
#define SCAN_MANIFEST_MAX_BYTES 65536

struct scan_model {
	char *path;	   /* as it was come by; of the first part */
	char *mmproj_path; /* NULL: none */
	char *name;	   /* for display: "Qwen3-4B-Q4_K_M", "llama3.2:3b" */
	bool is_blob;	   /* of Ollama: its path names nothing */
	struct gguf gguf;
	char fingerprint[DIGEST_HEX_BYTES]; /* of the first part */
};

struct scan {
	struct scan_model *models; /* in the order of their paths */
	size_t count;
	struct scan_model *projectors; /* likewise */
	size_t projector_count;
	size_t entries;			       /* files and folders looked at */
	char problems[SCAN_PROBLEMS_MAX][512]; /* the first ones, and the last */
	size_t problem_count;		       /* may exceed SCAN_PROBLEMS_MAX */
};

void scan_init(struct scan *s);
/* Adds what is below the folder. The system's code when the folder itself cannot be read. */
int scan_folder(struct scan *s, const char *folder, struct err *err);
/* Adds one file, with its further parts; err says why it is no model. mmproj_path may be NULL. */
int scan_file(struct scan *s, const char *path, const char *mmproj_path, struct err *err);
void scan_finish(struct scan *s);

/* Of a file's size, head and tail: tells copies without reading all. "" when it cannot be read. */
void scan_fingerprint(const char *path, char ret_fingerprint[DIGEST_HEX_BYTES]);

enum scan_fate { SCAN_ADDED, SCAN_KNOWN, SCAN_MISSING, SCAN_REFUSED };

struct scan_line {
	enum scan_fate fate;
	char id[REGISTRY_ID_MAX_BYTES];
	char text[256]; /* the path; why it was refused */
};

struct scan_report {
	struct scan_line *lines; /* free() it */
	size_t count;
};

/*
 * Puts what was found into the registry: new models get a readable id that no other has and a free
 * port, and are not enabled; models that are there (the file that their path leads to, or a copy of
 * it) stay as they are. `model_root` is the folder that the registry calls /models. Models of the
 * registry whose file is gone are reported, not removed.
 */
void scan_merge(const struct scan *s, struct registry *r, const char *model_root,
		struct scan_report *ret_report);

/*
 * scan_file and scan_merge of one file of the registry's terms, whose model is enabled then; one
 * that cannot be seen from here is taken by its name. mmproj_path "": none. *ret_id: also of a
 * known one.
 */
int scan_add(struct registry *r, const char *file_path, const char *mmproj_path,
	     const char *model_root, char ret_id[REGISTRY_ID_MAX_BYTES], struct err *err);

#endif
