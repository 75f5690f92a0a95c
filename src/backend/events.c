/* SPDX-License-Identifier: MIT */
/*
 * Changes of models are numbered. A reader has seen all up to a number: what comes behind it is
 * what it has to be told (pump), however often it changed in between.
 */
#include "backend/events.h"

#include <stdlib.h>

#include "backend/pulls.h"
#include "backend/show.h"
#include "backend/usage.h"
#include "base/digest.h"
#include "base/mem.h"
#include "http/sse.h"

#define EVENT_MAX_BYTES 65536
#define TRAFFIC_MS 1000

struct reader {
	struct list link;
	struct events *events;
	struct sse_stream *sse;
	bool is_greeted, is_synced;
	uint64_t seen, host_seen, pulls_seen;
	size_t shown; /* requests in flight, told of the full picture */
	uint64_t dropped;
};

struct events {
	const struct backend *backend;
	struct loop *loop;
	struct fleet *fleet;
	char instance[SECRET_TEXT_BYTES];
	struct fleet_listener listener;
	struct list readers;
	size_t reader_count;
	uint64_t host_change, pulls_change;
	struct timer traffic, host_timer;
	uint64_t host_told_ms;
	struct account *requests; /* EVENTS_REQUESTS_MAX, by id; NULL: nobody ever read */
	uint32_t new_requests;	  /* in this second */
	struct buf scratch;
	struct json_writer w;
};

static struct json_writer *write_event(struct events *e)
{
	buf_clear(&e->scratch);
	jsonw_init(&e->w, &e->scratch);
	return &e->w;
}

/* What was written, to one reader: 0 or ERR_FULL. */
static int tell(struct reader *r, const char *type)
{
	struct events *e = r->events;

	return jsonw_end_all(&e->w) == 0 ? sse_send(r->sse, type, buf_span(&e->scratch)) : 0;
}

/*
 * What was written and is no state: a reader that has no room misses it. One whose full picture is
 * under way needs it only when that may have passed what it speaks of.
 */
static void tell_all(struct events *e, const char *type, bool changes_picture)
{
	LIST_FOR_EACH (it, next, &e->readers) {
		struct reader *r = LIST_ITEM(it, struct reader, link);

		if (!r->is_synced ? changes_picture : r->dropped > 0 || tell(r, type) != 0) {
			r->dropped++;
		}
	}
}

/* One reader's full picture, and what has changed since */

static int tell_hello(struct reader *r)
{
	struct json_writer *w = write_event(r->events);

	jsonw_object(w);
	jsonw_member_text(w, "version", r->events->backend->options.version);
	jsonw_member_text(w, "instance", r->events->instance);
	r->is_greeted = tell(r, "hello") == 0;
	return r->is_greeted ? 0 : ERR_FULL;
}

static int tell_lagged(struct reader *r)
{
	struct json_writer *w = write_event(r->events);

	jsonw_object(w);
	jsonw_member_u64(w, "dropped", r->dropped);
	int status = tell(r, "lagged");

	if (status == 0) {
		r->dropped = 0;
		r->seen = r->host_seen = r->pulls_seen = r->shown = 0;
		r->is_synced = false;
	}
	return status;
}

static int tell_host(struct reader *r)
{
	struct events *e = r->events;

	show_host(write_event(e), e->backend);
	int status = tell(r, "host");

	r->host_seen = status == 0 ? e->host_change : r->host_seen;
	return status;
}

static int tell_pulls(struct reader *r)
{
	struct events *e = r->events;

	pulls_write(e->backend->pulls, write_event(e));
	int status = tell(r, "pulls");

	r->pulls_seen = status == 0 ? e->pulls_change : r->pulls_seen;
	return status;
}

/* The model with the first change behind `seen`; NULL: all is seen. */
static const struct fleet_model *next_change(const struct events *e, uint64_t seen)
{
	const struct fleet_model *first = NULL;

	LIST_FOR_EACH (it, next, fleet_models(e->fleet)) {
		const struct fleet_model *m = LIST_ITEM(it, struct fleet_model, link);

		if (m->change > seen && (first == NULL || m->change < first->change)) {
			first = m;
		}
	}
	return first;
}

static int tell_servers(struct reader *r)
{
	struct events *e = r->events;
	const struct fleet_model *m;
	int status = 0;

	while (status == 0 && (m = next_change(e, r->seen)) != NULL) {
		show_server(write_event(e), m);
		status = tell(r, "server");
		r->seen = status == 0 ? m->change : r->seen;
	}
	return status;
}

static int tell_requests(struct reader *r)
{
	struct events *e = r->events;
	int status = 0;

	for (; status == 0 && r->shown < EVENTS_REQUESTS_MAX; r->shown += status == 0) {
		if (e->requests[r->shown].id != 0) {
			account_write(write_event(e), &e->requests[r->shown]);
			status = tell(r, "request");
		}
	}
	return status;
}

static void pump(struct reader *r)
{
	int status = r->is_greeted ? 0 : tell_hello(r);

	if (status == 0 && r->dropped > 0) {
		status = tell_lagged(r);
	}
	if (status == 0 && r->host_seen != r->events->host_change) {
		status = tell_host(r);
	}
	if (status == 0 && r->pulls_seen != r->events->pulls_change) {
		status = tell_pulls(r);
	}
	if (status == 0) {
		status = tell_servers(r);
	}
	if (status == 0 && !r->is_synced) {
		status = tell_requests(r);
	}
	if (status == 0 && !r->is_synced) {
		jsonw_object(write_event(r->events));
		r->is_synced = tell(r, "synced") == 0;
	}
}

static void pump_all(struct events *e)
{
	LIST_FOR_EACH (it, next, &e->readers) {
		pump(LIST_ITEM(it, struct reader, link));
	}
}

/* From the fleet */

static struct events *events_of(struct fleet_listener *l)
{
	return CONTAINER_OF(l, struct events, listener);
}

static void on_model(struct fleet_listener *l, const struct fleet_model *m)
{
	(void)m;
	pump_all(events_of(l));
}

static void on_removed(struct fleet_listener *l, const char *id)
{
	struct json_writer *w = write_event(events_of(l));

	jsonw_object(w);
	jsonw_member_text(w, "id", id);
	tell_all(events_of(l), "removed", true);
}

static void on_progress(struct fleet_listener *l, const char *id, float fraction, int32_t eta_ms)
{
	struct json_writer *w = write_event(events_of(l));

	jsonw_object(w);
	jsonw_member_text(w, "id", id);
	jsonw_member_double(w, "progress", (double)fraction, 3);
	jsonw_member_i64(w, "eta_ms", eta_ms);
	tell_all(events_of(l), "progress", false);
}

static void on_registry(struct fleet_listener *l)
{
	jsonw_object(write_event(events_of(l)));
	tell_all(events_of(l), "registry", false);
}

static void tell_of_host(struct events *e)
{
	e->host_told_ms = loop_now_ms(e->loop);
	e->host_change++;
	pump_all(e);
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

	if (fleet_state(e->fleet).link != FLEET_UP || loop_now_ms(e->loop) >= due_ms) {
		tell_of_host(e);
	} else if (!timer_is_on(&e->host_timer)) {
		timer_start_at(&e->host_timer, due_ms);
	}
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
	struct json_writer *w = write_event(e);
	size_t told = 0;

	e->new_requests = 0;
	jsonw_object(w);
	jsonw_member_i64(w, "at_unix_ms", loop_unix_ms());
	jsonw_key(w, "models");
	jsonw_array(w);
	LIST_FOR_EACH (it, next, fleet_models(e->fleet)) {
		struct fleet_model *m = LIST_ITEM(it, struct fleet_model, link);
		bool is_busy = m->active + m->queued > 0 || m->tokens > 0;

		if (is_busy || m->was_busy) {
			write_traffic(w, m);
			told++;
		}
		m->was_busy = is_busy;
		m->tokens = 0;
	}
	if (told > 0 && e->reader_count > 0) {
		tell_all(e, "traffic", false);
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
	LIST_FOR_EACH (it, next, fleet_models(e->fleet)) {
		struct fleet_model *m = LIST_ITEM(it, struct fleet_model, link);

		if (strcmp(m->server.id, id) == 0) {
			m->tokens += tokens;
			return;
		}
	}
}

void events_gap(struct events *e, const char *model)
{
	if (e->reader_count > 0) {
		add_tokens(e, model, 1);
	}
}

void events_pulls(struct events *e)
{
	e->pulls_change++;
	pump_all(e);
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
	struct account *place = &e->requests[a->id % EVENTS_REQUESTS_MAX];

	if (e->reader_count == 0) {
		place->id = place->id == a->id && a->phase == ACCOUNT_DONE ? 0 : place->id;
		return;
	}
	note_traffic(e);
	if (place->id != a->id) {
		if (place->id != 0 || e->new_requests >= EVENTS_REQUESTS_PER_S) {
			return;
		}
		e->new_requests++;
	}
	*place = *a;
	if (a->phase == ACCOUNT_DONE) {
		place->id = 0;
	}
	if (a->phase == ACCOUNT_DONE && !a->stream) {
		add_tokens(e, a->model, last_second(a));
	}
	account_write(write_event(e), a);
	tell_all(e, "request", true);
}

/* Readers */

static void on_close(void *user)
{
	struct reader *r = user;

	list_remove(&r->link);
	r->events->reader_count--;
	free(r);
}

static void on_drain(void *user)
{
	pump(user);
}

static const struct sse_callbacks sse_calls = { on_close, on_drain };

bool events_is_full(const struct events *e, struct err *err)
{
	return e->reader_count >= EVENTS_READERS_MAX &&
	       err_set(err, ERR_RATE, "%d readers of events are connected already",
		       EVENTS_READERS_MAX) != 0;
}

void events_add(struct events *e, struct exchange *x)
{
	struct reader *r = mem_alloc(sizeof(*r));

	r->events = e;
	r->sse = sse_start(e->loop, x, EVENTS_HEARTBEAT_MS, &sse_calls, r);
	list_append(&e->readers, &r->link);
	e->reader_count++;
	note_traffic(e);
	pump(r);
}

/* Life */

struct events *events_create(const struct backend *b)
{
	struct events *e = mem_alloc(sizeof(*e));

	e->backend = b;
	e->loop = b->loop;
	e->fleet = b->fleet;
	e->host_change = e->pulls_change = 1;
	e->requests = mem_alloc(EVENTS_REQUESTS_MAX * sizeof(*e->requests));
	secret_make(e->instance);
	list_init(&e->readers);
	buf_init(&e->scratch, EVENT_MAX_BYTES);
	timer_init(&e->traffic, e->loop, on_traffic);
	timer_init(&e->host_timer, e->loop, on_host_due);
	e->listener = (struct fleet_listener){ .on_model = on_model,
					       .on_removed = on_removed,
					       .on_progress = on_progress,
					       .on_registry = on_registry,
					       .on_host = on_host };
	fleet_listen(e->fleet, &e->listener);
	return e;
}

void events_end(struct events *e)
{
	if (e == NULL) {
		return;
	}
	LIST_FOR_EACH (it, next, &e->readers) {
		struct reader *r = LIST_ITEM(it, struct reader, link);

		sse_end(r->sse);
		on_close(r);
	}
}

void events_close(struct events *e)
{
	if (e == NULL) {
		return;
	}
	events_end(e);
	timer_stop(&e->traffic);
	timer_stop(&e->host_timer);
	list_remove(&e->listener.link);
	buf_finish(&e->scratch);
	free(e->requests);
	free(e);
}
