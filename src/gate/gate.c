/* SPDX-License-Identifier: MIT */
/*
 * ronzal-gate: the program behind ronzal's restricted ssh key.
 *
 *   sshd -> ssh-wrapper.sh -> ronzal-gate -> start-host-llama-servers.sh | stop-host-...
 *
 * It compares SSH_ORIGINAL_COMMAND with two byte strings, writes one audit line, forgets the
 * environment and becomes the script that lies beside it. Its own path, and the value for
 * RONZAL_HOME if there is an argument, come from authorized_keys, never from the other end.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gate/decide.h"
#include "wire/constants.h"

#define AUDIT_FILE_MAX_BYTES (1024 * 1024) /* then it becomes gate.log.1, over the one before */

extern char **environ;

_Noreturn static void fail(const char *what, const char *why)
{
	fprintf(stderr, "ronzal: gate: %s: %s. On the host, run setup-ssh-automation.sh again.\n",
		what, why);
	exit(WIRE_EXIT_BROKEN);
}

__attribute__((format(printf, 2, 3))) static void put(char text[PATH_MAX], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, PATH_MAX, format, args) >= PATH_MAX) {
		fail(format, "too long");
	}
	va_end(args);
}

/* One line a call, into gate.log in `folder`. A full disk must not keep anybody from a stop. */
static void audit(const char *folder, enum gate_verdict verdict, const char *command)
{
	const char *word = verdict == GATE_REFUSED ? "refused" : "accepted";
	const char *from = getenv("SSH_CONNECTION");
	char path[PATH_MAX], old[PATH_MAX], line[PATH_MAX], text[96], peer[64], when[32];
	time_t now = time(NULL);
	int fd;

	put(path, "%s/gate.log", folder);
	put(old, "%s.1", path);
	gate_quote(command, text, sizeof text);
	gate_quote(from != NULL ? from : "nowhere", peer, sizeof peer);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	put(line, "%s %s \"%s\" (%zu bytes) from %s\n", when, word, text, strlen(command), peer);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, strlen(line)) < 0) {
		fprintf(stderr, "ronzal: gate: no line in %s: %s\n", path, strerror(errno));
	} else if (lseek(fd, 0, SEEK_CUR) >= AUDIT_FILE_MAX_BYTES) {
		rename(path, old);
	}
}

int main(int argc, char **argv)
{
	const char *sent = getenv("SSH_ORIGINAL_COMMAND");
	const char *command = sent != NULL ? sent : "";
	const char *canary = gate_find_canary(environ);
	enum gate_verdict verdict = canary != NULL ? GATE_REFUSED : gate_decide(command);
	const struct passwd *user = getpwuid(getuid());
	char folder[PATH_MAX], home[PATH_MAX], ronzal_home[PATH_MAX], script[PATH_MAX];
	char fixed_path[] = "PATH=/usr/bin:/bin:/usr/sbin:/sbin";
	char *args[] = { script, NULL }, *env[] = { fixed_path, home, NULL, NULL };

	if (user == NULL || argc < 1 || argc > 2 || argv[argc - 1][0] != '/' || argv[0][0] != '/') {
		fail(argc > 0 ? argv[argc - 1] : "", "no full path, or nobody knows this user");
	}
	put(home, "HOME=%s", user->pw_dir);
	put(folder, "%s/.local/state/ronzal/logs", user->pw_dir);
	if (argc == 2) {
		put(ronzal_home, "RONZAL_HOME=%s", argv[1]);
		put(folder, "%s/logs", argv[1]);
		env[2] = ronzal_home;
	}
	audit(folder, verdict, command);
	if (verdict == GATE_REFUSED) {
		fprintf(stderr, "ronzal: this key runs %s and %s, nothing else%s%s\n",
			WIRE_SSH_START, WIRE_SSH_STOP,
			canary != NULL ? "; canary: sshd let in " : "",
			canary != NULL ? canary : "");
		return WIRE_EXIT_REFUSED;
	}
	put(script, "%.*s/%s", (int)(strrchr(argv[0], '/') - argv[0]), argv[0],
	    verdict == GATE_START ? WIRE_SSH_START_SCRIPT : WIRE_SSH_STOP_SCRIPT);
	execve(script, args, env);
	fail(script, strerror(errno));
}
