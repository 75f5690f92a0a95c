/* SPDX-License-Identifier: MIT */
/*
 * Builds the header of a GGUF 3 file in memory: keys, tensors, then the whole. Tensor data is the
 * caller's: build_finish pads the header to where the data begins. Memory is the caller's buffers.
 */
#ifndef TESTS_GGUF_BUILD_H
#define TESTS_GGUF_BUILD_H

#include "base/buf.h"
#include "base/mem.h"

#define BUILD_MAX_BYTES (64u << 20)
#define BUILD_ALIGNMENT 32

enum build_type { BUILD_F32 = 0, BUILD_F16 = 1, BUILD_Q4_0 = 2, BUILD_Q8_0 = 8 };

struct gguf_build {
	struct buf keys, tensors;
	uint64_t key_count, tensor_count;
	uint64_t data_bytes; /* of the tensors so far, each padded */
};

static inline void build_init(struct gguf_build *b)
{
	*b = (struct gguf_build){ 0 };
	buf_init(&b->keys, BUILD_MAX_BYTES);
	buf_init(&b->tensors, BUILD_MAX_BYTES);
}

static inline void build_number(struct buf *out, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		buf_add_char(out, (char)(value >> (8 * i) & 0xff));
	}
}

static inline void build_string(struct buf *out, const char *text)
{
	build_number(out, strlen(text), 8);
	buf_add_text(out, text);
}

static inline void build_key(struct gguf_build *b, const char *key, uint32_t type)
{
	b->key_count++;
	build_string(&b->keys, key);
	build_number(&b->keys, type, 4);
}

static inline void build_u32(struct gguf_build *b, const char *key, uint32_t value)
{
	build_key(b, key, 4);
	build_number(&b->keys, value, 4);
}

static inline void build_f32(struct gguf_build *b, const char *key, float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	build_key(b, key, 6);
	build_number(&b->keys, bits, 4);
}

static inline void build_bool(struct gguf_build *b, const char *key, bool value)
{
	build_key(b, key, 7);
	build_number(&b->keys, value, 1);
}

static inline void build_text(struct gguf_build *b, const char *key, const char *text)
{
	build_key(b, key, 8);
	build_string(&b->keys, text);
}

/* Begins a list; its elements follow by build_number or build_string into b->keys. */
static inline void build_list(struct gguf_build *b, const char *key, uint32_t type, uint64_t count)
{
	build_key(b, key, 9);
	build_number(&b->keys, type, 4);
	build_number(&b->keys, count, 8);
}

static inline uint64_t build_type_bytes(enum build_type type, uint64_t elements)
{
	switch (type) {
	case BUILD_F32:
		return elements * 4;
	case BUILD_F16:
		return elements * 2;
	case BUILD_Q4_0:
		return elements / 32 * 18;
	case BUILD_Q8_0:
		return elements / 32 * 34;
	}
	return 0;
}

/* A tensor of up to 3 dimensions (0: none). Returns the bytes of its data, not padded. */
static inline uint64_t build_tensor(struct gguf_build *b, const char *name, enum build_type type,
				    const uint64_t size[3])
{
	uint64_t elements = 1;
	uint32_t dimensions = 0;

	while (dimensions < 3 && size[dimensions] > 0) {
		elements *= size[dimensions++];
	}
	build_string(&b->tensors, name);
	build_number(&b->tensors, dimensions, 4);
	for (uint32_t i = 0; i < dimensions; i++) {
		build_number(&b->tensors, size[i], 8);
	}
	build_number(&b->tensors, type, 4);
	build_number(&b->tensors, b->data_bytes, 8);
	b->tensor_count++;
	uint64_t bytes = build_type_bytes(type, elements);

	b->data_bytes += (bytes + BUILD_ALIGNMENT - 1) / BUILD_ALIGNMENT * BUILD_ALIGNMENT;
	return bytes;
}

/* Appends the whole header to `out`, padded, and frees what was collected. */
static inline void build_finish(struct gguf_build *b, struct buf *out)
{
	buf_add_text(out, "GGUF");
	build_number(out, 3, 4);
	build_number(out, b->tensor_count, 8);
	build_number(out, b->key_count, 8);
	buf_add_span(out, buf_span(&b->keys));
	buf_add_span(out, buf_span(&b->tensors));
	while (out->len % BUILD_ALIGNMENT != 0) {
		buf_add_char(out, '\0');
	}
	buf_finish(&b->keys);
	buf_finish(&b->tensors);
}

#endif
