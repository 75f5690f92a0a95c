/* SPDX-License-Identifier: MIT */
/*
 * spawn-time COUNT PROGRAM [ARGUMENT...]: runs a program COUNT times, one after the other, with its
 * output discarded, and prints the median wall time from spawn to exit and the mean CPU time, which
 * other work on the machine does not lengthen: "median_us 812 cpu_us 640 exit 4" (the exit status
 * of the last run).
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define RUNS_MAX 10000

extern char **environ;

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static long cpu_us(void) /* of all children so far */
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec +
	       usage.ru_stime.tv_usec;
}

static int compare(const void *a, const void *b)
{
	const long *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
	static long took_us[RUNS_MAX];
	posix_spawn_file_actions_t actions;
	int runs = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0;
	int i, status = 0;

	if (runs < 1 || runs > RUNS_MAX) {
		fputs("usage: spawn-time COUNT PROGRAM [ARGUMENT...]\n", stderr);
		return 2;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	for (i = 0; i < runs; i++) {
		long start = now_us();
		pid_t pid;

		if (posix_spawn(&pid, argv[2], &actions, NULL, argv + 2, environ) != 0 ||
		    waitpid(pid, &status, 0) != pid) {
			perror(argv[2]);
			return 1;
		}
		took_us[i] = now_us() - start;
	}
	posix_spawn_file_actions_destroy(&actions);
	qsort(took_us, (size_t)runs, sizeof took_us[0], compare);
	printf("median_us %ld cpu_us %ld exit %d\n", took_us[runs / 2], cpu_us() / runs,
	       WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return 0;
}
