/* SPDX-License-Identifier: MIT */
#include "host/enginelog.h"

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
	l->is_working = false;
}

void enginelog_feed(struct enginelog *l, struct span line)
{
	receipt_parser_feed(&l->receipt, line);
	obituary_parser_feed(&l->obituary, line);
	if (span_find(line, "| processing task") < line.len) {
		l->is_working = true;
	} else if (span_find(line, "all slots are idle") < line.len) {
		l->is_working = false;
	}
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
