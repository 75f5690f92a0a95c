/* SPDX-License-Identifier: MIT */
/*
 * What a person is told when the ssh child ends: texts recorded from OpenSSH 9.2.
 */
#include <string.h>

#include "unit.h"

#include "base/mem.h"
#include "link/link.h"

#define FRAME "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n"

static const struct {
	int exit_code;
	const char *said;
	int code;
	const char *must_say;
} cases[] = {
	{ 255, "root@127.0.0.1: Permission denied (publickey).\r\n", ERR_DENIED,
	  "does not accept ronzal's key" },
	{ 255,
	  FRAME "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\r\n" FRAME
		"Permissions 0644 for '/ssh/id_ed25519' are too open.\r\n"
		"Load key \"/ssh/id_ed25519\": bad permissions\r\n"
		"root@127.0.0.1: Permission denied (publickey).\r\n",
	  ERR_DENIED, "others can read it" },
	{ 255,
	  "Load key \"/ssh/id_ed25519\": Permission denied\r\n"
	  "ann@host.docker.internal: Permission denied (publickey).\r\n",
	  ERR_DENIED, "must belong to the user that the container runs as" },
	{ 255, "ssh: connect to host 127.0.0.1 port 1: Connection refused\r\n", ERR_UNAVAILABLE,
	  "Remote Login" },
	{ 255, "ssh: connect to host 10.1.1.1 port 22: Connection timed out\r\n", ERR_UNAVAILABLE,
	  "asleep" },
	{ 255, "Timeout, server host.docker.internal not responding.\r\n", ERR_UNAVAILABLE,
	  "asleep" },
	{ 255,
	  "ssh: Could not resolve hostname host.docker.internal: Name or service not known\r\n",
	  ERR_UNAVAILABLE, "extra_hosts" },
	{ 255, "Can't open user config file /ssh/config: No such file or directory\r\n",
	  ERR_NOT_FOUND, "./scripts/setup-ssh-automation.sh" },
	{ 255, "No user exists for uid 4242\r\n", ERR_INVALID,
	  "the user that the container runs as" },
	{ 255,
	  FRAME "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n" FRAME
		"Host key for [127.0.0.1]:19520 has changed and you have requested strict "
		"checking.\r\nHost key verification failed.\r\n",
	  ERR_DENIED, "another ssh key than the one pinned" },
	{ 255,
	  "No ED25519 host key is known for [127.0.0.1]:19520 and you have requested strict "
	  "checking.\r\nHost key verification failed.\r\n",
	  ERR_DENIED, "another ssh key than the one pinned" },
	{ 255, "kex_exchange_identification: Connection closed by remote host\r\n", ERR_UNAVAILABLE,
	  "no sshd answers" },
	{ 255, "something that nobody foresaw\r\n\r\n", ERR_UNAVAILABLE,
	  "ssh to the host failed: something that nobody foresaw" },
	{ 255, "", ERR_UNAVAILABLE, "ssh to the host failed" },
	{ 10, "ronzal: the agent is not running on this machine.\n", ERR_NO_AGENT,
	  "On the host: ronzal service install" },
	{ 4, "ronzal: this key runs start-metal-servers and stop-metal-servers, nothing else\n",
	  ERR_DENIED, "gate refused" },
	{ 14,
	  "noise\nronzal: gate: /x/start-host-llama-servers.sh: No such file. On the host, run "
	  "setup-ssh-automation.sh again.\n",
	  ERR_UNAVAILABLE, "run setup-ssh-automation.sh again" },
	/* The same words from the other side are not ssh's own. */
	{ 1, "Permission denied (publickey)\n", ERR_UNAVAILABLE,
	  "ended with status 1: Permission" },
	{ 0, "", ERR_UNAVAILABLE, "closed the channel (status 0)" },
	{ -9, "", ERR_UNAVAILABLE, "signal 9" },
};

static void names_the_cause_and_what_to_do(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err why = { 0 };

		ssh_explain(cases[i].exit_code, span_of(cases[i].said), &why);
		if (why.code != cases[i].code || strstr(why.text, cases[i].must_say) == NULL) {
			fail_msg("case %zu: code %d, \"%s\"", i, why.code, why.text);
		}
	}
}

static void clips_a_flood(void **state)
{
	char flood[8192];
	struct err why = { 0 };

	(void)state;
	memset(flood, 'x', sizeof(flood));
	ssh_explain(3, (struct span){ flood, sizeof(flood) }, &why);
	assert_true(strlen(why.text) < 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_cause_and_what_to_do),
		cmocka_unit_test(clips_a_flood),
	};

	return cmocka_run_group_tests_name("ssh_explain", tests, NULL, NULL);
}
