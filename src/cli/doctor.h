/* SPDX-License-Identifier: MIT */
/*
 * What `ronzal doctor` knows, and the row that is one check. doctor.c learns the facts, runs the
 * rows of doctor_checks.c in order and prints what they found; a check looks, says, and changes
 * nothing.
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "base/fs.h"
#include "cli/visit.h"
#include "engine/probe.h"
#include "model/registry.h"

/* Where a doctor looks from: the machine that has the agent, or one of our containers. */
enum place { AT_HOST = 1, AT_BACKEND = 2, AT_HOSTAPI = 4, AT_PAGE = 8, ANYWHERE = 15 };

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_FAIL, LEVEL_COUNT };

struct doctor {
	const struct cli *cli;
	enum place place;
	const char *name;	    /* of the check that runs */
	struct buf findings;	    /* as they are printed: lines, or with --json an array */
	struct json_writer json;    /* of them */
	size_t counts[LEVEL_COUNT]; /* of findings */
	size_t troubles;	    /* warnings and failures before the check that runs */
	/* facts */
	struct visit visit;
	struct err agent_err; /* code 0: the visit is open */
	struct registry registry;
	struct err registry_err; /* code 0: it was read */
	char engine_path[FS_PATH_MAX_BYTES];
	struct engine_abilities engine;
	struct err engine_err; /* code 0: abilities are known */
};

/* Adds a finding of the check that runs: what is so FIX how to mend it, if there is a way. */
#define FIX "\v"
void doctor_say(struct doctor *d, enum level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Adds that all is well, unless the check that runs found trouble. */
void doctor_well(struct doctor *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Runs the set-up script in its looking mode and adds what it finds. */
void doctor_run_setup(struct doctor *d, const char *script);

struct check {
	const char *name;
	unsigned where; /* of enum place */
	void (*look)(struct doctor *d);
};

extern const struct check doctor_checks[]; /* the last has no name */

#endif
