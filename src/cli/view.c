/* SPDX-License-Identifier: MIT */
#include "cli/view.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/term.h"

#define BAR_CELLS 22
#define OUT_MAX_BYTES (1u << 20)

static enum term_color color_of(const struct server *s)
{
	static const enum term_color colors[] = {
		[SERVER_READY] = TERM_GREEN,	[SERVER_FAILED] = TERM_RED,
		[SERVER_STOPPED] = TERM_DIM,	[SERVER_BACKOFF] = TERM_YELLOW,
		[SERVER_UNKNOWN] = TERM_YELLOW, /* others: plain */
	};
	bool is_unwanted = s->receipt.verdict != RECEIPT_UNKNOWN && !s->receipt.wanted;

	return s->phase == SERVER_READY && is_unwanted ? TERM_YELLOW : colors[s->phase];
}

/* "gpu  Apple M4 Pro", "cpu  (wanted gpu)", "-" */
static struct words device(const struct server *s)
{
	const struct receipt *r = &s->receipt;

	if (s->phase != SERVER_READY && s->phase != SERVER_DRAINING) {
		return term_words("-");
	}
	switch (r->verdict) {
	case RECEIPT_PARTIAL:
		return term_words("partial %d/%d  %s", r->layers_offloaded, r->layers_total,
				  r->device_name);
	case RECEIPT_GPU:
		return term_words("gpu  %s", r->device_name);
	case RECEIPT_CPU:
		return term_words(r->wanted ? "cpu" : "cpu  (wanted gpu)");
	case RECEIPT_UNKNOWN:
		break;
	}
	return term_words("%s", receipt_verdict_name(r->verdict));
}

/* "loading 62 %, about 4 s", "backoff, again in 3 s" */
static struct words state(const struct server *s)
{
	const char *name = server_phase_name(s->phase);

	if (s->phase == SERVER_LOADING && s->progress >= 0 && s->eta_ms >= 0) {
		return term_words("%s %.0f %%, about %d s", name, (double)s->progress * 100,
				  (s->eta_ms + 999) / 1000);
	}
	if (s->phase == SERVER_LOADING && s->progress >= 0) {
		return term_words("%s %.0f %%", name, (double)s->progress * 100);
	}
	if (s->phase == SERVER_BACKOFF) {
		return term_words("%s, again in %d s", name, (s->retry_ms + 999) / 1000);
	}
	return term_words("%s", name);
}

static void add_row(struct table *t, const struct server *s)
{
	const struct receipt *r = &s->receipt;
	uint64_t memory = s->memory_bytes > 0 ? s->memory_bytes : s->estimate_bytes;
	int64_t up_ms = s->phase == SERVER_READY && s->ready_unix_ms > 0
				? loop_unix_ms() - s->ready_unix_ms
				: -1;
	struct words none = term_words("-"), context = none, speed = none, busy = none;

	if (r->context_tokens > 0 && server_phase_is_running(s->phase)) {
		context = term_words("%ux%u", r->slots, r->context_tokens);
	}
	if (s->tokens_per_second > 0) {
		speed = term_words("%.1f", (double)s->tokens_per_second);
	}
	if (s->phase == SERVER_READY || s->phase == SERVER_DRAINING) {
		busy = term_words("%u/%u", s->busy_slots, r->slots);
	}
	table_row(t, color_of(s), "%s\t%s\t%s\t%u\t%s\t%s%s\t%s\t%s\t%s\t%s", s->id, state(s).text,
		  device(s).text, s->port, context.text,
		  s->memory_bytes == 0 && memory > 0 ? "about " : "", term_bytes(memory).text,
		  speed.text, busy.text, (up_ms >= 0 ? term_duration((uint64_t)up_ms) : none).text,
		  s->enabled ? "" : "(not enabled)");
}

static void notes(const struct server *s, struct buf *out)
{
	if (s->error[0] != '\0') {
		if (!span_has_prefix(span_of(s->error), s->id)) { /* some say it themselves */
			buf_printf(out, "%s: ", s->id);
		}
		buf_printf(out, s->next_step[0] != '\0' ? "%s  -> %s\n" : "%s\n", s->error,
			   s->next_step);
	} else if (s->phase == SERVER_READY && s->receipt.why[0] != '\0') {
		buf_printf(out, "%s: %s  -> ronzal doctor\n", s->id, s->receipt.why);
	}
}

void view_status(const struct visit *s, struct buf *out)
{
	struct table table;

	table_init(&table, "MODEL\tSTATE\tDEVICE\tPORT\tCONTEXT\tMEMORY\tTOK/S\tBUSY\tUP\t");
	for (size_t i = 0; i < s->count; i++) {
		add_row(&table, &s->servers[i]);
	}
	table_print(&table, out);
	for (size_t i = 0; i < s->count; i++) {
		notes(&s->servers[i], out);
	}
	if (s->host.engine_error[0] != '\0') {
		buf_printf(out, "engine: %s\n", s->host.engine_error);
	}
}

void view_status_json(const struct visit *s, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	w.pretty = true;
	jsonw_object(&w);
	jsonw_key(&w, "host");
	host_info_write(&w, &s->host);
	jsonw_member_array(&w, "servers");
	for (size_t i = 0; i < s->count; i++) {
		server_write(&w, &s->servers[i]);
	}
	jsonw_end_all(&w);
}

void view_server(const struct server *s, struct buf *out)
{
	const struct receipt *r = &s->receipt;

	buf_printf(out, "%s%s%s\n", term_color(TERM_BOLD), s->id, term_color(TERM_PLAIN));
	buf_printf(out, "  state      %s, %s\n", state(s).text,
		   s->enabled ? "enabled" : "not enabled");
	buf_printf(out, "  port       %u on %s\n", s->port, s->host);
	buf_printf(out, "  estimate   %s\n", term_bytes(s->estimate_bytes).text);
	if (server_phase_is_running(s->phase)) {
		buf_printf(out, "  memory     %s, on devices %s\n",
			   term_bytes(s->memory_bytes).text, term_bytes(r->device_bytes).text);
		buf_printf(out, "  engine     pid %d, %s\n", s->pid, r->engine);
		buf_printf(out, "  device     %s\n", device(s).text);
		buf_printf(out, "  context    %u tokens in each of %u slots\n", r->context_tokens,
			   r->slots);
	}
	if (r->layers_total >= 0) {
		buf_printf(out, "  layers     %d of %d on the GPU\n", r->layers_offloaded,
			   r->layers_total);
	}
	buf_printf(out, "  starts     %u, of these %u after a crash\n", s->starts, s->restarts);
	for (int i = 0; i < r->evidence_count; i++) {
		buf_printf(out, "  %s %s\n", i == 0 ? "evidence  " : "          ", r->evidence[i]);
	}
	notes(s, out);
}

/* Progress */

/* "  qwen3-4b  :8080  ████████  ready   0.11 s   cpu" */
static void draw_row(const struct server *s, int id_width, struct buf *out)
{
	float fraction = s->phase == SERVER_READY ? 1.0f : s->progress;

	buf_printf(out, "  %-*s  :%u  ", id_width, s->id, s->port);
	term_bar(out, server_phase_is_running(s->phase) ? fraction : 0.0f, BAR_CELLS);
	buf_printf(out, "  %s%s%s", term_color(color_of(s)), state(s).text, term_color(TERM_PLAIN));
	if (s->phase == SERVER_READY) {
		buf_printf(out, "   %s   %s", term_duration(s->load_ms).text, device(s).text);
	}
	buf_add_char(out, '\n');
}

/* For a log or a pipe: "qwen3-4b: ready after 0.11 s, cpu" */
static void print_change(const struct server *s, struct buf *out)
{
	buf_printf(out, "%s: %s", s->id, state(s).text);
	if (s->phase == SERVER_READY) {
		buf_printf(out, " after %s on :%u, %s", term_duration(s->load_ms).text, s->port,
			   device(s).text);
	} else if (s->error[0] != '\0') {
		buf_printf(out, s->next_step[0] != '\0' ? ": %s  -> %s" : ": %s", s->error,
			   s->next_step);
	}
	buf_add_char(out, '\n');
}

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
			draw_row(server, d->id_width, &d->out);
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
			print_change(changed, &d->out);
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

int view_ask(struct visit *s, const struct wire_request *request, struct err *err)
{
	struct drawing d = { .request = request, .is_live = term_is_live() };

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
