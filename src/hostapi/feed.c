/* SPDX-License-Identifier: MIT */
#include "hostapi/feed.h"

#include <stdlib.h>

#include "base/mem.h"

struct reader {
	struct list link;
	struct feed *feed;
	struct sse_stream *sse;
	uint64_t seen;
	uint64_t dropped; /* log lines since the last one that was sent */
};

static const char *event_id(const struct wire_event *e)
{
	return e->type == EVENT_SERVER ? e->server.id : "";
}

/* State */

struct feed_entry *feed_find(const struct feed *f, enum wire_event_type type, const char *id)
{
	LIST_FOR_EACH (it, next, &f->entries) {
		struct feed_entry *entry = LIST_ITEM(it, struct feed_entry, link);

		if (entry->event.type == type && strcmp(event_id(&entry->event), id) == 0) {
			return entry;
		}
	}
	return NULL;
}

void feed_drop(struct feed_entry *entry)
{
	if (entry != NULL) {
		list_remove(&entry->link);
		free(entry);
	}
}

void feed_clear(struct feed *f)
{
	LIST_FOR_EACH (it, next, &f->entries) {
		feed_drop(LIST_ITEM(it, struct feed_entry, link));
	}
}

/* Readers */

/* 0, or ERR_FULL: on_drain comes later. */
static int send_event(struct reader *r, const struct wire_event *e)
{
	struct buf *text = &r->feed->scratch;

	buf_clear(text);
	if (wire_event_encode(e, text) != 0) {
		return 0; /* larger than a line may be: nobody could read it */
	}
	buf_truncate(text, text->len - 1); /* the newline */
	return sse_send(r->sse, event_name(e->type), buf_span(text));
}

/* What is new to a reader stands at the end. */
static void pump(struct reader *r)
{
	struct list *it = r->feed->entries.prev;

	while (it != &r->feed->entries &&
	       LIST_ITEM(it, struct feed_entry, link)->change > r->seen) {
		it = it->prev;
	}
	for (it = it->next; it != &r->feed->entries; it = it->next) {
		const struct feed_entry *entry = LIST_ITEM(it, struct feed_entry, link);

		if (send_event(r, &entry->event) != 0) {
			return;
		}
		r->seen = entry->change;
	}
}

static void forget(struct reader *r)
{
	list_remove(&r->link);
	r->feed->reader_count--;
	free(r);
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

int feed_add(struct feed *f, struct exchange *x, struct err *err)
{
	struct reader *r;

	if (f->reader_count >= FEED_READERS_MAX) {
		return err_set(err, ERR_RATE, "%d readers of events are connected already",
			       FEED_READERS_MAX);
	}
	r = mem_alloc(sizeof(*r));
	r->feed = f;
	r->sse = sse_start(f->loop, x, FEED_HEARTBEAT_MS, &sse_calls, r);
	list_init(&r->link);
	list_append(&f->readers, &r->link);
	f->reader_count++;
	pump(r);
	return 0;
}

void feed_put(struct feed *f, const struct wire_event *e)
{
	struct feed_entry *entry = feed_find(f, e->type, event_id(e));

	if (entry == NULL) {
		entry = mem_alloc(sizeof(*entry));
		list_init(&entry->link);
	}
	list_remove(&entry->link);
	entry->event = *e;
	entry->event.doc = NULL; /* what is kept owns nothing */
	entry->change = ++f->change;
	list_append(&f->entries, &entry->link);
	LIST_FOR_EACH (it, next, &f->readers) {
		pump(LIST_ITEM(it, struct reader, link));
	}
}

void feed_tell(struct feed *f, const struct wire_event *e)
{
	struct wire_event copy = *e;

	LIST_FOR_EACH (it, next, &f->readers) {
		struct reader *r = LIST_ITEM(it, struct reader, link);

		if (e->type == EVENT_LOG) {
			copy.log.dropped = e->log.dropped + r->dropped;
			r->dropped = send_event(r, &copy) == 0 ? 0 : r->dropped + 1;
		} else if (send_event(r, e) != 0 && e->type == EVENT_REMOVED) {
			sse_end(r->sse); /* it would never learn of it: let it begin again */
			forget(r);
		}
	}
}

void feed_init(struct feed *f, struct loop *loop)
{
	*f = (struct feed){ .loop = loop };
	list_init(&f->entries);
	list_init(&f->readers);
	buf_init(&f->scratch, WIRE_LINE_MAX_BYTES + 1);
}

void feed_finish(struct feed *f)
{
	LIST_FOR_EACH (it, next, &f->readers) {
		struct reader *r = LIST_ITEM(it, struct reader, link);

		sse_end(r->sse);
		forget(r);
	}
	feed_clear(f);
	buf_finish(&f->scratch);
}
