/* SPDX-License-Identifier: MIT */
/*
 * The files that tell systemd and launchd to keep the agent running. Pure.
 */
#ifndef CLI_SERVICE_TEXT_H
#define CLI_SERVICE_TEXT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

#define SERVICE_UNIT "ronzal.service"
#define SERVICE_LABEL "ronzal.agent"

struct service_place {
	const char *program;	 /* absolute path of ronzal */
	const char *log;	 /* where the agent's own log goes */
	const char *ronzal_home; /* value of RONZAL_HOME; NULL: not set */
};

/* A user unit; engines outlive the agent, because it ends alone (KillMode=process). */
void service_systemd_unit(const struct service_place *p, struct buf *out);

/*
 * A LaunchAgent of the session at the screen, where Metal is; engines outlive it
 * (AbandonProcessGroup). launchd's own PATH has no Homebrew in it, where llama-server is.
 */
void service_launchd_plist(const struct service_place *p, struct buf *out);

#define SERVICE_LAUNCHD_NO_DOMAIN 125 /* exit status of launchctl: there is no such session */

/* Whether `launchctl bootstrap` that ended so may succeed a moment later. */
bool service_launchd_is_passing(int exit_code);

/*
 * Sets what `launchctl bootstrap` means by its exit status, and what to do; where we do not know
 * that, what it said (in err already) stays. Returns the code.
 */
int service_launchd_explain(int exit_code, bool has_session, struct err *err);

#endif
