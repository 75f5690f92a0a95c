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

#define REGISTRY_FILE_MAX_BYTES (4u << 20)
#define REGISTRY_MODELS_MAX 1000
#define REGISTRY_ID_MAX_BYTES 129 /* 128 characters and the terminator */
#define REGISTRY_ALIASES_MAX 8
#define REGISTRY_PROBLEMS_MAX 64

/*
 * The typed settings: X(field, json name, kind, minimum, maximum, sentence for help and the page).
 * Kinds: INT, BOOL, TRI (on|off|auto), KV (a cache type's name). One table feeds the reader, the
 * writer, `ronzal set`, the settings form and the API.
 */
#define SETTING_TABLE(X) \
	X(n_gpu_layers, "n_gpu_layers", INT, 0, 999, "layers on the GPU; unset: all") \
	X(ctx_size, "ctx_size", INT, 0, 16777216, "context in tokens; 0: the model's own") \
	X(n_threads, "n_threads", INT, 1, 1024, "CPU threads; unset: the engine's choice") \
	X(batch_size, "batch_size", INT, 1, 65536, "tokens per prompt batch") \
	X(parallel, "parallel", INT, 1, 64, "slots; the context is divided by them") \
	X(flash_attention, "flash_attention", TRI, 0, 2, "flash attention") \
	X(cache_type_k, "cache_type_k", KV, 0, 0, "type of the K cache") \
	X(cache_type_v, "cache_type_v", KV, 0, 0, "type of the V cache") \
	X(cache_ram_mib, "cache_ram_mib", INT, 0, 1048576, "prompt cache in main memory, MiB") \
	X(mmap, "mmap", BOOL, 0, 1, "map the file instead of reading it") \
	X(mlock, "mlock", BOOL, 0, 1, "pin the weights in memory") \
	X(embeddings, "embeddings", BOOL, 0, 1, "serve embeddings only") \
	X(reranking, "reranking", BOOL, 0, 1, "serve reranking only") \
	X(require_gpu, "require_gpu", BOOL, 0, 1, "a start that ends on the CPU is a failed start")

#define SETTING_UNSET INT32_MIN

#define SETTING_FIELD(field, json, kind, min, max, help) int32_t field;
struct settings {
	SETTING_TABLE(SETTING_FIELD) /* SETTING_UNSET, or the value; TRI: 0 off, 1 on, 2 auto */
};
#undef SETTING_FIELD

enum setting_kind { SETTING_INT, SETTING_BOOL, SETTING_TRI, SETTING_KV };

struct setting_row {
	const char *name;
	enum setting_kind kind;
	int32_t min, max;
	const char *help;
	size_t offset; /* in struct settings */
};

extern const struct setting_row setting_rows[];
extern const size_t setting_row_count;

const struct setting_row *setting_find(struct span name); /* NULL: unknown */
int32_t setting_get(const struct settings *s, const struct setting_row *row);
void setting_put(struct settings *s, const struct setting_row *row, int32_t value);
/* From text ("8192", "on", "q8_0", "default" = unset). ERR_INVALID with the bounds. */
int setting_parse(const struct setting_row *row, struct span text, int32_t *ret_value,
		  struct err *err);
/* "8192", "on", "q8_0"; "default" when unset. */
void setting_print(const struct setting_row *row, int32_t value, char *text, size_t room);
void setting_write(struct json_writer *w, const struct setting_row *row, int32_t value);

struct model {
	char id[REGISTRY_ID_MAX_BYTES];
	char *name;	 /* display name: ours, else made from file name and family */
	char *file_path; /* as the registry says: absolute, or below /models */
	char *mmproj_path; /* NULL: none */
	char *family, *quantization; /* NULL when not said */
	double size_params;		  /* billions; 0: not said */
	bool enabled;
	uint16_t port; /* 0: not said, the registry assigns one */
	struct settings settings;
	char *aliases[REGISTRY_ALIASES_MAX];
	int alias_count;
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
int registry_remove(struct registry *r, const char *id); /* 0 or ERR_NOT_FOUND */

/* The whole file as text: known fields from the models, unknown ones from what was read. */
void registry_write(const struct registry *r, struct buf *out);
/* registry_write + fs_replace. */
int registry_save(const struct registry *r, const char *path, struct err *err);

/* Whether text is [A-Za-z0-9][A-Za-z0-9._-]{0,127}. */
bool registry_id_is_valid(struct span id);

#endif
