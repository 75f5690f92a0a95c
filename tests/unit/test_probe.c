/* SPDX-License-Identifier: MIT */
/* What builds of llama-server say of themselves, and what is made of it. */
#include "engine/dialect.h"
#include "engine/probe.h"
#include "engine_data.h"
#include "unit.h"

static void real_build_is_read_whole(void **state)
{
	(void)state;
	struct engine_abilities a;
	struct err err = { 0 };
	struct buf version = engine_data("help/build-11669.version.txt");
	struct buf help = engine_data("help/build-11669.txt");
	struct buf devices = engine_data("help/build-11669.devices.txt");

	assert_int_equal(
		probe_read(buf_span(&version), buf_span(&help), buf_span(&devices), &a, &err), 0);
	assert_string_equal(a.version, "llama-server 0.7.0 (build 11669)");
	assert_int_equal(a.device_count, 1);
	assert_string_equal(a.devices[0].id, "Vulkan0");
	assert_string_equal(a.devices[0].name, "NVIDIA H200");
	assert_true(a.devices[0].total_bytes == 143771ull << 20);
	assert_true(a.devices[0].free_bytes == 143139ull << 20);
	for (int i = 0; i < ABILITY_COUNT; i++) {
		bool is_older = i == ABILITY_MMAP || i == ABILITY_NO_MMAP || i == ABILITY_MLOCK;

		if (a.has[i] == is_older) {
			fail_msg("%s", ability_flag((enum ability)i));
		}
	}
	buf_finish(&version);
	buf_finish(&help);
	buf_finish(&devices);
}

static void older_builds_lack_what_they_lack(void **state)
{
	(void)state;
	struct engine_abilities a = engine_data_abilities("help/older-bare-flash-attn.txt");

	assert_true(a.has[ABILITY_FLASH_ATTN]);
	assert_false(a.has[ABILITY_FLASH_ATTN_VALUE]);
	assert_true(a.has[ABILITY_NO_MMAP]);
	assert_false(a.has[ABILITY_MMAP]);
	assert_false(a.has[ABILITY_LOAD_MODE]);
	assert_false(a.has[ABILITY_FIT]);
	assert_false(a.has[ABILITY_CACHE_RAM]);
	assert_false(a.has[ABILITY_LOG_TRACE]);
	assert_false(a.has[ABILITY_HOST_LIST]);
	assert_true(a.has[ABILITY_NO_WEBUI]);
	assert_false(a.has[ABILITY_NO_UI]);

	a = engine_data_abilities("help/middle-fit-without-load-mode.txt");
	assert_true(a.has[ABILITY_FLASH_ATTN_VALUE]);
	assert_true(a.has[ABILITY_FIT]);
	assert_false(a.has[ABILITY_GPU_LAYERS_AUTO]);
	assert_false(a.has[ABILITY_LOG_TRACE]); /* level 4 is debug there and prints prompts */
	assert_true(a.has[ABILITY_MMAP]);
}

static void build_that_is_too_old_is_told_what_it_lacks(void **state)
{
	(void)state;
	struct engine_abilities a;
	struct err err = { 0 };
	struct buf help = engine_data("help/oldest-without-key-file.txt");

	assert_int_equal(probe_read(SPAN_LIT("version: 1407 (aabbccd)\n"), buf_span(&help),
				    SPAN_LIT(""), &a, &err),
			 ERR_NO_ENGINE);
	assert_string_equal(err.text,
			    "llama-server build 1407 is too old: it lacks --alias, --api-key-file, "
			    "--parallel; install a newer one (brew upgrade llama.cpp, or "
			    "scripts/engine.sh)");
	buf_finish(&help);
}

static void program_that_is_no_llama_server_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"Usage: ls [OPTION]... [FILE]...\n  -a, --all   do not ignore entries\n",
		"-m, --model FNAME   a model, --port\n",
		"--model\0--port",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct engine_abilities a;
		struct err err = { 0 };

		assert_int_equal(probe_read(SPAN_LIT(""), span_of(texts[i]), SPAN_LIT(""), &a,
					    &err),
				 ERR_NO_ENGINE);
		assert_non_null(strstr(err.text, "host.conf"));
		assert_string_equal(a.version, "");
	}
}

static void removed_flags_and_flags_in_descriptions_do_not_count(void **state)
{
	(void)state;
	struct engine_abilities a;

	probe_read(SPAN_LIT(""),
		   SPAN_LIT("-m, --model F       the model, --mlock, --metrics\n"
			    "                    --no-mmap\n"
			    "--mmap              the argument has been removed. use --load-mode\n"
			    "--slots-else        another\n"),
		   SPAN_LIT(""), &a, NULL);
	assert_true(a.has[ABILITY_MODEL]);
	assert_false(a.has[ABILITY_MLOCK]);
	assert_false(a.has[ABILITY_METRICS]);
	assert_false(a.has[ABILITY_NO_MMAP]);
	assert_false(a.has[ABILITY_MMAP]);
	assert_false(a.has[ABILITY_LOAD_MODE]);
	assert_false(a.has[ABILITY_SLOTS]);
}

static void only_gpus_count_as_devices(void **state)
{
	(void)state;
	struct engine_abilities a;

	probe_read(SPAN_LIT(""), SPAN_LIT(""),
		   SPAN_LIT("Available devices:\n"
			    "  MTL0: Apple M4 Pro (53084 MiB, 53083 MiB free)\n"
			    "  BLAS: Accelerate (0 MiB, 0 MiB free)\n"
			    "  CUDA0: NVIDIA RTX A2000 (Laptop) (4096 MiB, 3900 MiB free)\n"
			    "  CPU: Apple M4 Pro (65536 MiB, 65536 MiB free)\n"
			    "  Vulkan1: broken line (12 MiB)\n"),
		   &a, NULL);
	assert_int_equal(a.device_count, 2);
	assert_string_equal(a.devices[0].id, "MTL0");
	assert_string_equal(a.devices[1].name, "NVIDIA RTX A2000 (Laptop)");
	assert_true(a.devices[1].free_bytes == 3900ull << 20);
}

static void more_devices_than_there_is_room_for_are_left_out(void **state)
{
	(void)state;
	struct engine_abilities a;
	struct buf text;

	buf_init(&text, 4096);
	for (int i = 0; i < 20; i++) {
		buf_printf(&text, "  CUDA%d: NVIDIA (10 MiB, 9 MiB free)\n", i);
	}
	probe_read(SPAN_LIT(""), SPAN_LIT(""), buf_span(&text), &a, NULL);
	assert_int_equal(a.device_count, HOST_DEVICES_MAX);
	buf_finish(&text);
}

static void versions_of_all_forms_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *text, *version;
	} rows[] = {
		{ "ggml_metal: noise\nversion: 0.7.0 (build 11669, commit Debian)\nbuilt with "
		  "GNU\n",
		  "llama-server 0.7.0 (build 11669)" },
		{ "version: 4242 (1f2e3d4c)\n", "llama-server build 4242" },
		{ "version: v1.2-rc (dirty)\n", "llama-server v1.2-rc" },
		{ "version:", "" },
		{ "version: 99999999999 (x)", "llama-server 99999999999" },
		{ "version: a\033[2Jb (build 7)", "llama-server a\\x1b[2Jb (build 7)" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct engine_abilities a;

		probe_read(span_of(rows[i].text), SPAN_LIT(""), SPAN_LIT(""), &a, NULL);
		assert_string_equal(a.version, rows[i].version);
	}
}

/* Printed on an H100 by build 11669, for 10 of 23 layers. */
static void figures_of_the_engine_s_own_tool_are_added_up(void **state)
{
	(void)state;
	struct memory_said said = { .kv = 7 };

	assert_true(probe_fit_read(SPAN_LIT("Vulkan0 881 36 78 \nHost 1217 52 17 \n"), &said));
	assert_int_equal(said.weights >> 20, 2098);
	assert_int_equal(said.kv >> 20, 88);
	assert_int_equal(said.compute >> 20, 95);
	said.kv = 7;
	assert_false(probe_fit_read(SPAN_LIT(""), &said));
	assert_false(probe_fit_read(SPAN_LIT("error: invalid argument: -fitp\nHost 1 2"), &said));
	assert_false(probe_fit_read(SPAN_LIT("Host -1 2 3\nHost 1 2 x\n"), &said));
	assert_int_equal(said.kv, 7);
}

static void quoting_clips_between_characters_and_escapes_control_bytes(void **state)
{
	(void)state;
	char text[8];

	dialect_quote(SPAN_LIT("abcd\xe2\x82\xac\xe2\x82\xac"), text, sizeof(text));
	assert_string_equal(text, "abcd\xe2\x82\xac");
	dialect_quote(SPAN_LIT("abcde\xe2\x82\xac"), text, sizeof(text));
	assert_string_equal(text, "abcde");
	dialect_quote(SPAN_LIT("a\nbcdefgh"), text, sizeof(text));
	assert_string_equal(text, "a\\x0abc");
	dialect_quote(SPAN_LIT("a\xff"), text, sizeof(text));
	assert_string_equal(text, "a\\xff");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_build_is_read_whole),
		cmocka_unit_test(older_builds_lack_what_they_lack),
		cmocka_unit_test(build_that_is_too_old_is_told_what_it_lacks),
		cmocka_unit_test(program_that_is_no_llama_server_is_refused),
		cmocka_unit_test(removed_flags_and_flags_in_descriptions_do_not_count),
		cmocka_unit_test(only_gpus_count_as_devices),
		cmocka_unit_test(more_devices_than_there_is_room_for_are_left_out),
		cmocka_unit_test(versions_of_all_forms_are_read),
		cmocka_unit_test(figures_of_the_engine_s_own_tool_are_added_up),
		cmocka_unit_test(quoting_clips_between_characters_and_escapes_control_bytes),
	};

	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
