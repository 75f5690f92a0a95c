/* SPDX-License-Identifier: MIT */
/*
 * The unit and the LaunchAgent, against recorded text; the unit also by systemd's own reader.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "base/fs.h"
#include "cli/service_text.h"

static const struct service_place usual = {
	.program = "/home/ann/.local/libexec/ronzal/ronzal",
	.log = "/home/ann/.local/state/ronzal/logs/agent.log",
};

static const struct service_place awkward = {
	.program = "/opt/50% \"off\"/$HOME/a\\b/ronzal",
	.log = "/var/100%/a b & <c>.log",
	.ronzal_home = "/srv/a & b/<$1>/50%",
};

static void assert_text(void (*write)(const struct service_place *, struct buf *),
			const struct service_place *place, const char *expected)
{
	struct buf out;

	buf_init(&out, 65536);
	write(place, &out);
	assert_string_equal(buf_text(&out), expected);
	buf_finish(&out);
}

static void unit_of_a_usual_place(void **state)
{
	(void)state;
	assert_text(service_systemd_unit, &usual,
		    "# Written by: ronzal service install\n"
		    "[Unit]\n"
		    "Description=ronzal agent, keeper of this user's llama-servers\n"
		    "\n"
		    "[Service]\n"
		    "ExecStart=\"/home/ann/.local/libexec/ronzal/ronzal\" agent\n"
		    "Restart=on-failure\n"
		    "RestartSec=2\n"
		    "KillMode=process\n"
		    "OOMPolicy=continue\n"
		    "StandardOutput=append:/home/ann/.local/state/ronzal/logs/agent.log\n"
		    "StandardError=append:/home/ann/.local/state/ronzal/logs/agent.log\n"
		    "\n"
		    "[Install]\n"
		    "WantedBy=default.target\n");
}

static void unit_takes_special_characters_literally(void **state)
{
	(void)state;
	assert_text(service_systemd_unit, &awkward,
		    "# Written by: ronzal service install\n"
		    "[Unit]\n"
		    "Description=ronzal agent, keeper of this user's llama-servers\n"
		    "\n"
		    "[Service]\n"
		    "ExecStart=\"/opt/50%% \\\"off\\\"/$$HOME/a\\\\b/ronzal\" agent\n"
		    "Environment=\"RONZAL_HOME=/srv/a & b/<$1>/50%%\"\n"
		    "Restart=on-failure\n"
		    "RestartSec=2\n"
		    "KillMode=process\n"
		    "OOMPolicy=continue\n"
		    "StandardOutput=append:/var/100%%/a b & <c>.log\n"
		    "StandardError=append:/var/100%%/a b & <c>.log\n"
		    "\n"
		    "[Install]\n"
		    "WantedBy=default.target\n");
}

/* What `systemd-analyze verify` says of a unit; false: it is not here. It fails for nothing. */
static bool systemd_says(const char *text, char *said, size_t room)
{
	char folder[] = "/tmp/ronzal-unit.XXXXXX";
	char *unit, *output;
	int fd, status = -1;
	pid_t pid;

	assert_non_null(mkdtemp(folder));
	unit = fs_join(folder, "ronzal-agent.service");
	output = fs_join(folder, "output");
	assert_int_equal(fs_replace(unit, span_of(text), 0600, NULL), 0);
	fd = open(output, O_RDWR | O_CREAT, 0600);
	pid = fork();
	if (pid == 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		setenv("XDG_RUNTIME_DIR", folder, 1);
		execlp("systemd-analyze", "systemd-analyze", "--user", "verify", unit, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	memset(said, 0, room);
	assert_true(pread(fd, said, room - 1, 0) >= 0);
	close(fd);
	unlink(output);
	unlink(unit);
	rmdir(folder);
	free(output);
	free(unit);
	return WIFEXITED(status) && WEXITSTATUS(status) != 127;
}

static void systemd_finds_nothing_wrong_with_the_unit(void **state)
{
	struct service_place place = awkward;
	char said[4096];
	struct buf out;

	(void)state;
	place.program = "/bin/true"; /* it looks for the program */
	buf_init(&out, 65536);
	service_systemd_unit(&place, &out);
	if (!systemd_says(buf_text(&out), said, sizeof(said))) {
		buf_finish(&out);
		skip(); /* no systemd-analyze here: scripts/deps.sh --test */
	}
	assert_string_equal(said, "");
	buf_add_text(&out, "[Service]\nKillMode=nonsense\n");
	systemd_says(buf_text(&out), said, sizeof(said));
	assert_non_null(strstr(said, "nonsense"));
	buf_finish(&out);
}

/* Each line of text is in the other one too, but for those that begin with one of two words. */
static void assert_lines_within(struct span text, const char *other, const char *but,
				const char *and_but)
{
	while (text.len > 0) {
		struct span line = span_split(&text, '\n');
		char whole[256];

		if (!span_has_prefix(line, but) && !span_has_prefix(line, and_but)) {
			snprintf(whole, sizeof(whole), "%.*s\n", SPAN_ARG(line));
			assert_non_null(strstr(other, whole));
		}
	}
}

static void the_unit_of_the_debian_package_has_the_same_policy(void **state)
{
	struct service_place place = { .program = "/usr/bin/ronzal", .log = "/log" };
	struct buf ours, packaged;

	(void)state;
	buf_init(&ours, 65536);
	buf_init(&packaged, 65536);
	service_systemd_unit(&place, &ours);
	assert_int_equal(fs_read("packaging/debian/ronzal.user.service", &packaged, NULL), 0);
	assert_lines_within(buf_span(&packaged), buf_text(&ours), "Documentation=", "#");
	assert_lines_within(buf_span(&ours), buf_text(&packaged), "Standard", "#");
	buf_finish(&ours);
	buf_finish(&packaged);
}

#define PLIST_HEAD \
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" \
	"<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" " \
	"\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n" \
	"<!-- Written by: ronzal service install -->\n" \
	"<plist version=\"1.0\">\n" \
	"<dict>\n" \
	"\t<key>Label</key>\n" \
	"\t<string>ronzal.agent</string>\n" \
	"\t<key>ProgramArguments</key>\n" \
	"\t<array>\n"
#define PLIST_PATH \
	"\t</array>\n" \
	"\t<key>EnvironmentVariables</key>\n" \
	"\t<dict>\n" \
	"\t\t<key>PATH</key>\n" \
	"\t\t<string>/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin</string>\n"
#define PLIST_MIDDLE \
	"\t</dict>\n" \
	"\t<key>LimitLoadToSessionType</key>\n" \
	"\t<string>Aqua</string>\n" \
	"\t<key>ProcessType</key>\n" \
	"\t<string>Interactive</string>\n" \
	"\t<key>AbandonProcessGroup</key>\n" \
	"\t<true/>\n" \
	"\t<key>RunAtLoad</key>\n" \
	"\t<true/>\n" \
	"\t<key>KeepAlive</key>\n" \
	"\t<dict>\n" \
	"\t\t<key>SuccessfulExit</key>\n" \
	"\t\t<false/>\n" \
	"\t</dict>\n" \
	"\t<key>ThrottleInterval</key>\n" \
	"\t<integer>2</integer>\n" \
	"\t<key>ExitTimeOut</key>\n" \
	"\t<integer>15</integer>\n" \
	"\t<key>StandardOutPath</key>\n"

static void plist_of_a_usual_place(void **state)
{
	(void)state;
	assert_text(service_launchd_plist, &usual,
		    PLIST_HEAD "\t\t<string>/home/ann/.local/libexec/ronzal/ronzal</string>\n"
			       "\t\t<string>agent</string>\n" PLIST_PATH PLIST_MIDDLE
			       "\t<string>/home/ann/.local/state/ronzal/logs/agent.log</string>\n"
			       "\t<key>StandardErrorPath</key>\n"
			       "\t<string>/home/ann/.local/state/ronzal/logs/agent.log</string>\n"
			       "</dict>\n</plist>\n");
}

static void plist_takes_special_characters_literally(void **state)
{
	(void)state;
	assert_text(service_launchd_plist, &awkward,
		    PLIST_HEAD "\t\t<string>/opt/50% \"off\"/$HOME/a\\b/ronzal</string>\n"
			       "\t\t<string>agent</string>\n" PLIST_PATH
			       "\t\t<key>RONZAL_HOME</key>\n"
			       "\t\t<string>/srv/a &amp; b/&lt;$1&gt;/50%</string>\n" PLIST_MIDDLE
			       "\t<string>/var/100%/a b &amp; &lt;c&gt;.log</string>\n"
			       "\t<key>StandardErrorPath</key>\n"
			       "\t<string>/var/100%/a b &amp; &lt;c&gt;.log</string>\n"
			       "</dict>\n</plist>\n");
}

static void launchctl_refusals_say_what_to_do(void **state)
{
	static const struct {
		int exit_code;
		bool has_session;
		const char *says;
	} cases[] = {
		{ 125, true, "logged in at this Mac's screen" },
		{ 134, true, "logged in at this Mac's screen" },
		{ 5, false, "logged in at this Mac's screen" },
		{ 119, true, "Login Items" },
		{ 5, true, "launchctl error 5: Bootstrap failed: 5" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { .code = ERR_NO_AGENT, .text = "Bootstrap failed: 5" };

		assert_int_equal(service_launchd_explain(cases[i].exit_code, cases[i].has_session,
							 &err),
				 ERR_NO_AGENT);
		assert_non_null(strstr(err.text, cases[i].says));
	}
}

static void launchctl_is_asked_again_only_while_a_job_goes_away(void **state)
{
	(void)state;
	assert_true(service_launchd_is_passing(5));
	assert_true(service_launchd_is_passing(37));
	assert_false(service_launchd_is_passing(0));
	assert_false(service_launchd_is_passing(125));
	assert_false(service_launchd_is_passing(-ENOENT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unit_of_a_usual_place),
		cmocka_unit_test(unit_takes_special_characters_literally),
		cmocka_unit_test(systemd_finds_nothing_wrong_with_the_unit),
		cmocka_unit_test(the_unit_of_the_debian_package_has_the_same_policy),
		cmocka_unit_test(plist_of_a_usual_place),
		cmocka_unit_test(plist_takes_special_characters_literally),
		cmocka_unit_test(launchctl_refusals_say_what_to_do),
		cmocka_unit_test(launchctl_is_asked_again_only_while_a_job_goes_away),
	};

	return cmocka_run_group_tests_name("service_text", tests, NULL, NULL);
}
