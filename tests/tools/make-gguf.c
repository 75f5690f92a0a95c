/* SPDX-License-Identifier: MIT */
/*
 * make-gguf OUT.gguf [key=value ...]: a model with random weights that llama-server really loads.
 *
 *   arch=llama      llama, qwen2, qwen3, qwen3moe, gemma2, gemma3 or mamba
 *   layers=4 embd=256 heads=8 kv=2 dim=EMBD/HEADS ff=512 ctx=4096 vocab=512
 *   experts=0 used=2    experts of a llama or qwen3moe
 *   window=1024         sliding window of a gemma
 *   type=f16            f32, f16, q8_0 or q4_0: of the matrices
 *   name=random         general.name
 *   chat=1              whether it carries a chat template
 *   seed=1
 *   part=0 parts=0      says that it is that part of a split model
 *   sparse=0            1: weights are a hole of zeros, so that a large shape costs no disk
 *
 * The tokenizer is SPM with byte fallback: any text can be tokenised, and what comes out is noise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../gguf_build.h"
#include "base/err.h"

#define TENSORS_MAX 16384
#define CHUNK_BYTES 65536
#define FIRST_PIECE 259 /* behind <unk>, <s>, </s> and 256 bytes */

struct shape {
	const char *arch, *type, *name;
	uint64_t layers, embd, heads, kv, dim, ff, ctx, vocab, experts, used, window, chat, seed,
		sparse, part, parts;
};

enum fill { FILL_RANDOM, FILL_ONES };

struct plan {
	struct gguf_build b;
	enum build_type type;
	size_t count;
	struct planned {
		uint64_t bytes;
		enum build_type type;
		enum fill fill;
	} tensors[TENSORS_MAX];
};

static void plan_tensor(struct plan *p, const char *name, uint64_t a, uint64_t b, uint64_t c)
{
	enum build_type type = b > 0 ? p->type : BUILD_F32;

	ENSURE(p->count < TENSORS_MAX);
	uint64_t bytes = build_tensor(&p->b, name, type, (uint64_t[3]){ a, b, c });

	p->tensors[p->count++] = (struct planned){ bytes, type, b > 0 ? FILL_RANDOM : FILL_ONES };
}

static void plan_layer_tensor(struct plan *p, uint64_t layer, const char *name, uint64_t a,
			      uint64_t b, uint64_t c)
{
	char text[64];

	snprintf(text, sizeof(text), "blk.%llu.%s", (unsigned long long)layer, name);
	plan_tensor(p, text, a, b, c);
}

static bool is_arch(const struct shape *s, const char *arch)
{
	return strcmp(s->arch, arch) == 0;
}

static bool is_gemma(const struct shape *s)
{
	return is_arch(s, "gemma2") || is_arch(s, "gemma3");
}

static void plan_attention(struct plan *p, const struct shape *s, uint64_t i)
{
	plan_layer_tensor(p, i, "attn_norm.weight", s->embd, 0, 0);
	plan_layer_tensor(p, i, "attn_q.weight", s->embd, s->heads * s->dim, 0);
	plan_layer_tensor(p, i, "attn_k.weight", s->embd, s->kv * s->dim, 0);
	plan_layer_tensor(p, i, "attn_v.weight", s->embd, s->kv * s->dim, 0);
	plan_layer_tensor(p, i, "attn_output.weight", s->heads * s->dim, s->embd, 0);
	plan_layer_tensor(p, i, "ffn_norm.weight", s->embd, 0, 0);
	if (is_arch(s, "qwen2")) {
		plan_layer_tensor(p, i, "attn_q.bias", s->heads * s->dim, 0, 0);
		plan_layer_tensor(p, i, "attn_k.bias", s->kv * s->dim, 0, 0);
		plan_layer_tensor(p, i, "attn_v.bias", s->kv * s->dim, 0, 0);
	}
	if (is_arch(s, "qwen3") || is_arch(s, "qwen3moe") || is_arch(s, "gemma3")) {
		plan_layer_tensor(p, i, "attn_q_norm.weight", s->dim, 0, 0);
		plan_layer_tensor(p, i, "attn_k_norm.weight", s->dim, 0, 0);
	}
	if (is_gemma(s)) {
		plan_layer_tensor(p, i, "post_attention_norm.weight", s->embd, 0, 0);
		plan_layer_tensor(p, i, "post_ffw_norm.weight", s->embd, 0, 0);
	}
}

static void plan_feed_forward(struct plan *p, const struct shape *s, uint64_t i)
{
	if (s->experts > 0) {
		plan_layer_tensor(p, i, "ffn_gate_inp.weight", s->embd, s->experts, 0);
		plan_layer_tensor(p, i, "ffn_gate_exps.weight", s->embd, s->ff, s->experts);
		plan_layer_tensor(p, i, "ffn_down_exps.weight", s->ff, s->embd, s->experts);
		plan_layer_tensor(p, i, "ffn_up_exps.weight", s->embd, s->ff, s->experts);
	} else {
		plan_layer_tensor(p, i, "ffn_gate.weight", s->embd, s->ff, 0);
		plan_layer_tensor(p, i, "ffn_down.weight", s->ff, s->embd, 0);
		plan_layer_tensor(p, i, "ffn_up.weight", s->embd, s->ff, 0);
	}
}

static void plan_mamba(struct plan *p, const struct shape *s, uint64_t i)
{
	uint64_t inner = 2 * s->embd, rank = s->embd / 16;
	enum build_type type = p->type;

	plan_layer_tensor(p, i, "attn_norm.weight", s->embd, 0, 0);
	plan_layer_tensor(p, i, "ssm_in.weight", s->embd, 2 * inner, 0);
	plan_layer_tensor(p, i, "ssm_x.weight", inner, rank + 32, 0);
	plan_layer_tensor(p, i, "ssm_dt.weight", rank, inner, 0);
	plan_layer_tensor(p, i, "ssm_out.weight", inner, s->embd, 0);
	plan_layer_tensor(p, i, "ssm_dt.bias", inner, 0, 0);
	plan_layer_tensor(p, i, "ssm_conv1d.bias", inner, 0, 0);
	plan_layer_tensor(p, i, "ssm_d", inner, 0, 0);
	p->type = BUILD_F32;
	plan_layer_tensor(p, i, "ssm_conv1d.weight", 4, inner, 0);
	plan_layer_tensor(p, i, "ssm_a", 16, inner, 0);
	p->type = type;
}

static void plan_tensors(struct plan *p, const struct shape *s)
{
	plan_tensor(p, "token_embd.weight", s->embd, s->vocab, 0);
	plan_tensor(p, "output_norm.weight", s->embd, 0, 0);
	if (!is_gemma(s)) {
		plan_tensor(p, "output.weight", s->embd, s->vocab, 0);
	}
	for (uint64_t i = 0; i < s->layers; i++) {
		if (is_arch(s, "mamba")) {
			plan_mamba(p, s, i);
		} else {
			plan_attention(p, s, i);
			plan_feed_forward(p, s, i);
		}
	}
}

static void add_arch_u32(struct gguf_build *b, const struct shape *s, const char *key,
			 uint64_t value)
{
	char text[96];

	snprintf(text, sizeof(text), "%s.%s", s->arch, key);
	build_u32(b, text, (uint32_t)value);
}

static void add_tokenizer(struct gguf_build *b, const struct shape *s)
{
	char text[24];

	build_text(b, "tokenizer.ggml.model", "llama");
	build_list(b, "tokenizer.ggml.tokens", 8, s->vocab);
	for (uint64_t i = 0; i < s->vocab; i++) {
		snprintf(text, sizeof(text), "%s", i == 0 ? "<unk>" : i == 1 ? "<s>" : "</s>");
		if (i >= FIRST_PIECE) {
			snprintf(text, sizeof(text), "w%llx", (unsigned long long)i);
		} else if (i > 2) {
			snprintf(text, sizeof(text), "<0x%02X>", (unsigned)(i - 3));
		}
		build_string(&b->keys, text);
	}
	build_list(b, "tokenizer.ggml.scores", 6, s->vocab);
	for (uint64_t i = 0; i < s->vocab; i++) {
		build_number(&b->keys, 0, 4);
	}
	build_list(b, "tokenizer.ggml.token_type", 5, s->vocab);
	for (uint64_t i = 0; i < s->vocab; i++) {
		build_number(&b->keys, i == 0 ? 2 : i < 3 ? 3 : i < FIRST_PIECE ? 6 : 1, 4);
	}
	build_u32(b, "tokenizer.ggml.bos_token_id", 1);
	build_u32(b, "tokenizer.ggml.eos_token_id", 2);
	if (s->chat != 0) {
		build_text(b, "tokenizer.chat_template",
			   "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
	}
}

static void add_keys(struct gguf_build *b, const struct shape *s)
{
	char text[96];
	bool recurrent = is_arch(s, "mamba");

	build_text(b, "general.architecture", s->arch);
	build_text(b, "general.type", "model");
	build_text(b, "general.name", s->name);
	build_u32(b, "general.file_type",
		  strcmp(s->type, "f32") == 0	 ? 0
		  : strcmp(s->type, "f16") == 0	 ? 1
		  : strcmp(s->type, "q4_0") == 0 ? 2
						 : 7);
	if (s->parts > 0) {
		build_u32(b, "split.no", (uint32_t)s->part);
		build_u32(b, "split.count", (uint32_t)s->parts);
	}
	add_arch_u32(b, s, "block_count", s->layers);
	add_arch_u32(b, s, "context_length", s->ctx);
	add_arch_u32(b, s, "embedding_length", s->embd);
	add_arch_u32(b, s, "feed_forward_length", recurrent ? 0 : s->ff);
	add_arch_u32(b, s, "attention.head_count", recurrent ? 0 : s->heads);
	snprintf(text, sizeof(text), "%s.attention.layer_norm_rms_epsilon", s->arch);
	build_f32(b, text, 1e-5f);
	if (recurrent) {
		add_arch_u32(b, s, "ssm.conv_kernel", 4);
		add_arch_u32(b, s, "ssm.inner_size", 2 * s->embd);
		add_arch_u32(b, s, "ssm.state_size", 16);
		add_arch_u32(b, s, "ssm.time_step_rank", s->embd / 16);
	} else {
		add_arch_u32(b, s, "attention.head_count_kv", s->kv);
		add_arch_u32(b, s, "attention.key_length", s->dim);
		add_arch_u32(b, s, "attention.value_length", s->dim);
		add_arch_u32(b, s, "rope.dimension_count", s->dim);
	}
	if (is_gemma(s)) {
		add_arch_u32(b, s, "attention.sliding_window", s->window);
	}
	if (s->experts > 0) {
		add_arch_u32(b, s, "expert_count", s->experts);
		add_arch_u32(b, s, "expert_used_count", s->used);
		add_arch_u32(b, s, "expert_feed_forward_length", s->ff);
	}
	add_tokenizer(b, s);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Halves (also block scales) between 2^-6 and 2^-5 of either sign; floats likewise. */
static void fill_chunk(unsigned char *chunk, size_t len, const struct planned *t, uint64_t at,
		       uint64_t *state)
{
	static const float one = 1.0f;
	size_t block = t->type == BUILD_Q8_0 ? 34 : t->type == BUILD_Q4_0 ? 18 : 2;

	for (size_t i = 0; i < len; i++) {
		uint64_t r = next_random(state);
		size_t place = (size_t)((at + i) % block);

		chunk[i] = (unsigned char)(r >> 24);
		if (place == 1 && t->type != BUILD_F32) {
			chunk[i] = (unsigned char)((r & 0x80) | 0x24 | (r & 3));
		} else if (t->type == BUILD_F32 && (at + i) % 4 == 3) {
			chunk[i] = (unsigned char)((r & 0x80) | 0x3c);
		}
	}
	for (size_t i = 0; i + 4 <= len && t->fill == FILL_ONES; i += 4) {
		memcpy(chunk + i, &one, sizeof(one));
	}
}

static bool write_tensor(FILE *f, const struct planned *t, uint64_t *state)
{
	static unsigned char chunk[CHUNK_BYTES];
	uint64_t padded = (t->bytes + BUILD_ALIGNMENT - 1) / BUILD_ALIGNMENT * BUILD_ALIGNMENT;

	for (uint64_t at = 0; at < padded; at += CHUNK_BYTES) {
		size_t len = padded - at < CHUNK_BYTES ? (size_t)(padded - at) : CHUNK_BYTES;

		fill_chunk(chunk, len, t, at, state);
		if (fwrite(chunk, 1, len, f) != len) {
			return false;
		}
	}
	return true;
}

static int write_model(const char *path, const struct plan *p, struct span header,
		       const struct shape *s)
{
	FILE *f = fopen(path, "wb");
	uint64_t state = s->seed * 0x9e3779b97f4a7c15u + 1;
	bool ok = f != NULL && fwrite(header.ptr, 1, header.len, f) == header.len;

	for (size_t i = 0; i < p->count && ok && s->sparse == 0; i++) {
		ok = write_tensor(f, &p->tensors[i], &state);
	}
	if (ok && s->sparse != 0) {
		ok = fflush(f) == 0 &&
		     ftruncate(fileno(f), (off_t)(header.len + p->b.data_bytes)) == 0;
	}
	if (f == NULL || fclose(f) != 0 || !ok) {
		perror(path);
		return 1;
	}
	return 0;
}

static bool read_option(struct shape *s, struct span key, const char *value)
{
	struct {
		const char *key;
		const char **text;
		uint64_t *number;
	} rows[] = {
		{ "arch", &s->arch, NULL },	{ "type", &s->type, NULL },
		{ "name", &s->name, NULL },	{ "layers", NULL, &s->layers },
		{ "embd", NULL, &s->embd },	{ "heads", NULL, &s->heads },
		{ "kv", NULL, &s->kv },		{ "dim", NULL, &s->dim },
		{ "ff", NULL, &s->ff },		{ "ctx", NULL, &s->ctx },
		{ "vocab", NULL, &s->vocab },	{ "experts", NULL, &s->experts },
		{ "used", NULL, &s->used },	{ "window", NULL, &s->window },
		{ "chat", NULL, &s->chat },	{ "seed", NULL, &s->seed },
		{ "sparse", NULL, &s->sparse }, { "part", NULL, &s->part },
		{ "parts", NULL, &s->parts },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (span_is(key, rows[i].key)) {
			if (rows[i].text != NULL) {
				*rows[i].text = value;
				return true;
			}
			return span_to_u64(span_of(value), 1u << 30, rows[i].number) == 0;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	static struct plan p;
	struct shape s = { .arch = "llama",
			   .type = "f16",
			   .name = "random",
			   .layers = 4,
			   .embd = 256,
			   .heads = 8,
			   .kv = 2,
			   .ff = 512,
			   .ctx = 4096,
			   .vocab = 512,
			   .used = 2,
			   .window = 1024,
			   .chat = 1,
			   .seed = 1 };
	struct buf header;

	for (int i = 2; i < argc; i++) {
		struct span rest = span_of(argv[i]);
		struct span key = span_split(&rest, '=');

		if (rest.ptr == NULL || !read_option(&s, key, rest.ptr)) {
			fprintf(stderr, "make-gguf: '%s' is no option\n", argv[i]);
			return 2;
		}
	}
	if (argc < 2 || s.vocab < FIRST_PIECE || s.heads == 0) {
		fprintf(stderr, "make-gguf OUT.gguf [key=value ...]; vocab is at least %d\n",
			FIRST_PIECE);
		return 2;
	}
	if (s.dim == 0) {
		s.dim = s.embd / s.heads;
	}
	if (is_arch(&s, "qwen3moe") && s.experts == 0) {
		s.experts = 8;
	}
	p.type = strcmp(s.type, "f32") == 0    ? BUILD_F32
		 : strcmp(s.type, "q8_0") == 0 ? BUILD_Q8_0
		 : strcmp(s.type, "q4_0") == 0 ? BUILD_Q4_0
					       : BUILD_F16;
	build_init(&p.b);
	add_keys(&p.b, &s);
	plan_tensors(&p, &s);
	buf_init(&header, BUILD_MAX_BYTES);
	build_finish(&p.b, &header);
	int status = write_model(argv[1], &p, buf_span(&header), &s);

	buf_finish(&header);
	return status;
}
