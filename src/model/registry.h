/* SPDX-License-Identifier: MIT */
/*
 * model_registry.json: the models that there are, their ports and settings.
 *
 * The form is upstream's; fields of ours stand beside theirs; fields that nobody knows survive a
 * rewrite. For the host the file is hostile input (containers write it): every field is typed and
 * bounded, a bad model is refused alone with its reason and the others stay, no field becomes a
 * free-form flag, errors quote no content but names and numbers.
 *
 * Ownership: a registry owns its models and the document they came from.
 */
#ifndef MODEL_REGISTRY_H
#define MODEL_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "model/settings.h"

#define REGISTRY_FILE_MAX_BYTES (4u << 20)
#define REGISTRY_MODELS_MAX 1000
#define REGISTRY_ID_MAX_BYTES 129 /* 128 characters and the terminator */
#define REGISTRY_ALIASES_MAX 8
#define REGISTRY_PROBLEMS_MAX 64

struct model {
	char id[REGISTRY_ID_MAX_BYTES];
	char *name;		     /* display name: ours, else made from file name and family */
	char *file_path;	     /* as the registry says: absolute, or below /models */
	char *mmproj_path;	     /* NULL: none */
	char *family, *quantization; /* NULL when not said */
	double size_params;	     /* billions; 0: not said; as it was read or added */
	bool enabled;
	uint16_t port; /* assigned when the file says none; 0 only in what registry_add is given */
	struct settings settings;
	char *aliases[REGISTRY_ALIASES_MAX]; /* as they were read or added */
	int alias_count;
	size_t entry; /* private: which member of the file, counted from 1; 0: added since */
};

struct registry_problem {
	char id[REGISTRY_ID_MAX_BYTES]; /* "" when the file as a whole is meant */
	char text[256];			/* "models.qwen3.port: 70000 is outside 8080..8099" */
};

struct registry {
	struct model *models; /* accepted ones, in the file's order */
	size_t count;
	uint16_t port_min, port_max;
	struct registry_problem problems[REGISTRY_PROBLEMS_MAX];
	size_t problem_count; /* may exceed REGISTRY_PROBLEMS_MAX: then the rest is only counted */
	struct json *doc;     /* private: what was read, for unknown fields */
	bool *refused;	      /* private: per member of the file: kept as it is by a rewrite */
	size_t capacity;      /* private: of models */
};

/*
 * Reads text. Ports must lie in [port_min, port_max] of the caller (host.conf), which also narrow
 * the file's own port_range. 0 even when single models were refused (see problems); ERR_INVALID
 * when the file as a whole is not a registry.
 */
int registry_parse(struct registry *r, struct span text, uint16_t port_min, uint16_t port_max,
		   struct err *err);
/* fs_read + registry_parse; -ENOENT when there is none. */
int registry_load(struct registry *r, const char *path, uint16_t port_min, uint16_t port_max,
		  struct err *err);
void registry_init_empty(struct registry *r, uint16_t port_min, uint16_t port_max);
void registry_finish(struct registry *r);

/* By id, without regard to case, then by alias. NULL: none. */
struct model *registry_find(const struct registry *r, struct span id_or_alias);
/* The id nearest to a mistyped one, or NULL when none is near. */
const char *registry_nearest(const struct registry *r, struct span id);

/*
 * Adds a model (copied); an empty port gets the lowest free one. ERR_BUSY for an id, alias or port
 * that is taken, ERR_FULL when no port is free.
 */
int registry_add(struct registry *r, const struct model *m, struct err *err);
/* Also of a refused one, which no longer is in the file then. 0 or ERR_NOT_FOUND. */
int registry_remove(struct registry *r, const char *id);
/* ERR_INVALID outside the registry's range, ERR_BUSY when another model has it. */
int registry_set_port(struct registry *r, struct model *m, int64_t port, struct err *err);
/*
 * A path of the registry as one of this machine and back: /models/X, and what is relative, lies in
 * `root` (NULL: nowhere else). free() them; NULL stays NULL.
 */
char *registry_host_path(const char *root, const char *file_path);
char *registry_file_path(const char *root, const char *host_path);
/* The display name of a model whose file says none: its file name without ".gguf"; free() it. */
char *model_made_name(const char *file_path);
/* Frees what a model made by hand owns; those of a registry are the registry's. */
void model_finish(struct model *m);

/*
 * The whole file as text: known fields from the models, unknown ones and refused models from what
 * was read. What did not change is written as it was read, but assigned ports are written down.
 * 0 or ERR_FULL.
 */
int registry_write(const struct registry *r, struct buf *out);
/* registry_write + fs_replace. */
int registry_save(const struct registry *r, const char *path, struct err *err);

/* Whether text is [A-Za-z0-9][A-Za-z0-9._-]{0,127}. */
bool registry_id_is_valid(struct span id);

#endif
