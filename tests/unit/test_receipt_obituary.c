/* SPDX-License-Identifier: MIT */
/* Why engines ended. The death-* logs are real ends of build 11669, cut to their last lines. */
#include <signal.h>
#include <stdio.h>

#include "base/mem.h"
#include "engine/obituary.h"
#include "engine_data.h"
#include "unit.h"

static struct obituary read_text(struct span text, int exit_code)
{
	struct obituary_parser p;
	struct obituary o;

	obituary_parser_init(&p);
	while (text.ptr != NULL) {
		obituary_parser_feed(&p, span_split(&text, '\n'));
	}
	obituary_read(&p, exit_code, &o);
	return o;
}

static struct obituary read_log(const char *name, int exit_code)
{
	char path[128];

	snprintf(path, sizeof(path), "logs/death-%s.log", name);
	struct buf text = engine_data(path);
	struct obituary o = read_text(buf_span(&text), exit_code);

	buf_finish(&text);
	return o;
}

static void real_ends_are_told_by_their_cause(void **state)
{
	(void)state;
	static const struct {
		const char *log;
		int exit_code, code;
		const char *sentence, *next_step;
	} rows[] = {
		{ "vulkan-out-of-memory", 1, ERR_NO_MEMORY, "the engine ran out of memory",
		  "ctx_size" },
		{ "not-gguf", 1, ERR_INVALID, "is not a GGUF", "GGUF" },
		{ "truncated-weights", 1, ERR_INVALID, "damaged or incomplete", "again" },
		{ "truncated-head", 1, ERR_INVALID, "damaged or incomplete", "again" },
		{ "unknown-architecture", 1, ERR_NO_ENGINE, "too old for the model", "newer" },
		{ "v-cache-without-flash-attention", 1, ERR_INVALID, "needs flash attention",
		  "flash_attention" },
		{ "port-taken", 1, ERR_BUSY, "could not listen", "port" },
		{ "address-not-here", 1, ERR_BUSY, "hostname: 10.99.99.99", "bind" },
		{ "unknown-flag", 1, ERR_NO_ENGINE, "--modell", "host.conf" },
		{ "bad-value", 1, ERR_INVALID, "q9_9", "setting" },
		{ "file-missing", 1, ERR_NOT_FOUND, "is not there", "rescan" },
		{ "abort", -SIGABRT, ERR_ENGINE_FAILED, "internal fault (SIGABRT)", "log" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct obituary o = read_log(rows[i].log, rows[i].exit_code);

		if (o.code != rows[i].code || strstr(o.sentence, rows[i].sentence) == NULL ||
		    strstr(o.next_step, rows[i].next_step) == NULL) {
			fail_msg("%s: %s / %s", rows[i].log, o.sentence, o.next_step);
		}
		assert_non_null(strstr(o.sentence, "before it was ready"));
	}
}

static void first_cause_wins_over_the_vaguer_ones_behind_it(void **state)
{
	(void)state;
	struct obituary o = read_log("truncated-weights", 1);

	assert_string_equal(
		o.sentence,
		"the model's file is damaged or incomplete, before it was ready: llama_model_load: "
		"error loading model: tensor 'blk.3.attn_v.weight' data is not within the file "
		"bounds, model is corrupted or incomplete");
}

static void forms_of_exhausted_memory_are_known_and_rooms_are_not(void **state)
{
	(void)state;
	static const char *const forms[] = {
		("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9.0 MiB on device 0: "
		 "cudaMalloc failed: out of memory"),
		"CUDA error: out of memory",
		"ggml_metal: error: kIOGPUCommandBufferCallbackErrorOutOfMemory",
		"alloc_tensor_range: failed to allocate CUDA0 buffer of size 9",
		"ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
		"terminate called after throwing an instance of 'std::bad_alloc'",
	};

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		assert_int_equal(read_text(span_of(forms[i]), 1).code, ERR_NO_MEMORY);
	}
	struct obituary o = read_text(SPAN_LIT("srv: the room has a broom, zoom in, oom"), 1);

	assert_int_equal(o.code, ERR_ENGINE_FAILED);
	assert_string_equal(o.sentence, "the engine ended with exit code 1, before it was ready");
}

static void trouble_that_was_survived_is_no_cause_of_death(void **state)
{
	(void)state;
	struct obituary o =
		read_text(SPAN_LIT("0.00.001.000 E x: failed to allocate Vulkan0 buffer\n"
				   "0.00.002.000 I srv  llama_server: model loaded\n"),
			  -SIGKILL);

	assert_int_equal(o.code, ERR_ENGINE_FAILED);
	assert_string_equal(o.sentence, "the engine was killed by the system or by a person "
					"(SIGKILL), while it served");
	assert_non_null(strstr(o.next_step, "memory"));
}

static void unknown_ends_quote_the_last_error(void **state)
{
	(void)state;
	struct obituary o = read_text(SPAN_LIT("0.00.001.000 E srv: first\n"
					       "0.00.002.000 E srv: second \033[31mred\n"
					       "0.00.003.000 I srv: fine\n"),
				      3);

	assert_string_equal(o.sentence, "the engine ended with exit code 3, before it was ready: "
					"srv: second \\x1b[31mred");
	o = read_text(SPAN_LIT(""), -63);
	assert_string_equal(o.sentence, "the engine was ended by signal 63, before it was ready");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_ends_are_told_by_their_cause),
		cmocka_unit_test(first_cause_wins_over_the_vaguer_ones_behind_it),
		cmocka_unit_test(forms_of_exhausted_memory_are_known_and_rooms_are_not),
		cmocka_unit_test(trouble_that_was_survived_is_no_cause_of_death),
		cmocka_unit_test(unknown_ends_quote_the_last_error),
	};

	return cmocka_run_group_tests_name("receipt_obituary", tests, NULL, NULL);
}
