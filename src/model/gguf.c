/* SPDX-License-Identifier: MIT */
/*
 * Reading goes forward only, through one window. The first failure sticks in reader.status; every
 * getter then answers 0, so that the loops need one check each.
 */
#include "model/gguf.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "model/gguf_tables.h"

#define WINDOW_BYTES 65536
#define KEY_MAX_BYTES 128
#define TEXT_MAX_BYTES 160
#define DIMENSIONS_MAX 4
#define SMALLEST_BYTES 24 /* magic, version and two counts */
#define MAGIC 0x46554747  /* "GGUF" */
#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MAX 65536
#define PART_NOUN "the download is not complete or damaged; get the file again"

/* One number, or the first ones of an array: what is given for each layer. */
struct numbers {
	uint32_t of[GGUF_LAYERS_MAX];
	size_t count;
};

struct reader {
	const struct gguf_source *source;
	struct err *err;
	int status;
	uint64_t window_at; /* offset of window[0] in the file */
	size_t head, len;   /* bytes of the window that are consumed, there are */
	struct gguf *g;
	bool is_later_part; /* of a split model: only its tensors count */
	uint32_t alignment;
	uint64_t data_bytes; /* the tensors reach so far behind the header */
	uint64_t type_bytes[GGUF_TENSOR_TYPES_MAX];
	uint32_t file_type; /* of gguf_file_types, or more: not said */

	/* The value read last */
	char text[TEXT_MAX_BYTES];
	struct numbers numbers;
	uint64_t array_count; /* 0: it is no array */

	struct numbers kv_heads, sliding; /* kept, as the layers may be made later */

	char window[WINDOW_BYTES];
};

/* Bytes */

__attribute__((format(printf, 2, 3))) static void broken(struct reader *rd, const char *format, ...)
{
	va_list args;

	if (rd->status == 0) {
		va_start(args, format);
		rd->status = err_vset(rd->err, ERR_INVALID, format, args);
		va_end(args);
	}
}

static uint64_t position(const struct reader *rd)
{
	return rd->window_at + rd->head;
}

/* Makes `want` bytes (<= WINDOW_BYTES) available at window[head]. */
static bool fill(struct reader *rd, size_t want)
{
	if (rd->status != 0 || rd->len - rd->head >= want) {
		return rd->status == 0;
	}
	memmove(rd->window, rd->window + rd->head, rd->len - rd->head);
	rd->window_at += rd->head;
	rd->len -= rd->head;
	rd->head = 0;
	if (rd->window_at > GGUF_HEADER_MAX_BYTES) {
		broken(rd, "its header is larger than 64 MiB; this is no model that llama-server "
			   "loads");
		return false;
	}
	while (rd->len < want) {
		ssize_t got = rd->source->read(rd->source->context, rd->window_at + rd->len,
					       rd->window + rd->len, WINDOW_BYTES - rd->len);

		if (got < 0) {
			rd->status = err_set_os(rd->err, (int)got, "reading its header");
			return false;
		}
		if (got == 0) {
			broken(rd, "it ends in the middle of its header: " PART_NOUN);
			return false;
		}
		rd->len += (size_t)got;
	}
	return true;
}

static void skip(struct reader *rd, uint64_t bytes)
{
	if (rd->status != 0) {
		return;
	}
	if (bytes <= rd->len - rd->head) {
		rd->head += (size_t)bytes;
		return;
	}
	if (bytes > rd->source->bytes || position(rd) > rd->source->bytes - bytes) {
		broken(rd, "it ends in the middle of its header: " PART_NOUN);
		return;
	}
	rd->window_at = position(rd) + bytes;
	rd->head = 0;
	rd->len = 0;
}

/* Written out: a loop takes thrice as long, and vocabularies hold a quarter million lengths. */
static inline uint64_t get_number(struct reader *rd, size_t bytes)
{
	unsigned char b[8] = { 0 }; /* little endian */

	if (rd->len - rd->head < bytes && !fill(rd, bytes)) {
		return 0;
	}
	memcpy(b, rd->window + rd->head, bytes);
	rd->head += bytes;
	return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 |
	       (uint64_t)b[4] << 32 | (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 |
	       (uint64_t)b[7] << 56;
}

static uint32_t get_u32(struct reader *rd)
{
	return (uint32_t)get_number(rd, 4);
}

static uint64_t get_u64(struct reader *rd)
{
	return get_number(rd, 8);
}

/* Copies the text, cut to the room; what cannot be shown becomes a blank. */
static void get_text(struct reader *rd, char *text, size_t room)
{
	uint64_t len = get_u64(rd);
	size_t kept = len < room ? (size_t)len : room;

	text[0] = '\0';
	if (!fill(rd, kept)) {
		return;
	}
	span_copy((struct span){ rd->window + rd->head, kept }, text, room);
	skip(rd, len);
	if (!span_is_utf8(span_of(text))) {
		text[0] = '\0';
	}
	for (char *c = text; *c != '\0'; c++) {
		*c = (unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c;
	}
}

/* Values */

/* 0: strings, arrays and what is no type */
static size_t value_bytes(uint32_t type)
{
	return type < ARRAY_LEN(gguf_value_bytes) ? gguf_value_bytes[type] : 0;
}

static uint32_t get_clamped(struct reader *rd, uint32_t type)
{
	uint64_t value = get_number(rd, value_bytes(type));
	bool is_negative =
		(type == VALUE_I8 && value >> 7 != 0) || (type == VALUE_I16 && value >> 15 != 0) ||
		(type == VALUE_I32 && value >> 31 != 0) || (type == VALUE_I64 && value >> 63 != 0);

	if (is_negative || type == VALUE_F32 || type == VALUE_F64) {
		return 0; /* no fraction or negative number means anything to us */
	}
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static void read_array(struct reader *rd)
{
	uint32_t type = get_u32(rd);
	uint64_t count = get_u64(rd);
	size_t bytes = value_bytes(type);

	rd->array_count = count;
	if (type == VALUE_STRING && count > GGUF_STRINGS_MAX) {
		broken(rd, "it holds a list of more strings than any model has: " PART_NOUN);
	}
	if (type == VALUE_STRING) {
		for (uint64_t i = 0; i < count && rd->status == 0; i++) {
			skip(rd, get_u64(rd));
		}
		return;
	}
	if (bytes == 0) {
		broken(rd, "it holds a list of a kind that GGUF does not have: " PART_NOUN);
		return;
	}
	while (rd->numbers.count < count && rd->numbers.count < GGUF_LAYERS_MAX &&
	       rd->status == 0) {
		rd->numbers.of[rd->numbers.count++] = get_clamped(rd, type);
	}
	count -= rd->numbers.count;
	skip(rd, count > UINT64_MAX / bytes ? UINT64_MAX : count * bytes);
}

static void read_value(struct reader *rd)
{
	uint32_t type = get_u32(rd);

	rd->text[0] = '\0';
	rd->numbers.count = 0;
	rd->array_count = 0;
	if (type == VALUE_STRING) {
		get_text(rd, rd->text, sizeof(rd->text));
	} else if (type == VALUE_ARRAY) {
		read_array(rd);
	} else if (value_bytes(type) > 0) {
		rd->numbers.of[rd->numbers.count++] = get_clamped(rd, type);
	} else {
		broken(rd, "it holds a value of a kind that GGUF does not have: " PART_NOUN);
	}
}

static uint32_t largest(const struct reader *rd)
{
	uint32_t most = 0;

	for (size_t i = 0; i < rd->numbers.count; i++) {
		most = rd->numbers.of[i] > most ? rd->numbers.of[i] : most;
	}
	return most;
}

/* Keys */

struct text_key {
	const char *key;
	size_t offset, room;
};

#define TEXT_KEY(key, member) \
	{ \
		key, offsetof(struct gguf, member), sizeof(((struct gguf *)0)->member) \
	}
static const struct text_key text_keys[] = {
	TEXT_KEY("general.architecture", architecture), TEXT_KEY("general.name", name),
	TEXT_KEY("general.basename", basename),		TEXT_KEY("general.size_label", size_label),
	TEXT_KEY("general.finetune", finetune),
};

struct number_key {
	const char *key; /* behind "ARCHITECTURE." */
	size_t offset;
	uint32_t max; /* what no model reaches */
};

#define NUMBER_KEY(key, member, max) \
	{ \
		key, offsetof(struct gguf, member), max \
	}
static const struct number_key number_keys[] = {
	NUMBER_KEY("block_count", layer_count, GGUF_LAYERS_MAX),
	NUMBER_KEY("context_length", context_length, 1u << 30),
	NUMBER_KEY("embedding_length", embedding_length, 1u << 20),
	NUMBER_KEY("feed_forward_length", feed_forward_length, 1u << 24),
	NUMBER_KEY("attention.head_count", head_count, 1u << 16),
	NUMBER_KEY("attention.key_length", key_length, 1u << 16),
	NUMBER_KEY("attention.value_length", value_length, 1u << 16),
	NUMBER_KEY("attention.key_length_swa", key_length_swa, 1u << 16),
	NUMBER_KEY("attention.value_length_swa", value_length_swa, 1u << 16),
	NUMBER_KEY("attention.sliding_window", sliding_window, 1u << 30),
	NUMBER_KEY("attention.chunk_size", sliding_window, 1u << 30),
	NUMBER_KEY("attention.shared_kv_layers", shared_kv_layers, GGUF_LAYERS_MAX),
	NUMBER_KEY("attention.kv_lora_rank", kv_lora_rank, 1u << 20),
	NUMBER_KEY("attention.key_length_mla", key_length_mla, 1u << 20),
	NUMBER_KEY("rope.dimension_count", rope_dimensions, 1u << 20),
	NUMBER_KEY("vocab_size", vocabulary, 1u << 24),
	NUMBER_KEY("expert_count", expert_count, 1u << 16),
	NUMBER_KEY("expert_used_count", expert_used_count, 1u << 16),
	NUMBER_KEY("expert_feed_forward_length", expert_feed_forward_length, 1u << 24),
	NUMBER_KEY("ssm.conv_kernel", ssm_conv, 1u << 16),
	NUMBER_KEY("ssm.inner_size", ssm_inner, 1u << 24),
	NUMBER_KEY("ssm.state_size", ssm_state, 1u << 16),
	NUMBER_KEY("ssm.group_count", ssm_groups, 1u << 16),
	NUMBER_KEY("shortconv.l_cache", shortconv_cache, 1u << 16),
	NUMBER_KEY("wkv.head_size", wkv_head_size, 1u << 16),
	NUMBER_KEY("full_attention_interval", full_attention_interval, GGUF_LAYERS_MAX),
};

static void take_number(struct reader *rd, const struct number_key *row)
{
	uint32_t value = largest(rd);

	if (value > row->max) {
		broken(rd, "its header says %s = %u, which no model has: " PART_NOUN, row->key,
		       value);
		return;
	}
	memcpy((char *)rd->g + row->offset, &value, sizeof(value));
}

static void take_architecture_key(struct reader *rd, struct span key)
{
	for (size_t i = 0; i < ARRAY_LEN(number_keys); i++) {
		if (span_is(key, number_keys[i].key)) {
			take_number(rd, &number_keys[i]);
			return;
		}
	}
	if (span_is(key, "attention.head_count_kv")) {
		rd->kv_heads = rd->numbers;
	} else if (span_is(key, "attention.sliding_window_pattern")) {
		rd->sliding = rd->numbers;
	} else if (span_is(key, "pooling_type")) {
		rd->g->pooling = 1 + (largest(rd) & 0xff);
	} else if (span_is(key, "attention.causal")) {
		rd->g->is_encoder = rd->numbers.count == 1 && rd->numbers.of[0] == 0;
	}
}

static void take_general_key(struct reader *rd, struct span key)
{
	struct gguf *g = rd->g;

	if (span_is(key, "general.type")) {
		g->role = strcmp(rd->text, "model") == 0    ? GGUF_MODEL
			  : strcmp(rd->text, "mmproj") == 0 ? GGUF_PROJECTOR
							    : GGUF_OTHER;
	} else if (span_is(key, "general.file_type") && rd->numbers.count == 1) {
		rd->file_type = rd->numbers.of[0] & ~1024u; /* the bit says "guessed" */
	} else if (span_is(key, "general.alignment")) {
		rd->alignment = largest(rd);
		if (rd->alignment == 0 || rd->alignment > ALIGNMENT_MAX ||
		    (rd->alignment & (rd->alignment - 1)) != 0) {
			broken(rd, "its alignment is no power of two: " PART_NOUN);
		}
	} else if (span_is(key, "tokenizer.ggml.tokens")) {
		g->vocabulary = rd->array_count < UINT32_MAX ? (uint32_t)rd->array_count : 0;
	} else if (span_is(key, "tokenizer.chat_template")) {
		g->has_chat_template = rd->text[0] != '\0';
	}
}

static void take_key(struct reader *rd, struct span key)
{
	struct gguf *g = rd->g;
	size_t dot = span_find_char(key, '.');
	struct span prefix = { key.ptr, dot };

	if (span_is(key, "split.no")) {
		g->part = largest(rd);
	} else if (span_is(key, "split.count") && !rd->is_later_part) {
		g->part_count = largest(rd);
	}
	if (rd->is_later_part) {
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(text_keys); i++) {
		if (span_is(key, text_keys[i].key)) {
			span_copy(span_of(rd->text), (char *)g + text_keys[i].offset,
				  text_keys[i].room);
			return;
		}
	}
	if (span_is(prefix, g->architecture)) {
		take_architecture_key(rd, span_from(key, dot + 1));
	} else {
		take_general_key(rd, key);
	}
}

/* Tensors */

static uint64_t get_elements(struct reader *rd)
{
	uint32_t dimensions = get_u32(rd);
	uint64_t elements = 1;

	if (dimensions > DIMENSIONS_MAX) {
		broken(rd, "it holds a tensor of more than 4 dimensions: " PART_NOUN);
	}
	for (uint32_t i = 0; i < dimensions && rd->status == 0; i++) {
		uint64_t size = get_u64(rd);

		if (size != 0 && elements > (UINT64_MAX >> 8) / size) {
			broken(rd, "it holds a tensor larger than any memory: " PART_NOUN);
		}
		elements *= size;
	}
	return elements;
}

static void count_tensor(struct reader *rd, const char *name, uint64_t bytes)
{
	struct gguf *g = rd->g;
	struct span key = span_of(name), number;
	uint64_t layer;

	g->tensor_bytes += bytes;
	if (span_has_prefix(key, "blk.")) {
		key = span_from(key, 4);
		number = span_split(&key, '.');
		if (span_to_u64(number, UINT32_MAX, &layer) == 0 && layer < g->layer_count) {
			g->layers[layer].bytes += bytes;
		}
	} else if (span_has_prefix(key, "token_embd") || span_has_prefix(key, "per_layer_token") ||
		   span_has_prefix(key, "position_embd") || span_has_prefix(key, "token_types")) {
		g->input_bytes += bytes;
	} else {
		g->output_bytes += bytes;
		g->has_output |= span_is(key, "output.weight");
	}
}

static void read_tensor(struct reader *rd)
{
	char name[KEY_MAX_BYTES];

	get_text(rd, name, sizeof(name));
	uint64_t elements = get_elements(rd);
	uint32_t type = get_u32(rd);
	uint64_t offset = get_u64(rd);

	if (rd->status != 0) {
		return;
	}
	if (type >= GGUF_TENSOR_TYPES_MAX || gguf_tensor_types[type].name == NULL) {
		broken(rd,
		       "it holds tensors of type %u, which this ronzal does not know: it is "
		       "damaged, or newer than ronzal",
		       type);
		return;
	}
	const struct gguf_tensor_type *row = &gguf_tensor_types[type];
	uint64_t blocks = elements / row->block + (elements % row->block != 0);

	if (blocks > rd->source->bytes / row->bytes || offset > rd->source->bytes) {
		broken(rd, "it is shorter than its tensors: " PART_NOUN);
		return;
	}
	uint64_t bytes = blocks * row->bytes;

	rd->g->parameters += elements;
	rd->type_bytes[type] += bytes;
	rd->data_bytes = offset + bytes > rd->data_bytes ? offset + bytes : rd->data_bytes;
	count_tensor(rd, name, bytes);
}

/* The whole */

static void read_magic(struct reader *rd)
{
	if (rd->source->bytes < SMALLEST_BYTES) {
		broken(rd, "it is only %llu bytes long: " PART_NOUN,
		       (unsigned long long)rd->source->bytes);
	}
	uint32_t magic = get_u32(rd), version = get_u32(rd);

	if (magic != MAGIC) {
		broken(rd, "it is not a GGUF file; llama-server loads no other kind");
	} else if (version == 0x02000000 || version == 0x03000000) {
		broken(rd, "it is a big-endian GGUF; get one made for this kind of machine");
	} else if (version != 2 && version != 3) {
		broken(rd,
		       "it is GGUF version %u; versions 2 and 3 can be used, get the model in "
		       "a current form",
		       version);
	}
}

/* Which layers slide, where the file does not say it for each. */
static void set_sliding(struct reader *rd)
{
	struct gguf *g = rd->g;
	uint32_t period = rd->sliding.count == 1 ? rd->sliding.of[0] : 0;
	bool is_first_full = false;

	for (size_t i = 0; i < ARRAY_LEN(gguf_sliding) && rd->sliding.count <= 1; i++) {
		if (strcmp(gguf_sliding[i].architecture, g->architecture) == 0) {
			period = period > 0 ? period : gguf_sliding[i].period;
			is_first_full = gguf_sliding[i].is_first_full;
		}
	}
	for (uint32_t i = 0; i < g->layer_count && g->sliding_window > 0; i++) {
		if (rd->sliding.count > 1) {
			g->layers[i].is_sliding = i < rd->sliding.count && rd->sliding.of[i] != 0;
		} else if (period > 0) {
			g->layers[i].is_sliding = i % period != (is_first_full ? 0 : period - 1);
		}
	}
}

static void make_layers(struct reader *rd)
{
	struct gguf *g = rd->g;
	uint32_t heads = g->head_count > 0 ? g->head_count : 1;

	if (g->part_count > GGUF_PARTS_MAX || g->part >= (g->part_count > 0 ? g->part_count : 1)) {
		broken(rd, "its part number is impossible: " PART_NOUN);
	}
	if (strcmp(g->architecture, "clip") == 0) {
		g->role = GGUF_PROJECTOR;
	}
	if (g->architecture[0] == '\0' && g->role == GGUF_MODEL) {
		broken(rd, "it does not say its architecture: " PART_NOUN);
	}
	g->key_length = g->key_length > 0 ? g->key_length : g->embedding_length / heads;
	g->value_length = g->value_length > 0 ? g->value_length : g->embedding_length / heads;
	g->layers = mem_alloc(g->layer_count * sizeof(g->layers[0]));
	for (uint32_t i = 0; i < g->layer_count; i++) {
		size_t at = rd->kv_heads.count > 1 ? i : 0;

		g->layers[i].kv_heads =
			at < rd->kv_heads.count ? rd->kv_heads.of[at] : g->head_count;
		if (g->full_attention_interval > 0 && (i + 1) % g->full_attention_interval != 0) {
			g->layers[i].kv_heads = 0;
		}
	}
	set_sliding(rd);
}

/* By general.file_type, else the type that most bytes are of. */
static void name_quantization(struct reader *rd)
{
	bool is_said = rd->file_type < ARRAY_LEN(gguf_file_types);
	const char *name = is_said ? gguf_file_types[rd->file_type] : NULL;
	size_t most = 0;

	for (size_t i = 1; i < GGUF_TENSOR_TYPES_MAX; i++) {
		most = rd->type_bytes[i] > rd->type_bytes[most] ? i : most;
	}
	if (name == NULL && rd->type_bytes[most] > 0) {
		name = gguf_tensor_types[most].name;
	}
	span_copy(span_of(name), rd->g->quantization, sizeof(rd->g->quantization));
}

static void check_length(struct reader *rd, uint64_t tensors)
{
	unsigned long long start =
		(position(rd) + rd->alignment - 1) & ~(uint64_t)(rd->alignment - 1);
	unsigned long long whole = start + rd->data_bytes;

	if (tensors > 0 && whole > rd->source->bytes) {
		broken(rd, "it has %llu of the %llu bytes that its header tells: " PART_NOUN,
		       (unsigned long long)rd->source->bytes, whole);
	}
}

static void read_header(struct reader *rd)
{
	char key[KEY_MAX_BYTES];

	read_magic(rd);
	uint64_t tensors = get_u64(rd);
	uint64_t keys = get_u64(rd);

	if (tensors > GGUF_TENSORS_MAX || keys > GGUF_KEYS_MAX) {
		broken(rd,
		       "its header tells of %llu keys and %llu tensors, which no model "
		       "has: " PART_NOUN,
		       (unsigned long long)keys, (unsigned long long)tensors);
	}
	for (uint64_t i = 0; i < keys && rd->status == 0; i++) {
		get_text(rd, key, sizeof(key));
		read_value(rd);
		take_key(rd, span_of(key));
	}
	if (rd->status == 0 && !rd->is_later_part) {
		make_layers(rd);
	}
	for (uint64_t i = 0; i < tensors && rd->status == 0; i++) {
		read_tensor(rd);
	}
	check_length(rd, tensors);
	if (rd->status == 0 && rd->g->quantization[0] == '\0') {
		name_quantization(rd);
	}
}

int gguf_read(struct gguf *g, const struct gguf_source *source, struct err *err)
{
	struct reader *rd = mem_alloc(sizeof(*rd));

	rd->source = source;
	rd->err = err;
	rd->g = g;
	rd->alignment = ALIGNMENT_DEFAULT;
	rd->file_type = UINT32_MAX;
	rd->is_later_part = g->parts_read > 0;
	read_header(rd);
	int status = rd->status;

	if (status == 0) {
		g->parts_read++;
		g->file_bytes += source->bytes;
	}
	free(rd);
	return status;
}

void gguf_finish(struct gguf *g)
{
	if (g != NULL) {
		free(g->layers);
		*g = (struct gguf){ 0 };
	}
}
