/* SPDX-License-Identifier: MIT */
/*
 * Questions: HEALTH until 200 -> KEY -> WRONG_KEY -> proved. A 503 on the way leads back to HEALTH.
 * SLOTS are asked until all are idle twice in a row: a request may have left before its sender
 * heard of the drain, and an answer may still be on its way. LIFE is asked again and again. One
 * question is on its way at a time.
 */
#include "host/prober.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/api.h"
#include "host/agent_inside.h"

#define PROBER_ANSWER_MS 2000 /* a question may take that long; then it is asked again */
#define PROBER_PATIENCE 8     /* life_ms * 8: the supervisor has given up before */
#define WRONG_KEY "ronzal-checks-that-this-is-refused"

enum question { ASK_HEALTH, ASK_KEY, ASK_WRONG_KEY, ASK_SLOTS, ASK_LIFE };

static const struct {
	const char *target;
	int wanted; /* status; with another one the engine is not ours: */
	const char *complaint;
} questions[] = {
	[ASK_HEALTH] = { "/health", 200, "/health is neither ready nor loading" },
	[ASK_KEY] = { "/props", 200, "it refuses the key of this start" },
	[ASK_WRONG_KEY] = { "/props", 401, "it accepts a wrong key" },
	[ASK_SLOTS] = { "/slots", 0, NULL },
	[ASK_LIFE] = { "/slots", 0, NULL },
};
static const enum question first[] = { ASK_HEALTH, ASK_SLOTS, ASK_LIFE }; /* by aim */

struct prober {
	struct supervisor *supervisor;
	enum prober_aim aim;
	enum question question;
	bool was_idle; /* by the last SLOTS */
	uint32_t life_ms;
	uint64_t begun_ms;
	struct client_fetch *fetch; /* the question on its way */
	struct timer timer;	    /* the next one */
	struct buf props;
};

static void ask(struct prober *p);

static void ask_again(struct prober *p, enum question question)
{
	uint64_t pause_ms = (loop_now_ms(p->timer.loop) - p->begun_ms) / PROBER_SLOW_AFTER;

	if (question == ASK_SLOTS) {
		pause_ms = PROBER_DRAIN_MS;
	} else if (question == ASK_LIFE) {
		pause_ms = p->life_ms;
	} else if (pause_ms < PROBER_FAST_MS) {
		pause_ms = PROBER_FAST_MS;
	} else if (pause_ms > PROBER_SLOW_MS) {
		pause_ms = PROBER_SLOW_MS;
	}
	p->question = question;
	timer_start(&p->timer, pause_ms);
}

/* On the way to the proof. */
static void judge(struct prober *p, int status, struct span body)
{
	struct err err = { 0 };

	if (status != questions[p->question].wanted) {
		err_set(&err, ERR_ENGINE_FAILED,
			"port %u is answered by something else than this engine: %s",
			p->supervisor->server.port, questions[p->question].complaint);
		supervisor_on_disproved(p->supervisor, &err);
		return;
	}
	if (p->question == ASK_WRONG_KEY) {
		supervisor_on_proved(p->supervisor, buf_span(&p->props));
		return;
	}
	if (p->question == ASK_KEY) {
		buf_clear(&p->props);
		buf_add_span(&p->props, body);
	}
	p->question = p->question == ASK_HEALTH ? ASK_KEY : ASK_WRONG_KEY;
	ask(p);
}

static void judge_slots(struct prober *p, int status, struct span body)
{
	uint32_t busy;
	bool are_idle = status == 200 && api_slots_read(body, &busy, NULL) == 0 && busy == 0;

	if (are_idle && p->was_idle) {
		supervisor_tell(p->supervisor, FSM_DRAINED);
		return;
	}
	p->was_idle = are_idle;
	ask_again(p, ASK_SLOTS);
}

static void on_answer(void *user, const struct client_reply *reply)
{
	struct prober *p = user;
	int status = reply->err.code == 0 ? reply->status : 0;

	p->fetch = NULL;
	if (status == 0 || status == 503) {
		ask_again(p, first[p->aim]);
	} else if (p->aim == PROBE_LOAD) {
		judge(p, status, reply->body);
	} else if (p->aim == PROBE_LIFE) {
		ask_again(p, ASK_LIFE);
		supervisor_on_alive(p->supervisor);
	} else {
		judge_slots(p, status, reply->body);
	}
}

static void ask(struct prober *p)
{
	uint64_t answer_ms =
		p->question == ASK_LIFE ? (uint64_t)p->life_ms * PROBER_PATIENCE : PROBER_ANSWER_MS;
	const struct supervisor *s = p->supervisor;
	char bearer[128];
	struct h1_field field = { .name = SPAN_LIT("Authorization") };

	snprintf(bearer, sizeof(bearer), "Bearer %s",
		 p->question == ASK_WRONG_KEY ? WRONG_KEY : s->key);
	field.value = span_of(bearer);
	p->fetch = client_fetch(s->agent->http,
				&(struct client_options){
					.to = { .host = s->agent->options.addresses[0],
						.port = s->server.port },
					.method = H1_GET,
					.target = span_of(questions[p->question].target),
					.fields = &field,
					.field_count = p->question == ASK_HEALTH ? 0 : 1,
					.connect_ms = answer_ms,
					.first_byte_ms = answer_ms,
					.idle_ms = answer_ms,
				},
				API_BODY_MAX_BYTES, on_answer, p);
}

static void on_timer(struct timer *timer)
{
	ask(CONTAINER_OF(timer, struct prober, timer));
}

struct prober *prober_start(struct supervisor *s, enum prober_aim aim)
{
	struct prober *p = mem_alloc(sizeof(*p));

	p->supervisor = s;
	p->aim = aim;
	p->question = first[aim];
	p->life_ms = s->agent->options.limits.hang_ms / 2;
	p->begun_ms = loop_now_ms(s->agent->loop);
	buf_init(&p->props, API_BODY_MAX_BYTES);
	timer_init(&p->timer, s->agent->loop, on_timer);
	timer_start(&p->timer, aim == PROBE_LIFE ? p->life_ms : 0);
	return p;
}

void prober_nudge(struct prober *p)
{
	uint64_t soon_ms;

	if (p != NULL && timer_is_on(&p->timer) && p->question == ASK_HEALTH) {
		soon_ms = loop_now_ms(p->timer.loop) + PROBER_NUDGE_MS;
		if (soon_ms < p->timer.due_ms) {
			timer_start_at(&p->timer, soon_ms);
		}
	}
}

static void prober_free(void *arg)
{
	struct prober *p = arg;

	buf_finish(&p->props);
	free(p);
}

void prober_close(struct prober *p)
{
	if (p != NULL) {
		timer_stop(&p->timer);
		client_fetch_cancel(p->fetch);
		p->fetch = NULL;
		loop_defer(p->timer.loop, prober_free, p);
	}
}
