/* SPDX-License-Identifier: MIT */
/*
 * cputime PID: microseconds of CPU that the process has used, threads that have ended included.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv)
{
	struct timespec used;
	clockid_t clock;

	if (argc != 2 || clock_getcpuclockid((pid_t)strtol(argv[1], NULL, 10), &clock) != 0 ||
	    clock_gettime(clock, &used) != 0) {
		fprintf(stderr, "cputime PID: of a process that runs\n");
		return 1;
	}
	printf("%lld\n", used.tv_sec * 1000000LL + used.tv_nsec / 1000);
	return 0;
}
