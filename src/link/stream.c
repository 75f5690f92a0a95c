/* SPDX-License-Identifier: MIT */
#include "link/stream.h"

#include <stdlib.h>

#define STREAM_OUT_MAX_BYTES (4 * WIRE_LINE_MAX_BYTES)

void stream_init(struct stream *s, const char *controller, const char *who)
{
	s->hello = (struct wire_request){ .verb = VERB_HELLO,
					  .version = WIRE_VERSION,
					  .version_min = WIRE_VERSION_MIN };
	span_copy(span_of(controller), s->hello.controller, sizeof(s->hello.controller));
	span_copy(span_of(who), s->hello.who, sizeof(s->hello.who));
}

int stream_say(struct link *l, const struct wire_request *r)
{
	struct stream *s = CONTAINER_OF(l, struct stream, base);
	struct buf line;
	int status;

	buf_init(&line, WIRE_LINE_MAX_BYTES + 1);
	status = wire_request_encode(r, &line);
	status = status != 0 ? status : conn_write(s->out, buf_span(&line));
	buf_finish(&line);
	return status;
}

/* Login scripts print; the agent's first line may even stand behind a prompt on the same line. */
static void hear(struct stream *s, struct span line)
{
	size_t at = s->is_greeted ? 0 : span_find(line, "{\"type\":");
	struct wire_event *e;

	if (!s->is_greeted && at < line.len) {
		e = mem_alloc(sizeof(*e));
		if (wire_event_decode(span_from(line, at), e, NULL) == 0) {
			s->is_greeted = e->type == EVENT_HELLO || e->type == EVENT_BYE;
			wire_event_finish(e);
		}
		free(e);
	}
	if (s->is_greeted) {
		link_hear(&s->base, span_from(line, at));
	} else {
		s->noise_bytes += line.len + 1;
	}
}

static void on_data(void *user, struct span data)
{
	struct stream *s = user;
	struct err err = { 0 };
	struct span line;
	int status = lines_add(&s->lines, data);

	while (status == 0 && s->in != NULL && lines_next(&s->lines, &line)) {
		hear(s, line);
	}
	if (status != 0 || (!s->is_greeted && s->noise_bytes > WIRE_NOISE_MAX_BYTES)) {
		err_set(&err, ERR_PROTOCOL,
			"%s: what answers there is not ronzal: more than %d bytes "
			"of other output",
			s->base.peer, WIRE_NOISE_MAX_BYTES);
		link_lose(&s->base, &err);
	}
}

static void on_end(void *user, int status)
{
	struct stream *s = user;

	err_set(&s->ended, ERR_UNAVAILABLE, "%s closed the channel%s%s", s->base.peer,
		status != 0 ? ": " : "", status != 0 ? err_sentence(status) : "");
	if (s->on_end != NULL) {
		s->on_end(s);
	} else {
		link_lose(&s->base, &s->ended);
	}
}

static const struct conn_callbacks callbacks = { .on_data = on_data, .on_end = on_end };

void stream_open(struct stream *s, struct conn *in, struct conn *out)
{
	s->in = in;
	s->out = out;
	s->noise_bytes = 0;
	s->is_greeted = false;
	lines_init(&s->lines, WIRE_LINE_MAX_BYTES);
	conn_set_out_max(out, STREAM_OUT_MAX_BYTES);
	conn_start(in, &callbacks, s);
	stream_say(&s->base, &s->hello); /* one that fails also ends */
}

void stream_close(struct stream *s)
{
	if (s->out != s->in) {
		conn_close(s->out);
	}
	conn_close(s->in);
	s->in = NULL;
	s->out = NULL;
	lines_finish(&s->lines);
}
