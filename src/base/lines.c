/* SPDX-License-Identifier: MIT */
#include "base/lines.h"

#include "base/err.h"

void lines_init(struct lines *l, size_t line_max_bytes)
{
	*l = (struct lines){ .line_max_bytes = line_max_bytes };
	buf_init(&l->buf, line_max_bytes + LINES_PIECE_MAX_BYTES);
}

void lines_finish(struct lines *l)
{
	buf_finish(&l->buf);
}

int lines_add(struct lines *l, struct span piece)
{
	return l->buf.len >= l->line_max_bytes ? ERR_FULL : buf_add_span(&l->buf, piece);
}

bool lines_next(struct lines *l, struct span *ret_line)
{
	struct span rest;
	size_t end;

	buf_consume(&l->buf, l->taken);
	l->taken = 0;
	rest = span_from(buf_span(&l->buf), l->scanned);
	end = span_find_char(rest, '\n');
	if (end == rest.len) {
		l->scanned = l->buf.len;
		if (l->buf.len == 0) {
			buf_finish(&l->buf);
		}
		return false;
	}
	*ret_line = (struct span){ l->buf.data, l->scanned + end };
	l->taken = ret_line->len + 1;
	l->scanned = 0;
	return true;
}
