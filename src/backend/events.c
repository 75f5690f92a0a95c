/* SPDX-License-Identifier: MIT */
#include "backend/events.h"

#include <stdlib.h>

#include "backend/pulls.h"
#include "backend/show.h"
#include "backend/usage.h"
#include "base/digest.h"
#include "base/mem.h"

#define EVENT_MAX_BYTES 65536
#define TRAFFIC_MS 1000

/* What a reader is told first, in this order. */
enum { RANK_HELLO, RANK_HOST, RANK_PULLS, RANK_SERVERS, RANK_REQUESTS, RANK_SYNCED };

struct shown {
	struct topic topic;
	struct account account; /* id 0: none */
};

struct events {
	const struct backend *backend;
	char instance[SECRET_TEXT_BYTES];
	struct fleet_listener listener;
	struct feed feed;
	struct topic hello, host, pulls, synced;
	struct shown *requests; /* EVENTS_REQUESTS_MAX, by id */
	size_t request_count;	/* of them that are shown */
	uint32_t new_requests;	/* in this second */
	struct timer traffic, host_timer;
	uint64_t host_told_ms;
};

static struct events *events_of(struct fleet_listener *l)
{
	return CONTAINER_OF(l, struct events, listener);
}

/* State */

static const char *write_topic(struct feed *f, struct topic *t, struct json_writer *w)
{
	const struct events *e = CONTAINER_OF(f, struct events, feed);

	switch (t->rank) {
	case RANK_HELLO:
		jsonw_object(w);
		jsonw_member_text(w, "version", e->backend->options.version);
		jsonw_member_text(w, "instance", e->instance);
		return "hello";
	case RANK_HOST:
		show_host(w, e->backend);
		return "host";
	case RANK_PULLS:
		pulls_write(e->backend->pulls, w);
		return "pulls";
	case RANK_SERVERS:
		show_server(w, CONTAINER_OF(t, struct fleet_model, topic));
		return "server";
	case RANK_REQUESTS:
		account_write(w, &CONTAINER_OF(t, struct shown, topic)->account);
		return "request";
	default:
		jsonw_object(w);
		return "synced";
	}
}

static void on_model(struct fleet_listener *l, struct fleet_model *m)
{
	feed_put(&events_of(l)->feed, RANK_SERVERS, &m->topic);
}

void events_pulls(struct events *e)
{
	feed_put(&e->feed, RANK_PULLS, &e->pulls);
}

static void tell_of_host(struct events *e)
{
	e->host_told_ms = loop_now_ms(e->backend->loop);
	feed_put(&e->feed, RANK_HOST, &e->host);
}

static void on_host_due(struct timer *t)
{
	tell_of_host(CONTAINER_OF(t, struct events, host_timer));
}

/* The first change is told at once, those right behind it later and once. */
static void on_host(struct fleet_listener *l)
{
	struct events *e = events_of(l);
	uint64_t due_ms = e->host_told_ms + EVENTS_HOST_MS;

	if (fleet_state(e->backend->fleet).link != FLEET_UP ||
	    loop_now_ms(e->backend->loop) >= due_ms) {
		tell_of_host(e);
	} else if (!timer_is_on(&e->host_timer)) {
		timer_start_at(&e->host_timer, due_ms);
	}
}

/* What is no state, from the fleet */

static void on_removed(struct fleet_listener *l, const char *id)
{
	struct json_writer *w = feed_begin(&events_of(l)->feed);

	jsonw_object(w);
	jsonw_member_text(w, "id", id);
	feed_tell(&events_of(l)->feed, "removed", true);
}

static void on_progress(struct fleet_listener *l, const char *id, float fraction, int32_t eta_ms)
{
	struct json_writer *w = feed_begin(&events_of(l)->feed);

	jsonw_object(w);
	jsonw_member_text(w, "id", id);
	jsonw_member_double(w, "progress", (double)fraction, 3);
	jsonw_member_i64(w, "eta_ms", eta_ms);
	feed_tell(&events_of(l)->feed, "progress", false);
}

static void on_registry(struct fleet_listener *l)
{
	jsonw_object(feed_begin(&events_of(l)->feed));
	feed_tell(&events_of(l)->feed, "registry", false);
}

/* From the gateway */

static void write_traffic(struct json_writer *w, const struct fleet_model *m)
{
	jsonw_object(w);
	jsonw_member_text(w, "id", m->server.id);
	jsonw_member_double(w, "tokens_per_second", m->tokens, 1);
	jsonw_member_i64(w, "active_requests", m->active);
	jsonw_member_i64(w, "queued_requests", m->queued);
	jsonw_end(w);
}

/* A model is told of once more after it went idle. */
static void on_traffic(struct timer *timer)
{
	struct events *e = CONTAINER_OF(timer, struct events, traffic);
	struct json_writer *w = feed_begin(&e->feed);
	size_t told = 0;

	e->new_requests = 0;
	jsonw_object(w);
	jsonw_member_i64(w, "at_unix_ms", loop_unix_ms());
	jsonw_member_array(w, "models");
	FLEET_EACH (m, e->backend->fleet) {
		bool is_busy = m->active + m->queued > 0 || m->tokens > 0;

		if (is_busy || m->was_busy) {
			write_traffic(w, m);
			told++;
		}
		m->was_busy = is_busy;
		m->tokens = 0;
	}
	if (told > 0 && e->feed.reader_count > 0) {
		feed_tell(&e->feed, "traffic", false);
		timer_start(timer, TRAFFIC_MS);
	}
}

static void note_traffic(struct events *e)
{
	if (!timer_is_on(&e->traffic)) {
		timer_start(&e->traffic, TRAFFIC_MS);
	}
}

static void add_tokens(struct events *e, const char *id, double tokens)
{
	FLEET_EACH (m, e->backend->fleet) {
		if (strcmp(m->server.id, id) == 0) {
			m->tokens += tokens;
			return;
		}
	}
}

void events_gap(struct events *e, const char *model)
{
	if (e->feed.reader_count > 0) {
		add_tokens(e, model, 1);
	}
}

/* Tokens that an answer which came in one piece was given in its last second. */
static double last_second(const struct account *a)
{
	double tokens = a->generated_tokens > 0 ? (double)a->generated_tokens : 0;

	return a->tokens_per_second > 0 && a->tokens_per_second < tokens ? a->tokens_per_second
									 : tokens;
}

void events_account(struct events *e, const struct account *a)
{
	struct shown *s = &e->requests[a->id % EVENTS_REQUESTS_MAX];
	bool is_read = e->feed.reader_count > 0, is_done = a->phase == ACCOUNT_DONE;
	bool is_shown = e->request_count > 0 && s->account.id == a->id;

	if (is_shown && is_done) {
		feed_drop(&s->topic);
		s->account.id = 0;
		e->request_count--;
	}
	if (!is_read) {
		return;
	}
	note_traffic(e);
	if (!is_shown) {
		if (s->account.id != 0 || e->new_requests >= EVENTS_REQUESTS_PER_S) {
			return;
		}
		e->new_requests++;
	}
	if (!is_done) {
		e->request_count += !is_shown;
		s->account = *a;
		feed_put(&e->feed, RANK_REQUESTS, &s->topic);
		return;
	}
	if (!a->stream) {
		add_tokens(e, a->model, last_second(a));
	}
	account_write(feed_begin(&e->feed), a);
	feed_tell(&e->feed, "request", true);
}

/* Life */

int events_add(struct events *e, struct exchange *x, struct err *err)
{
	if (feed_add(&e->feed, x, err) == NULL) {
		return err->code;
	}
	note_traffic(e);
	return 0;
}

struct events *events_create(const struct backend *b)
{
	static const struct feed_kind kind = { .of = "events",
					       .readers_max = EVENTS_READERS_MAX,
					       .heartbeat_ms = EVENTS_HEARTBEAT_MS,
					       .event_max_bytes = EVENT_MAX_BYTES,
					       .lagged = "lagged",
					       .write = write_topic };
	struct events *e = mem_alloc(sizeof(*e));

	e->backend = b;
	e->requests = mem_alloc(EVENTS_REQUESTS_MAX * sizeof(*e->requests));
	secret_make(e->instance);
	timer_init(&e->traffic, b->loop, on_traffic);
	timer_init(&e->host_timer, b->loop, on_host_due);
	feed_init(&e->feed, b->loop, &kind);
	feed_put(&e->feed, RANK_HELLO, &e->hello);
	feed_put(&e->feed, RANK_HOST, &e->host);
	feed_put(&e->feed, RANK_PULLS, &e->pulls);
	FLEET_EACH (m, b->fleet) {
		feed_put(&e->feed, RANK_SERVERS, &m->topic);
	}
	feed_put(&e->feed, RANK_SYNCED, &e->synced);
	e->listener = (struct fleet_listener){ .on_model = on_model,
					       .on_removed = on_removed,
					       .on_progress = on_progress,
					       .on_registry = on_registry,
					       .on_host = on_host };
	fleet_listen(b->fleet, &e->listener);
	return e;
}

void events_end(struct events *e)
{
	if (e != NULL) {
		feed_end(&e->feed);
	}
}

void events_close(struct events *e)
{
	if (e == NULL) {
		return;
	}
	feed_finish(&e->feed);
	timer_stop(&e->traffic);
	timer_stop(&e->host_timer);
	list_remove(&e->listener.link);
	free(e->requests);
	free(e);
}
