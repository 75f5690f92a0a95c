/* SPDX-License-Identifier: MIT */
/*
 * The command line: what every command gets, and how a command is described. One command is one row
 * of the table in main.c; `ronzal help`, the nearest match for a mistyped word and the dispatch all
 * come from it.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/options.h"
#include "fetch/puller.h"
#include "os/paths.h"
#include "os/proc.h"

/*
 * What options, environment and machine come to: where files are, who may call whom. Made once;
 * lists are NULL-terminated. Some texts are those of the config.
 */
struct places {
	/* What came with this program: beside it, in an installation or a build tree. */
	const char *program; /* ronzal itself */
	const char *libexec; /* folder of ronzal-shim, ronzal-gate, ronzal-fetch and the scripts */
	const char *shim;    /* ronzal-shim */
	const char *scripts; /* set-up scripts, engine.sh */
	const char *demo;    /* folder of the smoke model; it may be missing */
	const char *web;     /* folder of the built page; it may be missing */

	const char *registry;		/* model_registry.json */
	const char *const *model_roots; /* folders that models may lie in; the first: /models */
	const char *const *stores;	/* where models lie if nobody says, other tools' too */
	struct puller_place downloads;	/* where they go, and by what */
	const char *engine; /* the option's, else scripts/engine.sh's; NULL: PATH decides */
	const char *const *engine_flags; /* extra ones for every engine */
	const char *const *bind;	 /* numeric addresses for engines */
	const char *const *hosts;	 /* names by which clients may call our HTTP servers */
	const char *const *origins;	 /* of web pages that may */
	const char *local_peer;		 /* for http_server_options; NULL: loopback alone is here */
	const char *agent_socket;	 /* for the user */
	const char *control_socket;	 /* for what comes through ssh */
	const char *token;		 /* file of the token that opens the management API */
	const char *secret;		 /* file of what backend and Host API share */
	const char *ssh_config;		 /* of the Host API's ssh client */
	const char *usage;		 /* the backend's database */
	const char *agent_log;		 /* the agent's own */
	const char *systemd_unit; /* of the agent: where its managers' files lie; NULL: no home */
	const char *launch_agent;
	const char *bench; /* what ronzal bench tells the page: beside the registry */

	void **kept; /* private: what all this is made of */
	size_t kept_count;
};

struct args;

struct cli {
	struct config config;
	struct paths paths;
	struct places places;
	const char *const *environment;
	struct err conf_err; /* what is wrong with the options; only `ronzal doctor` runs then */
	bool json;	     /* --json */
	bool quiet;	     /* --quiet */
	struct buf out;	     /* what a command has to say, printed at its end */
};

/* From config, paths and environment, once options are read. Finish it in any case. */
int places_init(struct places *p, const struct cli *cli, struct err *err);
void places_finish(struct places *p);
/* By name, or one of them itself. */
bool cli_is_below(const char *path, const char *const *folders);

#define ARGS_MAX 256
#define COMMAND_FLAGS_MAX 4

/* 0 or an error code; its row in ERR_TABLE is the exit code. A text in err is printed. */
typedef int command_fn(struct cli *cli, struct args *args, struct err *err);

struct command {
	const char *name;
	const char *words;   /* "[MODEL...]"; may be NULL */
	const char *summary; /* one line */
	command_fn *run;
	const char *help; /* the rest, lines of at most 80 characters; may be NULL */
	/* "--yes"; "--tail=" takes a value; "-y" is short for the one before it */
	const char *flags[COMMAND_FLAGS_MAX];
	int min, max;	/* words */
	bool is_daemon; /* writes a log rather than to a person */
};

/* What was said behind a command's name, checked against its row: words and its own flags. */
struct args {
	const char *items[ARGS_MAX];
	int count;
	const struct command *command;
	const char *values[COMMAND_FLAGS_MAX]; /* of its flags; NULL: not given */
	bool wants_help;
};

/* Sorts words, the command's flags, those of every command, and options (--backend-port 8000). */
int args_read(struct args *a, struct cli *cli, const char *const *argv, struct err *err);
/* The value of one of the command's flags, "" for one that takes none; NULL: it was not given. */
const char *args_flag(const struct args *a, const char *flag);

/* All commands, one file per group. */
command_fn command_agent, command_backend, command_bench, command_chat, command_doctor,
	command_frontend, command_health, command_hostapi, command_keys, command_logs,
	command_models, command_order, command_pull, command_service, command_set, command_show,
	command_status, command_up;

/*
 * The agent as a process (service.c): the one that answers at its socket, or pid 0; one that comes
 * up, and the end of one, each waited for 10 s at most.
 */
struct proc service_agent(const struct cli *cli);
int service_await_agent(const struct cli *cli, struct proc *ret_agent, struct err *err);
int service_await_end(const struct cli *cli, struct proc agent, struct err *err);
#endif
