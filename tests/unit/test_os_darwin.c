/* SPDX-License-Identifier: MIT */
/* The kernel's numbers, the paths and the refusals of a Mac, on any system. */
#include <errno.h>
#include <string.h>

#include "unit.h"

#include "host/preflight.h"
#include "os/darwin.h"

#define GIB ((uint64_t)1 << 30)

static void sysctl_numbers_have_4_or_8_bytes(void **state)
{
	const uint64_t memsize = 25769803776u; /* hw.memsize of 24 GiB */
	const uint32_t limit_mb = 20480;       /* sysctl iogpu.wired_limit_mb=20480 */
	uint64_t value = 7;

	(void)state;
	assert_true(darwin_read_number((struct span){ (const char *)&memsize, sizeof(memsize) },
				       &value));
	assert_int_equal(value, memsize);
	assert_true(darwin_read_number((struct span){ (const char *)&limit_mb, sizeof(limit_mb) },
				       &value));
	assert_int_equal(value, 20480);
	assert_false(darwin_read_number(SPAN_LIT("abc"), &value));
	assert_false(darwin_read_number(SPAN_LIT(""), &value));
	assert_int_equal(value, 20480);
}

static void wired_limit_is_what_was_set_or_a_part_of_the_memory(void **state)
{
	(void)state;
	assert_int_equal(darwin_wired_limit_bytes(24 * GIB, 20480), 20 * GIB);
	assert_int_equal(darwin_wired_limit_bytes(24 * GIB, 0), 16 * GIB);
	assert_int_equal(darwin_wired_limit_bytes(64 * GIB, 0), 48 * GIB);
}

/* vm_stat: "Pages free: 5731", "speculative: 1264", "File-backed: 233612", "purgeable: 1021". */
static void cached_files_and_purgeable_pages_count_as_available(void **state)
{
	struct darwin_pages pages = { .free = 6995,
				      .speculative = 1264,
				      .file_backed = 233612,
				      .purgeable = 1021,
				      .page_bytes = 16384 };

	(void)state;
	assert_int_equal(darwin_available_bytes(&pages), (uint64_t)240364 * 16384);
	pages.speculative = 7000; /* counted at another moment */
	assert_int_equal(darwin_available_bytes(&pages), (uint64_t)234633 * 16384);
}

static void pressure_levels_are_1_2_and_4(void **state)
{
	(void)state;
	assert_int_equal(darwin_pressure(1), MEMORY_NORMAL);
	assert_int_equal(darwin_pressure(2), MEMORY_WARN);
	assert_int_equal(darwin_pressure(4), MEMORY_CRITICAL);
}

static void cellar_paths_become_paths_that_outlive_an_upgrade(void **state)
{
	char path[128];

	(void)state;
	assert_true(darwin_lasting_path("/opt/homebrew/Cellar/ronzal/1.2.0/bin/ronzal", path,
					sizeof(path)));
	assert_string_equal(path, "/opt/homebrew/opt/ronzal/bin/ronzal");
	assert_false(darwin_lasting_path("/usr/local/bin/ronzal", path, sizeof(path)));
	assert_false(darwin_lasting_path("/opt/homebrew/Cellar/ronzal/1.2.0", path, sizeof(path)));
	assert_false(darwin_lasting_path("/opt/homebrew/Cellar//1/bin/ronzal", path, sizeof(path)));
	assert_false(darwin_lasting_path("/opt/homebrew/Cellar/ronzal/1/bin/ronzal", path, 8));
}

static void guarded_folders_are_known_by_name(void **state)
{
	(void)state;
	assert_string_equal(darwin_guarded_folder("/Users/ann/Documents/m/a.gguf", "/Users/ann"),
			    "Documents");
	assert_string_equal(darwin_guarded_folder("/Users/ann/Downloads/a.gguf", "/Users/ann"),
			    "Downloads");
	assert_string_equal(darwin_guarded_folder("/Volumes/disk/a.gguf", "/Users/ann"), "Volumes");
	assert_null(darwin_guarded_folder("/Users/ann/models/a.gguf", "/Users/ann"));
	assert_null(darwin_guarded_folder("/Users/anna/Documents/a.gguf", "/Users/ann"));
	assert_null(darwin_guarded_folder("/Users/ann/Documents/a.gguf", NULL));
}

static void a_refused_model_is_explained_by_where_it_lies(void **state)
{
	char text[256];

	(void)state;
	preflight_explain_refusal(-EPERM, "/Users/ann/Documents/a.gguf", "/Users/ann", text,
				  sizeof(text));
	assert_string_equal(text, "move it out of Documents, or allow ronzal in System Settings > "
				  "Privacy & Security > Full Disk Access");
	preflight_explain_refusal(-EPERM, "/srv/a.gguf", "/Users/ann", text, sizeof(text));
	assert_non_null(strstr(text, "move it out of that folder"));
	preflight_explain_refusal(-EACCES, "/Users/ann/Documents/a.gguf", NULL, text, sizeof(text));
	assert_string_equal(text, "make it readable for the user who runs ronzal");
	preflight_explain_refusal(ERR_INVALID, "/srv/a.gguf", NULL, text, sizeof(text));
	assert_string_equal(text, "download it again");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sysctl_numbers_have_4_or_8_bytes),
		cmocka_unit_test(wired_limit_is_what_was_set_or_a_part_of_the_memory),
		cmocka_unit_test(cached_files_and_purgeable_pages_count_as_available),
		cmocka_unit_test(pressure_levels_are_1_2_and_4),
		cmocka_unit_test(cellar_paths_become_paths_that_outlive_an_upgrade),
		cmocka_unit_test(guarded_folders_are_known_by_name),
		cmocka_unit_test(a_refused_model_is_explained_by_where_it_lies),
	};

	return cmocka_run_group_tests_name("os_darwin", tests, NULL, NULL);
}
