/* SPDX-License-Identifier: MIT */
/*
 * A watch is a model whose log is followed because somebody reads it. The link does not say where
 * its tail ends, so a reader waits LOGS_SETTLE_MS after the following began before it is told any.
 */
#include "backend/logs.h"

#include <stdlib.h>

#include "base/mem.h"
#include "http/sse.h"
#include "io/timer.h"

#define LOG_EVENT_MAX_BYTES (2 * WIRE_LINE_MAX_BYTES)

struct watch {
	struct list link;
	struct list readers;
	char id[SERVER_ID_MAX_BYTES];
	uint64_t since_ms;
	struct buf tail; /* whole lines */
};

struct reader {
	struct list link;
	struct logs *logs;
	struct watch *watch;
	struct exchange *x; /* until it is settled */
	struct sse_stream *sse;
	uint32_t tail;
	bool follows;
	uint64_t dropped;
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
	LIST_FOR_EACH (it, next, &l->watches) {
		struct watch *w = LIST_ITEM(it, struct watch, link);

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

	LIST_FOR_EACH (it, next, &l->watches) {
		ids[count++] = LIST_ITEM(it, struct watch, link)->id;
	}
	fleet_follow_logs(l->fleet, ids, count, LOGS_TAIL_MAX_LINES);
}

static void forget_reader(struct reader *r)
{
	struct watch *w = r->watch;
	struct logs *l = r->logs;

	timer_stop(&r->settle);
	list_remove(&r->link);
	free(r);
	l->reader_count--;
	if (list_is_empty(&w->readers)) {
		list_remove(&w->link);
		buf_finish(&w->tail);
		free(w);
		follow(l);
	}
}

static void on_close(void *user)
{
	forget_reader(user);
}

/* Telling */

static int tell(struct reader *r, const char *type, struct span line)
{
	struct json_writer w;
	struct buf data;

	buf_init(&data, LOG_EVENT_MAX_BYTES);
	jsonw_init(&w, &data);
	jsonw_object(&w);
	if (line.ptr != NULL) {
		jsonw_member_span(&w, "line", line);
	} else if (r->dropped > 0) {
		jsonw_member_u64(&w, "dropped", r->dropped);
	}
	int status = jsonw_end_all(&w) == 0 ? sse_send(r->sse, type, buf_span(&data)) : 0;

	buf_finish(&data);
	return status;
}

static bool tell_lagged(struct reader *r)
{
	if (r->dropped > 0 && tell(r, "lagged", (struct span){ NULL, 0 }) == 0) {
		r->dropped = 0;
	}
	return r->dropped == 0;
}

static void tell_line(struct reader *r, struct span line, uint64_t dropped)
{
	r->dropped += dropped;
	if (!tell_lagged(r) || tell(r, "log", line) != 0) {
		r->dropped++;
	}
}

static void on_drain(void *user)
{
	tell_lagged(user);
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

static void on_settled(struct timer *t)
{
	static const struct sse_callbacks calls = { on_close, on_drain };
	static const struct reply plain = { .status = 200,
					    .content_type = "text/plain; charset=utf-8" };
	struct reader *r = CONTAINER_OF(t, struct reader, settle);
	struct span rest = buf_span(&r->watch->tail);
	struct exchange *x = r->x;

	rest = r->tail > 0 ? last_lines(rest, r->tail) : SPAN_LIT("");
	r->x = NULL;
	if (!r->follows) {
		exchange_reply(x, &plain, rest);
		forget_reader(r);
		return;
	}
	r->sse = sse_start(r->logs->loop, x, LOGS_HEARTBEAT_MS, &calls, r);
	while (rest.len > 0) {
		tell_line(r, span_split(&rest, '\n'), 0);
	}
	tell(r, "synced", (struct span){ NULL, 0 });
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
	struct logs *l = CONTAINER_OF(listener, struct logs, listener);
	struct watch *w = find_watch(l, id);

	if (w == NULL) {
		return;
	}
	keep(w, line);
	LIST_FOR_EACH (it, next, &w->readers) {
		struct reader *r = LIST_ITEM(it, struct reader, link);

		if (r->sse != NULL) {
			tell_line(r, line, dropped);
		}
	}
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

bool logs_is_full(const struct logs *l, struct err *err)
{
	return l->reader_count >= LOGS_READERS_MAX &&
	       err_set(err, ERR_RATE, "%d readers of logs are connected already",
		       LOGS_READERS_MAX) != 0;
}

static struct watch *add_watch(struct logs *l, const char *id)
{
	struct watch *w = mem_alloc(sizeof(*w));

	span_copy(span_of(id), w->id, sizeof(w->id));
	list_init(&w->readers);
	buf_init(&w->tail, LOGS_TAIL_MAX_BYTES);
	w->since_ms = loop_now_ms(l->loop);
	list_append(&l->watches, &w->link);
	follow(l);
	return w;
}

void logs_add(struct logs *l, struct exchange *x, const char *id, uint32_t tail, bool follow_it)
{
	static const struct exchange_callbacks calls = { .on_close = on_close };
	struct watch *w = find_watch(l, id);
	struct reader *r = mem_alloc(sizeof(*r));

	w = w != NULL ? w : add_watch(l, id);
	r->logs = l;
	r->watch = w;
	r->x = x;
	r->tail = tail;
	r->follows = follow_it;
	list_append(&w->readers, &r->link);
	l->reader_count++;
	exchange_watch(x, &calls, r);
	timer_init(&r->settle, l->loop, on_settled);
	timer_start_at(&r->settle, w->since_ms + LOGS_SETTLE_MS);
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

static void end_reader(struct reader *r)
{
	if (r->sse != NULL) {
		sse_end(r->sse);
	} else {
		exchange_abort(r->x);
	}
	forget_reader(r);
}

void logs_end(struct logs *l)
{
	while (!list_is_empty(&l->watches)) {
		struct watch *w = LIST_ITEM(l->watches.next, struct watch, link);

		end_reader(LIST_ITEM(w->readers.next, struct reader, link));
	}
}

void logs_close(struct logs *l)
{
	logs_end(l);
	list_remove(&l->listener.link);
	free(l);
}
