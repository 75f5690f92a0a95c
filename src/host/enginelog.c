/* SPDX-License-Identifier: MIT */
#include "host/enginelog.h"

#include <math.h>
#include <stdlib.h>

void enginelog_init(struct enginelog *l)
{
	buf_init(&l->tail, ENGINELOG_TAIL_MAX_BYTES);
	enginelog_restart(l);
}

void enginelog_finish(struct enginelog *l)
{
	buf_finish(&l->tail);
}

void enginelog_restart(struct enginelog *l)
{
	buf_finish(&l->tail);
	receipt_parser_init(&l->receipt);
	obituary_parser_init(&l->obituary);
	l->busy_slots = 0;
	l->tokens_per_second = 0;
}

/* "... (   19.56 ms per token,    51.12 tokens per second)" */
static void read_speed(struct enginelog *l, struct span line)
{
	char text[32];

	span_copy(span_from(line, span_find(line, "per token,") + strlen("per token,")), text,
		  sizeof(text));
	float speed = strtof(text, NULL);

	if (isfinite(speed) && speed > 0) {
		l->tokens_per_second = speed;
	}
}

static void watch_slots(struct enginelog *l, struct span line)
{
	if (span_has(line, "| processing task")) {
		l->busy_slots++;
	} else if (span_has(line, "| stop processing")) {
		l->busy_slots -= l->busy_slots > 0;
	} else if (span_has(line, "all slots are idle")) {
		l->busy_slots = 0;
	} else if (span_has(line, " eval time =") && !span_has(line, "prompt eval time")) {
		read_speed(l, line);
	}
}

void enginelog_feed(struct enginelog *l, struct span line)
{
	receipt_parser_feed(&l->receipt, line);
	obituary_parser_feed(&l->obituary, line);
	watch_slots(l, line);
	if (line.len >= ENGINELOG_TAIL_MAX_BYTES) {
		line.len = ENGINELOG_TAIL_MAX_BYTES - 1;
	}
	while (buf_room(&l->tail) < line.len + 1) {
		buf_consume(&l->tail, span_find_char(buf_span(&l->tail), '\n') + 1);
	}
	buf_add_span(&l->tail, line);
	buf_add_char(&l->tail, '\n');
}

struct span enginelog_tail(const struct enginelog *l, uint32_t count)
{
	struct span all = buf_span(&l->tail);
	size_t at = all.len;

	for (uint32_t i = 0; i < count && at > 0; i++) {
		at--;
		while (at > 0 && all.ptr[at - 1] != '\n') {
			at--;
		}
	}
	return span_from(all, at);
}
