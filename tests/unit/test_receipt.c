/* SPDX-License-Identifier: MIT */
/*
 * Verdicts over recorded logs. The h100 and h200 logs and the cpu ones of build 11669 are real (cut
 * to the load); the other dialects are written after lines that are known of such builds.
 */
#include <stdio.h>

#include "base/mem.h"
#include "engine/receipt.h"
#include "engine_data.h"
#include "unit.h"

#define ALL SETTING_UNSET

struct log_row {
	const char *name;
	enum receipt_verdict verdict;
	int offloaded, total;
	const char *device, *device_name;
	bool lies_in_one_line; /* one buffer's name is all that tells it from a GPU's log */
};

static const struct log_row logs[] = {
	{ "h100-vulkan-gpu", RECEIPT_GPU, 23, 23, "Vulkan0", "NVIDIA H100 80GB HBM3", false },
	{ "h100-vulkan-partial", RECEIPT_PARTIAL, 10, 23, "Vulkan0", "NVIDIA H100 80GB HBM3",
	  false },
	{ "h100-vulkan-cpu-by-request", RECEIPT_CPU, 0, 23, "", "", false },
	{ "h100-vulkan-gpu-verbosity-3", RECEIPT_UNKNOWN, -1, -1, "", "", false },
	{ "h100-vulkan-sliding-window", RECEIPT_GPU, 27, 27, "Vulkan0", "NVIDIA H100 80GB HBM3",
	  false },
	{ "h100-vulkan-experts", RECEIPT_GPU, 13, 13, "Vulkan0", "NVIDIA H100 80GB HBM3", false },
	{ "h100-vulkan-no-layers", RECEIPT_CPU, 0, 23, "", "", false },
	{ "h100-driver-missing", RECEIPT_CPU, -1, -1, "", "", false },
	{ "h200-vulkan-gpu", RECEIPT_GPU, 9, 9, "Vulkan0", "NVIDIA H200", false },
	{ "h200-vulkan-gpu-without-prefix", RECEIPT_GPU, 9, 9, "Vulkan0", "NVIDIA H200", false },
	{ "h200-vulkan-gpu-jsonl", RECEIPT_GPU, 9, 9, "Vulkan0", "NVIDIA H200", false },
	{ "h200-vulkan-kv-on-cpu", RECEIPT_GPU, 9, 9, "Vulkan0", "NVIDIA H200", false },
	{ "h200-vulkan-partial", RECEIPT_PARTIAL, 3, 9, "Vulkan0", "NVIDIA H200", false },
	{ "h200-vulkan-no-layers", RECEIPT_CPU, 0, 9, "", "", false },
	{ "h200-vulkan-device-none", RECEIPT_CPU, 0, 9, "", "", false },
	{ "h200-vulkan-weights-overridden-to-cpu", RECEIPT_CPU, 0, 9, "", "", true },
	{ "cpu-fallback", RECEIPT_CPU, -1, -1, "", "", false },
	{ "cpu-without-prefix", RECEIPT_CPU, -1, -1, "", "", false },
	{ "cpu-verbosity-3", RECEIPT_UNKNOWN, -1, -1, "", "", false },
	{ "cpu-old-build-without-layer-line", RECEIPT_CPU, -1, -1, "", "", false },
	{ "cpu-back-end-did-not-load", RECEIPT_CPU, -1, -1, "", "", false },
	{ "metal-newest", RECEIPT_GPU, 33, 33, "MTL0", "Apple M4 Pro", false },
	{ "metal-middle", RECEIPT_GPU, 31, 31, "MTL0", "Apple M3 Pro", false },
	{ "metal-old", RECEIPT_GPU, 33, 33, "Metal", "Apple M1", false },
	{ "metal-oldest", RECEIPT_GPU, 33, 33, "Metal", "Apple M1 Pro", false },
	{ "cuda-new", RECEIPT_GPU, 33, 33, "CUDA0", "NVIDIA GeForce RTX 3090", false },
	{ "cuda-old-partial", RECEIPT_PARTIAL, 20, 33, "CUDA0", "NVIDIA GeForce GTX 1060 6GB",
	  false },
	{ "cuda-two-devices", RECEIPT_GPU, 41, 41, "CUDA0", "NVIDIA RTX A2000 (Laptop) and 1 more",
	  false },
	{ "cuda-experts-on-cpu", RECEIPT_PARTIAL, 49, 49, "CUDA0", "NVIDIA GeForce RTX 3090",
	  false },
	{ "rocm", RECEIPT_GPU, 33, 33, "ROCm0", "AMD Radeon RX 7900 XTX", false },
	{ "vulkan-old", RECEIPT_GPU, 33, 33, "Vulkan0", "AMD Radeon 780M (RADV PHOENIX) (radv)",
	  false },
	{ "unknown-kind-of-device", RECEIPT_UNKNOWN, -1, -1, "", "", false },
	{ "new-kind-of-device-in-use", RECEIPT_GPU, 3, 3, "QPU7", "Quokka 7", false },
	{ "gpu-without-layer-line", RECEIPT_GPU, -1, -1, "CUDA0", "", false },
	{ "partial-without-layer-line", RECEIPT_PARTIAL, -1, -1, "CUDA0", "", false },
	{ "forged-by-a-model-file", RECEIPT_CPU, -1, -1, "", "", false },
	{ "death-unknown-architecture", RECEIPT_UNKNOWN, -1, -1, "", "", false },
};

static struct buf log_text(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "logs/%s.log", name);
	return engine_data(path);
}

static void feed_all(struct receipt_parser *p, struct span text)
{
	while (text.ptr != NULL) {
		receipt_parser_feed(p, span_split(&text, '\n'));
	}
}

static struct receipt judge(struct span text, int32_t n_gpu_layers, bool has_device)
{
	const struct receipt_wish wish = { .n_gpu_layers = n_gpu_layers, .has_device = has_device };
	struct receipt_parser p;
	struct receipt r = { 0 };

	receipt_parser_init(&p);
	feed_all(&p, text);
	receipt_parser_read(&p, &wish, &r);
	return r;
}

static struct receipt judge_log(const char *name, int32_t n_gpu_layers, bool has_device)
{
	struct buf text = log_text(name);
	struct receipt r = judge(buf_span(&text), n_gpu_layers, has_device);

	buf_finish(&text);
	return r;
}

static void every_recorded_log_gets_its_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
		const struct log_row *row = &logs[i];
		struct receipt r = judge_log(row->name, ALL, true);

		if (r.verdict != row->verdict || r.layers_offloaded != row->offloaded ||
		    r.layers_total != row->total) {
			fail_msg("%s: %s, %d/%d", row->name, receipt_verdict_name(r.verdict),
				 r.layers_offloaded, r.layers_total);
		}
		assert_string_equal(r.device, row->device);
		assert_string_equal(r.device_name, row->device_name);
		assert_int_equal(r.wanted, row->verdict == RECEIPT_GPU);
		assert_true(r.wanted == (r.why[0] == '\0'));
		assert_true(row->verdict == RECEIPT_UNKNOWN || r.evidence_count > 0);
	}
}

static void line_ends_of_other_systems_change_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
		struct buf text = log_text(logs[i].name);
		struct buf other;

		buf_init(&other, ENGINE_DATA_MAX_BYTES);
		for (struct span rest = buf_span(&text); rest.ptr != NULL;) {
			buf_add_span(&other, span_split(&rest, '\n'));
			buf_add_text(&other, "\r\n");
		}
		assert_int_equal(judge(buf_span(&other), ALL, true).verdict, logs[i].verdict);
		buf_finish(&text);
		buf_finish(&other);
	}
}

/* Mutations: one line of a log is replaced; the result may be anything but "gpu". */

struct mutation {
	const char *from, *to;
	bool is_of_buffers; /* moves weights, so that the log may become a GPU's */
};

static const struct mutation mutations[] = {
	{ "offloaded 0/", "offloaded 1/", false },
	{ "offloaded 0/23", "offloaded 23/23", false },
	{ "offloaded 0/9", "offloaded 9/9", false },
	{ "offloaded 0/", "offloaded 999/", false },
	{ "offloaded 9/9", "offloaded 33/33", false },
	{ "/23 layers", "/0 layers", false },
	{ "/9 layers", "/0 layers", false },
	{ "- CPU ", "- CUDA0 ", false },
	{ "common_param:   - ", "llama_prepare_model_devices: using device ", false },
	{ "loaded CPU backend", "loaded CUDA backend", false },
	{ "no usable GPU", "a usable GPU", false },
	{ "0.00.", "", false },
	{ " I ", " E ", false },
	{ " I ", " ", false },
	{ "load_tensors:", "llm_load_tensors:", false },
	{ "llama_kv_cache:", "llama_kv_cache_unified:", false },
	{ "CPU KV", "CUDA0 KV", false },
	{ "CPU compute", "CUDA0 compute", false },
	{ "CPU_Mapped model", "CUDA0_Mapped model", true },
	{ "CPU_AARCH64 model", "Metal model", true },
	{ "AMX model", "Vulkan0 model", true },
	{ "CPU", "MTL0", true },
	{ "Vulkan_Host", "Vulkan0", false },
};

/* The text with the n-th line changed, dropped (m NULL) or left alone when `from` is not in it. */
static void mutate(struct buf *out, struct span text, size_t n, const struct mutation *m)
{
	buf_clear(out);
	for (size_t i = 0; text.ptr != NULL; i++) {
		struct span line = span_split(&text, '\n');
		size_t at = i == n && m != NULL ? span_find(line, m->from) : line.len;

		if (i == n && m == NULL) {
			continue;
		}
		buf_add(out, line.ptr, at);
		if (at < line.len) {
			buf_add_text(out, m->to);
			buf_add_span(out, span_from(line, at + strlen(m->from)));
		}
		buf_add_char(out, '\n');
	}
}

static size_t count_lines(struct span text)
{
	size_t count = 0;

	while (text.ptr != NULL) {
		span_split(&text, '\n');
		count++;
	}
	return count;
}

static size_t try_mutations(const struct log_row *row, struct span text, struct buf *out)
{
	size_t lines = count_lines(text), changed = 0;

	for (size_t n = 0; n < lines; n++) {
		for (size_t m = 0; m <= ARRAY_LEN(mutations); m++) {
			const struct mutation *how =
				m < ARRAY_LEN(mutations) ? &mutations[m] : NULL;

			if (how != NULL && how->is_of_buffers && row->lies_in_one_line) {
				continue;
			}
			mutate(out, text, n, how);
			if (span_equal(buf_span(out), text)) {
				continue;
			}
			changed++;
			if (judge(buf_span(out), ALL, true).verdict == RECEIPT_GPU) {
				fail_msg("%s, line %zu: %s", row->name, n + 1,
					 how != NULL ? how->to : "dropped");
			}
		}
	}
	return changed;
}

static void no_change_of_one_line_turns_cpu_into_gpu(void **state)
{
	(void)state;
	size_t changed = 0;
	struct buf out;

	buf_init(&out, ENGINE_DATA_MAX_BYTES);
	for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
		struct buf text = log_text(logs[i].name);

		if (logs[i].verdict == RECEIPT_CPU) {
			changed += try_mutations(&logs[i], buf_span(&text), &out);
		}
		buf_finish(&text);
	}
	assert_true(changed > 2000); /* that much really was changed and judged */
	buf_finish(&out);
}

static void sizes_are_summed_by_place(void **state)
{
	(void)state;
	struct receipt r = judge_log("metal-newest", ALL, true);

	assert_true(r.device_bytes >> 20 == 4403 + 512 + 258);
	assert_true(r.host_bytes >> 20 == 281 + 16);
	r = judge_log("h200-vulkan-device-none", ALL, true);
	assert_true(r.device_bytes == 0);
	assert_true(r.host_bytes > 18u << 20);
}

static void evidence_shows_the_lines_that_decided(void **state)
{
	(void)state;
	struct receipt r = judge_log("cpu-fallback", 99, true);

	assert_int_equal(r.evidence_count, 3);
	assert_string_equal(r.evidence[0],
			    "load_tensors:   CPU_Mapped model buffer size =     6.33 MiB");
	assert_string_equal(r.evidence[2],
			    "warning: no usable GPU found, --gpu-layers option will be ignored");
	r = judge_log("h200-vulkan-gpu", ALL, true);
	assert_int_equal(r.evidence_count, 5);
	assert_string_equal(r.evidence[1], "load_tensors: offloaded 9/9 layers to GPU");
}

static void assert_wanted(const char *log, struct receipt_wish wish, bool wanted, const char *why)
{
	struct buf text = log_text(log);
	struct receipt_parser p;
	struct receipt r = { 0 };

	receipt_parser_init(&p);
	feed_all(&p, buf_span(&text));
	receipt_parser_read(&p, &wish, &r);
	assert_int_equal(r.wanted, wanted);
	assert_string_equal(r.why, why);
	buf_finish(&text);
}

static void verdicts_are_compared_with_the_settings(void **state)
{
	(void)state;
	const struct receipt_wish all = { ALL, true, false }, some = { 10, true, false };
	const struct receipt_wish none = { 0, true, false }, no_device = { 99, false, false };
	const struct receipt_wish required = { ALL, false, true }, many = { 99, true, false };

	assert_wanted("metal-newest", all, true, "");
	assert_wanted("metal-newest", required, true, "");
	assert_wanted("metal-newest", none, false,
		      "runs on the GPU although fewer layers were asked for");
	assert_wanted("h100-vulkan-partial", some, true, "");
	assert_wanted(
		"h100-vulkan-partial", many, false,
		"only a part (10 of 23 layers) is on the GPU although 99 GPU layers were asked "
		"for");
	assert_wanted("h100-vulkan-cpu-by-request", none, true, "");
	assert_wanted("cpu-fallback", no_device, true, "");
	assert_wanted("cpu-fallback", many, false,
		      "runs on the CPU although 99 GPU layers were asked for: the engine found no "
		      "GPU");
	assert_wanted("cpu-fallback", required, false,
		      "runs on the CPU although the GPU was asked for: the engine found no GPU");
	assert_wanted("h200-vulkan-weights-overridden-to-cpu", all, false,
		      "runs on the CPU although the GPU was asked for: the engine left all weights "
		      "in main memory");
	assert_wanted("h100-vulkan-gpu-verbosity-3", all, false,
		      "the engine's log does not prove where the layers are");
	assert_wanted("cuda-experts-on-cpu", all, false,
		      "only a part of the weights is on the GPU although the GPU was asked for");
}

static void own_line_says_what_the_seed_tells_people_to_look_for(void **state)
{
	(void)state;
	char text[RECEIPT_LINE_MAX_BYTES];
	struct receipt r = judge_log("metal-newest", ALL, true);

	receipt_print(&r, text, sizeof(text));
	assert_string_equal(text, "ronzal: GPU name: Apple M4 Pro (MTL0), 33/33 layers on the GPU");
	r = judge_log("h100-vulkan-partial", 10, true);
	receipt_print(&r, text, sizeof(text));
	assert_string_equal(text,
			    "ronzal: GPU name: NVIDIA H100 80GB HBM3 (Vulkan0), 10/23 layers on "
			    "the GPU, the rest on the CPU");
	for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
		r = judge_log(logs[i].name, ALL, true);
		receipt_print(&r, text, sizeof(text));
		bool names_gpu = strstr(text, "GPU name:") != NULL;

		assert_int_equal(names_gpu, logs[i].device[0] != '\0');
	}
}

static void progress_grows_with_the_log_and_ends_at_one(void **state)
{
	(void)state;
	struct buf text = log_text("h200-vulkan-gpu");
	struct receipt_parser p;
	float last = 0;

	receipt_parser_init(&p);
	for (struct span rest = buf_span(&text); rest.ptr != NULL;) {
		receipt_parser_feed(&p, span_split(&rest, '\n'));
		assert_true(p.progress >= last);
		last = p.progress;
		assert_true(last <= 1.0f);
	}
	assert_true(last > 0.96f);
	buf_finish(&text);
}

static void hostile_names_are_escaped(void **state)
{
	(void)state;
	struct receipt r = judge(
		SPAN_LIT(
			"llama_prepare_model_devices: using device CUDA0 (a\033[2J\"\xff) - 1 MiB\n"
			"load_tensors: offloaded 3/3 layers to GPU\n"),
		ALL, true);

	assert_int_equal(r.verdict, RECEIPT_GPU);
	assert_string_equal(r.device_name, "a\\x1b[2J\"\\xff");
	assert_null(strchr(r.evidence[0], '\033'));
}

static void numbers_beyond_all_bounds_prove_nothing(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"load_tensors: offloaded 33/18446744073709551617 layers to GPU\n",
		"load_tensors: offloaded 4294967329/4294967329 layers to GPU\n",
		"load_tensors: offloaded -1/33 layers to GPU\n",
		"load_tensors: offloaded 34/33 layers to GPU\n",
		"load_tensors: offloaded 0/0 layers to GPU\n",
		"load_tensors: offloaded 33/33 layers to the moon\n",
		"x load_tensors : offloaded 33/33 layers to GPU\n",
		"load_tensors: CUDA0 model buffer size = 99999999999999999999 MiB\n",
		"load_tensors: CUDA0 model buffer size = nan MiB\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(judge(span_of(texts[i]), ALL, true).verdict, RECEIPT_UNKNOWN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_recorded_log_gets_its_verdict),
		cmocka_unit_test(line_ends_of_other_systems_change_nothing),
		cmocka_unit_test(no_change_of_one_line_turns_cpu_into_gpu),
		cmocka_unit_test(sizes_are_summed_by_place),
		cmocka_unit_test(evidence_shows_the_lines_that_decided),
		cmocka_unit_test(verdicts_are_compared_with_the_settings),
		cmocka_unit_test(own_line_says_what_the_seed_tells_people_to_look_for),
		cmocka_unit_test(progress_grows_with_the_log_and_ends_at_one),
		cmocka_unit_test(hostile_names_are_escaped),
		cmocka_unit_test(numbers_beyond_all_bounds_prove_nothing),
	};

	return cmocka_run_group_tests_name("receipt", tests, NULL, NULL);
}
