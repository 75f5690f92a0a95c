/* SPDX-License-Identifier: MIT */
/*
 * `ronzal models scan`: finds model files below the roots and registers new ones, not enabled.
 */
#include "model/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/models.h"
#include "cli/term.h"

static void scan_roots(struct scan *s, const char *const *roots, bool talk)
{
	struct err err;

	for (; *roots != NULL; roots++) {
		if (!fs_is_folder(*roots)) {
			continue;
		}
		if (talk) {
			fprintf(stderr, "looking in %s ...\n", *roots);
		}
		if (scan_folder(s, *roots, &err) != 0) {
			fprintf(stderr, "ronzal: %s\n", err.text);
		}
	}
	for (size_t i = 0; i < s->problem_count && i < SCAN_PROBLEMS_MAX; i++) {
		fprintf(stderr, "ronzal: %s\n", s->problems[i]);
	}
}

static const char *const fates[] = { [SCAN_ADDED] = "added",
				     [SCAN_KNOWN] = "known",
				     [SCAN_MISSING] = "missing",
				     [SCAN_REFUSED] = "refused" };

static void report_as_json(const struct scan_report *report, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	w.pretty = true;
	jsonw_array(&w);
	for (size_t i = 0; i < report->count; i++) {
		jsonw_object(&w);
		jsonw_member_text(&w, "fate", fates[report->lines[i].fate]);
		jsonw_member_text(&w, "id", report->lines[i].id);
		jsonw_member_text(&w, "text", report->lines[i].text);
		jsonw_end(&w);
	}
	jsonw_end_all(&w);
}

static void report_as_table(const struct scan_report *report, struct buf *out)
{
	struct table t;
	size_t added = 0;

	table_init(&t);
	for (size_t i = 0; i < report->count; i++) {
		const struct scan_line *line = &report->lines[i];

		added += line->fate == SCAN_ADDED;
		table_row(&t, line->fate == SCAN_ADDED ? TERM_GREEN : TERM_PLAIN, "%s\t%s\t%s",
			  fates[line->fate], line->id, line->text);
	}
	table_print(&t, out);
	if (added > 0) {
		buf_printf(out, "%zu added, not enabled. To use one: ronzal models enable MODEL\n",
			   added);
	} else if (report->count == 0) {
		buf_add_text(out, "No model file was found. To get one: ronzal pull ORG/REPO\n");
	}
}

/* What other tools have where model_roots does not reach, and so could not be started. */
static void tell_of_stores(const struct cli *cli)
{
	for (const char *const *store = cli->places.stores; *store != NULL; store++) {
		bool is_ours = cli_is_below(*store, cli->places.model_roots) ||
			       strcmp(*store, cli->places.demo) == 0;
		struct scan s;

		scan_init(&s);
		if (!is_ours && fs_is_folder(*store) && scan_folder(&s, *store, NULL) == 0 &&
		    s.count > 0) {
			fprintf(stderr,
				"ronzal: %zu more in %s, which is no model folder; to use them add "
				"it to model_roots in host.conf\n",
				s.count, *store);
		}
		scan_finish(&s);
	}
}

int models_scan(struct cli *cli, struct args *args, struct err *err)
{
	const char *const *roots = cli->places.model_roots;
	struct registry_edit e;
	struct scan_report report;
	struct scan s;

	(void)args;
	scan_init(&s);
	scan_roots(&s, roots, isatty(STDERR_FILENO) && !cli->quiet);
	int status = models_begin(&e, cli, err);

	if (status == 0) {
		scan_merge(&s, &e.registry, roots[0] != NULL ? roots[0] : "/models", &report);
		(cli->json ? report_as_json : report_as_table)(&report, &cli->out);
		status = models_end(&e, cli, 0, err);
		term_print_lines(&cli->out);
		free(report.lines);
	}
	scan_finish(&s);
	tell_of_stores(cli);
	return status;
}
