/* SPDX-License-Identifier: MIT */
/*
 * Private to gguf.c: numbers of the format, as of GGUF 3 (ggml's gguf.md and ggml.h).
 */
#ifndef MODEL_GGUF_TABLES_H
#define MODEL_GGUF_TABLES_H

/* Types of a value: X(name, number, bytes of one; 0: no fixed size) */
#define GGUF_VALUE_TABLE(X) \
	X(U8, 0, 1) \
	X(I8, 1, 1) \
	X(U16, 2, 2) \
	X(I16, 3, 2) \
	X(U32, 4, 4) \
	X(I32, 5, 4) \
	X(F32, 6, 4) \
	X(BOOL, 7, 1) \
	X(STRING, 8, 0) \
	X(ARRAY, 9, 0) \
	X(U64, 10, 8) \
	X(I64, 11, 8) \
	X(F64, 12, 8)

/* Types of a tensor: X(number, name, elements of a block, bytes of a block) */
#define GGUF_TENSOR_TABLE(X) \
	X(0, "F32", 1, 4) \
	X(1, "F16", 1, 2) \
	X(2, "Q4_0", 32, 18) \
	X(3, "Q4_1", 32, 20) \
	X(6, "Q5_0", 32, 22) \
	X(7, "Q5_1", 32, 24) \
	X(8, "Q8_0", 32, 34) \
	X(9, "Q8_1", 32, 36) \
	X(10, "Q2_K", 256, 84) \
	X(11, "Q3_K", 256, 110) \
	X(12, "Q4_K", 256, 144) \
	X(13, "Q5_K", 256, 176) \
	X(14, "Q6_K", 256, 210) \
	X(15, "Q8_K", 256, 292) \
	X(16, "IQ2_XXS", 256, 66) \
	X(17, "IQ2_XS", 256, 74) \
	X(18, "IQ3_XXS", 256, 98) \
	X(19, "IQ1_S", 256, 50) \
	X(20, "IQ4_NL", 32, 18) \
	X(21, "IQ3_S", 256, 110) \
	X(22, "IQ2_S", 256, 82) \
	X(23, "IQ4_XS", 256, 136) \
	X(24, "I8", 1, 1) \
	X(25, "I16", 1, 2) \
	X(26, "I32", 1, 4) \
	X(27, "I64", 1, 8) \
	X(28, "F64", 1, 8) \
	X(29, "IQ1_M", 256, 56) \
	X(30, "BF16", 1, 2) \
	X(34, "TQ1_0", 256, 54) \
	X(35, "TQ2_0", 256, 66) \
	X(39, "MXFP4", 32, 17) \
	X(40, "NVFP4", 64, 36)

/* general.file_type: X(number, name) */
#define GGUF_FILE_TYPE_TABLE(X) \
	X(0, "F32") \
	X(1, "F16") \
	X(2, "Q4_0") \
	X(3, "Q4_1") \
	X(7, "Q8_0") \
	X(8, "Q5_0") \
	X(9, "Q5_1") \
	X(10, "Q2_K") \
	X(11, "Q3_K_S") \
	X(12, "Q3_K_M") \
	X(13, "Q3_K_L") \
	X(14, "Q4_K_S") \
	X(15, "Q4_K_M") \
	X(16, "Q5_K_S") \
	X(17, "Q5_K_M") \
	X(18, "Q6_K") \
	X(19, "IQ2_XXS") \
	X(20, "IQ2_XS") \
	X(21, "Q2_K_S") \
	X(22, "IQ3_XS") \
	X(23, "IQ3_XXS") \
	X(24, "IQ1_S") \
	X(25, "IQ4_NL") \
	X(26, "IQ3_S") \
	X(27, "IQ3_M") \
	X(28, "IQ2_S") \
	X(29, "IQ2_M") \
	X(30, "IQ4_XS") \
	X(31, "IQ1_M") \
	X(32, "BF16") \
	X(36, "TQ1_0") \
	X(37, "TQ2_0") \
	X(38, "MXFP4") \
	X(39, "NVFP4")

/*
 * Sliding windows of architectures whose files do not say which layers slide: one layer in `period`
 * sees all, the last of each period (or the first): X(architecture, period, the first one)
 */
#define GGUF_SLIDING_TABLE(X) \
	X("gemma2", 2, false) \
	X("gemma3", 6, false) \
	X("gemma-embedding", 6, false) \
	X("gemma3n", 5, false) \
	X("gpt-oss", 2, false) \
	X("cohere2", 4, false) \
	X("llama4", 4, false) \
	X("olmo2", 4, false) \
	X("exaone4", 4, false) \
	X("exaone-moe", 4, false) \
	X("afmoe", 4, false) \
	X("plamo3", 8, false) \
	X("smallthinker", 4, true)

#endif
