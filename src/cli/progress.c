/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/term.h"
#include "cli/view.h"

#define OUT_MAX_BYTES (1u << 20)

struct drawing {
	const struct wire_request *request;
	size_t drawn; /* rows on the terminal */
	int id_width;
	bool is_live;
	enum server_phase *last; /* per id, for the plain form */
	struct buf out;
};

static void draw_rows(struct visit *s, struct drawing *d)
{
	if (d->drawn > 0) {
		buf_printf(&d->out, "\x1b[%zuA", d->drawn);
	}
	d->drawn = 0;
	for (size_t i = 0; i < d->request->id_count; i++) {
		const struct server *server = visit_find(s, d->request->ids[i]);

		if (server != NULL) {
			buf_add_text(&d->out, "\x1b[2K");
			view_progress_row(server, d->id_width, &d->out);
			d->drawn++;
		}
	}
}

static void on_change(struct visit *s, const struct server *changed)
{
	struct drawing *d = s->user;

	if (d->is_live) {
		draw_rows(s, d);
	}
	for (size_t i = 0; !d->is_live && changed != NULL && i < d->request->id_count; i++) {
		if (strcmp(d->request->ids[i], changed->id) == 0 && d->last[i] != changed->phase) {
			d->last[i] = changed->phase;
			view_change(changed, &d->out);
		}
	}
	term_print(&d->out);
}

static void print_failures(const struct visit *s)
{
	fflush(stdout);
	for (size_t i = 0; i < s->reply.count; i++) {
		const struct wire_result *result = &s->reply.results[i];
		const struct server *server = visit_find(s, result->id);
		bool has_step = server != NULL && server->next_step[0] != '\0';

		if (result->err.code != 0) {
			fprintf(stderr, "ronzal: %s%s%s\n", result->err.text,
				has_step ? "\n        " : "", has_step ? server->next_step : "");
		}
	}
}

int progress_ask(struct visit *s, const struct wire_request *request, bool quiet, struct err *err)
{
	struct drawing d = { .request = request, .is_live = term_is_live() };

	if (quiet) {
		return visit_ask(s, request, err);
	}
	for (size_t i = 0; i < request->id_count; i++) {
		int width = (int)strlen(request->ids[i]);

		d.id_width = width > d.id_width ? width : d.id_width;
	}
	d.last = mem_alloc((request->id_count + 1) * sizeof(*d.last));
	buf_init(&d.out, OUT_MAX_BYTES);
	s->user = &d;
	s->on_change = on_change;
	on_change(s, NULL);
	int status = visit_ask(s, request, err);

	on_change(s, NULL);
	s->on_change = NULL;
	if (status != 0 && s->reply.count > 0) {
		print_failures(s);
		err_set(err, status, "%s", "");
	}
	buf_finish(&d.out);
	free(d.last);
	return status;
}
