/* SPDX-License-Identifier: MIT */
/*
 * What a Hugging Face repository offers, and where its files lie in the hub's cache on disk. Pure.
 *
 * One request tells all: GET {endpoint}/api/models/ORG/REPO/revision/main?blobs=true. Its answer is
 * hostile input: paths that lead elsewhere, names that are no hashes and the like are refused.
 *
 * The cache is the hub's own, so that its other tools share the files:
 *   CACHE/models--ORG--REPO/refs/main                    the commit
 *   CACHE/models--ORG--REPO/blobs/HASH                   the bytes; HASH.incomplete while they come
 *   CACHE/models--ORG--REPO/snapshots/COMMIT/PATH        a relative link to the blob
 */
#ifndef FETCH_HUB_H
#define FETCH_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

#define HUB_ANSWER_MAX_BYTES (16u << 20)
#define HUB_FILES_MAX 4096
#define HUB_HASH_MAX_BYTES DIGEST_HEX_BYTES

struct hub_file {
	char *path; /* in the repository */
	uint64_t bytes;
	char blob[HUB_HASH_MAX_BYTES];	 /* its name in the cache */
	char sha256[HUB_HASH_MAX_BYTES]; /* "": the hub says none (small files) */
};

/* A model of the repository: one file, or the parts of a split one; they stand side by side. */
struct hub_model {
	char name[96]; /* "Q4_K_M"; where two have that, the file's name without ".gguf" */
	size_t first, parts;
	uint64_t bytes;
};

struct hub_repo {
	char name[257]; /* "ORG/REPO" */
	char commit[HUB_HASH_MAX_BYTES];
	struct hub_file *files; /* the .gguf ones, by path */
	size_t file_count;
	struct hub_model *models; /* smallest first; no projectors among them */
	size_t model_count;
	const struct hub_file *projector; /* NULL: none; F16 before others */
};

/* Takes apart ORG/REPO and ORG/REPO:NAME. False: it is neither. Borrowed from text. */
bool hub_source(struct span text, struct span *ret_repo, struct span *ret_name);

/* Reads the hub's answer. ERR_PROTOCOL; ERR_NOT_FOUND when there is no GGUF in it. */
int hub_read(struct hub_repo *r, struct span repo, struct span answer, struct err *err);
void hub_finish(struct hub_repo *r);

/* By name without regard to case, or by the path of a file of it. NULL: none. */
const struct hub_model *hub_find(const struct hub_repo *r, struct span name);

/* The quantization that a file's name tells: "UD-Q4_K_XL"; empty when it tells none. */
struct span hub_quantization(struct span path);

/* All to be freed. */
char *hub_folder(const char *cache, const char *repo);
char *hub_blob_path(const char *folder, const struct hub_file *f);
char *hub_snapshot_path(const char *folder, const struct hub_repo *r, const struct hub_file *f);
char *hub_link_target(const struct hub_file *f); /* what the snapshot's link says */
char *hub_url(const char *endpoint, const struct hub_repo *r, const struct hub_file *f);

#endif
