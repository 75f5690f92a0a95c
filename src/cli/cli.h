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
 * Where the files lie that came with this program: beside it, in an installation or a build tree.
 */
struct layout {
	char *program; /* ronzal itself */
	char *libexec; /* folder of ronzal-shim, ronzal-gate, ronzal-fetch and the scripts */
	char *web;     /* the built page; the folder may be missing */
	char *demo;    /* folder of the smoke model; may be missing */
	char *scripts; /* set-up scripts, engine.sh */
};

int layout_init(struct layout *l, struct err *err);
void layout_finish(struct layout *l);

/*
 * What options, environment and machine come to: where files are, who may call whom. Made once;
 * lists are NULL-terminated.
 */
struct places {
	char *registry;	      /* model_registry.json */
	char **model_roots;   /* folders that models may lie in; the first one stands for /models */
	char **stores;	      /* where models lie if nobody says, other tools' folders among them */
	char *engine;	      /* the option's, else that of scripts/engine.sh; NULL: PATH decides */
	char **engine_flags;  /* extra ones for every engine */
	char **bind;	      /* numeric addresses for engines */
	char **hosts;	      /* names by which clients may call our HTTP servers */
	char **origins;	      /* of web pages that may */
	char *local_peer;     /* for http_server_options; NULL: loopback alone is this machine */
	char *agent_socket;   /* for the user */
	char *control_socket; /* for what comes through ssh */
	char *token;	      /* file of the token that opens the management API */
	char *secret;	      /* file of what backend and Host API share */
	char *ssh_config;     /* of the Host API's ssh client */
	char *usage;	      /* the backend's database */
	char *bench;	      /* what ronzal bench tells the page: beside the registry */
	char *hub_cache;      /* where downloads go */
	char *fetch;	      /* ronzal-fetch */
	char *web;	      /* folder of the built page; it may be missing */
};

struct args;

struct cli {
	struct config config;
	struct paths paths;
	struct layout layout;
	struct places places;
	const char *const *environment;
	struct err conf_err; /* what is wrong with the options; only `ronzal doctor` runs then */
	bool json;	     /* --json */
	bool quiet;	     /* --quiet */
	struct buf out;	     /* what a command has to say, printed at its end */
};

/* From all the other members, once options are read. */
void places_init(struct places *p, const struct cli *cli);
void places_finish(struct places *p);
bool cli_is_below(const char *path, char *const *folders); /* by name, or one of them itself */
struct puller_place cli_downloads(const struct cli *cli);  /* borrowed from places */

#define ARGS_MAX 256
#define COMMAND_FLAGS_MAX 4

struct command {
	const char *name;
	const char *words;   /* "[MODEL...]"; may be NULL */
	const char *summary; /* one line */
	const char *help;    /* the rest, lines of at most 80 characters; may be NULL */
	const char *flags[COMMAND_FLAGS_MAX]; /* "--yes"; "--tail=" takes a value */
	int min, max;			      /* words */
	/* 0 or an error code; its row in ERR_TABLE is the exit code. A text in err is printed. */
	int (*run)(struct cli *cli, struct args *args, struct err *err);
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
int command_agent(struct cli *cli, struct args *args, struct err *err);
int command_up(struct cli *cli, struct args *args, struct err *err);
int command_start(struct cli *cli, struct args *args, struct err *err);
int command_stop(struct cli *cli, struct args *args, struct err *err);
int command_restart(struct cli *cli, struct args *args, struct err *err);
int command_status(struct cli *cli, struct args *args, struct err *err);
int command_logs(struct cli *cli, struct args *args, struct err *err);
int command_pull(struct cli *cli, struct args *args, struct err *err);
int command_models(struct cli *cli, struct args *args, struct err *err);
int command_show(struct cli *cli, struct args *args, struct err *err);
int command_set(struct cli *cli, struct args *args, struct err *err);
int command_chat(struct cli *cli, struct args *args, struct err *err);
int command_backend(struct cli *cli, struct args *args, struct err *err);
int command_keys(struct cli *cli, struct args *args, struct err *err);
int command_frontend(struct cli *cli, struct args *args, struct err *err);
int command_hostapi(struct cli *cli, struct args *args, struct err *err);
int command_health(struct cli *cli, struct args *args, struct err *err);
int command_doctor(struct cli *cli, struct args *args, struct err *err);
int command_bench(struct cli *cli, struct args *args, struct err *err);
int command_service(struct cli *cli, struct args *args, struct err *err);

/*
 * The agent as a process (service.c): the one that answers at its socket, or pid 0; a new one that
 * writes into the logs folder, once it answers: when the descriptor is closed, at our end at the
 * latest, it stops its models and ends (daemon.h); the end of one, 10 s at most.
 */
struct proc service_agent(const struct cli *cli);
int service_start_agent(const struct cli *cli, int *ret_keeper, struct err *err);
bool service_is_gone_soon(struct proc agent);

/* Cuts text at `sep` into a NULL-terminated list, empty words left out. */
char **cli_list(const char *text, char sep);
void cli_list_free(char **list);

#endif
