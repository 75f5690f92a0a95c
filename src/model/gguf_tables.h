/* SPDX-License-Identifier: MIT */
/*
 * Private to gguf.c: numbers of the format, as of GGUF 3 (ggml's gguf.md and ggml.h).
 */
#ifndef MODEL_GGUF_TABLES_H
#define MODEL_GGUF_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#define GGUF_TENSOR_TYPES_MAX 64

/* Types of a value, in the order of their numbers, and the bytes of one; 0: no fixed size. */
enum gguf_value {
	VALUE_U8,
	VALUE_I8,
	VALUE_U16,
	VALUE_I16,
	VALUE_U32,
	VALUE_I32,
	VALUE_F32,
	VALUE_BOOL,
	VALUE_STRING,
	VALUE_ARRAY,
	VALUE_U64,
	VALUE_I64,
	VALUE_F64
};
static const unsigned char gguf_value_bytes[] = {
	[VALUE_U8] = 1,	 [VALUE_I8] = 1,  [VALUE_U16] = 2, [VALUE_I16] = 2,
	[VALUE_U32] = 4, [VALUE_I32] = 4, [VALUE_F32] = 4, [VALUE_BOOL] = 1,
	[VALUE_U64] = 8, [VALUE_I64] = 8, [VALUE_F64] = 8
};

static const struct gguf_tensor_type {
	const char *name;
	uint32_t block, bytes; /* elements and bytes of a block */
} gguf_tensor_types[GGUF_TENSOR_TYPES_MAX] = {
	[0] = { "F32", 1, 4 },	       [1] = { "F16", 1, 2 },	      [2] = { "Q4_0", 32, 18 },
	[3] = { "Q4_1", 32, 20 },      [6] = { "Q5_0", 32, 22 },      [7] = { "Q5_1", 32, 24 },
	[8] = { "Q8_0", 32, 34 },      [9] = { "Q8_1", 32, 36 },      [10] = { "Q2_K", 256, 84 },
	[11] = { "Q3_K", 256, 110 },   [12] = { "Q4_K", 256, 144 },   [13] = { "Q5_K", 256, 176 },
	[14] = { "Q6_K", 256, 210 },   [15] = { "Q8_K", 256, 292 },   [16] = { "IQ2_XXS", 256, 66 },
	[17] = { "IQ2_XS", 256, 74 },  [18] = { "IQ3_XXS", 256, 98 }, [19] = { "IQ1_S", 256, 50 },
	[20] = { "IQ4_NL", 32, 18 },   [21] = { "IQ3_S", 256, 110 },  [22] = { "IQ2_S", 256, 82 },
	[23] = { "IQ4_XS", 256, 136 }, [24] = { "I8", 1, 1 },	      [25] = { "I16", 1, 2 },
	[26] = { "I32", 1, 4 },	       [27] = { "I64", 1, 8 },	      [28] = { "F64", 1, 8 },
	[29] = { "IQ1_M", 256, 56 },   [30] = { "BF16", 1, 2 },	      [34] = { "TQ1_0", 256, 54 },
	[35] = { "TQ2_0", 256, 66 },   [39] = { "MXFP4", 32, 17 },    [40] = { "NVFP4", 64, 36 },
};

/* general.file_type */
static const char *const gguf_file_types[] = {
	[0] = "F32",	  [1] = "F16",	    [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
	[8] = "Q5_0",	  [9] = "Q5_1",	    [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
	[13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
	[18] = "Q6_K",	  [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
	[23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
	[28] = "IQ2_S",	  [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
	[36] = "TQ1_0",	  [37] = "TQ2_0",   [38] = "MXFP4",  [39] = "NVFP4",
};

/*
 * Sliding windows of architectures whose files do not say which layers slide: one layer in `period`
 * sees all, the last of each period (or the first).
 */
static const struct {
	const char *architecture;
	uint32_t period;
	bool is_first_full;
} gguf_sliding[] = {
	{ "gemma2", 2, false },	     { "gemma3", 6, false },  { "gemma-embedding", 6, false },
	{ "gemma3n", 5, false },     { "gpt-oss", 2, false }, { "cohere2", 4, false },
	{ "llama4", 4, false },	     { "olmo2", 4, false },   { "exaone4", 4, false },
	{ "exaone-moe", 4, false },  { "afmoe", 4, false },   { "plamo3", 8, false },
	{ "smallthinker", 4, true },
};

#endif
