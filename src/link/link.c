/* SPDX-License-Identifier: MIT */
/*
 * The control channel from the controller's side.
 *
 *   WAITING ──timer──> GREETING ──hello──> UP
 *      ^                |    ^             |                 any ──link_close──> CLOSED
 *      |                |    └─ relayed bye┤
 *      └──── link_lose, hello deadline, bye, no sign
 *
 * Replies, on_down and the end of the memory come from the timers or from what was heard, so that
 * nothing calls back from inside link_send or link_close; after each callback `state` says whether
 * the link was closed in it.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "link/base.h"

struct waiting {
	struct list link;
	uint64_t seq;
	link_reply_fn *on_reply;
	void *user;
	struct err err; /* why it will never be answered */
};

/* Replies */

static void tell_refused(struct link *l)
{
	while (!list_is_empty(&l->refused)) {
		struct waiting *w = LIST_ITEM(l->refused.next, struct waiting, link);
		struct wire_reply reply = { .err = w->err };

		list_remove(&w->link);
		w->on_reply(w->user, &reply);
		free(w);
	}
}

static void refuse_asked(struct link *l, const struct err *why)
{
	while (!list_is_empty(&l->asked)) {
		struct waiting *w = LIST_ITEM(l->asked.next, struct waiting, link);

		list_remove(&w->link);
		w->err = *why;
		list_append(&l->refused, &w->link);
	}
	l->asked_count = 0;
}

void link_answer(struct link *l, const struct wire_reply *reply)
{
	LIST_EACH (struct waiting, w, link, &l->asked) {
		if (w->seq == reply->seq) {
			list_remove(&w->link);
			l->asked_count--;
			w->on_reply(w->user, reply);
			free(w);
			return;
		}
	}
}

/* Up and down */

static void say(struct link *l, const struct wire_request *r)
{
	int status = l->kind->say(l, r);

	if (status != 0 && l->break_err.code == 0) {
		err_set(&l->break_err, ERR_UNAVAILABLE, "%s does not take requests: %s", l->peer,
			err_sentence(status));
		timer_start(&l->soon, 0);
	}
}

static uint64_t backoff_ms(const struct link *l)
{
	uint64_t delay_ms = LINK_BACKOFF_MIN_MS;

	for (uint32_t i = 1; i < l->losses && delay_ms < LINK_BACKOFF_MAX_MS; i++) {
		delay_ms *= 2;
	}
	delay_ms = delay_ms < LINK_BACKOFF_MAX_MS ? delay_ms : LINK_BACKOFF_MAX_MS;
	return delay_ms - loop_now_us() % (delay_ms / 4);
}

static void go_down(struct link *l, enum link_state state, const struct err *why)
{
	struct err err = *why;

	if (err.code == 0) {
		err_set(&err, ERR_UNAVAILABLE, "%s said good-bye", l->peer);
	}
	l->state = state;
	l->down = err;
	refuse_asked(l, &err);
	tell_refused(l);
	if (l->state != LINK_CLOSED) {
		l->callbacks->on_down(l->user, &err);
	}
}

static void hang_up(struct link *l)
{
	l->break_err = (struct err){ 0 };
	l->kind->hang_up(l);
}

void link_lose(struct link *l, const struct err *why)
{
	struct err err = *why; /* hanging up may free it */

	if (l->state == LINK_GREETING || l->state == LINK_UP) {
		l->losses++;
		hang_up(l);
		timer_start(&l->timer, backoff_ms(l));
		go_down(l, LINK_WAITING, &err);
	}
}

static void on_hello(struct link *l, const struct wire_event *e)
{
	struct err err = { 0 };

	if (wire_versions_agree(e->hello.version, e->hello.version_min, l->peer, &err) != 0) {
		link_lose(l, &err);
		return;
	}
	log_info("%s: up%s%s", l->peer, e->hello.agent[0] != '\0' ? ", version " : "",
		 e->hello.agent);
	l->state = LINK_UP;
	l->down = (struct err){ 0 };
	l->losses = 0;
	timer_stop(&l->timer);
	if (!l->kind->is_relayed) {
		timer_start(&l->timer, WIRE_PING_MS);
	}
	if (l->follows) {
		say(l, &l->followed);
	}
	l->callbacks->on_up(l->user);
}

static void on_bye(struct link *l, const struct wire_event *e)
{
	if (l->kind->is_relayed) {
		l->losses = 0;
		timer_stop(&l->timer);
		go_down(l, LINK_GREETING, &e->bye.err);
	} else {
		link_lose(l, &e->bye.err);
	}
}

static void on_event(struct link *l, const struct wire_event *e)
{
	if (e->type == EVENT_HELLO) {
		on_hello(l, e);
	} else if (e->type == EVENT_BYE) {
		on_bye(l, e);
	} else if (l->state == LINK_GREETING) {
		return; /* whoever has not said hello has nothing to tell */
	} else if (e->type == EVENT_REPLY) {
		link_answer(l, &e->reply);
	} else {
		l->callbacks->on_event(l->user, e);
	}
}

void link_hear(struct link *l, struct span event)
{
	struct wire_event *e = mem_alloc(sizeof(*e));
	struct err err = { 0 };
	int status = wire_event_decode(event, e, &err);

	l->heard_ms = loop_now_ms(l->loop);
	if (status == 0) {
		if (l->state == LINK_UP || l->state == LINK_GREETING) {
			on_event(l, e);
		}
		wire_event_finish(e);
	} else if (status != ERR_VERSION) { /* unknown types are skipped */
		err_prefix(&err, "%s", l->peer);
		link_lose(l, &err);
	}
	free(e);
}

static void on_timer(struct timer *timer)
{
	struct link *l = CONTAINER_OF(timer, struct link, timer);
	uint64_t silent_ms = loop_now_ms(l->loop) - l->heard_ms;
	struct err err = { 0 };

	if (l->state == LINK_WAITING) {
		l->state = LINK_GREETING;
		timer_start(timer, l->kind->hello_ms);
		l->kind->dial(l);
	} else if (l->state == LINK_UP && silent_ms < WIRE_PING_GRACE_MS) {
		timer_start(timer, WIRE_PING_MS);
		say(l, &(struct wire_request){ .verb = VERB_PING, .seq = ++l->seq });
	} else {
		err_set(&err, ERR_TIMEOUT, "%s gave no sign for %u s; it may be asleep", l->peer,
			(l->state == LINK_UP ? WIRE_PING_GRACE_MS : l->kind->hello_ms) / 1000);
		link_lose(l, &err);
	}
}

static void on_soon(struct timer *timer)
{
	struct link *l = CONTAINER_OF(timer, struct link, soon);

	tell_refused(l);
	if (l->state == LINK_CLOSED) {
		wire_request_finish(&l->followed);
		free(l->peer);
		l->kind->free(l);
	} else if (l->break_err.code != 0) {
		link_lose(l, &l->break_err);
	}
}

void link_init(struct link *l, struct loop *loop, const struct link_kind *kind, char *peer,
	       const struct link_callbacks *callbacks, void *user)
{
	l->kind = kind;
	l->loop = loop;
	l->peer = peer;
	l->callbacks = callbacks;
	l->user = user;
	err_set(&l->down, ERR_UNAVAILABLE, "%s is not connected yet", peer);
	list_init(&l->asked);
	list_init(&l->refused);
	timer_init(&l->timer, loop, on_timer);
	timer_init(&l->soon, loop, on_soon);
	timer_start(&l->timer, 0);
}

/* For users */

void link_send(struct link *l, const struct wire_request *request, link_reply_fn *on_reply,
	       void *user)
{
	struct waiting *w = mem_alloc(sizeof(*w));
	struct wire_request r = *request;

	r.seq = ++l->seq;
	*w = (struct waiting){ .seq = r.seq, .on_reply = on_reply, .user = user };
	if (l->state != LINK_UP) {
		w->err = l->down;
	} else if (l->asked_count >= LINK_REQUESTS_MAX) {
		err_set(&w->err, ERR_RATE, "%d requests to %s wait already", LINK_REQUESTS_MAX,
			l->peer);
	} else if (request->id_count > WIRE_IDS_MAX) {
		err_set(&w->err, ERR_INVALID, "%zu models in one request; at most %d, or all",
			request->id_count, WIRE_IDS_MAX);
	}
	if (w->err.code != 0) {
		list_append(&l->refused, &w->link);
		timer_start(&l->soon, 0);
		return;
	}
	list_append(&l->asked, &w->link);
	l->asked_count++;
	say(l, &r);
}

/* Kept as it would be read at the other end, which copies all that it names. */
void link_follow_logs(struct link *l, const char *const *ids, size_t count, uint32_t tail)
{
	struct wire_request r = { .verb = VERB_SUBSCRIBE,
				  .ids = ids,
				  .id_count = count < WIRE_IDS_MAX ? count : WIRE_IDS_MAX,
				  .none = count == 0,
				  .tail = tail };
	struct buf text;

	buf_init(&text, WIRE_LINE_MAX_BYTES + 1);
	wire_request_finish(&l->followed);
	l->follows = wire_request_encode(&r, &text) == 0 &&
		     wire_request_decode((struct span){ text.data, text.len - 1 }, &l->followed,
					 NULL) == 0;
	buf_finish(&text);
	if (l->follows && l->state == LINK_UP) {
		say(l, &l->followed);
	}
}

const struct err *link_error(const struct link *l)
{
	return &l->down;
}

bool link_is_up(const struct link *l)
{
	return l->down.code == 0;
}

void link_close(struct link *l)
{
	if (l == NULL || l->state == LINK_CLOSED) {
		return;
	}
	l->state = LINK_CLOSED;
	timer_stop(&l->timer);
	hang_up(l);
	err_set(&l->down, ERR_CANCELED, "the link to %s was closed", l->peer);
	refuse_asked(l, &l->down);
	timer_start(&l->soon, 0);
}
