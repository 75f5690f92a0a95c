/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "link/link.h"

#define SSH_EXIT_OWN 255 /* ssh's own failures; all others are the remote side's */
#define SAID_MAX_BYTES 300

/*
 * What OpenSSH says, in the order in which it is looked for, and what it means here. The texts are
 * those of ssh 8.4 to 10; where none is found the words themselves are passed on.
 */
static const struct {
	const char *words, *or_words;
	int code;
	const char *sentence;
} causes[] = {
	{ "Host key verification failed", "HOST IDENTIFICATION HAS CHANGED", ERR_DENIED,
	  "the host shows another ssh key than the one pinned at set-up. If you changed it "
	  "yourself, "
	  "run setup-ssh-automation.sh on the host; if not, somebody may be in between" },
	{ "UNPROTECTED PRIVATE KEY", NULL, ERR_DENIED,
	  "ssh refuses the private key because others can read it. On the host: "
	  "setup-ssh-automation.sh" },
	{ "Load key", NULL, ERR_DENIED,
	  "ssh cannot read the private key: it must belong to the user that the container runs as. "
	  "On the host: setup-ssh-automation.sh" },
	{ "Permission denied", "Too many authentication failures", ERR_DENIED,
	  "the host does not accept ronzal's key. On the host: setup-ssh-automation.sh --check" },
	{ "No user exists for uid", NULL, ERR_INVALID,
	  "ssh does not know the user that the container runs as. On the host: "
	  "setup-ssh-automation.sh, then docker-compose up -d" },
	{ "Can't open user config file", NULL, ERR_NOT_FOUND,
	  "there is no ssh configuration: set-up was not run. On the host: "
	  "./scripts/setup-ssh-automation.sh, then docker-compose up -d" },
	{ "Could not resolve hostname", NULL, ERR_UNAVAILABLE,
	  "the host's name is not known here. In docker-compose.yml, extra_hosts must have "
	  "host.docker.internal:host-gateway" },
	{ "Connection refused", "kex_exchange_identification", ERR_UNAVAILABLE,
	  "no sshd answers on the host. macOS: switch on Remote Login; Linux: start sshd" },
	{ "not responding", NULL, ERR_UNAVAILABLE, "the host no longer answers. It may be asleep" },
	{ "timed out", NULL, ERR_UNAVAILABLE,
	  "the host does not answer. It may be asleep, or a firewall keeps containers from its "
	  "sshd" },
	{ "No route to host", "Network is unreachable", ERR_UNAVAILABLE,
	  "there is no way from this container to the host" },
};

static bool holds(struct span said, const char *words)
{
	return words != NULL && span_has(said, words);
}

/* The last line that is not empty, for a person. */
static struct span last_line(struct span said)
{
	struct span last = SPAN_LIT("");

	while (said.ptr != NULL) {
		struct span line = span_split(&said, '\n');

		if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
			line.len--;
		}
		line = span_trim(line);
		if (line.len > 0) {
			last = line;
		}
	}
	return (struct span){ last.ptr, last.len < SAID_MAX_BYTES ? last.len : SAID_MAX_BYTES };
}

void ssh_explain(int exit_code, struct span said, struct err *ret_why)
{
	struct span line = last_line(said);

	for (size_t i = 0; exit_code == SSH_EXIT_OWN && i < ARRAY_LEN(causes); i++) {
		if (holds(said, causes[i].words) || holds(said, causes[i].or_words)) {
			err_set(ret_why, causes[i].code, "%s", causes[i].sentence);
			return;
		}
	}
	if (exit_code == SSH_EXIT_OWN) {
		err_set(ret_why, ERR_UNAVAILABLE, "ssh to the host failed: %.*s", SPAN_ARG(line));
	} else if (exit_code == err_exit_code(ERR_NO_AGENT)) {
		err_set(ret_why, ERR_NO_AGENT,
			"the agent is not running on the host. On the host: ronzal service "
			"install");
	} else if (exit_code == WIRE_EXIT_REFUSED) {
		err_set(ret_why, ERR_DENIED,
			"the host's gate refused the command: %.*s. On the host: "
			"setup-ssh-automation.sh --check",
			SPAN_ARG(line));
	} else if (exit_code < 0) {
		err_set(ret_why, ERR_UNAVAILABLE, "ssh was ended by signal %d", -exit_code);
	} else if (line.len > 0) {
		err_set(ret_why, ERR_UNAVAILABLE, "the host's side ended with status %d: %.*s",
			exit_code, SPAN_ARG(line));
	} else {
		err_set(ret_why, ERR_UNAVAILABLE, "the host's side closed the channel (status %d)",
			exit_code);
	}
}
