/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/memory.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* Shapes made by tests/tools/make-gguf. */
struct shape {
	const char *arch;
	uint32_t layers, embd, heads, kv_heads, dim, ff, vocab, window, period, experts, used;
	uint32_t ssm_inner;
	uint64_t layer_bytes, input_bytes, output_bytes;
	const char *quantization;
};

static const struct shape mha = { "llama", 16, 2048, 32, 32,	    64,	       5632,	  32000, 0,
				  0,	   0,  0,    0,	 102768640, 131072000, 131080192, "F16" };
static const struct shape gqa = { "llama", 16, 2048, 32, 8,	    64,	       8192,	  128256, 0,
				  0,	   0,  0,    0,	 121651200, 525336576, 525344768, "F16" };
static const struct shape qwen = { "qwen3", 36, 2560, 32, 8,	    128,       9728,	  151936, 0,
				   0,	    0,	0,    0,  56792064, 218787840, 218798080, "Q4_0" };
static const struct shape moe = { "qwen3moe", 12,	 2048,	    32,	       4,     128,
				  768,	      151936,	 0,	    0,	       32,    8,
				  0,	      180573184, 330612736, 330620928, "Q8_0" };
static const struct shape gemma3 = { "gemma3", 26, 1152, 4, 1,	      256,	 6912, 262144, 512,
				     6,	       0,  0,	 0, 53694464, 603979776, 4608, "F16" };
static const struct shape gemma2 = { "gemma2", 26, 2304, 8, 4,	      256,	 9216, 256000, 4096,
				     2,	       0,  0,	 0, 43831296, 331776000, 9216, "Q4_0" };
static const struct shape mamba = { "mamba", 24, 768, 0,    0,	     0,	       0,	 50280, 0,
				    0,	     0,	 0,   1536, 7615488, 77230080, 77233152, "F16" };
/* The model of the recorded logs on a real GPU, in F16. */
static const struct shape gpu1b = { "llama", 22, 2048, 32, 4,	     64,      5632,    286,  0,
				    0,	     0,	 0,    0,  88096768, 1171456, 1179648, "F16" };

static void make_gguf(const struct shape *s, struct gguf *g)
{
	*g = (struct gguf){ .layer_count = s->layers,
			    .embedding_length = s->embd,
			    .head_count = s->heads,
			    .key_length = s->dim,
			    .value_length = s->dim,
			    .feed_forward_length = s->ff,
			    .vocabulary = s->vocab,
			    .sliding_window = s->window,
			    .expert_count = s->experts,
			    .expert_used_count = s->used,
			    .expert_feed_forward_length = s->experts > 0 ? s->ff : 0,
			    .ssm_inner = s->ssm_inner,
			    .ssm_state = s->ssm_inner > 0 ? 16 : 0,
			    .ssm_conv = s->ssm_inner > 0 ? 4 : 0,
			    .input_bytes = s->input_bytes,
			    .output_bytes = s->output_bytes,
			    .has_output = s->window == 0,
			    .context_length = 131072 };
	snprintf(g->architecture, sizeof(g->architecture), "%s", s->arch);
	snprintf(g->quantization, sizeof(g->quantization), "%s", s->quantization);
	g->layers = mem_alloc(s->layers * sizeof(g->layers[0]));
	for (uint32_t i = 0; i < s->layers; i++) {
		g->layers[i].bytes = s->layer_bytes;
		g->layers[i].kv_heads = s->kv_heads;
		g->layers[i].is_sliding = s->period > 0 && i % s->period != s->period - 1;
	}
}

struct row {
	const char *what;
	const struct shape *shape;
	int32_t context, slots, kv_type, flash;
	double weights, kv,
		compute; /* MiB, from the load log of llama-server build 11669 on a CPU */
};

#define NONE SETTING_UNSET

static const struct row rows[] = {
	{ "dense, 4096", &mha, 4096, NONE, NONE, NONE, 1818.26, 512.00, 57.02 },
	{ "grouped-query, 8192", &gqa, 8192, NONE, NONE, NONE, 2858.26, 256.00, 76.02 },
	{ "grouped-query, 32768", &gqa, 32768, NONE, NONE, NONE, 2858.26, 1024.00, 100.02 },
	{ "grouped-query, 32768, q8_0", &gqa, 32768, NONE, KV_Q8_0, NONE, 2858.26, 544.00, 100.05 },
	{ "grouped-query, 8192, no flash attention", &gqa, 8192, NONE, NONE, TRI_OFF, 2858.26,
	  256.00, 554.01 },
	{ "grouped-query, 8192, 3 slots", &gqa, 8192, 3, NONE, NONE, 2858.26, 264.00, 70.91 },
	{ "qwen3 4B, 16384", &qwen, 16384, NONE, NONE, NONE, 2366.37, 2304.00, 98.02 },
	{ "qwen3 4B, 40960, q4_0", &qwen, 40960, NONE, KV_Q4_0, NONE, 2366.37, 1620.00, 122.10 },
	{ "experts, 16384", &moe, 16384, NONE, NONE, NONE, 2697.10, 384.00, 104.02 },
	{ "sliding gemma3, 32768", &gemma3, 32768, NONE, NONE, NONE, 1907.39, 183.00, 86.28 },
	{ "sliding gemma3, 32768, 2 slots", &gemma3, 32768, 2, NONE, NONE, 1907.39, 172.00, 68.78 },
	{ "sliding gemma2, 8192", &gemma2, 8192, NONE, NONE, NONE, 1718.73, 832.00, 92.53 },
	{ "recurrent, 4096", &mamba, 4096, NONE, NONE, NONE, 321.61, 10.69, 22.95 },
	{ "recurrent, 8 slots", &mamba, 4096, 8, NONE, NONE, 321.61, 21.38, 23.40 },
};

static double mib(uint64_t bytes)
{
	return (double)bytes / (double)MIB;
}

static void assert_within(const char *what, const char *part, double got, double said, double share)
{
	if (got < said * (1 - share) || got > said * (1 + share)) {
		fail_msg("%s: %s %.2f MiB, the engine says %.2f", what, part, got, said);
	}
}

static struct memory_model make_model(const struct gguf *g)
{
	struct memory_model m = { .id = "big", .gguf = g };

	settings_init(&m.settings);
	m.settings.cache_ram_mib = 0;
	return m;
}

static void estimates_agree_with_the_engine(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct memory_estimate e;
		struct gguf g;

		make_gguf(row->shape, &g);
		struct memory_model m = make_model(&g);

		m.settings.ctx_size = row->context;
		m.settings.parallel = row->slots;
		m.settings.cache_type_k = row->kv_type;
		m.settings.cache_type_v = row->kv_type;
		m.settings.flash_attention = row->flash;
		memory_estimate_make(&m, false, &e);
		double sum = mib(e.host.weights + e.host.kv + e.host.compute);
		double said = row->weights + row->kv + row->compute;

		print_message(
			"%s: %.0f MiB, engine %.0f (%+.1f %%): weights %.1f/%.1f, KV %.1f/%.1f, "
			"compute %.1f/%.1f\n",
			row->what, sum, said, (sum / said - 1) * 100, mib(e.host.weights),
			row->weights, mib(e.host.kv), row->kv, mib(e.host.compute), row->compute);
		assert_within(row->what, "weights", mib(e.host.weights), row->weights, 0.02);
		assert_within(row->what, "KV cache", mib(e.host.kv), row->kv, 0.02);
		assert_within(row->what, "compute", mib(e.host.compute), row->compute, 0.25);
		assert_int_equal(memory_share_bytes(&e.device), 0);
		gguf_finish(&g);
	}
}

static void offloaded_layers_are_counted_on_the_device(void **state)
{
	struct memory_estimate e;
	struct gguf g;

	(void)state;
	make_gguf(&gpu1b, &g);
	struct memory_model m = make_model(&g);

	/* Recorded on a real GPU: all layers, then 10 of 23. */
	m.settings.ctx_size = 4096;
	memory_estimate_make(&m, true, &e);
	assert_int_equal(e.layers_offloaded, 23);
	assert_within("all", "weights", mib(e.device.weights), 1849.47, 0.01);
	assert_within("all", "KV cache", mib(e.device.kv), 88, 0.01);
	assert_within("all", "compute", mib(e.device.compute), 53.01, 0.25);
	assert_within("all", "host compute", mib(e.host.compute), 20.02, 0.25);
	m.settings.n_gpu_layers = 10;
	memory_estimate_make(&m, true, &e);
	assert_within("part", "weights", mib(e.device.weights), 757.27, 0.01);
	assert_within("part", "KV cache", mib(e.device.kv), 36, 0.01);
	assert_within("part", "host KV cache", mib(e.host.kv), 52, 0.01);
	assert_within("part", "compute", mib(e.device.compute), 64.00, 0.25);
	m.settings.n_gpu_layers = 0;
	memory_estimate_make(&m, true, &e);
	assert_int_equal(memory_share_bytes(&e.device), 0);
	gguf_finish(&g);
}

static void what_fits_is_started(void **state)
{
	struct memory_machine machine = { .host_free_bytes = 8 * GIB,
					  .budget_free_bytes = UINT64_MAX };
	struct memory_decision d;
	struct gguf g;

	(void)state;
	make_gguf(&gqa, &g);
	struct memory_model m = make_model(&g);

	m.settings.ctx_size = 32768;
	memory_decide(&m, &machine, &d);
	assert_true(d.fits);
	assert_false(d.is_shrunk);
	assert_int_equal(d.suggestion_count, 0);
	gguf_finish(&g);
}

static void what_does_not_fit_is_refused_with_the_sum_and_what_would_fit(void **state)
{
	struct memory_running running[] = { { "small", GIB / 4, 0 },
					    { "large", 4 * GIB, 0 },
					    { "middle", 2 * GIB, 0 } };
	struct memory_machine machine = { .host_free_bytes = 4 * GIB,
					  .budget_free_bytes = UINT64_MAX,
					  .running = running,
					  .running_count = 3 };
	struct memory_decision d;
	struct gguf g;

	(void)state;
	make_gguf(&gqa, &g);
	struct memory_model m = make_model(&g);

	m.settings.ctx_size = 32768;
	memory_decide(&m, &machine, &d);
	assert_false(d.fits);
	assert_string_equal(
		d.sentence,
		"big needs 3.9 GiB (weights 2.8, KV cache 1.0 for 32768 tokens, compute "
		"0.1, prompt cache and other 0.1); 3.8 GiB are free");
	assert_int_equal(d.suggestion_count, 3);
	assert_string_equal(d.suggestions[0], "ronzal set big cache_type_k=q8_0 cache_type_v=q8_0");
	assert_string_equal(d.suggestions[1], "ronzal set big ctx_size=16384");
	assert_string_equal(d.suggestions[2], "ronzal stop small");

	/* Each suggestion, followed, is enough. */
	m.settings.ctx_size = 16384;
	memory_decide(&m, &machine, &d);
	assert_true(d.fits);
	m.settings.ctx_size = 32768;
	machine.host_free_bytes += GIB / 4;
	memory_decide(&m, &machine, &d);
	assert_true(d.fits);
	gguf_finish(&g);
}

static void what_no_setting_can_make_fit_gets_no_empty_promise(void **state)
{
	struct memory_machine machine = { .host_free_bytes = GIB, .budget_free_bytes = UINT64_MAX };
	struct memory_decision d;
	struct gguf g;

	(void)state;
	make_gguf(&gqa, &g);
	struct memory_model m = make_model(&g);

	memory_decide(&m, &machine, &d);
	assert_false(d.fits);
	assert_int_equal(d.suggestion_count, 0);
	assert_int_equal(d.estimate.context, 131072);
	gguf_finish(&g);
}

static void what_the_settings_leave_open_is_shrunk_to_fit(void **state)
{
	struct memory_machine machine = { .host_free_bytes = 6 * GIB,
					  .budget_free_bytes = UINT64_MAX };
	struct memory_decision d;
	struct gguf g;

	(void)state;
	make_gguf(&gqa, &g);
	struct memory_model m = make_model(&g);

	memory_decide(&m, &machine, &d);
	assert_true(d.fits && d.is_shrunk);
	assert_int_equal(d.estimate.context, 65536);

	/* A small device takes some of the layers; asked for outright, they are refused. */
	machine.device_free_bytes = 2 * GIB;
	m.settings.ctx_size = 4096;
	memory_decide(&m, &machine, &d);
	assert_true(d.fits && d.is_shrunk);
	assert_in_range(d.estimate.layers_offloaded, 1, 16);
	m.settings.n_gpu_layers = 99;
	memory_decide(&m, &machine, &d);
	assert_false(d.fits);
	assert_non_null(strstr(d.sentence, "on the GPU, where 2.0 GiB are free"));
	gguf_finish(&g);
}

static void budget_and_unified_memory_count(void **state)
{
	struct memory_machine machine = { .host_free_bytes = 64 * GIB,
					  .budget_free_bytes = 3 * GIB };
	struct memory_decision d;
	struct gguf g;

	(void)state;
	make_gguf(&gqa, &g);
	struct memory_model m = make_model(&g);

	m.settings.ctx_size = 32768;
	memory_decide(&m, &machine, &d);
	assert_false(d.fits);
	assert_non_null(strstr(d.sentence, "the memory budget leaves 3.0 GiB"));

	/* 8 GiB of GPU memory mean nothing when they are the same 3 GiB of main memory. */
	machine = (struct memory_machine){ .host_free_bytes = 3 * GIB,
					   .device_free_bytes = 8 * GIB,
					   .is_unified = true,
					   .budget_free_bytes = UINT64_MAX };
	memory_decide(&m, &machine, &d);
	assert_false(d.fits);
	machine.is_unified = false;
	memory_decide(&m, &machine, &d);
	assert_true(d.fits);
	gguf_finish(&g);
}

static void only_near_the_limit_there_is_doubt_and_an_answer_ends_it(void **state)
{
	struct memory_machine machine = { .host_free_bytes = 8 * GIB,
					  .budget_free_bytes = UINT64_MAX };
	struct memory_estimate e, corrected;
	struct memory_said said;
	struct memory_decision d;
	struct gguf g;

	(void)state;
	make_gguf(&gqa, &g);
	struct memory_model m = make_model(&g); /* 3.9 GiB, 1.1 of them by formula */

	m.settings.ctx_size = 32768;
	for (int i = 0; i < 3; i++) {
		static const uint64_t budgets[] = { 2 * GIB, 4000 * MIB, 5 * GIB };

		machine.budget_free_bytes = budgets[i];
		memory_decide(&m, &machine, &d);
		assert_int_equal(d.is_doubtful, i == 1);
	}
	memory_estimate_make(&m, false, &e);
	said = (struct memory_said){ e.host.weights, 2 * e.host.kv, 2 * e.host.compute };
	memory_correct(&m, false, &said);
	memory_estimate_make(&m, false, &corrected);
	assert_within("said", "KV cache", mib(corrected.host.kv), mib(2 * e.host.kv), 0.001);
	assert_int_equal(corrected.host.compute, e.host.compute); /* the logits explain it */
	machine.budget_free_bytes = 4000 * MIB;
	memory_decide(&m, &machine, &d);
	assert_false(d.is_doubtful);
	assert_false(d.fits);

	/* Weights that are left out are repacked: so is the output layer of this one. */
	gguf_finish(&g);
	make_gguf(&gemma3, &g);
	memory_estimate_make(&m, false, &e);
	memory_correct(&m, false, &(struct memory_said){ 0, e.host.kv, e.host.compute });
	memory_estimate_make(&m, false, &corrected);
	assert_int_equal(corrected.host.weights, e.host.weights + g.input_bytes);
	gguf_finish(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(estimates_agree_with_the_engine),
		cmocka_unit_test(offloaded_layers_are_counted_on_the_device),
		cmocka_unit_test(what_fits_is_started),
		cmocka_unit_test(what_does_not_fit_is_refused_with_the_sum_and_what_would_fit),
		cmocka_unit_test(what_no_setting_can_make_fit_gets_no_empty_promise),
		cmocka_unit_test(what_the_settings_leave_open_is_shrunk_to_fit),
		cmocka_unit_test(budget_and_unified_memory_count),
		cmocka_unit_test(only_near_the_limit_there_is_doubt_and_an_answer_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
