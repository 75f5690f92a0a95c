/* SPDX-License-Identifier: MIT */
/*
 * A watch is a model whose log is followed because somebody reads it. The link does not say where
 * its tail ends, so a reader waits LOGS_SETTLE_MS after the following began before it is told any.
 */
#include "backend/logs.h"

#include <stdlib.h>

#include "base/mem.h"
#include "http/feed.h"

#define LOG_EVENT_MAX_BYTES (2 * WIRE_LINE_MAX_BYTES)

struct watch {
	struct list link;
	struct logs *logs;
	struct feed feed;    /* to readers that follow it */
	struct list waiting; /* readers that wait for the tail */
	char id[SERVER_ID_MAX_BYTES];
	uint64_t since_ms;
	struct buf tail; /* whole lines */
};

struct waiting {
	struct list link;
	struct watch *watch;
	struct exchange *x;
	uint32_t tail;
	bool follows;
	struct timer settle;
};

struct logs {
	struct loop *loop;
	struct fleet *fleet;
	struct fleet_listener listener;
	struct list watches;
	size_t reader_count;
	bool was_fallback;
};

static struct watch *find_watch(const struct logs *l, const char *id)
{
	LIST_EACH (struct watch, w, link, &l->watches) {
		if (strcmp(w->id, id) == 0) {
			return w;
		}
	}
	return NULL;
}

static void follow(struct logs *l)
{
	const char *ids[LOGS_READERS_MAX];
	size_t count = 0;

	LIST_EACH (struct watch, w, link, &l->watches) {
		ids[count++] = w->id;
	}
	fleet_follow_logs(l->fleet, ids, count, LOGS_TAIL_MAX_LINES);
}

/* A reader is gone; the last one takes the watch along. */
static void leave(struct watch *w)
{
	struct logs *l = w->logs;

	l->reader_count--;
	if (list_is_empty(&w->waiting) && w->feed.reader_count == 0) {
		list_remove(&w->link);
		feed_finish(&w->feed);
		buf_finish(&w->tail);
		free(w);
		follow(l);
	}
}

static void on_leave(struct feed *f)
{
	leave(CONTAINER_OF(f, struct watch, feed));
}

static void free_waiting(struct waiting *r)
{
	timer_stop(&r->settle);
	list_remove(&r->link);
	free(r);
}

static void on_close(void *user)
{
	struct waiting *r = user;
	struct watch *w = r->watch;

	free_waiting(r);
	leave(w);
}

/* Telling */

static void begin_line(struct watch *w, struct span line)
{
	struct json_writer *json = feed_begin(&w->feed);

	jsonw_object(json);
	jsonw_member_span(json, "line", line);
}

/* The last `count` lines of text. */
static struct span last_lines(struct span text, uint32_t count)
{
	size_t at = text.len;

	for (; at > 0; at--) {
		if (text.ptr[at - 1] == '\n' && at < text.len && --count == 0) {
			break;
		}
	}
	return span_from(text, at);
}

/* It has the tail now: `lines` of it, then what comes. */
static void begin_following(struct watch *w, struct exchange *x, struct span lines)
{
	struct feed_reader *r = feed_add(&w->feed, x, NULL);

	while (lines.len > 0) {
		begin_line(w, span_split(&lines, '\n'));
		feed_tell_one(r, "log", false);
	}
	jsonw_object(feed_begin(&w->feed));
	feed_send(r, "synced");
}

static void on_settled(struct timer *t)
{
	static const struct reply plain = { .status = 200,
					    .content_type = "text/plain; charset=utf-8" };
	struct waiting r = *CONTAINER_OF(t, struct waiting, settle);
	struct span tail = buf_span(&r.watch->tail);

	tail = r.tail > 0 ? last_lines(tail, r.tail) : SPAN_LIT("");
	free_waiting(CONTAINER_OF(t, struct waiting, settle));
	if (r.follows) {
		begin_following(r.watch, r.x, tail);
	} else {
		exchange_reply(r.x, &plain, tail);
		leave(r.watch);
	}
}

/* From the fleet */

static void keep(struct watch *w, struct span line)
{
	if (line.len >= LOGS_TAIL_MAX_BYTES) {
		line.len = LOGS_TAIL_MAX_BYTES - 1;
	}
	while (buf_room(&w->tail) < line.len + 1) {
		buf_consume(&w->tail, span_find_char(buf_span(&w->tail), '\n') + 1);
	}
	buf_add_span(&w->tail, line);
	buf_add_char(&w->tail, '\n');
}

static void on_log(struct fleet_listener *listener, const char *id, struct span line,
		   uint64_t dropped)
{
	struct watch *w = find_watch(CONTAINER_OF(listener, struct logs, listener), id);

	if (w == NULL) {
		return;
	}
	keep(w, line);
	feed_miss(&w->feed, dropped);
	begin_line(w, line);
	feed_tell(&w->feed, "log", false);
}

/* Another link routes: its logs are the ones to follow. */
static void on_host(struct fleet_listener *listener)
{
	struct logs *l = CONTAINER_OF(listener, struct logs, listener);
	bool is_fallback = fleet_state(l->fleet).is_fallback;

	if (is_fallback != l->was_fallback && l->reader_count > 0) {
		follow(l);
	}
	l->was_fallback = is_fallback;
}

/* Readers */

static struct watch *add_watch(struct logs *l, const char *id)
{
	static const struct feed_kind kind = { .heartbeat_ms = LOGS_HEARTBEAT_MS,
					       .event_max_bytes = LOG_EVENT_MAX_BYTES,
					       .lagged = "lagged",
					       .on_leave = on_leave };
	struct watch *w = mem_alloc(sizeof(*w));

	w->logs = l;
	span_copy(span_of(id), w->id, sizeof(w->id));
	feed_init(&w->feed, l->loop, &kind);
	list_init(&w->waiting);
	buf_init(&w->tail, LOGS_TAIL_MAX_BYTES);
	w->since_ms = loop_now_ms(l->loop);
	list_append(&l->watches, &w->link);
	follow(l);
	return w;
}

int logs_add(struct logs *l, struct exchange *x, const char *id, uint32_t tail, bool follow_it,
	     struct err *err)
{
	static const struct exchange_callbacks calls = { .on_close = on_close };
	struct watch *w = find_watch(l, id);

	if (l->reader_count >= LOGS_READERS_MAX) {
		return err_set(err, ERR_RATE, "%d readers of logs are connected already",
			       LOGS_READERS_MAX);
	}
	struct waiting *r = mem_alloc(sizeof(*r));

	*r = (struct waiting){ .watch = w != NULL ? w : add_watch(l, id),
			       .x = x,
			       .tail = tail,
			       .follows = follow_it };
	list_append(&r->watch->waiting, &r->link);
	l->reader_count++;
	exchange_watch(x, &calls, r);
	timer_init(&r->settle, l->loop, on_settled);
	timer_start_at(&r->settle, r->watch->since_ms + LOGS_SETTLE_MS);
	return 0;
}

/* Life */

struct logs *logs_create(struct loop *loop, struct fleet *fleet)
{
	struct logs *l = mem_alloc(sizeof(*l));

	l->loop = loop;
	l->fleet = fleet;
	list_init(&l->watches);
	l->listener = (struct fleet_listener){ .on_log = on_log, .on_host = on_host };
	fleet_listen(fleet, &l->listener);
	return l;
}

void logs_end(struct logs *l)
{
	while (!list_is_empty(&l->watches)) {
		struct watch *w = LIST_ITEM(l->watches.next, struct watch, link);

		if (list_is_empty(&w->waiting)) {
			feed_end(&w->feed);
		} else {
			struct waiting *r = LIST_ITEM(w->waiting.next, struct waiting, link);

			exchange_abort(r->x);
			on_close(r);
		}
	}
}

void logs_close(struct logs *l)
{
	logs_end(l);
	list_remove(&l->listener.link);
	free(l);
}
