/* SPDX-License-Identifier: MIT */
#include "cli/view.h"

#include "cli/term.h"
#include "io/loop.h"

#define BAR_CELLS 22

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

void view_status(const struct server *servers, size_t count, struct buf *out)
{
	struct table table;

	table_init(&table, "MODEL\tSTATE\tDEVICE\tPORT\tCONTEXT\tMEMORY\tTOK/S\tBUSY\tUP\t");
	for (size_t i = 0; i < count; i++) {
		add_row(&table, &servers[i]);
	}
	table_print(&table, out);
	for (size_t i = 0; i < count; i++) {
		notes(&servers[i], out);
	}
}

void view_status_json(const struct host_info *host, const struct server *servers, size_t count,
		      struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	w.pretty = true;
	jsonw_object(&w);
	jsonw_key(&w, "host");
	host_info_write(&w, host);
	jsonw_member_array(&w, "servers");
	for (size_t i = 0; i < count; i++) {
		server_write(&w, &servers[i]);
	}
	jsonw_end_all(&w);
}

void view_progress_row(const struct server *s, int id_width, struct buf *out)
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

void view_change(const struct server *s, struct buf *out)
{
	buf_printf(out, "%s: %s", s->id, state(s).text);
	if (s->phase == SERVER_READY) {
		buf_printf(out, " after %s on :%u, %s", term_duration(s->load_ms).text, s->port,
			   device(s).text);
	} else if (s->error[0] != '\0') {
		buf_printf(out, ": %s", s->error);
		buf_printf(out, s->next_step[0] != '\0' ? "  -> %s" : "%s", s->next_step);
	}
	buf_add_char(out, '\n');
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
