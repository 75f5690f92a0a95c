/* SPDX-License-Identifier: MIT */
/*
 * ronzal: finds the command, reads the options, runs it, says what went wrong.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/term.h"
#include "os/memory.h"
#include "version.h"

#define OUT_MAX_BYTES (1u << 20)

extern char **environ;

static command_fn command_help, command_version;

static const struct command commands[] = {
	{ "up", NULL, "Run everything on this machine; Ctrl-C stops what it started", command_up,
	  .help = "Attaches to a running agent or starts one, starts every enabled model, then "
		  "the\n"
		  "gateway (port 8000) and the page (port 5173).\n" },
	{ "start", "[MODEL...]", "Start models; without a name all that are enabled", command_order,
	  .help = "Waits until each is ready or has failed; the exit code is 0 only when all are.\n"
		  "--stdio carries the control channel (the scripts behind the ssh key do that).\n",
	  .flags = { "--stdio" }, .max = ARGS_MAX },
	{ "stop", "[MODEL...]", "Stop models; without a name all that run", command_order,
	  .help = "Running answers get a moment to finish, then the engine is ended.\n",
	  .flags = { "--stdio" }, .max = ARGS_MAX },
	{ "restart", "[MODEL...]", "Stop and start again, with the present settings", command_order,
	  .max = ARGS_MAX },
	{ "status", NULL, "What runs, on which device, and what is wrong", .run = command_status },
	{ "show", "MODEL", "Everything about one server, with the evidence for its device",
	  command_show, .min = 1, .max = 1 },
	{ "logs", "MODEL [--follow] [--tail N]", "The engine's log", command_logs,
	  .flags = { "--follow", "-f", "--tail=" }, .min = 1, .max = 1 },
	{ "chat", "[MODEL] [PROMPT]", "Talk to a model in the terminal", command_chat,
	  .help = "With a prompt, or with text on standard input: one answer. Else a "
		  "conversation;\n"
		  "an empty line or Ctrl-D ends it.\n",
	  .max = 2 },
	{ "pull", "ORG/REPO[:QUANT] [--yes]",
	  "Download a model from the hub (or an https address) and register it", command_pull,
	  .help = "Without QUANT: what the repository offers, and what of it fits this machine.\n"
		  "Goes on where an earlier try ended. HF_TOKEN, HF_ENDPOINT, HF_HUB_CACHE and\n"
		  "https_proxy count.\n",
	  .flags = { "--yes", "-y" }, .min = 1, .max = 1 },
	{ "models",
	  "[scan | add FILE | rm MODEL [--delete-file] [--yes] | show MODEL |\n"
	  "               enable MODEL... | disable MODEL...]",
	  "The registered models", command_models,
	  .help = "scan looks below the model folders and into the stores of the Hugging Face "
		  "hub,\n"
		  "llama.cpp, LM Studio and Ollama.\n",
	  .flags = { "--delete-file", "--yes", "-y" }, .max = ARGS_MAX },
	{ "set", "MODEL KEY=VALUE...", "Change a model's settings or port", command_set,
	  .help = "\"ronzal set MODEL\" alone lists what can be set. Takes effect at the next "
		  "start.\n",
	  .min = 1, .max = ARGS_MAX },
	{ "doctor", NULL, "What is wrong on this machine or in this container, and how to mend it",
	  command_doctor,
	  .help = "Changes nothing. The exit code is 1 when something failed, 0 with warnings "
		  "alone.\n" },
	{ "bench", "[MODEL] [--a KEY=VALUE,...] [--b KEY=VALUE,...] [--runs N]",
	  "Measure a model: CPU and GPU, or two settings", command_bench,
	  .help = "On the CPU in Docker where the stack is up, on the CPU here, on the GPU; or\n"
		  "two settings. Starts engines of its own beside what runs: cold and warm\n"
		  "starts, prompts of several lengths, one stream and several; medians of N\n"
		  "runs (3). Results are kept, and shown by the page.\n",
	  .flags = { "--a=", "--b=", "--runs=" }, .max = 1 },
	{ "keys", "[list | add NAME [MODEL...] | revoke NAME | token]",
	  "API keys for the gateway; the management token", command_keys,
	  .help = "A key is shown once, when it is made. With models it opens only those.\n",
	  .max = ARGS_MAX },
	{ "service", "install | uninstall | status", "Keep the agent running in your login session",
	  command_service, .flags = { "--background" }, .min = 1, .max = 1 },
	{ "agent", "[--stop-on-exit] [--kept]", "The supervisor behind all this, in the foreground",
	  command_agent,
	  .help = "With --kept it stops its models and ends at the end of its standard input.\n",
	  .flags = { "--stop-on-exit", "--kept" }, .is_daemon = true },
	{ "backend", "[--native] [--kept]", "The gateway and management API", command_backend,
	  .help = "USE_EXTERNAL_SERVERS says where engines run; --native: with this user's agent.\n"
		  "With --kept it ends at the end of its standard input.\n",
	  .flags = { "--native", "--kept" }, .is_daemon = true },
	{ "frontend", "[--kept]", "The page's own server", command_frontend,
	  .help = "With --kept it ends at the end of its standard input.\n", .flags = { "--kept" },
	  .is_daemon = true },
	{ "hostapi", NULL, "The Host API (a container's way to the host's agent)", command_hostapi,
	  .is_daemon = true },
	{ "health", "backend | frontend | hostapi", "Whether that part answers; for health checks",
	  command_health, .min = 1, .max = 1 },
	{ "help", "[COMMAND | options | host.conf | exit-codes]", "This, or more about one thing",
	  command_help, .flags = { "--markdown" }, .max = 1 },
	{ "version", NULL, "The version", .run = command_version },
};

/* NULL with err, which has the nearest. */
static const struct command *command_named(const char *name, struct err *err)
{
	struct nearest nearest = { .word = span_of(name) };

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) == 0) {
			return &commands[i];
		}
		nearest_try(&nearest, commands[i].name);
	}
	err_set(err, ERR_INVALID,
		nearest.name != NULL ? "there is no command '%s'. Did you mean '%s'?"
				     : "there is no command '%s'. All of them: ronzal help%s",
		name, nearest.name != NULL ? nearest.name : "");
	return NULL;
}

static int command_version(struct cli *cli, struct args *args, struct err *err)
{
	(void)args;
	(void)err;
	printf(cli->json ? "{\"version\":\"%s\"}\n" : "ronzal %s\n", RONZAL_VERSION);
	return 0;
}

static void print_overview(struct buf *out)
{
	buf_add_text(out, "ronzal runs llama-servers on this machine, proves that they use the "
			  "GPU, and lets\ncontainers use them.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		buf_printf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
	}
	buf_add_text(out,
		     "\nEvery command takes --json where a script would want it, and the "
		     "options of\n\"ronzal help options\". \"ronzal help COMMAND\" says more.\n");
}

static void print_exit_codes(struct buf *out)
{
	buf_add_text(out, "  0    done\n");
	for (int number = 1; err_name(ERR_BASE - number)[0] != 'O'; number++) {
		buf_printf(out, "  %-4d %s\n", err_exit_code(ERR_BASE - number),
			   err_sentence(ERR_BASE - number));
	}
}

static int print_command(const char *name, struct buf *out, struct err *err)
{
	const struct command *command = command_named(name, err);

	if (command == NULL) {
		return err->code;
	}
	buf_printf(out, "ronzal %s %s\n\n%s.\n%s%s", command->name,
		   command->words != NULL ? command->words : "", command->summary,
		   command->help != NULL ? "\n" : "", command->help != NULL ? command->help : "");
	return 0;
}

static int command_help(struct cli *cli, struct args *args, struct err *err)
{
	bool markdown = args_flag(args, "--markdown") != NULL;
	const char *topic = args->count > 0 ? args->items[0] : "";
	struct buf *out = &cli->out;

	if (strcmp(topic, "options") == 0) {
		(markdown ? config_print_markdown : config_print_help)(out);
	} else if (strcmp(topic, "host.conf") == 0) {
		config_print_file(out, &cli->config);
	} else if (strcmp(topic, "exit-codes") == 0) {
		print_exit_codes(out);
	} else if (topic[0] != '\0') {
		return print_command(topic, out, err);
	} else {
		print_overview(out);
	}
	return 0;
}

static int read_options(struct cli *cli, struct err *err)
{
	char *path = fs_join(cli->paths.config, "host.conf");
	int status = config_read_file(&cli->config, path, err);

	free(path);
	return status != 0 ? status : config_read_environment(&cli->config, cli->environment, err);
}

/* A person at a terminal reads answers, not a log. */
static void set_up_log(const struct cli *cli, const struct command *command)
{
	enum log_level level = (enum log_level)cli->config.log_level;

	log_setup(command->name, !command->is_daemon && level == LOG_INFO ? LOG_WARN : level,
		  STDERR_FILENO);
}

static int run(struct cli *cli, const char *const *argv, struct err *err)
{
	const char *name = argv[0] != NULL ? argv[0] : "help";
	struct args args = { .count = 0 };

	name = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ? "help" : name;
	name = strcmp(name, "--version") == 0 ? "version" : name;
	const struct command *command = command_named(name, err);

	if (command == NULL) {
		return err->code;
	}
	args.command = command;
	int status = paths_init(&cli->paths, err);

	if (status == 0) {
		status = read_options(cli, err);
		if (status != 0 && command->run == command_doctor) {
			cli->conf_err = *err; /* it says so beside the other findings */
			*err = (struct err){ 0 };
			status = 0;
		}
	}
	status = status != 0 ? status : args_read(&args, cli, argv + (argv[0] != NULL), err);
	if (status == 0 && args.wants_help) {
		args = (struct args){ .items = { command->name },
				      .count = 1,
				      .command = command_named("help", err) };
		command = args.command;
	}
	status = status != 0 ? status : places_init(&cli->places, cli, err);
	set_up_log(cli, command);
	return status != 0 ? status : command->run(cli, &args, err);
}

int main(int argc, char **argv)
{
	struct cli cli = { .environment = (const char *const *)environ };
	struct err err = { 0 };

	/* What is opened later must not take the place of a standard stream that was closed. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0) {
			open("/dev/null", O_RDWR);
		}
	}
	memory_return_large_blocks();
	config_init(&cli.config);
	buf_init(&cli.out, OUT_MAX_BYTES);
	int status = run(&cli, (const char *const *)argv + (argc > 0), &err);

	term_print_lines(&cli.out);
	if (status != 0 && err.text[0] != '\0') {
		fprintf(stderr, "ronzal: %s\n", err.text);
	}
	buf_finish(&cli.out);
	places_finish(&cli.places);
	paths_finish(&cli.paths);
	config_finish(&cli.config);
	return err_exit_code(status);
}
