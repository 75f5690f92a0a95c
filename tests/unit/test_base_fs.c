/* SPDX-License-Identifier: MIT */
/* Files as values, in a fresh folder per test; as root also on a full file system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

static char folder[] = "/tmp/fs-test.XXXXXX";

static int enter_folder(void **state)
{
	(void)state;
	memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
	return mkdtemp(folder) == NULL ? -1 : chdir(folder);
}

static int leave_folder(void **state)
{
	pid_t pid;

	(void)state;
	if (chdir("/") != 0) {
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", folder, (char *)NULL);
		_exit(127);
	}
	return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static size_t count_entries(const char *path)
{
	DIR *dir = opendir(path);
	size_t count = 0;

	while (dir != NULL && readdir(dir) != NULL) {
		count++;
	}
	closedir(dir);
	return count - 2;
}

static void check_content(const char *path, const char *expected)
{
	struct buf b;
	struct err err;

	buf_init(&b, 1000);
	assert_int_equal(fs_read(path, &b, &err), 0);
	assert_string_equal(buf_text(&b), expected);
	buf_finish(&b);
}

static void a_file_is_read_whole_up_to_the_limit(void **state)
{
	struct buf b;
	struct err err;

	(void)state;
	assert_int_equal(fs_replace("f", SPAN_LIT("0123456789"), 0600, &err), 0);
	for (size_t max = 0; max < 10; max++) {
		buf_init(&b, max);
		assert_int_equal(fs_read("f", &b, &err), ERR_FULL);
		buf_finish(&b);
	}
	assert_string_equal(err.text, "f is larger than 9 bytes");
	buf_init(&b, 10);
	assert_int_equal(fs_read("f", &b, &err), 0);
	assert_string_equal(buf_text(&b), "0123456789");
	buf_finish(&b);
	assert_int_equal(fs_replace("empty", SPAN_LIT(""), 0600, &err), 0);
	buf_init(&b, 0);
	assert_int_equal(fs_read("empty", &b, &err), 0);
	assert_int_equal(b.len, 0);
}

static void links_fifos_and_folders_are_errors_and_no_wait(void **state)
{
	struct buf b;
	struct err err;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(fs_replace("f", SPAN_LIT("secret"), 0600, &err), 0);
	assert_int_equal(symlink("f", "link"), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(fs_read("link", &b, &err), -ELOOP);
	assert_int_equal(fs_read("fifo", &b, &err), ERR_INVALID);
	assert_string_equal(err.text, "fifo is not a regular file");
	assert_int_equal(fs_read(".", &b, &err), ERR_INVALID);
	assert_int_equal(fs_read("/dev/zero", &b, &err), ERR_INVALID);
	assert_int_equal(fs_read("none", &b, &err), -ENOENT);
	assert_int_equal(b.len, 0);
	buf_finish(&b);
}

static void replacing_keeps_mode_and_leaves_no_litter(void **state)
{
	struct stat st;
	struct err err;

	(void)state;
	assert_int_equal(fs_replace("f", SPAN_LIT("old"), 0644, &err), 0);
	assert_int_equal(fs_replace("f", SPAN_LIT("new"), 0600, &err), 0);
	check_content("f", "new");
	assert_int_equal(stat("f", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(count_entries("."), 1);
	assert_int_equal(symlink("target", "link"), 0);
	assert_int_equal(fs_replace("link", SPAN_LIT("file now"), 0600, &err), 0);
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_not_equal(access("target", F_OK), 0);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
	struct rlimit before, small = { .rlim_cur = 4, .rlim_max = RLIM_INFINITY };
	struct err err;

	(void)state;
	assert_int_equal(fs_replace("f", SPAN_LIT("old"), 0600, &err), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int status = fs_replace("f", SPAN_LIT("longer than four"), 0600, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(status, -EFBIG);
	assert_string_equal(err.text, "writing f: File too large");
	check_content("f", "old");
	assert_int_equal(count_entries("."), 1);
	assert_int_equal(fs_replace("none/f", SPAN_LIT("x"), 0600, &err), -ENOENT);
	assert_int_equal(mkdir("d", 0700), 0);
	assert_int_equal(mkdir("d/inner", 0700), 0);
	assert_true(fs_replace("d", SPAN_LIT("x"), 0600, &err) < 0); /* a folder is in the way */
	assert_int_equal(count_entries("."), 2);
}

/* Runs a command without a shell; its exit code. */
static int run(const char *const *argv)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 2);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void no_space_leaves_the_old_file(void **state)
{
	const char *mount[] = { "mount", "-t", "tmpfs", "-o", "size=64k", "none", "small", NULL };
	const char *unmount[] = { "umount", "small", NULL };
	char *big = mem_alloc(100000);
	struct err err;

	(void)state;
	assert_int_equal(mkdir("small", 0700), 0);
	if (run(mount) != 0) {
		free(big);
		skip(); /* only root can mount, and not in every container */
	}
	memset(big, 'x', 100000);
	int first = fs_replace("small/f", SPAN_LIT("old"), 0600, &err);
	int status = fs_replace("small/f", (struct span){ big, 100000 }, 0600, &err);
	size_t entries = count_entries("small");
	struct buf b;

	buf_init(&b, 10);
	int read = fs_read("small/f", &b, NULL);
	assert_int_equal(run(unmount), 0);
	free(big);
	assert_int_equal(first, 0);
	assert_int_equal(status, -ENOSPC);
	assert_string_equal(err.text, "writing small/f: No space left on device");
	assert_int_equal(entries, 1);
	assert_int_equal(read, 0);
	assert_string_equal(buf_text(&b), "old");
	buf_finish(&b);
}

static void folders_are_made_with_their_parents(void **state)
{
	struct stat st;
	struct err err;

	(void)state;
	assert_int_equal(fs_mkdirs("a/b/c", 0700, &err), 0);
	assert_int_equal(fs_mkdirs("a/b/c", 0700, &err), 0);
	assert_int_equal(stat("a/b", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(fs_replace("a/file", SPAN_LIT(""), 0600, &err), 0);
	assert_int_equal(fs_mkdirs("a/file", 0700, &err), -ENOTDIR);
	assert_string_equal(err.text, "a/file is there and is not a folder");
	assert_int_equal(fs_mkdirs("a/file/x", 0700, &err), -ENOTDIR);
	assert_true(fs_is_folder("a/b/c") && !fs_is_folder("a/file") && !fs_is_folder("none"));
}

static void a_path_stays_inside_its_root(void **state)
{
	char path[FS_PATH_MAX_BYTES], expected[64];
	struct err err;

	(void)state;
	assert_int_equal(fs_mkdirs("root/sub", 0700, &err), 0);
	assert_int_equal(fs_mkdirs("root-two", 0700, &err), 0);
	assert_int_equal(fs_replace("root/sub/f", SPAN_LIT("x"), 0600, &err), 0);
	assert_int_equal(fs_replace("root-two/f", SPAN_LIT("x"), 0600, &err), 0);
	assert_int_equal(symlink("../../root-two/f", "root/sub/out"), 0);
	assert_int_equal(symlink("sub/f", "root/in"), 0);
	assert_int_equal(symlink("root", "alias"), 0);
	snprintf(expected, sizeof(expected), "%s/root/sub/f", folder);
	assert_int_equal(fs_resolve_inside("root/in", "root", path, &err), 0);
	assert_string_equal(path, expected);
	assert_int_equal(fs_resolve_inside("alias/sub/../in", "root", path, &err), 0);
	assert_string_equal(path, expected);
	assert_int_equal(fs_resolve_inside("root/sub/f", "alias", path, &err), 0);
	assert_int_equal(fs_resolve_inside("root", "root", path, &err), 0);
	assert_int_equal(fs_resolve_inside("/etc/passwd", "/", path, &err), 0);
	assert_string_equal(path, "/etc/passwd");
	assert_int_equal(fs_resolve_inside("root/sub/out", "root", path, &err), ERR_DENIED);
	assert_string_equal(err.text, "root/sub/out leads out of root");
	assert_int_equal(fs_resolve_inside("root/../root-two/f", "root", path, &err), ERR_DENIED);
	assert_int_equal(fs_resolve_inside("root-two/f", "root", path, &err), ERR_DENIED);
	assert_int_equal(fs_resolve_inside("/etc/passwd", "root", path, &err), ERR_DENIED);
	assert_int_equal(fs_resolve_inside("root/none", "root", path, &err), -ENOENT);
	assert_int_equal(fs_resolve_inside("root/in", "none", path, &err), -ENOENT);
	assert_string_equal(path, "/etc/passwd"); /* untouched on failure */
}

static void joining_puts_one_slash(void **state)
{
	static const char *const cases[][3] = {
		{ "a", "b", "a/b" }, { "a/", "b", "a/b" },   { "a//", "/b", "a/b" },
		{ "/", "b", "/b" },  { "/a", "/b", "/a/b" }, { "/", "/b", "/b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *joined = fs_join(cases[i][0], cases[i][1]);
		assert_string_equal(joined, cases[i][2]);
		free(joined);
	}
}

static void sizes_are_of_regular_files(void **state)
{
	uint64_t bytes = 4711;
	struct err err;

	(void)state;
	assert_int_equal(fs_size(".", &bytes), -EINVAL);
	assert_int_equal(fs_size("none", &bytes), -ENOENT);
	assert_int_equal(bytes, 4711);
	assert_int_equal(fs_replace("f", SPAN_LIT("12345"), 0600, &err), 0);
	assert_int_equal(symlink("f", "link"), 0);
	assert_int_equal(fs_size("link", &bytes), 0);
	assert_int_equal(bytes, 5);
	assert_true(fs_is_file("link") && !fs_is_file(".") && !fs_is_file("none"));
}

static void a_file_counts_as_changed_until_its_second_is_over(void **state)
{
	const struct timespec past[] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	struct fs_stamp stamp = { 0 };
	struct err err;

	(void)state;
	assert_false(fs_changed("f", &stamp));
	assert_int_equal(fs_replace("f", SPAN_LIT("one"), 0600, &err), 0);
	assert_true(fs_changed("f", &stamp));
	int fd = open("f", O_WRONLY);

	assert_int_equal(write(fd, "two", 3), 3); /* as long, in the same second and inode */
	close(fd);
	assert_true(fs_changed("f", &stamp));
	assert_int_equal(utimensat(AT_FDCWD, "f", past, 0), 0);
	assert_true(fs_changed("f", &stamp));
	assert_false(fs_changed("f", &stamp));
	assert_int_equal(unlink("f"), 0);
	assert_true(fs_changed("f", &stamp));
	assert_false(fs_changed("f", &stamp));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(a_file_is_read_whole_up_to_the_limit),
		IN_FOLDER(links_fifos_and_folders_are_errors_and_no_wait),
		IN_FOLDER(replacing_keeps_mode_and_leaves_no_litter),
		IN_FOLDER(a_failed_write_leaves_the_old_file),
		IN_FOLDER(no_space_leaves_the_old_file),
		IN_FOLDER(folders_are_made_with_their_parents),
		IN_FOLDER(a_path_stays_inside_its_root),
		IN_FOLDER(joining_puts_one_slash),
		IN_FOLDER(sizes_are_of_regular_files),
		IN_FOLDER(a_file_counts_as_changed_until_its_second_is_over),
	};
	return cmocka_run_group_tests_name("fs", tests, NULL, NULL);
}
