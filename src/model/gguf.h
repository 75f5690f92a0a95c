/* SPDX-License-Identifier: MIT */
/*
 * The header of a GGUF file (versions 2 and 3, little endian): what kind of model it is, how large,
 * and whether the file is whole. Tensor data is never read.
 *
 * Files are hostile input: at most GGUF_HEADER_MAX_BYTES are walked through one window of 64 KiB,
 * nothing is allocated by a count that the file says, every number is bounded. A broken file costs
 * milliseconds and ends in a sentence that says what is wrong and what to do.
 */
#ifndef MODEL_GGUF_H
#define MODEL_GGUF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define GGUF_HEADER_MAX_BYTES (64u << 20)
#define GGUF_KEYS_MAX 4096
#define GGUF_TENSORS_MAX 65536
#define GGUF_STRINGS_MAX (2u << 20) /* in one list; the largest vocabularies have a quarter */
#define GGUF_LAYERS_MAX 512
#define GGUF_PARTS_MAX 999

enum gguf_role {
	GGUF_MODEL,
	GGUF_PROJECTOR, /* "mmproj": the eyes or ears of a model beside it */
	GGUF_OTHER,	/* an adapter, a vocabulary, ... */
};

struct gguf_layer {
	uint64_t bytes;	   /* of its tensors */
	uint32_t kv_heads; /* 0: it keeps no KV cache */
	bool is_sliding;   /* attends within sliding_window only */
};

/* Texts are UTF-8 without control characters, "" when not said; numbers are 0 when not said. */
struct gguf {
	enum gguf_role role;
	char architecture[32]; /* "qwen3" */
	char name[128];
	char basename[96];     /* "Qwen3" */
	char size_label[32];   /* "4B" */
	char finetune[64];     /* "Instruct" */
	char quantization[16]; /* "Q4_K_M" */

	uint64_t parameters;   /* elements of all tensors */
	uint64_t tensor_bytes; /* of all tensors */
	uint64_t input_bytes;  /* of these: token embeddings, which stay in main memory */
	uint64_t output_bytes; /* of these: outside the layers, at the output */
	bool has_output;       /* false: the output layer uses the token embeddings */

	uint32_t layer_count;
	struct gguf_layer *layers; /* layer_count of them */
	uint32_t context_length;   /* trained for */
	uint32_t embedding_length;
	uint32_t feed_forward_length;		   /* of the widest layer */
	uint32_t head_count;			   /* of the layer with most */
	uint32_t key_length, value_length;	   /* of one head */
	uint32_t key_length_swa, value_length_swa; /* ... in sliding layers */
	uint32_t sliding_window;		   /* tokens; 0: every layer sees all */
	uint32_t shared_kv_layers; /* so many last layers use the cache of earlier ones */
	uint32_t kv_lora_rank, key_length_mla; /* compressed KV cache (DeepSeek); 0: not */
	uint32_t rope_dimensions;
	uint32_t vocabulary;
	uint32_t expert_count, expert_used_count, expert_feed_forward_length;
	uint32_t ssm_conv, ssm_inner, ssm_state, ssm_groups; /* recurrent layers (Mamba and kin) */
	uint32_t shortconv_cache;
	uint32_t wkv_head_size; /* RWKV */
	uint32_t full_attention_interval;
	uint32_t pooling; /* 1 + the pooling type; 0: not an embedding model by its header */
	bool is_encoder;  /* attends both ways and keeps no KV cache: embedding models */
	bool has_chat_template;

	uint32_t part_count; /* of a split model; 0 or 1: it is one file */
	uint32_t part;	     /* of this file, from 0 */
	uint32_t parts_read;
	uint64_t file_bytes; /* of the parts that were read */
};

/* Where the bytes come from: 0 < got <= len, or -errno; 0 is the end. */
struct gguf_source {
	void *context;
	uint64_t bytes; /* there are */
	ssize_t (*read)(void *context, uint64_t offset, void *to, size_t len);
};

/*
 * Reads one file's header into a zeroed struct; read again with the next part of a split model, it
 * adds that part's tensors. ERR_INVALID with a sentence (without the path), or the system's code.
 * gguf_finish is due in either case.
 */
int gguf_read(struct gguf *g, const struct gguf_source *source, struct err *err);
void gguf_finish(struct gguf *g);

/*
 * Reads the file at path (links followed) and, when it is the first part of a split model
 * ("NAME-00001-of-00003.gguf"), all parts beside it; the sentence names the file.
 */
int gguf_read_path(struct gguf *g, const char *path, struct err *err);

/*
 * The path of part `part` (from 0) of the split model that `path` is a part of, or NULL when the
 * name is not of that form; free() it. ret_part and ret_count: what path itself says.
 */
char *gguf_part_path(const char *path, uint32_t part, uint32_t *ret_part, uint32_t *ret_count);

#endif
