/* SPDX-License-Identifier: MIT */
/*
 * memory-of MODEL.gguf FIT-PARAMS|- [SETTING=VALUE ...]: what ronzal thinks that a load takes on
 * the CPU, in KiB: "formula WEIGHTS KV COMPUTE", and "asked ..." once the engine's tool was asked,
 * by the code that the agent uses.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/launch.h"
#include "io/errand.h"
#include "model/gguf.h"
#include "model/memory.h"

static void print(const char *name, const struct memory_model *m)
{
	struct memory_estimate e;

	memory_estimate_make(m, false, &e);
	printf("%s %llu %llu %llu\n", name, (unsigned long long)e.host.weights >> 10,
	       (unsigned long long)e.host.kv >> 10, (unsigned long long)e.host.compute >> 10);
}

static void ask(struct memory_model *m, const char *path, const char *fit_path)
{
	struct engine_abilities abilities = { .version = "" };
	struct model model = { .id = "model", .settings = m->settings };
	struct launch_options options = { .abilities = &abilities,
					  .model = &model,
					  .model_path = path };
	struct memory_said said;
	struct err err = { 0 };
	struct buf text;

	for (size_t i = 0; i < ABILITY_COUNT; i++) {
		abilities.has[i] = true;
	}
	char **argv = launch_fit_argv(&options, fit_path);

	ENSURE(argv != NULL);
	errand_run(&(struct errand_options){ .argv = (const char *const *)argv,
					     .text_max_bytes = 4096,
					     .limit_ms = 60000 },
		   &text, &err);
	if (probe_fit_read(buf_span(&text), &said)) {
		memory_correct(m, false, &said);
		print("asked", m);
	}
	buf_finish(&text);
	free(argv);
}

int main(int argc, char **argv)
{
	struct gguf gguf = { 0 };
	struct memory_model m = { .id = "model", .gguf = &gguf };
	struct err err = { 0 };

	ENSURE(argc >= 3);
	settings_init(&m.settings);
	for (int i = 3; i < argc; i++) {
		struct span value = span_of(argv[i]);
		const struct setting_row *row = setting_find(span_split(&value, '='));
		int32_t number;

		ENSURE(row != NULL && setting_parse(row, value, &number, NULL) == 0);
		setting_put(&m.settings, row, number);
	}
	if (gguf_read_path(&gguf, argv[1], &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	print("formula", &m);
	if (argv[2][0] != '-') {
		ask(&m, argv[1], argv[2]);
	}
	gguf_finish(&gguf);
	return 0;
}
