/* SPDX-License-Identifier: MIT */
/*
 * The link to the agent of a host by an ssh child with the restricted key. The child runs
 * `ssh -F CONFIG HOST start-metal-servers`; everything about how it connects stands in CONFIG,
 * which set-up wrote.
 */
#ifndef LINK_SSH_H
#define LINK_SSH_H

#include "link/link.h"

struct link_ssh_options {
	const char *program;	/* "ssh" */
	const char *config;	/* path of ssh's configuration */
	const char *host;	/* Host entry in it */
	const char *controller; /* persistent id, see wire_request */
	const char *who;
	const struct link_callbacks *callbacks; /* borrowed for the link's life */
	void *user;
};

/* Texts are copied. */
struct link *link_ssh_create(struct loop *loop, const struct link_ssh_options *options);

/*
 * Why the channel ended, for a person, from how ssh did (its exit code, or -signal) and what it
 * wrote to stderr. Pure.
 */
void ssh_explain(int exit_code, struct span said, struct err *ret_why);

#endif
