/* SPDX-License-Identifier: MIT */
/*
 * The typed settings of a model, all numbers. One table feeds the registry's reader and writer,
 * `ronzal set`, the settings form and the API; nothing else becomes a flag of the engine.
 */
#ifndef MODEL_SETTINGS_H
#define MODEL_SETTINGS_H

#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

/* Types of the KV cache: X(name, text, bytes of 32 elements). */
#define KV_TYPE_TABLE(X) \
	X(F32, "f32", 128) \
	X(F16, "f16", 64) \
	X(BF16, "bf16", 64) \
	X(Q8_0, "q8_0", 34) \
	X(Q5_1, "q5_1", 24) \
	X(Q5_0, "q5_0", 22) \
	X(Q4_1, "q4_1", 20) \
	X(Q4_0, "q4_0", 18) \
	X(IQ4_NL, "iq4_nl", 18)

#define KV_TYPE_ENUM(name, text, bytes) KV_##name,
enum kv_type { KV_TYPE_TABLE(KV_TYPE_ENUM) KV_TYPE_COUNT };
#undef KV_TYPE_ENUM

uint32_t kv_type_block_bytes(enum kv_type type); /* of 32 elements */

/*
 * The typed settings: X(field, json name, kind, minimum, maximum, sentence for help and the page).
 * Kinds: INT, BOOL, TRI (on, off, auto), KV (the name of a cache type).
 */
#define SETTING_TABLE(X) \
	X(n_gpu_layers, "n_gpu_layers", INT, 0, 999, "layers on the GPU; unset: all") \
	X(ctx_size, "ctx_size", INT, 0, 16777216, "context in tokens; 0: the model's own") \
	X(n_threads, "n_threads", INT, 1, 1024, "CPU threads; unset: the engine's choice") \
	X(batch_size, "batch_size", INT, 1, 65536, "tokens per prompt batch") \
	X(parallel, "parallel", INT, 1, 64, "slots; the context is divided by them") \
	X(flash_attention, "flash_attention", TRI, 0, 2, "flash attention") \
	X(cache_type_k, "cache_type_k", KV, 0, KV_TYPE_COUNT - 1, "type of the K cache") \
	X(cache_type_v, "cache_type_v", KV, 0, KV_TYPE_COUNT - 1, "type of the V cache") \
	X(cache_ram_mib, "cache_ram_mib", INT, 0, 1048576, "prompt cache in main memory, MiB") \
	X(mmap, "mmap", BOOL, 0, 1, "map the file instead of reading it") \
	X(mlock, "mlock", BOOL, 0, 1, "pin the weights in memory") \
	X(embeddings, "embeddings", BOOL, 0, 1, "serve embeddings only") \
	X(reranking, "reranking", BOOL, 0, 1, "serve reranking only") \
	X(require_gpu, "require_gpu", BOOL, 0, 1, "a start that ends on the CPU is a failed start")

#define SETTING_UNSET INT32_MIN

#define SETTING_FIELD(field, json, kind, min, max, help) int32_t field;
struct settings {
	/* Each SETTING_UNSET, or the value; BOOL 0 or 1, TRI enum setting_tri, KV enum kv_type. */
	SETTING_TABLE(SETTING_FIELD)
};
#undef SETTING_FIELD

enum setting_kind { SETTING_INT, SETTING_BOOL, SETTING_TRI, SETTING_KV };
enum setting_tri { TRI_OFF, TRI_ON, TRI_AUTO };

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
void settings_init(struct settings *s);			  /* all unset */
int32_t setting_get(const struct settings *s, const struct setting_row *row);
void setting_put(struct settings *s, const struct setting_row *row, int32_t value);
/* From text ("8192", "on", "q8_0", "default" = unset). ERR_INVALID with the bounds. */
int setting_parse(const struct setting_row *row, struct span text, int32_t *ret_value,
		  struct err *err);
/* "8192", "on", "q8_0"; "default" when unset. */
void setting_print(const struct setting_row *row, int32_t value, char *text, size_t room);
/* 0, or ERR_INVALID with the bounds; null is unset. Only numbers are quoted. */
int setting_read(const struct setting_row *row, const struct json_value *v, int32_t *ret_value,
		 struct err *err);
void setting_write(struct json_writer *w, const struct setting_row *row, int32_t value);

#endif
