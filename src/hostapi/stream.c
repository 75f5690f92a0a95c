/* SPDX-License-Identifier: MIT */
#include "hostapi/stream.h"

#include <stdlib.h>

#include "base/mem.h"

struct stream {
	struct list link;
	struct streams *all;
	struct sse_stream *sse;
	uint64_t epoch; /* the one whose hello or bye was sent */
	uint64_t seen;	/* number of the last change of a server that was sent */
	uint64_t host_seen;
	uint64_t dropped; /* log lines since the last one that was sent */
	bool synced;
};

/* 0, or ERR_FULL: on_drain comes later. */
static int send_event(struct stream *st, const struct wire_event *e)
{
	struct buf *text = &st->all->scratch;

	buf_clear(text);
	if (wire_event_encode(e, text) != 0) {
		return 0; /* larger than a line may be: nobody could read it */
	}
	buf_truncate(text, text->len - 1); /* the newline */
	return sse_send(st->sse, event_name(e->type), buf_span(text));
}

/* The link came up or went down since this reader was last told. */
static int send_epoch(struct stream *st)
{
	struct streams *all = st->all;
	struct wire_event bye = { .type = EVENT_BYE, .bye = { .err = all->down } };
	int status = send_event(st, all->down.code == 0 ? &all->hello : &bye);

	if (status == 0) {
		st->epoch = all->epoch;
		st->seen = 0;
		st->host_seen = 0;
		st->synced = false;
	}
	return status;
}

static int send_host(struct stream *st)
{
	struct wire_event e = { .type = EVENT_HOST, .host = st->all->mirror.host };

	return send_event(st, &e);
}

static int send_servers(struct stream *st)
{
	const struct mirror *m = &st->all->mirror;
	const struct mirror_entry *entry = mirror_after(m, st->seen);
	struct wire_event *e = mem_alloc(sizeof(*e));
	int status = 0;

	e->type = EVENT_SERVER;
	while (status == 0 && entry != NULL) {
		e->server = entry->server;
		status = send_event(st, e);
		if (status == 0) {
			st->seen = entry->change;
			entry = mirror_next(m, entry);
		}
	}
	free(e);
	return status;
}

static void pump(struct stream *st)
{
	const struct streams *all = st->all;
	struct wire_event synced = { .type = EVENT_SYNCED };
	int status = st->epoch != all->epoch ? send_epoch(st) : 0;

	if (status != 0 || all->down.code != 0) {
		return;
	}
	if (all->mirror.host_change > st->host_seen) {
		status = send_host(st);
		st->host_seen = status == 0 ? all->mirror.host_change : st->host_seen;
	}
	if (status == 0) {
		status = send_servers(st);
	}
	if (status == 0 && all->synced && !st->synced) {
		st->synced = send_event(st, &synced) == 0;
	}
}

static void forget(struct stream *st)
{
	list_remove(&st->link);
	st->all->count--;
	free(st);
}

static void on_close(void *user)
{
	forget(user);
}

static void on_drain(void *user)
{
	pump(user);
}

static const struct sse_callbacks sse_calls = { .on_close = on_close, .on_drain = on_drain };

int streams_add(struct streams *s, struct exchange *x, struct err *err)
{
	struct stream *st;

	if (s->count >= STREAMS_MAX) {
		return err_set(err, ERR_RATE, "%d readers of events are connected already",
			       STREAMS_MAX);
	}
	st = mem_alloc(sizeof(*st));
	st->all = s;
	st->sse = sse_start(s->loop, x, STREAM_HEARTBEAT_MS, &sse_calls, st);
	list_init(&st->link);
	list_append(&s->items, &st->link);
	s->count++;
	pump(st);
	return 0;
}

void streams_pump(struct streams *s)
{
	LIST_FOR_EACH (it, next, &s->items) {
		pump(LIST_ITEM(it, struct stream, link));
	}
}

/* A reader that has not heard the hello yet, or is behind, has no use for it. */
void streams_tell(struct streams *s, const struct wire_event *e)
{
	struct wire_event copy = *e;

	LIST_FOR_EACH (it, next, &s->items) {
		struct stream *st = LIST_ITEM(it, struct stream, link);

		if (st->epoch != s->epoch) {
			continue;
		}
		if (e->type == EVENT_LOG) {
			copy.log.dropped = e->log.dropped + st->dropped;
			st->dropped = send_event(st, &copy) == 0 ? 0 : st->dropped + 1;
		} else if (send_event(st, e) != 0 && e->type == EVENT_REMOVED) {
			sse_end(st->sse); /* it would never learn of it: let it begin again */
			forget(st);
		}
	}
}

void streams_init(struct streams *s, struct loop *loop)
{
	*s = (struct streams){ .loop = loop,
			       .epoch = 1,
			       .hello = { .type = EVENT_HELLO,
					  .hello = { .version = WIRE_VERSION,
						     .version_min = WIRE_VERSION_MIN,
						     .restricted = true } } };
	mirror_init(&s->mirror);
	list_init(&s->items);
	buf_init(&s->scratch, WIRE_LINE_MAX_BYTES + 1);
}

void streams_finish(struct streams *s)
{
	LIST_FOR_EACH (it, next, &s->items) {
		struct stream *st = LIST_ITEM(it, struct stream, link);

		sse_end(st->sse);
		forget(st);
	}
	mirror_finish(&s->mirror);
	buf_finish(&s->scratch);
}
