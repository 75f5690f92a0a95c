/* SPDX-License-Identifier: MIT */
/*
 * `ronzal pull`: a download in the terminal, by the same ronzal-fetch as the page's. Ctrl-C leaves
 * what is there; the same command goes on with it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/models.h"
#include "cli/scouting.h"
#include "cli/term.h"
#include "cli/visit.h"
#include "fetch/puller.h"

#define BAR_CELLS 20

struct pulling {
	struct cli *cli;
	struct loop *loop;
	struct pull pull; /* as it was said last */
	uint64_t shown_tenth;
	enum pull_phase shown_phase;
	bool is_live;
};

/* As the agent says, with its engines stopped; without an agent as this machine itself says. */
static struct memory_machine look_at_machine(const struct cli *cli)
{
	struct engine_abilities abilities = { .device_count = 0 };
	char path[FS_PATH_MAX_BYTES];
	uint64_t engines_bytes = 0;
	struct visit s;

	if (visit_open(&s, cli, NULL) != 0) {
		scouting_ask(cli, path, &abilities, NULL);
		return scouting_machine(cli, &abilities);
	}
	for (size_t i = 0; i < s.count; i++) {
		engines_bytes += s.servers[i].memory_bytes;
	}
	struct memory_machine machine = puller_machine(&s.host, engines_bytes);

	visit_close(&s);
	return machine;
}

/* Progress */

static void write_line(const struct pulling *g, struct buf *out)
{
	const struct pull *p = &g->pull;

	buf_printf(out, "%-12s", pull_phase_name(p->phase));
	if (p->total_bytes > 0) {
		if (g->is_live) {
			buf_add_char(out, ' ');
			term_bar(out, (float)p->done_bytes / (float)p->total_bytes, BAR_CELLS);
		}
		buf_printf(out, " %3.0f %% of %s",
			   100 * (double)p->done_bytes / (double)p->total_bytes,
			   term_bytes(p->total_bytes).text);
	}
	if (p->bytes_per_s > 0) {
		buf_printf(out, "  %s/s  %s left", term_bytes(p->bytes_per_s).text,
			   term_duration((uint64_t)pull_eta_ms(p)).text);
	}
	buf_printf(out, "%s%s", p->note[0] != '\0' ? "  " : "", p->note);
}

/* On a terminal one line that is redrawn; else one at each tenth. */
static void show(struct pulling *g)
{
	const struct pull *p = &g->pull;
	uint64_t tenth = p->total_bytes > 0 ? p->done_bytes * 10 / p->total_bytes : 0;
	bool is_new = p->phase != g->shown_phase || tenth != g->shown_tenth || p->note[0] != '\0';
	struct buf *out = &g->cli->out;
	struct json_writer w;

	if (g->cli->quiet || (!pull_phase_is_running(p->phase) && !g->cli->json)) {
		return;
	}
	if (g->cli->json) {
		jsonw_init(&w, out);
		pull_write(&w, p);
		buf_add_char(out, '\n');
	} else if (g->is_live || is_new) {
		buf_add_text(out, g->is_live ? "\r\x1b[2K" : "");
		write_line(g, out);
		buf_add_text(out, g->is_live ? "" : "\n");
	}
	g->shown_phase = p->phase;
	g->shown_tenth = tenth;
	term_print(out);
}

static void on_change(void *user, const struct pull *p)
{
	struct pulling *g = user;

	g->pull = *p;
	show(g);
	if (!pull_phase_is_running(p->phase)) {
		loop_stop(g->loop);
	}
}

static void on_interrupt(void *user)
{
	struct pulling *g = user;

	pull_fail(&g->pull, &(struct err){ ERR_CANCELED, "canceled. What is there is kept: say the "
							 "same again to go on" });
	loop_stop(g->loop);
}

/* Runs one download to its end. */
static int run(struct pulling *g, const char *source, const struct memory_machine *machine,
	       struct err *err)
{
	struct puller_options options = { .place = &g->cli->places.downloads,
					  .source = source,
					  .machine = *machine,
					  .cache_ram_mib = g->cli->config.cache_ram_mib,
					  .on_change = on_change,
					  .user = g };
	int status = 0;

	g->loop = loop_create();
	struct loop_signal *signal = loop_signal_start(g->loop, SIGINT, on_interrupt, g);
	struct puller *puller = puller_start(g->loop, &options, err);

	if (puller != NULL) {
		loop_run(g->loop);
		if (g->is_live && !g->cli->quiet) {
			printf("\r\x1b[2K");
		}
	} else {
		status = err->code;
	}
	puller_close(puller);
	loop_signal_close(signal);
	loop_destroy(g->loop);
	if (status == 0 && g->pull.error_code != 0) {
		status = err_set(err, g->pull.error_code, "%s", g->pull.error);
	}
	return status;
}

/* Choices */

static void print_choices(const struct pull *p, struct buf *out)
{
	static const char *const verdicts[] = { "?", "fits", "tight: less context or GPU layers",
						"too large for this machine" };
	struct table t;

	table_init(&t, "NAME\tDOWNLOAD\tMEMORY\tHERE");
	for (int i = 0; i < p->choice_count; i++) {
		const struct pull_choice *c = &p->choices[i];

		table_row(&t, c->verdict == PULL_TOO_LARGE ? TERM_DIM : TERM_PLAIN,
			  "%s\t%s\t%s\t%s%s", c->name, term_bytes(c->bytes).text,
			  term_bytes(c->memory_bytes).text, verdicts[c->verdict],
			  i == p->best ? "   <- best" : "");
	}
	table_print(&t, out);
	term_print(out);
}

/* What to download now: the best, if that is wished; NULL: how to get it was said. free() it. */
static char *choose(const struct pulling *g, bool is_sure)
{
	const struct pull *p = &g->pull;
	const char *best = p->best >= 0 ? p->choices[p->best].name : NULL;
	char *source = mem_printf("%s:%s", p->source, best != NULL ? best : "NAME");

	if (!g->cli->json && !g->cli->quiet) {
		print_choices(p, &g->cli->out);
	}
	if (best == NULL ||
	    !(is_sure || term_confirm(term_words("Download %s now?", best).text, true))) {
		if (!g->cli->json) {
			printf("%s\nronzal pull %s\n",
			       best != NULL ? "To get the best that fits:"
					    : "None is known to fit. To get one anyway:",
			       source);
		}
		free(source);
		source = NULL;
	}
	return source;
}

static int pull(struct cli *cli, const char *word, bool is_sure, struct err *err)
{
	struct pulling g = { .cli = cli, .is_live = term_is_live() && !cli->json };
	struct memory_machine machine = { 0 };

	if (strchr(word, ':') == NULL) { /* there may be several to choose from */
		machine = look_at_machine(cli);
	}
	int status = run(&g, word, &machine, err);

	if (status == 0 && g.pull.phase == PULL_CHOOSING) {
		char *source = choose(&g, is_sure);

		if (source == NULL) {
			return 0;
		}
		status = run(&g, source, &machine, err);
		free(source);
	}
	return status == 0 ? models_add(cli, g.pull.path, g.pull.mmproj_path, err) : status;
}

int command_pull(struct cli *cli, struct args *args, struct err *err)
{
	bool is_sure = args_flag(args, "--yes") != NULL;

	if (strlen(args->items[0]) >= PULL_SOURCE_MAX_BYTES) {
		return err_set(err, ERR_INVALID, "that name is too long");
	}
	return fs_is_file(args->items[0]) ? models_add(cli, args->items[0], "", err)
					  : pull(cli, args->items[0], is_sure, err);
}
