/* SPDX-License-Identifier: MIT */
#include "http/feed.h"

#include <stdlib.h>

#include "base/mem.h"
#include "http/sse.h"

struct json_writer *feed_begin(struct feed *f)
{
	buf_clear(&f->text);
	jsonw_init(&f->json, &f->text);
	return &f->json;
}

int feed_send(struct feed_reader *r, const char *type)
{
	struct feed *f = r->feed;
	int status = jsonw_end_all(&f->json);
	struct buf event;

	if (status != 0) {
		return 0;
	}
	buf_init(&event, exchange_room(r->x));
	status = sse_write(&event, type, buf_span(&f->text));
	if (status == 0) {
		status = exchange_send(r->x, buf_span(&event));
		timer_start(&r->heartbeat, f->kind->heartbeat_ms);
	}
	buf_finish(&event);
	return status;
}

static int tell_lagged(struct feed_reader *r)
{
	struct json_writer *w = feed_begin(r->feed);

	jsonw_object(w);
	jsonw_member_u64(w, "dropped", r->dropped);
	int status = feed_send(r, r->feed->kind->lagged);

	if (status == 0) {
		r->dropped = 0;
		r->is_whole = false;
		memset(&r->seen[1], 0, sizeof(r->seen) - sizeof(r->seen[0]));
	}
	return status;
}

/* What is new to a reader stands at the end. */
static int pump_rank(struct feed_reader *r, int rank)
{
	struct feed *f = r->feed;
	struct list *topics = &f->ranks[rank], *it = topics->prev;
	int status = 0;

	while (it != topics && LIST_ITEM(it, struct topic, link)->change > r->seen[rank]) {
		it = it->prev;
	}
	for (it = it->next; it != topics && status == 0; it = it->next) {
		struct topic *t = LIST_ITEM(it, struct topic, link);

		status = feed_send(r, f->kind->write(f, t, feed_begin(f)));
		r->seen[rank] = status == 0 ? t->change : r->seen[rank];
	}
	return status;
}

/* Goes on with what the reader has not seen. */
static void pump(struct feed_reader *r)
{
	bool has_lagged = r->dropped > 0 && r->feed->kind->lagged != NULL;
	int status = has_lagged ? tell_lagged(r) : 0;

	for (int rank = 0; rank < FEED_RANKS && status == 0; rank++) {
		status = pump_rank(r, rank);
	}
	r->is_whole = r->is_whole || status == 0;
}

void feed_put(struct feed *f, int rank, struct topic *t)
{
	feed_drop(t);
	t->rank = rank;
	t->change = ++f->change;
	list_append(&f->ranks[rank], &t->link);
	LIST_EACH (struct feed_reader, r, link, &f->readers) {
		pump(r);
	}
}

void feed_drop(struct topic *t)
{
	if (t->link.next != NULL) {
		list_remove(&t->link);
	}
}

void feed_tell_one(struct feed_reader *r, const char *type, bool changes_picture)
{
	if (!r->is_whole ? changes_picture : r->dropped > 0 || feed_send(r, type) != 0) {
		r->dropped++;
	}
}

void feed_tell(struct feed *f, const char *type, bool changes_picture)
{
	LIST_EACH (struct feed_reader, r, link, &f->readers) {
		feed_tell_one(r, type, changes_picture);
	}
}

void feed_miss(struct feed *f, uint64_t count)
{
	LIST_EACH (struct feed_reader, r, link, &f->readers) {
		r->dropped += count;
		pump(r);
	}
}

/* Readers */

static void on_close(void *user)
{
	struct feed_reader *r = user;
	struct feed *f = r->feed;

	timer_stop(&r->heartbeat);
	list_remove(&r->link);
	f->reader_count--;
	free(r);
	if (f->kind->on_leave != NULL) {
		f->kind->on_leave(f);
	}
}

static void on_drain(void *user)
{
	pump(user);
}

static void on_heartbeat(struct timer *t)
{
	struct feed_reader *r = CONTAINER_OF(t, struct feed_reader, heartbeat);

	if (exchange_kept(r->x) == 0) {
		exchange_send(r->x, SPAN_LIT(":\n\n"));
	}
	timer_start(t, r->feed->kind->heartbeat_ms);
}

struct feed_reader *feed_add(struct feed *f, struct exchange *x, struct err *err)
{
	static const struct exchange_callbacks calls = { on_close, on_drain };
	static const struct h1_field fields[] = {
		{ SPAN_INIT("Cache-Control"), SPAN_INIT("no-cache") },
		{ SPAN_INIT("X-Accel-Buffering"), SPAN_INIT("no") },
	};
	static const struct reply reply = { 200, "text/event-stream", fields, ARRAY_LEN(fields) };

	if (f->kind->readers_max > 0 && f->reader_count >= f->kind->readers_max) {
		err_set(err, ERR_RATE, "%zu readers of %s are connected already", f->reader_count,
			f->kind->of);
		return NULL;
	}
	struct feed_reader *r = mem_alloc(sizeof(*r));

	r->feed = f;
	r->x = x;
	exchange_watch(x, &calls, r);
	exchange_begin(x, &reply, -1);
	exchange_flush(x);
	timer_init(&r->heartbeat, f->loop, on_heartbeat);
	timer_start(&r->heartbeat, f->kind->heartbeat_ms);
	list_append(&f->readers, &r->link);
	f->reader_count++;
	pump(r);
	return r;
}

void feed_hang_up(struct feed_reader *r)
{
	if (exchange_end(r->x, SPAN_LIT("")) == ERR_FULL) {
		exchange_abort(r->x);
	}
	on_close(r);
}

/* Life */

void feed_init(struct feed *f, struct loop *loop, const struct feed_kind *kind)
{
	*f = (struct feed){ .loop = loop, .kind = kind };
	for (int rank = 0; rank < FEED_RANKS; rank++) {
		list_init(&f->ranks[rank]);
	}
	list_init(&f->readers);
	buf_init(&f->text, kind->event_max_bytes);
}

void feed_end(struct feed *f)
{
	for (size_t left = f->reader_count; left > 0; left--) { /* the last one may take f along */
		feed_hang_up(LIST_ITEM(f->readers.next, struct feed_reader, link));
	}
}

void feed_finish(struct feed *f)
{
	feed_end(f);
	for (int rank = 0; rank < FEED_RANKS; rank++) {
		LIST_EACH (struct topic, t, link, &f->ranks[rank]) {
			list_remove(&t->link);
		}
	}
	buf_finish(&f->text);
}
