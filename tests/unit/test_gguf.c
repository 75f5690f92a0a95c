/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../gguf_build.h"
#include "model/gguf.h"

/* Of CPU time. The sanitizers slow every load down. */
#if defined(__SANITIZE_ADDRESS__)
#define HEADER_MAX_MS 500
#else
#define HEADER_MAX_MS 50
#endif
#define HEADER_MAX_KIB (16 * 1024)

static ssize_t read_memory(void *context, uint64_t offset, void *to, size_t len)
{
	struct span s = span_from(*(struct span *)context, (size_t)offset);
	size_t got = s.len < len ? s.len : len;

	if (got > 0) {
		memcpy(to, s.ptr, got);
	}
	return (ssize_t)got;
}

static int read_bytes(struct gguf *g, struct span bytes, struct err *err)
{
	struct gguf_source source = { &bytes, bytes.len, read_memory };

	*g = (struct gguf){ 0 };
	*err = (struct err){ 0 };
	return gguf_read(g, &source, err);
}

static void add_tensor(struct gguf_build *b, const char *name, enum build_type type, uint64_t x,
		       uint64_t y)
{
	build_tensor(b, name, type, (uint64_t[3]){ x, y, 0 });
}

/* A small gemma3 with everything that a header may say. */
static void build_model(struct buf *out)
{
	struct gguf_build b;

	build_init(&b);
	build_text(&b, "general.architecture", "gemma3");
	build_text(&b, "general.name", "Gem\x1b[31m 3");
	build_text(&b, "general.basename", "Gemma-3");
	build_text(&b, "general.size_label", "4B");
	build_text(&b, "general.finetune", "it");
	build_u32(&b, "general.file_type", 15);
	build_u32(&b, "gemma3.block_count", 12);
	build_u32(&b, "gemma3.context_length", 32768);
	build_u32(&b, "gemma3.embedding_length", 64);
	build_u32(&b, "gemma3.feed_forward_length", 128);
	build_u32(&b, "gemma3.attention.head_count", 4);
	build_list(&b, "gemma3.attention.head_count_kv", 5, 12);
	for (uint64_t i = 0; i < 12; i++) {
		build_number(&b.keys, i == 3 ? 0 : 2, 4);
	}
	build_u32(&b, "gemma3.attention.key_length", 32);
	build_u32(&b, "gemma3.attention.sliding_window", 1024);
	build_u32(&b, "other.block_count", 99);
	build_list(&b, "tokenizer.ggml.tokens", 8, 3);
	build_string(&b.keys, "a");
	build_string(&b.keys, "");
	build_string(&b.keys, "ccc");
	build_text(&b, "tokenizer.chat_template", "{{ messages }}");
	add_tensor(&b, "token_embd.weight", BUILD_F16, 64, 3);
	add_tensor(&b, "output_norm.weight", BUILD_F32, 64, 0);
	add_tensor(&b, "blk.0.ffn_up.weight", BUILD_Q8_0, 64, 128);
	add_tensor(&b, "blk.11.ffn_up.weight", BUILD_Q4_0, 64, 128);
	add_tensor(&b, "blk.12.ffn_up.weight", BUILD_F32, 8, 0);
	uint64_t data = b.data_bytes;

	build_finish(&b, out);
	while (data-- > 0) {
		buf_add_char(out, 'x');
	}
}

static void a_header_is_read_whole(void **state)
{
	struct buf file;
	struct gguf g;
	struct err err;

	(void)state;
	buf_init(&file, BUILD_MAX_BYTES);
	build_model(&file);
	assert_int_equal(read_bytes(&g, buf_span(&file), &err), 0);
	assert_int_equal(g.role, GGUF_MODEL);
	assert_string_equal(g.architecture, "gemma3");
	assert_string_equal(g.name, "Gem [31m 3");
	assert_string_equal(g.basename, "Gemma-3");
	assert_string_equal(g.size_label, "4B");
	assert_string_equal(g.finetune, "it");
	assert_string_equal(g.quantization, "Q4_K_M");
	assert_int_equal(g.layer_count, 12);
	assert_int_equal(g.context_length, 32768);
	assert_int_equal(g.head_count, 4);
	assert_int_equal(g.key_length, 32);
	assert_int_equal(g.value_length, 16);
	assert_int_equal(g.vocabulary, 3);
	assert_true(g.has_chat_template);
	assert_false(g.has_output);
	assert_int_equal(g.layers[2].kv_heads, 2);
	assert_int_equal(g.layers[3].kv_heads, 0);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(g.layers[i].is_sliding, i != 5 && i != 11);
	}
	assert_int_equal(g.layers[0].bytes, 64 * 128 / 32 * 34);
	assert_int_equal(g.layers[11].bytes, 64 * 128 / 32 * 18);
	assert_int_equal(g.input_bytes, 64 * 3 * 2);
	assert_int_equal(g.parameters, 64 * 3 + 64 + 2 * 64 * 128 + 8);
	gguf_finish(&g);
	buf_finish(&file);
}

static void the_demo_model_is_what_its_card_says(void **state)
{
	struct gguf g = { 0 };
	struct err err;

	(void)state;
	if (gguf_read_path(&g, "demo/ronzal-demo.gguf", &err) != 0) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(g.file_bytes, 6682944);
	assert_int_equal(g.parameters, 6230272);
	assert_string_equal(g.architecture, "llama");
	assert_string_equal(g.quantization, "Q8_0");
	assert_int_equal(g.layer_count, 8);
	assert_int_equal(g.embedding_length, 256);
	assert_int_equal(g.head_count, 8);
	assert_int_equal(g.layers[0].kv_heads, 4);
	assert_int_equal(g.feed_forward_length, 672);
	assert_int_equal(g.context_length, 1024);
	assert_int_equal(g.vocabulary, 2048);
	assert_true(g.has_chat_template);
	gguf_finish(&g);
}

static void a_file_cut_anywhere_is_an_error_with_a_sentence(void **state)
{
	struct buf file;
	struct gguf g;
	struct err err;

	(void)state;
	buf_init(&file, BUILD_MAX_BYTES);
	build_model(&file);
	for (size_t len = 0; len < file.len; len++) {
		/* A copy of exact size, so that the sanitizer sees a byte too far. */
		char *copy = mem_spandup((struct span){ file.data, len });

		assert_int_equal(read_bytes(&g, (struct span){ copy, len }, &err), ERR_INVALID);
		assert_true(strlen(err.text) > 20);
		gguf_finish(&g);
		free(copy);
	}
	buf_finish(&file);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void begin_header(struct buf *out, uint64_t tensors, uint64_t keys)
{
	buf_clear(out);
	buf_add_text(out, "GGUF");
	build_number(out, 3, 4);
	build_number(out, tensors, 8);
	build_number(out, keys, 8);
}

/* Refused with a sentence, within the bounds of time and memory; prints what it took. */
static void assert_refused_cheaply(const char *what, struct span bytes, const char *sentence)
{
	struct rusage before, after;
	struct gguf g;
	struct err err;

	getrusage(RUSAGE_SELF, &before);
	double start = now_ms();
	int status = read_bytes(&g, bytes, &err);
	double took = now_ms() - start;

	getrusage(RUSAGE_SELF, &after);
	long grown = after.ru_maxrss - before.ru_maxrss;

	print_message("%s: %.2f ms, %ld KiB: %s\n", what, took, grown, err.text);
	assert_int_equal(status, ERR_INVALID);
	assert_non_null(strstr(err.text, sentence));
	assert_true(took < HEADER_MAX_MS);
	assert_true(grown < HEADER_MAX_KIB);
	gguf_finish(&g);
}

static void hostile_counts_cost_nothing(void **state)
{
	struct buf file;

	(void)state;
	buf_init(&file, BUILD_MAX_BYTES);
	begin_header(&file, 1, UINT64_C(1) << 63);
	assert_refused_cheaply("2^63 keys", buf_span(&file), "which no model has");
	begin_header(&file, UINT64_C(1) << 63, 1);
	assert_refused_cheaply("2^63 tensors", buf_span(&file), "which no model has");

	begin_header(&file, 0, 1000000);
	for (int i = 0; i < 1000000; i++) {
		build_string(&file, "k");
		build_number(&file, 4, 4);
		build_number(&file, 1, 4);
	}
	assert_refused_cheaply("a million keys", buf_span(&file), "which no model has");

	begin_header(&file, 0, 1);
	build_number(&file, UINT64_C(1) << 63, 8);
	assert_refused_cheaply("a key of 2^63 bytes", buf_span(&file), "get the file again");

	begin_header(&file, 0, 1);
	build_string(&file, "tokenizer.ggml.tokens");
	build_number(&file, 9, 4);
	build_number(&file, 8, 4);
	build_number(&file, UINT64_C(1) << 63, 8);
	assert_refused_cheaply("2^63 strings", buf_span(&file), "more strings");

	begin_header(&file, 0, 1);
	build_string(&file, "tokenizer.ggml.tokens");
	build_number(&file, 9, 4);
	build_number(&file, 8, 4);
	build_number(&file, GGUF_STRINGS_MAX, 8);
	memset(buf_reserve(&file, GGUF_STRINGS_MAX * 8), 0, GGUF_STRINGS_MAX * 8);
	buf_added(&file, GGUF_STRINGS_MAX * 8);
	assert_refused_cheaply("as many empty strings as are allowed", buf_span(&file),
			       "architecture");

	begin_header(&file, 0, 1);
	build_string(&file, "x");
	build_number(&file, 9, 4);
	build_number(&file, 10, 4);
	build_number(&file, UINT64_C(1) << 63, 8);
	memset(buf_reserve(&file, 4096), 0, 4096);
	buf_added(&file, 4096);
	assert_refused_cheaply("2^63 numbers", buf_span(&file), "get the file again");
	buf_finish(&file);
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *sentence;
	} cases[] = {
		{ "", 0, "only 0 bytes" },
		{ "PK\3\4 some zip that is longer than a header", 40, "not a GGUF file" },
		{ "GGUF\1\0\0\0................", 24, "GGUF version 1" },
		{ "GGUF\0\0\0\3................", 24, "big-endian" },
		{ "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "architecture" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct gguf g;
		struct err err;

		assert_int_equal(read_bytes(&g, (struct span){ cases[i].bytes, cases[i].len },
					    &err),
				 ERR_INVALID);
		if (strstr(err.text, cases[i].sentence) == NULL) {
			fail_msg("'%s' does not say '%s'", err.text, cases[i].sentence);
		}
		gguf_finish(&g);
	}
}

static void impossible_numbers_are_refused(void **state)
{
	static const char *const keys[] = { "llama.block_count", "llama.embedding_length",
					    "llama.context_length" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct gguf_build b;
		struct buf file;
		struct gguf g;
		struct err err;

		buf_init(&file, BUILD_MAX_BYTES);
		build_init(&b);
		build_text(&b, "general.architecture", "llama");
		build_u32(&b, keys[i], UINT32_MAX);
		build_finish(&b, &file);
		assert_int_equal(read_bytes(&g, buf_span(&file), &err), ERR_INVALID);
		assert_non_null(strstr(err.text, "4294967295"));
		gguf_finish(&g);
		buf_finish(&file);
	}
}

static void save(const char *path, struct span bytes)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, f), bytes.len);
	assert_int_equal(fclose(f), 0);
}

static void save_part(const char *path, uint32_t part)
{
	struct gguf_build b;
	struct buf file;

	buf_init(&file, BUILD_MAX_BYTES);
	build_init(&b);
	if (part == 0) {
		build_text(&b, "general.architecture", "llama");
		build_u32(&b, "llama.block_count", 2);
	}
	build_u32(&b, "split.no", part);
	build_u32(&b, "split.count", 2);
	add_tensor(&b, part == 0 ? "blk.0.a" : "blk.1.a", BUILD_F32, 8, 0);
	build_finish(&b, &file);
	buf_add(&file, "................................", 32);
	save(path, buf_span(&file));
	buf_finish(&file);
}

static void the_parts_of_a_split_model_are_one_model(void **state)
{
	char folder[] = "/tmp/ronzal-gguf-XXXXXX";
	struct gguf g = { 0 };
	struct err err;

	(void)state;
	assert_non_null(mkdtemp(folder));
	char *first = mem_printf("%s/m-00001-of-00002.gguf", folder);
	char *second = mem_printf("%s/m-00002-of-00002.gguf", folder);

	save_part(first, 0);
	assert_int_equal(gguf_read_path(&g, first, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err.text, "m-00002-of-00002.gguf is not there"));
	gguf_finish(&g);
	save_part(second, 1);
	assert_int_equal(gguf_read_path(&g, first, &err), 0);
	assert_int_equal(g.parameters, 16);
	assert_int_equal(g.layers[0].bytes, 32);
	assert_int_equal(g.layers[1].bytes, 32);
	gguf_finish(&g);
	assert_int_not_equal(gguf_read_path(&g, second, &err), 0);
	gguf_finish(&g);
	unlink(first);
	unlink(second);
	rmdir(folder);
	free(first);
	free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_is_read_whole),
		cmocka_unit_test(the_demo_model_is_what_its_card_says),
		cmocka_unit_test(a_file_cut_anywhere_is_an_error_with_a_sentence),
		cmocka_unit_test(hostile_counts_cost_nothing),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(impossible_numbers_are_refused),
		cmocka_unit_test(the_parts_of_a_split_model_are_one_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
