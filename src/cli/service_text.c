/* SPDX-License-Identifier: MIT */
#include "cli/service_text.h"

#include <string.h>

#define LAUNCHD_PATH "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

/* Text in which some characters have to be written twice, and some behind a backslash. */
static void add_escaped(struct buf *out, const char *text, const char *doubled,
			const char *backslashed)
{
	for (; *text != '\0'; text++) {
		if (strchr(doubled, *text) != NULL) {
			buf_add_char(out, *text);
		} else if (strchr(backslashed, *text) != NULL) {
			buf_add_char(out, '\\');
		}
		buf_add_char(out, *text);
	}
}

/* systemd.syntax(7): '%' is a specifier everywhere, '$' a variable in ExecStart= only. */
void service_systemd_unit(const struct service_place *p, struct buf *out)
{
	buf_add_text(out, "# Written by: ronzal service install\n"
			  "[Unit]\n"
			  "Description=ronzal agent, keeper of this user's llama-servers\n"
			  "\n"
			  "[Service]\n"
			  "ExecStart=\"");
	add_escaped(out, p->program, "%$", "\"\\");
	buf_add_text(out, "\" agent\n");
	if (p->ronzal_home != NULL) {
		buf_add_text(out, "Environment=\"RONZAL_HOME=");
		add_escaped(out, p->ronzal_home, "%", "\"\\");
		buf_add_text(out, "\"\n");
	}
	buf_add_text(out, "Restart=on-failure\n"
			  "RestartSec=2\n"
			  "KillMode=process\n"
			  "OOMPolicy=continue\n"
			  "StandardOutput=append:");
	add_escaped(out, p->log, "%", "");
	buf_add_text(out, "\nStandardError=append:");
	add_escaped(out, p->log, "%", "");
	buf_add_text(out, "\n\n"
			  "[Install]\n"
			  "WantedBy=default.target\n");
}

static void add_xml_string(struct buf *out, const char *indent, const char *text)
{
	buf_printf(out, "%s<string>", indent);
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			buf_add_text(out, "&amp;");
			break;
		case '<':
			buf_add_text(out, "&lt;");
			break;
		case '>':
			buf_add_text(out, "&gt;");
			break;
		default:
			buf_add_char(out, *text);
		}
	}
	buf_add_text(out, "</string>\n");
}

/*
 * launchd.plist(5). It starts the agent again unless that ended by itself with 0, at most every
 * ThrottleInterval seconds: far sooner than shims give up waiting for one.
 */
void service_launchd_plist(const struct service_place *p, struct buf *out)
{
	buf_add_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
			  "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
			  "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
			  "<!-- Written by: ronzal service install -->\n"
			  "<plist version=\"1.0\">\n"
			  "<dict>\n"
			  "\t<key>Label</key>\n"
			  "\t<string>" SERVICE_LABEL "</string>\n"
			  "\t<key>ProgramArguments</key>\n"
			  "\t<array>\n");
	add_xml_string(out, "\t\t", p->program);
	buf_add_text(out, "\t\t<string>agent</string>\n"
			  "\t</array>\n"
			  "\t<key>EnvironmentVariables</key>\n"
			  "\t<dict>\n"
			  "\t\t<key>PATH</key>\n"
			  "\t\t<string>" LAUNCHD_PATH "</string>\n");
	if (p->ronzal_home != NULL) {
		buf_add_text(out, "\t\t<key>RONZAL_HOME</key>\n");
		add_xml_string(out, "\t\t", p->ronzal_home);
	}
	buf_add_text(out, "\t</dict>\n"
			  "\t<key>LimitLoadToSessionType</key>\n"
			  "\t<string>Aqua</string>\n"
			  "\t<key>ProcessType</key>\n"
			  "\t<string>Interactive</string>\n"
			  "\t<key>AbandonProcessGroup</key>\n"
			  "\t<true/>\n"
			  "\t<key>RunAtLoad</key>\n"
			  "\t<true/>\n"
			  "\t<key>KeepAlive</key>\n"
			  "\t<dict>\n"
			  "\t\t<key>SuccessfulExit</key>\n"
			  "\t\t<false/>\n"
			  "\t</dict>\n"
			  "\t<key>ThrottleInterval</key>\n"
			  "\t<integer>2</integer>\n"
			  "\t<key>ExitTimeOut</key>\n"
			  "\t<integer>15</integer>\n"
			  "\t<key>StandardOutPath</key>\n");
	add_xml_string(out, "\t", p->log);
	buf_add_text(out, "\t<key>StandardErrorPath</key>\n");
	add_xml_string(out, "\t", p->log);
	buf_add_text(out, "</dict>\n"
			  "</plist>\n");
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
