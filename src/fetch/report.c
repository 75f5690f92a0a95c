/* SPDX-License-Identifier: MIT */
#include "fetch/report.h"

#include <stdio.h>
#include <time.h>

#define LINE_MAX_BYTES 65536

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void report_say(struct report *r)
{
	struct json_writer w;
	struct buf line;

	buf_init(&line, LINE_MAX_BYTES);
	jsonw_init(&w, &line);
	pull_write(&w, &r->pull);
	puts(buf_text(&line));
	fflush(stdout);
	buf_finish(&line);
}

void report_phase(struct report *r, enum pull_phase phase)
{
	r->pull.phase = phase;
	r->pull.bytes_per_s = 0;
	report_say(r);
	r->mark_ms = now_ms();
	r->mark_bytes = r->pull.done_bytes;
}

void report_note(void *report, const char *note)
{
	struct report *r = report;

	span_copy(span_of(note), r->pull.note, sizeof(r->pull.note));
	r->pull.bytes_per_s = 0;
	report_say(r);
}

void report_bytes(struct report *r, uint64_t bytes)
{
	uint64_t done = r->before_bytes + bytes, now = now_ms(), past_ms = now - r->mark_ms;

	r->pull.done_bytes = done;
	if (past_ms < REPORT_MS) {
		return;
	}
	uint64_t speed = done > r->mark_bytes ? (done - r->mark_bytes) * 1000 / past_ms : 0;

	/* Smoothed, so that the time left does not jump. */
	r->pull.bytes_per_s =
		r->pull.bytes_per_s > 0 ? (3 * r->pull.bytes_per_s + speed) / 4 : speed;
	r->mark_ms = now;
	r->mark_bytes = done;
	report_say(r);
}

void report_file_done(struct report *r, uint64_t bytes)
{
	r->before_bytes += bytes;
	r->pull.done_bytes = r->before_bytes;
}
