/* SPDX-License-Identifier: MIT */
/*
 * Runs every file of a corpus folder through one fuzz target, without a fuzzer: what was found
 * once stays found. Each input is handed over in a block of exactly its size, so that a sanitizer
 * sees the first byte that is read behind it. The name of a file is printed before its run, so
 * that the last one printed is the one that crashed.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX_BYTES (64L * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes of an open regular file, in a block of their number. NULL with a message. */
static uint8_t *read_all(FILE *file, const char *path, size_t *ret_size)
{
	struct stat info;
	uint8_t *data = NULL;

	if (fstat(fileno(file), &info) != 0 || info.st_size > INPUT_MAX_BYTES) {
		fprintf(stderr, "%s: not readable or over %ld bytes\n", path, INPUT_MAX_BYTES);
		return NULL;
	}
	size_t size = (size_t)info.st_size;

	data = malloc(size > 0 ? size : 1);
	if (data == NULL || fread(data, 1, size, file) != size) {
		fprintf(stderr, "%s: cannot read %zu bytes\n", path, size);
		free(data);
		return NULL;
	}
	*ret_size = size;
	return data;
}

static int replay_file(const char *path)
{
	size_t size = 0;
	FILE *file = fopen(path, "rb");

	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	uint8_t *data = read_all(file, path, &size);

	fclose(file);
	if (data == NULL) {
		return -1;
	}
	printf("# %s, %zu bytes\n", path, size);
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 0;
}

/* The number of inputs that were run, or -1. */
static int replay_folder(const char *folder)
{
	char path[PATH_MAX];
	int count = 0;
	struct dirent *entry;
	DIR *dir = opendir(folder);

	if (dir == NULL) {
		fprintf(stderr, "%s: %s\n", folder, strerror(errno));
		return -1;
	}
	while (count >= 0 && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.') {
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		count = replay_file(path) == 0 ? count + 1 : -1;
	}
	closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
		return 2;
	}
	int count = replay_folder(argv[1]);

	if (count < 1) {
		printf("not ok 1 - corpus: %s\n", count == 0 ? "has no input" : "cannot be read");
		return 1;
	}
	printf("ok 1 - %d inputs\n", count);
	return 0;
}
