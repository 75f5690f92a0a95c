/* SPDX-License-Identifier: MIT */
#include "cli/view.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/term.h"

#define BAR_CELLS 22

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum term_color color_of(const struct server *s)
{
	switch (s->phase) {
	case SERVER_READY:
		return s->receipt.verdict != RECEIPT_UNKNOWN && !s->receipt.wanted ? TERM_YELLOW
										   : TERM_GREEN;
	case SERVER_FAILED:
		return TERM_RED;
	case SERVER_BACKOFF:
	case SERVER_UNKNOWN:
		return TERM_YELLOW;
	case SERVER_STOPPED:
		return TERM_DIM;
	case SERVER_STARTING:
	case SERVER_LOADING:
	case SERVER_DRAINING:
	case SERVER_STOPPING:
		return TERM_PLAIN;
	}
	return TERM_PLAIN;
}

void view_device(const struct server *s, char *text, size_t room)
{
	const struct receipt *r = &s->receipt;
	const char *wanted = r->wanted ? "" : r->verdict == RECEIPT_CPU ? "  (wanted gpu)" : "";

	if (s->phase != SERVER_READY && s->phase != SERVER_DRAINING) {
		snprintf(text, room, "-");
	} else if (r->verdict == RECEIPT_PARTIAL) {
		snprintf(text, room, "partial %d/%d  %s", r->layers_offloaded, r->layers_total,
			 r->device_name);
	} else if (r->verdict == RECEIPT_GPU) {
		snprintf(text, room, "gpu  %s", r->device_name);
	} else {
		snprintf(text, room, "%s%s", receipt_verdict_name(r->verdict), wanted);
	}
}

/* "loading 62 %, about 4 s", "backoff, again in 3 s" */
static void state_text(const struct server *s, char *text, size_t room)
{
	const char *name = server_phase_name(s->phase);

	if (s->phase == SERVER_LOADING && s->progress >= 0 && s->eta_ms >= 0) {
		snprintf(text, room, "%s %.0f %%, about %d s", name, (double)s->progress * 100,
			 (s->eta_ms + 999) / 1000);
	} else if (s->phase == SERVER_LOADING && s->progress >= 0) {
		snprintf(text, room, "%s %.0f %%", name, (double)s->progress * 100);
	} else if (s->phase == SERVER_BACKOFF) {
		snprintf(text, room, "%s, again in %d s", name, (s->retry_ms + 999) / 1000);
	} else {
		snprintf(text, room, "%s", name);
	}
}

static void add_row(struct table *t, const struct server *s)
{
	uint64_t memory = s->memory_bytes > 0 ? s->memory_bytes : s->estimate_bytes;
	int64_t up_ms = s->phase == SERVER_READY && s->ready_unix_ms > 0
				? unix_ms() - s->ready_unix_ms
				: -1;
	char state[64], device[128], amount[32], context[32] = "-", up[32] = "-";

	state_text(s, state, sizeof(state));
	view_device(s, device, sizeof(device));
	term_bytes(memory, amount, sizeof(amount));
	if (s->receipt.context_tokens > 0 && server_phase_is_running(s->phase)) {
		snprintf(context, sizeof(context), "%ux%u", s->receipt.slots,
			 s->receipt.context_tokens);
	}
	if (up_ms >= 0) {
		term_duration((uint64_t)up_ms, up, sizeof(up));
	}
	table_row(t, color_of(s), "%s\t%s\t%s\t%u\t%s\t%s%s\t%s\t%s", s->id, state, device, s->port,
		  context, s->memory_bytes == 0 && memory > 0 ? "about " : "", amount, up,
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

	table_init(&table);
	table_row(&table, TERM_DIM, "MODEL\tSTATE\tDEVICE\tPORT\tCONTEXT\tMEMORY\tUP\t");
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
	jsonw_key(&w, "servers");
	jsonw_array(&w);
	for (size_t i = 0; i < count; i++) {
		server_write(&w, &servers[i]);
	}
	jsonw_end_all(&w);
}

void view_progress_row(const struct server *s, int id_width, struct buf *out)
{
	float fraction = s->phase == SERVER_READY ? 1.0f : s->progress;
	char state[64], device[128] = "";

	state_text(s, state, sizeof(state));
	buf_printf(out, "  %-*s  :%u  ", id_width, s->id, s->port);
	term_bar(out, server_phase_is_running(s->phase) ? fraction : 0.0f, BAR_CELLS);
	buf_printf(out, "  %s%s%s", term_color(color_of(s)), state, term_color(TERM_PLAIN));
	if (s->phase == SERVER_READY) {
		char took[32];

		view_device(s, device, sizeof(device));
		term_duration(s->load_ms, took, sizeof(took));
		buf_printf(out, "   %s   %s", took, device);
	}
	buf_add_char(out, '\n');
}

void view_change(const struct server *s, struct buf *out)
{
	char text[128];

	state_text(s, text, sizeof(text));
	buf_printf(out, "%s: %s", s->id, text);
	if (s->phase == SERVER_READY) {
		term_duration(s->load_ms, text, sizeof(text));
		buf_printf(out, " after %s on :%u", text, s->port);
		view_device(s, text, sizeof(text));
		buf_printf(out, ", %s", text);
	} else if (s->error[0] != '\0') {
		buf_printf(out, ": %s", s->error);
		buf_printf(out, s->next_step[0] != '\0' ? "  -> %s" : "%s", s->next_step);
	}
	buf_add_char(out, '\n');
}

void view_server(const struct server *s, struct buf *out)
{
	const struct receipt *r = &s->receipt;
	char text[160], device[32];

	buf_printf(out, "%s%s%s\n", term_color(TERM_BOLD), s->id, term_color(TERM_PLAIN));
	state_text(s, text, sizeof(text));
	buf_printf(out, "  state      %s, %s\n", text, s->enabled ? "enabled" : "not enabled");
	buf_printf(out, "  port       %u on %s\n", s->port, s->host);
	term_bytes(s->estimate_bytes, text, sizeof(text));
	buf_printf(out, "  estimate   %s\n", text);
	if (server_phase_is_running(s->phase)) {
		term_bytes(s->memory_bytes, text, sizeof(text));
		term_bytes(r->device_bytes, device, sizeof(device));
		buf_printf(out, "  memory     %s, on devices %s\n  engine     pid %d, %s\n", text,
			   device, s->pid, r->engine);
		view_device(s, text, sizeof(text));
		buf_printf(out, "  device     %s\n", text);
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
