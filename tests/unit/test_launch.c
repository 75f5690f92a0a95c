/* SPDX-License-Identifier: MIT */
/* Argument vectors and environments of engines, for builds of several ages. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/launch.h"
#include "engine_data.h"
#include "unit.h"

#define NEW_BUILD "help/build-11669.txt"
#define MIDDLE_BUILD "help/middle-fit-without-load-mode.txt"
#define OLDER_BUILD "help/older-bare-flash-attn.txt"

/* One start with everything that a test may change. */
struct start {
	struct engine_abilities abilities;
	struct model model;
	struct launch_options options;
};

static void start_init(struct start *s, const char *help_name)
{
	*s = (struct start){ .abilities = engine_data_abilities(help_name),
			     .model = { .id = "qwen3-4b" } };
	settings_init(&s->model.settings);
	s->options = (struct launch_options){
		.abilities = &s->abilities,
		.model = &s->model,
		.engine_path = "/usr/bin/llama-server",
		.model_path = "/models/q.gguf",
		.hosts = "127.0.0.1",
		.port = 8080,
		.api_key_file = "/run/k",
		.cache_ram_mib = 1024,
	};
}

static void assert_arguments(const struct start *s, const char *expected)
{
	struct err err = { 0 };
	struct buf line;
	char **argv = launch_argv(&s->options, &err);

	if (argv == NULL) {
		fail_msg("%s", err.text);
		return;
	}
	buf_init(&line, 4096);
	for (size_t i = 0; argv[i] != NULL; i++) {
		buf_printf(&line, "%s%s", i > 0 ? " " : "", argv[i]);
	}
	assert_string_equal(buf_text(&line), expected);
	buf_finish(&line);
	free(argv);
}

static void set_everything(struct settings *s)
{
	s->n_gpu_layers = 99;
	s->ctx_size = 8192;
	s->n_threads = 6;
	s->batch_size = 512;
	s->parallel = 2;
	s->flash_attention = TRI_ON;
	s->cache_type_k = KV_Q8_0;
	s->cache_type_v = KV_Q4_0;
	s->cache_ram_mib = 0;
	s->mmap = 0;
	s->mlock = 1;
}

static void new_build_decides_what_is_not_set(void **state)
{
	(void)state;
	struct start s;

	start_init(&s, NEW_BUILD);
	assert_arguments(&s, "/usr/bin/llama-server --host 127.0.0.1 --port 8080 "
			     "--api-key-file /run/k --alias qwen3-4b --model /models/q.gguf "
			     "--n-gpu-layers auto --ctx-size 0 --cache-ram 1024 --verbosity 4 "
			     "--metrics --slots --jinja --no-ui");
}

static void new_build_gets_every_setting(void **state)
{
	(void)state;
	struct start s;

	start_init(&s, NEW_BUILD);
	set_everything(&s.model.settings);
	s.model.settings.embeddings = 1;
	s.options.hosts = "127.0.0.1,172.17.0.1";
	s.options.mmproj_path = "/models/mm.gguf";
	s.options.extra_arguments = (const char *const[]){ "--threads-http", "4", NULL };
	assert_arguments(&s, "/usr/bin/llama-server --host 127.0.0.1,172.17.0.1 --port 8080 "
			     "--api-key-file /run/k --alias qwen3-4b --model /models/q.gguf "
			     "--mmproj /models/mm.gguf --n-gpu-layers 99 --ctx-size 8192 "
			     "--parallel 2 --batch-size 512 --flash-attn on "
			     "--cache-type-k q8_0 --cache-type-v q4_0 --threads 6 --cache-ram 0 "
			     "--load-mode mlock --embedding --verbosity 4 --metrics --slots "
			     "--jinja --no-ui --threads-http 4");
	s.options.extra_arguments = NULL;
	settings_init(&s.model.settings);
	s.model.settings.mlock = 1;
	s.model.settings.reranking = 1;
	s.options.mmproj_path = NULL;
	s.options.hosts = "127.0.0.1";
	assert_arguments(&s, "/usr/bin/llama-server --host 127.0.0.1 --port 8080 "
			     "--api-key-file /run/k --alias qwen3-4b --model /models/q.gguf "
			     "--n-gpu-layers auto --ctx-size 0 --cache-ram 1024 "
			     "--load-mode mmap+mlock --reranking --verbosity 4 --metrics --slots "
			     "--jinja --no-ui");
}

static void middle_build_keeps_its_log_level_and_map_flags(void **state)
{
	(void)state;
	struct start s;

	start_init(&s, MIDDLE_BUILD);
	assert_arguments(&s, "/usr/bin/llama-server --host 127.0.0.1 --port 8080 "
			     "--api-key-file /run/k --alias qwen3-4b --model /models/q.gguf "
			     "--ctx-size 0 --cache-ram 1024 --metrics --slots --jinja --no-webui");
	set_everything(&s.model.settings);
	assert_arguments(
		&s, "/usr/bin/llama-server --host 127.0.0.1 --port 8080 "
		    "--api-key-file /run/k --alias qwen3-4b --model /models/q.gguf "
		    "--n-gpu-layers 99 --ctx-size 8192 --parallel 2 "
		    "--batch-size 512 --flash-attn on --cache-type-k q8_0 "
		    "--cache-type-v q4_0 --threads 6 --cache-ram 0 --mlock --no-mmap --metrics "
		    "--slots --jinja --no-webui");
}

static void older_build_gets_all_layers_and_a_bare_flash_attention(void **state)
{
	(void)state;
	struct start s;

	start_init(&s, OLDER_BUILD);
	assert_arguments(&s, "/usr/bin/llama-server --host 127.0.0.1 --port 8080 "
			     "--api-key-file /run/k --alias qwen3-4b --model /models/q.gguf "
			     "--n-gpu-layers 999 --ctx-size 4096 --metrics --slots --jinja "
			     "--no-webui");
	s.model.settings.flash_attention = TRI_ON;
	s.model.settings.mmap = 1;
	s.model.settings.n_gpu_layers = 0;
	s.model.settings.ctx_size = 0;
	assert_arguments(&s, "/usr/bin/llama-server --host 127.0.0.1 --port 8080 "
			     "--api-key-file /run/k --alias qwen3-4b --model /models/q.gguf "
			     "--n-gpu-layers 0 --ctx-size 0 --flash-attn --metrics --slots "
			     "--jinja --no-webui");
	s.model.settings.flash_attention = TRI_OFF;
	s.model.settings.ctx_size = 1;
	assert_arguments(&s, "/usr/bin/llama-server --host 127.0.0.1 --port 8080 "
			     "--api-key-file /run/k --alias qwen3-4b --model /models/q.gguf "
			     "--n-gpu-layers 0 --ctx-size 1 --metrics --slots --jinja --no-webui");
}

static void assert_refused(const struct start *s, int code, const char *words)
{
	struct err err = { 0 };

	assert_null(launch_argv(&s->options, &err));
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.text, words));
}

static void what_an_old_build_cannot_do_is_refused_by_name(void **state)
{
	(void)state;
	struct start s;

	start_init(&s, OLDER_BUILD);
	s.options.mmproj_path = "/models/mm.gguf";
	assert_refused(&s, ERR_NO_ENGINE, "--mmproj");
	start_init(&s, OLDER_BUILD);
	s.options.hosts = "127.0.0.1,172.17.0.1";
	assert_refused(&s, ERR_NO_ENGINE, "172.17.0.1");
}

/* Each argument that is not ours must stand behind a flag of ours that takes a value. */
static void no_text_of_the_registry_becomes_a_flag(void **state)
{
	(void)state;
	static const char *const bad_ids[] = { "",    "-m",	 "--tools", "a b", "a\n--tools",
					       "a,b", ".hidden", "../x",    "a=b", "\xc3\xa4" };
	static const char *const bad_paths[] = { "", "-m.gguf", "--tools", "models/q.gguf", "./q" };
	struct start s;

	start_init(&s, NEW_BUILD);
	for (size_t i = 0; i < ARRAY_LEN(bad_ids); i++) {
		snprintf(s.model.id, sizeof(s.model.id), "%s", bad_ids[i]);
		assert_refused(&s, ERR_INVALID, "id");
	}
	start_init(&s, NEW_BUILD);
	for (size_t i = 0; i < ARRAY_LEN(bad_paths); i++) {
		s.options.model_path = bad_paths[i];
		assert_refused(&s, ERR_INVALID, "not absolute");
	}
	start_init(&s, NEW_BUILD);
	s.options.mmproj_path = "--tools";
	assert_refused(&s, ERR_INVALID, "not absolute");
}

static void hostile_texts_stay_one_argument_behind_their_flag(void **state)
{
	(void)state;
	struct start s;
	struct err err = { 0 };
	const char *path = "/models/-m --tools all\n--host 0.0.0.0 $(id).gguf";

	start_init(&s, NEW_BUILD);
	/* Texts that are never given to the engine, whatever they say. */
	s.model.name = mem_strdup("--tools");
	s.model.family = mem_strdup("--host");
	s.model.quantization = mem_strdup("--rpc");
	s.model.file_path = mem_strdup("--model-url");
	s.model.aliases[0] = mem_strdup("--agent");
	s.model.alias_count = 1;
	s.options.model_path = path;
	char **argv = launch_argv(&s.options, &err);

	assert_non_null(argv);
	int seen = 0;
	for (size_t i = 1; argv[i] != NULL; i++) {
		if (strcmp(argv[i], path) == 0) {
			assert_string_equal(argv[i - 1], "--model");
			seen++;
		} else {
			assert_null(strstr(argv[i], "tools"));
			assert_null(strstr(argv[i], "rpc"));
			assert_null(strstr(argv[i], "agent"));
			assert_null(strstr(argv[i], "model-url"));
		}
	}
	assert_int_equal(seen, 1);
	free(argv);
	free(s.model.name);
	free(s.model.family);
	free(s.model.quantization);
	free(s.model.file_path);
	free(s.model.aliases[0]);
}

static void arguments_beyond_the_limit_are_refused(void **state)
{
	(void)state;
	struct start s;
	char *long_text = mem_alloc(LAUNCH_TEXT_MAX_BYTES + 1);

	memset(long_text, 'x', LAUNCH_TEXT_MAX_BYTES);
	start_init(&s, NEW_BUILD);
	s.options.extra_arguments = (const char *const[]){ long_text, NULL };
	assert_refused(&s, ERR_FULL, "host.conf");
	free(long_text);
}

static void only_listed_variables_reach_an_engine(void **state)
{
	(void)state;
	static const char *const from[] = {
		"PATH=/bin",
		"HOME=/home/u",
		"LLAMA_ARG_TOOLS=all",
		"LD_PRELOAD=/tmp/x.so",
		"LC_ALL=C",
		"LC_",
		"LD_LIBRARY_PATH=/x",
		"DYLD_INSERT_LIBRARIES=/x",
		"PATHS=/x",
		"CUDA_VISIBLE_DEVICES=0",
		"GGML_BACKEND_PATH=/x",
		"GGML_NO_BACKTRACE=0",
		"PATH",
		"HF_TOKEN=secret",
		"VK_DRIVER_FILES=/d",
		"=LC_X",
		"",
		"SSH_ORIGINAL_COMMAND=x",
		NULL,
	};
	static const char *const expected[] = { "PATH=/bin",	      "HOME=/home/u",
						"LC_ALL=C",	      "CUDA_VISIBLE_DEVICES=0",
						"VK_DRIVER_FILES=/d", "GGML_NO_BACKTRACE=1",
						"LD_LIBRARY_PATH=/l" };
	char **environment = launch_environment(from, "/l", NULL);
	size_t count = 0;

	assert_non_null(environment);
	for (; environment[count] != NULL; count++) {
		assert_true(count < ARRAY_LEN(expected));
		assert_string_equal(environment[count], expected[count]);
	}
	assert_int_equal(count, ARRAY_LEN(expected));
	free(environment);

	environment = launch_environment((const char *const[]){ NULL }, NULL, NULL);
	assert_string_equal(environment[0], "GGML_NO_BACKTRACE=1");
	assert_null(environment[1]);
	free(environment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_build_decides_what_is_not_set),
		cmocka_unit_test(new_build_gets_every_setting),
		cmocka_unit_test(middle_build_keeps_its_log_level_and_map_flags),
		cmocka_unit_test(older_build_gets_all_layers_and_a_bare_flash_attention),
		cmocka_unit_test(what_an_old_build_cannot_do_is_refused_by_name),
		cmocka_unit_test(no_text_of_the_registry_becomes_a_flag),
		cmocka_unit_test(hostile_texts_stay_one_argument_behind_their_flag),
		cmocka_unit_test(arguments_beyond_the_limit_are_refused),
		cmocka_unit_test(only_listed_variables_reach_an_engine),
	};

	return cmocka_run_group_tests_name("launch", tests, NULL, NULL);
}
