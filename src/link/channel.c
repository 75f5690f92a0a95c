/* SPDX-License-Identifier: MIT */
/*
 * The control channel from the controller's side.
 *
 *   WAITING ──timer──> DIALING ──opened──> GREETING ──hello──> UP
 *      ^                  |                    |                |
 *      └──── failed, hello deadline, end of stream, no sign ────┘      any ──link_close──> CLOSED
 *
 * Every way down passes lose(). Replies, on_down and the end of the memory come from the timers, so
 * that nothing calls back from inside link_send or link_close; after each callback `state` says
 * whether the link was closed in it.
 */
#include "link/channel.h"

#include <stdlib.h>

#include "base/lines.h"
#include "base/list.h"
#include "base/log.h"
#include "io/timer.h"

#define CHANNEL_OUT_MAX_BYTES (4 * WIRE_LINE_MAX_BYTES)

enum channel_state {
	CHANNEL_WAITING,
	CHANNEL_DIALING,
	CHANNEL_GREETING,
	CHANNEL_UP,
	CHANNEL_CLOSED
};

struct waiting {
	struct list link;
	uint64_t seq;
	link_reply_fn *on_reply;
	void *user;
	struct err err; /* why it will never be answered */
};

struct channel {
	struct link base; /* first */
	struct loop *loop;
	char *controller, *who, *peer;
	uint32_t hello_ms;
	const struct channel_transport *transport;
	void *transport_data;
	const struct link_callbacks *callbacks;
	void *user;

	enum channel_state state;
	struct conn *in, *out; /* GREETING, UP; out may be in */
	struct lines lines;
	size_t noise_bytes;
	struct timer timer; /* WAITING: dial; DIALING, GREETING: give up; UP: ping */
	struct timer soon;  /* tells what must not be told inside a call; frees */
	uint64_t heard_ms;
	uint32_t losses;      /* in a row, without reaching UP */
	struct err break_err; /* a write failed, or the stream ended: lose() with this soon */
	uint64_t seq;
	struct list asked;   /* struct waiting: requests on their way */
	struct list refused; /* ... whose err is to be told */
	size_t asked_count;
	char **followed; /* NULL: no log was ever asked for */
	size_t followed_count;
	uint32_t tail;
};

static void lose(struct channel *ch, const struct err *why);

static struct channel *channel_of(struct link *link)
{
	return (struct channel *)link; /* base is its first member */
}

/* Replies */

static void tell_refused(struct channel *ch)
{
	while (!list_is_empty(&ch->refused)) {
		struct waiting *w = LIST_ITEM(ch->refused.next, struct waiting, link);
		struct link_reply reply = { .err = w->err };

		list_remove(&w->link);
		w->on_reply(w->user, &reply);
		free(w);
	}
}

static void refuse_asked(struct channel *ch, const struct err *why)
{
	while (!list_is_empty(&ch->asked)) {
		struct waiting *w = LIST_ITEM(ch->asked.next, struct waiting, link);

		list_remove(&w->link);
		w->err = *why;
		list_append(&ch->refused, &w->link);
	}
	ch->asked_count = 0;
}

static void answer(struct channel *ch, const struct wire_event *e)
{
	struct link_reply reply = { .err = e->reply.err,
				    .results = e->reply.results,
				    .count = e->reply.result_count };

	LIST_FOR_EACH (it, next, &ch->asked) {
		struct waiting *w = LIST_ITEM(it, struct waiting, link);

		if (w->seq == e->reply.seq) {
			list_remove(&w->link);
			ch->asked_count--;
			w->on_reply(w->user, &reply);
			free(w);
			return;
		}
	}
}

/* Saying */

static void say(struct channel *ch, const struct wire_request *r)
{
	struct buf line;
	int status;

	buf_init(&line, WIRE_LINE_MAX_BYTES + 1);
	status = wire_request_encode(r, &line);
	if (status == 0) {
		status = conn_write(ch->out, buf_span(&line));
	}
	buf_finish(&line);
	if (status != 0 && ch->break_err.code == 0) {
		err_set(&ch->break_err, ERR_UNAVAILABLE, "%s does not take requests: %s", ch->peer,
			err_sentence(status));
		timer_start(&ch->soon, 0);
	}
}

static void say_hello(struct channel *ch)
{
	struct wire_request r = { .verb = VERB_HELLO,
				  .version = WIRE_VERSION,
				  .version_min = WIRE_VERSION_MIN };

	span_copy(span_of(ch->controller), r.controller, sizeof(r.controller));
	span_copy(span_of(ch->who), r.who, sizeof(r.who));
	say(ch, &r);
}

static void say_followed(struct channel *ch)
{
	struct wire_request r = { .verb = VERB_SUBSCRIBE,
				  .ids = (const char *const *)ch->followed,
				  .id_count = ch->followed_count,
				  .none = ch->followed_count == 0,
				  .tail = ch->tail };

	if (ch->followed != NULL) {
		say(ch, &r);
	}
}

/* Coming up */

static void dial(struct channel *ch)
{
	ch->state = CHANNEL_DIALING;
	timer_start(&ch->timer, ch->hello_ms);
	ch->transport->dial(ch->transport_data);
}

static void on_hello(struct channel *ch, const struct wire_event *e)
{
	struct err err = { 0 };

	if (wire_versions_agree(e->hello.version, e->hello.version_min, ch->peer, &err) != 0) {
		lose(ch, &err);
		return;
	}
	log_info("%s: up, version %s, generation %llu", ch->peer, e->hello.agent,
		 (unsigned long long)e->hello.generation);
	ch->state = CHANNEL_UP;
	ch->base.down = (struct err){ 0 };
	ch->losses = 0;
	timer_start(&ch->timer, WIRE_PING_MS);
	say_followed(ch);
	ch->callbacks->on_up(ch->user);
}

/* Login scripts print; the agent's first line may even stand behind a prompt on the same line. */
static bool find_greeting(struct channel *ch, struct span line, struct wire_event *ret_event)
{
	size_t at = span_find(line, "{\"type\":");

	if (at < line.len && wire_event_decode(span_from(line, at), ret_event, NULL) == 0) {
		if (ret_event->type == EVENT_HELLO || ret_event->type == EVENT_BYE) {
			return true;
		}
		wire_event_finish(ret_event);
	}
	ch->noise_bytes += line.len + 1;
	return false;
}

static void on_event(struct channel *ch, const struct wire_event *e)
{
	const struct link_callbacks *call = ch->callbacks;

	switch (e->type) {
	case EVENT_HELLO:
		on_hello(ch, e);
		break;
	case EVENT_HOST:
		call->on_host(ch->user, &e->host);
		break;
	case EVENT_SERVER:
		call->on_server(ch->user, &e->server);
		break;
	case EVENT_PROGRESS:
		call->on_progress(ch->user, e->progress.id, e->progress.fraction,
				  e->progress.eta_ms);
		break;
	case EVENT_REMOVED:
		call->on_removed(ch->user, e->removed.id);
		break;
	case EVENT_SYNCED:
		call->on_synced(ch->user);
		break;
	case EVENT_LOG:
		call->on_log(ch->user, e->log.id, e->log.line, e->log.dropped);
		break;
	case EVENT_REPLY:
		answer(ch, e);
		break;
	case EVENT_BYE:
		lose(ch, &e->bye.err);
		break;
	}
}

static void on_line(struct channel *ch, struct span line)
{
	struct wire_event *e = mem_alloc(sizeof(*e));
	struct err err = { 0 };
	int status = 0;

	ch->heard_ms = loop_now_ms(ch->loop);
	if (ch->state == CHANNEL_GREETING) {
		status = find_greeting(ch, line, e) ? 0 : ERR_NOT_FOUND;
	} else {
		status = wire_event_decode(line, e, &err);
	}
	if (status == 0) {
		on_event(ch, e);
		wire_event_finish(e);
	} else if (status != ERR_NOT_FOUND && status != ERR_VERSION) { /* unknown types: skipped */
		err_prefix(&err, "%s", ch->peer);
		lose(ch, &err);
	}
	free(e);
}

static void on_data(void *user, struct span data)
{
	struct channel *ch = user;
	struct err err = { 0 };
	struct span line;
	int status = lines_add(&ch->lines, data);

	while (status == 0 && (ch->state == CHANNEL_GREETING || ch->state == CHANNEL_UP) &&
	       lines_next(&ch->lines, &line)) {
		on_line(ch, line);
	}
	if (status != 0 ||
	    (ch->state == CHANNEL_GREETING && ch->noise_bytes > WIRE_NOISE_MAX_BYTES)) {
		err_set(&err, ERR_PROTOCOL,
			"%s: what answers there is not ronzal: more than %d bytes "
			"of other output",
			ch->peer, WIRE_NOISE_MAX_BYTES);
		lose(ch, &err);
	}
}

static void on_end(void *user, int status)
{
	struct channel *ch = user;

	err_set(&ch->break_err, ERR_UNAVAILABLE, "%s closed the channel%s%s", ch->peer,
		status != 0 ? ": " : "", status != 0 ? err_sentence(status) : "");
	timer_start(&ch->soon, ch->transport->explain_ms);
}

static const struct conn_callbacks stream_callbacks = { .on_data = on_data, .on_end = on_end };

void channel_opened(struct link *link, struct conn *in, struct conn *out)
{
	struct channel *ch = channel_of(link);

	ENSURE(ch->state == CHANNEL_DIALING);
	ch->state = CHANNEL_GREETING;
	ch->in = in;
	ch->out = out;
	ch->noise_bytes = 0;
	lines_init(&ch->lines, WIRE_LINE_MAX_BYTES);
	conn_set_out_max(out, CHANNEL_OUT_MAX_BYTES);
	conn_start(in, &stream_callbacks, ch);
	say_hello(ch);
}

/* Going down */

static uint64_t backoff_ms(const struct channel *ch)
{
	uint64_t delay_ms = CHANNEL_BACKOFF_MIN_MS;

	for (uint32_t i = 1; i < ch->losses && delay_ms < CHANNEL_BACKOFF_MAX_MS; i++) {
		delay_ms *= 2;
	}
	if (delay_ms > CHANNEL_BACKOFF_MAX_MS) {
		delay_ms = CHANNEL_BACKOFF_MAX_MS;
	}
	return delay_ms - loop_now_us() % (delay_ms / 4);
}

static void drop_stream(struct channel *ch)
{
	if (ch->out != ch->in) {
		conn_close(ch->out);
	}
	conn_close(ch->in);
	ch->in = NULL;
	ch->out = NULL;
	lines_finish(&ch->lines);
	ch->break_err = (struct err){ 0 };
	ch->transport->hang_up(ch->transport_data);
}

static void lose(struct channel *ch, const struct err *why)
{
	struct err err = *why;

	if (ch->state == CHANNEL_CLOSED || ch->state == CHANNEL_WAITING) {
		return;
	}
	if (err.code == 0) {
		err_set(&err, ERR_UNAVAILABLE, "%s said good-bye", ch->peer);
	}
	ch->state = CHANNEL_WAITING;
	ch->losses++;
	ch->base.down = err;
	drop_stream(ch);
	timer_start(&ch->timer, backoff_ms(ch));
	refuse_asked(ch, &err);
	tell_refused(ch);
	if (ch->state != CHANNEL_CLOSED) {
		ch->callbacks->on_down(ch->user, &err);
	}
}

void channel_failed(struct link *link, const struct err *why)
{
	lose(channel_of(link), why);
}

static void on_timer(struct timer *timer)
{
	struct channel *ch = CONTAINER_OF(timer, struct channel, timer);
	uint64_t silent_ms = loop_now_ms(ch->loop) - ch->heard_ms;
	struct err err = { 0 };

	if (ch->state == CHANNEL_WAITING) {
		dial(ch);
	} else if (ch->state == CHANNEL_UP && silent_ms < WIRE_PING_GRACE_MS) {
		timer_start(timer, WIRE_PING_MS);
		say(ch, &(struct wire_request){ .verb = VERB_PING, .seq = ++ch->seq });
	} else {
		err_set(&err, ERR_TIMEOUT, "%s gave no sign for %u s", ch->peer,
			ch->state == CHANNEL_UP ? WIRE_PING_GRACE_MS / 1000 : ch->hello_ms / 1000);
		lose(ch, &err);
	}
}

static void finish(struct channel *ch)
{
	for (size_t i = 0; i < ch->followed_count; i++) {
		free(ch->followed[i]);
	}
	free(ch->followed);
	free(ch->controller);
	free(ch->who);
	free(ch->peer);
	ch->transport->destroy(ch->transport_data);
	free(ch);
}

static void on_soon(struct timer *timer)
{
	struct channel *ch = CONTAINER_OF(timer, struct channel, soon);
	struct err break_err = ch->break_err;

	tell_refused(ch);
	if (ch->state == CHANNEL_CLOSED) {
		finish(ch);
	} else if (break_err.code != 0) {
		lose(ch, &break_err);
	}
}

/* The link's interface */

static void channel_send(struct link *link, const struct link_request *request,
			 link_reply_fn *on_reply, void *user)
{
	struct channel *ch = channel_of(link);
	struct waiting *w = mem_alloc(sizeof(*w));
	struct wire_request r = { .verb = request->verb,
				  .seq = ++ch->seq,
				  .ids = request->ids,
				  .id_count = request->count,
				  .drain_ms = request->drain_ms,
				  .deadline_ms = request->deadline_ms };

	*w = (struct waiting){ .seq = r.seq, .on_reply = on_reply, .user = user };
	if (ch->state != CHANNEL_UP) {
		w->err = ch->base.down;
	} else if (ch->asked_count >= CHANNEL_REQUESTS_MAX) {
		err_set(&w->err, ERR_RATE, "%d requests to %s wait already", CHANNEL_REQUESTS_MAX,
			ch->peer);
	} else if (request->count > WIRE_IDS_MAX) {
		err_set(&w->err, ERR_INVALID, "%zu models in one request; at most %d, or all",
			request->count, WIRE_IDS_MAX);
	}
	if (w->err.code != 0) {
		list_append(&ch->refused, &w->link);
		timer_start(&ch->soon, 0);
		return;
	}
	list_append(&ch->asked, &w->link);
	ch->asked_count++;
	say(ch, &r);
}

static void channel_follow_logs(struct link *link, const char *const *ids, size_t count,
				uint32_t tail)
{
	struct channel *ch = channel_of(link);

	for (size_t i = 0; i < ch->followed_count; i++) {
		free(ch->followed[i]);
	}
	count = count < WIRE_IDS_MAX ? count : WIRE_IDS_MAX;
	ch->followed = mem_resize(ch->followed, count + 1, sizeof(*ch->followed));
	for (size_t i = 0; i < count; i++) {
		ch->followed[i] = mem_strdup(ids[i]);
	}
	ch->followed_count = count;
	ch->tail = tail;
	if (ch->state == CHANNEL_UP) {
		say_followed(ch);
	}
}

static void channel_close(struct link *link)
{
	struct channel *ch = channel_of(link);
	struct err err = { 0 };

	if (ch->state == CHANNEL_CLOSED) {
		return;
	}
	ch->state = CHANNEL_CLOSED;
	timer_stop(&ch->timer);
	drop_stream(ch);
	err_set(&err, ERR_CANCELED, "the link to %s was closed", ch->peer);
	ch->base.down = err;
	refuse_asked(ch, &err);
	timer_start(&ch->soon, 0);
}

static const struct link_ops channel_ops = {
	.send = channel_send,
	.follow_logs = channel_follow_logs,
	.close = channel_close,
};

struct link *channel_create(struct loop *loop, const struct channel_options *options)
{
	struct channel *ch = mem_alloc(sizeof(*ch));

	ch->base.ops = &channel_ops;
	err_set(&ch->base.down, ERR_UNAVAILABLE, "%s is not connected yet", options->peer);
	ch->loop = loop;
	ch->controller = mem_strdup(options->controller);
	ch->who = mem_strdup(options->who);
	ch->peer = mem_strdup(options->peer);
	ch->hello_ms = options->hello_ms;
	ch->transport = options->transport;
	ch->transport_data = options->transport_data;
	ch->callbacks = options->callbacks;
	ch->user = options->user;
	list_init(&ch->asked);
	list_init(&ch->refused);
	timer_init(&ch->timer, loop, on_timer);
	timer_init(&ch->soon, loop, on_soon);
	ch->state = CHANNEL_WAITING;
	timer_start(&ch->timer, 0);
	return &ch->base;
}
