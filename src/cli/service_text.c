/* SPDX-License-Identifier: MIT */
#include "cli/service_text.h"

#define LAUNCHD_PATH "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

/*
 * A character, and what is written for it. systemd.syntax(7): '%' is a specifier everywhere, '$' a
 * variable in ExecStart= only.
 */
static const char *const in_command[] = { "%%%", "$$$", "\"\\\"", "\\\\\\", NULL };
static const char *const in_quotes[] = { "%%%", "\"\\\"", "\\\\\\", NULL };
static const char *const in_unit[] = { "%%%", NULL };
static const char *const in_xml[] = { "&&amp;", "<&lt;", ">&gt;", NULL };

static void add_escaped(struct buf *out, const char *text, const char *const *escapes)
{
	for (; *text != '\0'; text++) {
		const char *const *e = escapes;

		while (*e != NULL && (*e)[0] != *text) {
			e++;
		}
		if (*e != NULL) {
			buf_add_text(out, *e + 1);
		} else {
			buf_add_char(out, *text);
		}
	}
}

/* Adds a text in which each '@' stands for the value. */
static void fill(struct buf *out, const char *text, const char *value, const char *const *escapes)
{
	for (; *text != '\0'; text++) {
		if (*text == '@') {
			add_escaped(out, value, escapes);
		} else {
			buf_add_char(out, *text);
		}
	}
}

void service_systemd_unit(const struct service_place *p, struct buf *out)
{
	fill(out,
	     "# Written by: ronzal service install\n"
	     "[Unit]\n"
	     "Description=ronzal agent, keeper of this user's llama-servers\n"
	     "\n"
	     "[Service]\n"
	     "ExecStart=\"@\" agent\n",
	     p->program, in_command);
	if (p->ronzal_home != NULL) {
		fill(out, "Environment=\"RONZAL_HOME=@\"\n", p->ronzal_home, in_quotes);
	}
	fill(out,
	     "Restart=on-failure\n"
	     "RestartSec=2\n"
	     "KillMode=process\n"
	     "OOMPolicy=continue\n"
	     "StandardOutput=append:@\n"
	     "StandardError=append:@\n"
	     "\n"
	     "[Install]\n"
	     "WantedBy=default.target\n",
	     p->log, in_unit);
}

/*
 * launchd.plist(5). It starts the agent again unless that ended by itself with 0, at most every
 * ThrottleInterval seconds: far sooner than shims give up waiting for one.
 */
void service_launchd_plist(const struct service_place *p, struct buf *out)
{
	fill(out,
	     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	     "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
	     "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
	     "<!-- Written by: ronzal service install -->\n"
	     "<plist version=\"1.0\">\n"
	     "<dict>\n"
	     "\t<key>Label</key>\n"
	     "\t<string>" SERVICE_LABEL "</string>\n"
	     "\t<key>ProgramArguments</key>\n"
	     "\t<array>\n"
	     "\t\t<string>@</string>\n"
	     "\t\t<string>agent</string>\n"
	     "\t</array>\n"
	     "\t<key>EnvironmentVariables</key>\n"
	     "\t<dict>\n"
	     "\t\t<key>PATH</key>\n"
	     "\t\t<string>" LAUNCHD_PATH "</string>\n",
	     p->program, in_xml);
	if (p->ronzal_home != NULL) {
		fill(out, "\t\t<key>RONZAL_HOME</key>\n\t\t<string>@</string>\n", p->ronzal_home,
		     in_xml);
	}
	fill(out,
	     "\t</dict>\n"
	     "\t<key>LimitLoadToSessionType</key>\n\t<string>Aqua</string>\n"
	     "\t<key>ProcessType</key>\n\t<string>Interactive</string>\n"
	     "\t<key>AbandonProcessGroup</key>\n\t<true/>\n"
	     "\t<key>RunAtLoad</key>\n\t<true/>\n"
	     "\t<key>KeepAlive</key>\n"
	     "\t<dict>\n"
	     "\t\t<key>SuccessfulExit</key>\n"
	     "\t\t<false/>\n"
	     "\t</dict>\n"
	     "\t<key>ThrottleInterval</key>\n\t<integer>2</integer>\n"
	     "\t<key>ExitTimeOut</key>\n\t<integer>15</integer>\n"
	     "\t<key>StandardOutPath</key>\n\t<string>@</string>\n"
	     "\t<key>StandardErrorPath</key>\n\t<string>@</string>\n"
	     "</dict>\n"
	     "</plist>\n",
	     p->log, in_xml);
}

/* `launchctl error N` has the words for each. */
enum launchctl_exit {
	LAUNCHCTL_IO = 5,	    /* loaded already, or on its way out, or not a plist */
	LAUNCHCTL_IN_PROGRESS = 37, /* of the last bootout */
	LAUNCHCTL_DISABLED = 119,
	LAUNCHCTL_NO_DOMAIN = SERVICE_LAUNCHD_NO_DOMAIN,
	LAUNCHCTL_WRONG_SESSION = 134,
};

bool service_launchd_is_passing(int exit_code)
{
	return exit_code == LAUNCHCTL_IO || exit_code == LAUNCHCTL_IN_PROGRESS;
}

int service_launchd_explain(int exit_code, bool has_session, struct err *err)
{
	if (!has_session || exit_code == LAUNCHCTL_NO_DOMAIN ||
	    exit_code == LAUNCHCTL_WRONG_SESSION) {
		return err_set(err, ERR_NO_AGENT,
			       "the agent cannot run yet: you are not logged in at this Mac's "
			       "screen, and only there is Metal. Log in there, and it starts by "
			       "itself. Without a GPU: ronzal service install --background");
	}
	if (exit_code == LAUNCHCTL_DISABLED) {
		return err_set(err, ERR_NO_AGENT,
			       "the agent may not run in the background: allow ronzal in System "
			       "Settings > General > Login Items, then: ronzal service install");
	}
	return err_prefix(err, "what the number means: launchctl error %d", exit_code);
}
