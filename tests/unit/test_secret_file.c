/* SPDX-License-Identifier: MIT */
/*
 * A shared secret: made once, the same for all, never replaced.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "base/fs.h"
#include "base/secret_file.h"

#define RACERS 8

static char folder[64];
static char path[96];

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/secret.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/shared", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder); /* fails when something was left behind */
}

static void is_made_once_and_private(void **state)
{
	char first[SECRET_TEXT_BYTES], second[SECRET_TEXT_BYTES];
	struct stat st;

	(void)state;
	assert_int_equal(secret_file_load(path, first, NULL), 0);
	assert_int_equal(secret_file_load(path, second, NULL), 0);
	assert_string_equal(first, second);
	assert_int_equal(strlen(first), SECRET_TEXT_BYTES - 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void is_the_same_for_all_who_come_at_once(void **state)
{
	char texts[RACERS][SECRET_TEXT_BYTES] = { "" };
	int pipes[RACERS][2];

	(void)state;
	for (int i = 0; i < RACERS; i++) {
		assert_int_equal(pipe(pipes[i]), 0);
		if (fork() == 0) {
			char text[SECRET_TEXT_BYTES];
			int status = secret_file_load(path, text, NULL);

			_exit(status != 0 ||
			      write(pipes[i][1], text, sizeof(text)) != sizeof(text));
		}
	}
	for (int i = 0; i < RACERS; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	for (int i = 0; i < RACERS; i++) {
		assert_int_equal(read(pipes[i][0], texts[i], SECRET_TEXT_BYTES), SECRET_TEXT_BYTES);
		assert_string_equal(texts[i], texts[0]);
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

static void something_else_in_the_file_is_told_and_kept(void **state)
{
	char text[SECRET_TEXT_BYTES];
	struct err err = { 0 };
	struct buf content;

	(void)state;
	assert_int_equal(fs_replace(path, SPAN_LIT("not a secret\n"), 0600, NULL), 0);
	assert_int_equal(secret_file_load(path, text, &err), ERR_INVALID);
	assert_non_null(strstr(err.text, "does not hold a secret"));
	assert_null(strstr(err.text, "not a secret"));
	buf_init(&content, 100);
	assert_int_equal(fs_read(path, &content, NULL), 0);
	assert_string_equal(buf_text(&content), "not a secret\n");
	buf_finish(&content);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
	char text[SECRET_TEXT_BYTES];
	struct err err = { 0 };

	(void)state;
	assert_true(secret_file_load("/nonexistent/shared", text, &err) < 0);
	assert_non_null(strstr(err.text, "/nonexistent"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_made_once_and_private, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(is_the_same_for_all_who_come_at_once, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(something_else_in_the_file_is_told_and_kept,
						make_folder, remove_folder),
		cmocka_unit_test(a_folder_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests_name("secret_file", tests, NULL, NULL);
}
