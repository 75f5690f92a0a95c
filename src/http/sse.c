/* SPDX-License-Identifier: MIT */
/*
 * The parser works on lines. A line that ends in the piece at hand is looked at in place; only one
 * that is cut is gathered. An event's type and its first data line stay in place too, as long as
 * the event ends in the same piece; they are kept when another line or the piece's end comes.
 * Between events nothing is kept.
 */
#include "http/sse.h"

#include <stdlib.h>

#include "base/mem.h"

#define LINE_EXTRA_BYTES (SSE_TYPE_MAX_BYTES + 16) /* a cut line may exceed an event by so much */

struct sse_kept {
	struct buf line; /* an unfinished one */
	struct buf data; /* data lines of the event at hand */
	struct buf type;
};

void sse_parser_init(struct sse_parser *p, size_t max_bytes,
		     void (*on_event)(void *user, const struct sse_event *event), void *user)
{
	*p = (struct sse_parser){ .max_bytes = max_bytes, .on_event = on_event, .user = user };
}

static struct sse_kept *kept(struct sse_parser *p)
{
	if (p->kept == NULL) {
		p->kept = mem_alloc(sizeof(*p->kept));
		buf_init(&p->kept->line, p->max_bytes + LINE_EXTRA_BYTES);
		buf_init(&p->kept->data, p->max_bytes);
		buf_init(&p->kept->type, SSE_TYPE_MAX_BYTES);
	}
	return p->kept;
}

void sse_parser_finish(struct sse_parser *p)
{
	if (p != NULL && p->kept != NULL) {
		buf_finish(&p->kept->line);
		buf_finish(&p->kept->data);
		buf_finish(&p->kept->type);
		free(p->kept);
		p->kept = NULL;
	}
}

/* Puts a span of the piece at hand into `to`, unless it lies there already. 0 or ERR_FULL. */
static int keep(struct span *s, struct buf *to)
{
	int status = 0;

	if (s->len > 0 && s->ptr != to->data) {
		buf_clear(to);
		status = buf_add_span(to, *s);
		*s = buf_span(to);
	}
	return status;
}

/* The piece is about to go. */
static void keep_event(struct sse_parser *p)
{
	if (p->type.len > 0) {
		keep(&p->type, &kept(p)->type);
	}
	if (p->data.len > 0 && keep(&p->data, &kept(p)->data) != 0) {
		p->is_skipping = true;
	}
}

static void end_event(struct sse_parser *p)
{
	struct sse_event event = { p->type.len > 0 ? p->type : SPAN_LIT("message"), p->data };

	if (p->is_skipping) {
		p->skipped++;
	} else if (p->has_data) {
		p->on_event(p->user, &event);
	}
	sse_parser_finish(p);
	p->type = p->data = (struct span){ NULL, 0 };
	p->has_data = false;
	p->is_skipping = false;
}

static void skip_event(struct sse_parser *p)
{
	p->is_skipping = true;
	p->data = (struct span){ NULL, 0 };
	if (p->kept != NULL) {
		buf_finish(&p->kept->data);
	}
}

static void add_data(struct sse_parser *p, struct span value)
{
	if (!p->has_data) {
		p->has_data = true;
		p->data = value;
		if (value.len > p->max_bytes) {
			skip_event(p);
		}
		return;
	}
	if (p->is_skipping) {
		return;
	}
	struct buf *data = &kept(p)->data;

	if (keep(&p->data, data) != 0 || buf_add_char(data, '\n') != 0 ||
	    buf_add_span(data, value) != 0) {
		skip_event(p);
	} else {
		p->data = buf_span(data);
	}
}

static void take_line(struct sse_parser *p, struct span line)
{
	struct span value = line;

	if (!p->is_begun) {
		p->is_begun = true;
		line = span_has_prefix(line, "\xef\xbb\xbf") ? span_from(line, 3) : line;
		value = line;
	}
	if (line.len == 0) {
		end_event(p);
		return;
	}
	struct span name = span_split(&value, ':');

	if (value.ptr == NULL) {
		value = SPAN_LIT("");
	} else if (value.len > 0 && value.ptr[0] == ' ') {
		value = span_from(value, 1);
	}
	if (span_is(name, "data")) {
		add_data(p, value);
	} else if (span_is(name, "event")) {
		p->type = value.len <= SSE_TYPE_MAX_BYTES ? value : SPAN_LIT("");
	}
}

/*
 * A line that was cut: what is there is kept until its end comes. What exceeds the room is left
 * out: then the line is too long for data and for a type alike, and treated so.
 */
static void gather(struct sse_parser *p, struct span part)
{
	struct buf *line = &kept(p)->line;

	buf_add(line, part.ptr, part.len < buf_room(line) ? part.len : buf_room(line));
}

static void end_line(struct sse_parser *p, struct span part)
{
	if (p->kept == NULL || p->kept->line.len == 0) {
		take_line(p, part);
		return;
	}
	gather(p, part);

	struct buf line = p->kept->line;

	buf_init(&p->kept->line, line.max_bytes);
	take_line(p, buf_span(&line));
	keep_event(p); /* it lies in `line` */
	buf_finish(&line);
}

static size_t line_len(struct span s)
{
	size_t lf = span_find_char(s, '\n');

	return span_find_char((struct span){ s.ptr, lf }, '\r');
}

void sse_parse(struct sse_parser *p, struct span more)
{
	while (more.len > 0) {
		if (p->after_cr && more.ptr[0] == '\n') {
			p->after_cr = false;
			more = span_from(more, 1);
			continue;
		}
		p->after_cr = false;
		struct span part = { more.ptr, line_len(more) };

		if (part.len == more.len) {
			gather(p, part);
			break;
		}
		p->after_cr = more.ptr[part.len] == '\r';
		more = span_from(more, part.len + 1);
		end_line(p, part);
	}
	keep_event(p);
}

int sse_write(struct buf *out, const char *type, struct span data)
{
	size_t before = out->len;
	int status = 0;

	if (type != NULL) {
		status = buf_printf(out, "event: %s\n", type);
	}
	while (status == 0 && data.ptr != NULL) {
		struct span line = span_split(&data, '\n');

		status = buf_printf(out, "data: %.*s\n", SPAN_ARG(line));
	}
	status = status != 0 ? status : buf_add_char(out, '\n');
	if (status != 0) {
		buf_truncate(out, before);
	}
	return status;
}
