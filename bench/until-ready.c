/* SPDX-License-Identifier: MIT */
/*
 * until-ready PORT...: asks each port of 127.0.0.1 for /health every 10 ms until all of them have
 * answered 200; exit status 1 when one has not after a minute. What a shell loop would do, but for
 * the cost of a curl each time.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TRIES_MAX 6000

static bool is_ready(int port)
{
	static const char request[] = "GET /health HTTP/1.0\r\nHost: x\r\n\r\n";
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	char answer[64] = "";
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bool has_answer = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
			  write(fd, request, sizeof(request) - 1) > 0 &&
			  read(fd, answer, sizeof(answer) - 1) > 0;

	close(fd);
	return has_answer && strncmp(answer, "HTTP/1.1 200", 12) == 0;
}

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	int at = 1;

	for (int tries = 0; at < argc && tries < TRIES_MAX; tries++) {
		while (at < argc && is_ready((int)strtol(argv[at], NULL, 10))) {
			at++;
		}
		if (at < argc) {
			nanosleep(&pause, NULL);
		}
	}
	return at < argc;
}
