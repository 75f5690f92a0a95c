/* SPDX-License-Identifier: MIT */
/*
 * The files that tell systemd and launchd to keep the agent running. Pure.
 */
#ifndef CLI_SERVICE_TEXT_H
#define CLI_SERVICE_TEXT_H

#include "base/buf.h"

#define SERVICE_UNIT "ronzal.service"
#define SERVICE_LABEL "ronzal.agent"

struct service_place {
	const char *program;	 /* absolute path of ronzal */
	const char *log;	 /* where the agent's own log goes */
	const char *ronzal_home; /* value of RONZAL_HOME; NULL: not set */
};

/* A user unit; engines outlive the agent, because it ends alone (KillMode=process). */
void service_systemd_unit(const struct service_place *p, struct buf *out);

/* A LaunchAgent of the GUI visit, where Metal is; engines outlive it (AbandonProcessGroup). */
void service_launchd_plist(const struct service_place *p, struct buf *out);

#endif
