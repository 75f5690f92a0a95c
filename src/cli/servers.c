/* SPDX-License-Identifier: MIT */
/*
 * start, stop, restart, status, logs: what a person does to servers. All of it goes through the
 * agent; while it works, rows are redrawn on a terminal and changes are printed elsewhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/relay.h"
#include "cli/view.h"

#define LOG_TAIL_LINES 200
#define LOG_FILE_MAX_BYTES (64u << 20)

static bool may_start(const struct server *s)
{
	return s->enabled || server_phase_is_running(s->phase);
}

static bool may_stop(const struct server *s)
{
	return server_phase_is_running(s->phase) || s->phase == SERVER_BACKOFF;
}

static int run_verb(struct cli *cli, struct args *args, enum verb verb, struct err *err)
{
	struct wire_request request = { .verb = verb, .drain_ms = cli->config.drain_s * 1000 };
	struct visit s;
	int status = visit_open(&s, cli, err);

	if (status != 0) {
		return status;
	}
	if (verb != VERB_STOP) { /* models that were registered since the agent last looked */
		status = visit_ask(&s, &(struct wire_request){ .verb = VERB_RELOAD }, err);
	}
	if (status == 0) {
		status = visit_choose(&s, args->items, args->count,
				      verb == VERB_START ? may_start : may_stop, &request, err);
	}
	if (status == 0 && request.id_count == 0) {
		puts(verb == VERB_START ? "No model is enabled. See them: ronzal models"
					: "Nothing runs.");
	} else if (status == 0) {
		status = (cli->quiet || cli->json ? visit_ask : view_ask)(&s, &request, err);
	}
	if (cli->json && request.id_count > 0) {
		view_status_json(&s, &cli->out);
	}
	wire_request_finish(&request);
	visit_close(&s);
	return status;
}

/* Over ssh, with --stdio, always the channel; a person at a terminal gets rows instead. */
int command_order(struct cli *cli, struct args *args, struct err *err)
{
	const char *name = args->command->name;
	enum verb verb = strcmp(name, "start") == 0  ? VERB_START
			 : strcmp(name, "stop") == 0 ? VERB_STOP
						     : VERB_RESTART;
	const char *once = verb == VERB_START ? WIRE_ONCE_START : WIRE_ONCE_STOP;
	int exit_code = 0;

	if (args_flag(args, "--stdio") == NULL || isatty(STDOUT_FILENO)) {
		return run_verb(cli, args, verb, err);
	}
	int status = relay_run(cli->places.control_socket, once, &exit_code, err);

	if (status == 0 && exit_code != 0) {
		exit(exit_code);
	}
	return status;
}

int command_status(struct cli *cli, struct args *args, struct err *err)
{
	struct visit s;
	int status = visit_open(&s, cli, err);

	(void)args;
	if (status == 0) {
		(cli->json ? view_status_json : view_status)(&s, &cli->out);
		visit_close(&s);
	}
	return status;
}

int command_show(struct cli *cli, struct args *args, struct err *err)
{
	struct visit s;
	const char *id;
	int status = visit_open(&s, cli, err);

	if (status != 0) {
		return status;
	}
	status = visit_resolve(&s, args->items[0], &id, err);
	if (status == 0 && cli->json) {
		struct json_writer w;

		jsonw_init(&w, &cli->out);
		w.pretty = true;
		server_write(&w, visit_find(&s, id));
	} else if (status == 0) {
		view_server(visit_find(&s, id), &cli->out);
	}
	visit_close(&s);
	return status;
}

/* A line of an engine's log may hold anything: nothing of it may steer the terminal. */
static void print_line(struct span line)
{
	for (size_t i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.ptr[i];

		putchar((c < 0x20 && c != '\t') || c == 0x7f ? '?' : c);
	}
	putchar('\n');
}

static void on_log(struct span line, uint64_t dropped)
{
	if (dropped > 0) {
		printf("(%llu lines lost)\n", (unsigned long long)dropped);
	}
	print_line(line);
	fflush(stdout);
}

/* The last lines of the file; the shim writes it, so it is there without an agent too. */
static int print_tail(const struct cli *cli, const char *id, size_t lines, struct err *err)
{
	char *path = mem_printf("%s/%s.log", cli->paths.logs, id);
	struct buf text;

	buf_init(&text, LOG_FILE_MAX_BYTES);
	int status = fs_read(path, &text, err);

	if (status == 0) {
		size_t at = text.len;

		for (size_t seen = 0; at > 0; at--) {
			if (text.data[at - 1] == '\n' && at < text.len && ++seen == lines) {
				break;
			}
		}
		for (struct span rest = span_from(buf_span(&text), at); rest.len > 0;) {
			print_line(span_split(&rest, '\n'));
		}
	}
	buf_finish(&text);
	free(path);
	return status;
}

int command_logs(struct cli *cli, struct args *args, struct err *err)
{
	bool follow = args_flag(args, "--follow") != NULL;
	const char *tail_text = args_flag(args, "--tail");
	uint64_t tail = LOG_TAIL_LINES;
	const char *id;
	struct visit s;

	if (tail_text != NULL && span_to_u64(span_of(tail_text), 100000, &tail) != 0) {
		return err_set(err, ERR_INVALID, "--tail: \"%s\" is not a number in 0..100000",
			       tail_text);
	}
	int status = visit_open(&s, cli, follow ? err : NULL);

	if (status != 0) {
		return follow ? status : print_tail(cli, args->items[0], tail, err);
	}
	status = visit_resolve(&s, args->items[0], &id, err);
	if (status == 0 && !follow) {
		status = print_tail(cli, id, tail, err);
	} else if (status == 0) {
		s.on_log = on_log;
		link_follow_logs(s.link, &id, 1, (uint32_t)tail);
		loop_run(s.loop); /* across lives of the agent, until it is interrupted */
	}
	visit_close(&s);
	return status;
}
