/* SPDX-License-Identifier: MIT */
/*
 * soak-load PORT SECONDS SEED: everything that clients do to a gateway, at once, in front of
 * bench/engine, whose model is called "bench" and which may be killed at any time.
 *
 * So many actors each make one request after another, of a kind that chance picks: whole streams,
 * slowly read ones, streams that are left, short answers, bodies over the limit, nonsense. Each
 * must be answered or end cleanly: numbered events in order; a stream that breaks off says so in an
 * error event and never looks complete; nothing is silent for longer than HANG_MS.
 *
 * Prints one line of counts, and on stderr what was wrong; the exit status is 1 then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/client.h"
#include "http/sse.h"
#include "io/timer.h"

#define ACTORS 48
#define HANG_MS 90000
#define PAUSE_MS 40
#define EVENT_MAX_BYTES 4096
#define OVERSIZE_BYTES ((1u << 20) + 1) /* the gateway is started with 1 MiB */
#define COMPLAINTS_MAX 20

/* X(kind, weight, status that is right besides those of a missing engine) */
#define KIND_TABLE(X) \
	X(STREAM, 4, 200) \
	X(SLOW, 3, 200) \
	X(LEAVE, 5, 200) \
	X(PLAIN, 5, 200) \
	X(OVERSIZE, 1, 413) \
	X(NONSENSE, 2, 400)
#define KIND_ENUM(kind, weight, status) KIND_##kind,
enum kind { KIND_TABLE(KIND_ENUM) KINDS };

struct kind_row {
	const char *name;
	unsigned weight;
	int status;
};
#define KIND_ROW(kind, weight, status) { #kind, weight, status },
static const struct kind_row kinds[] = { KIND_TABLE(KIND_ROW) };

struct soak {
	struct loop *loop;
	struct client *client;
	uint16_t port;
	uint64_t end_ms, random;
	unsigned running, complaints;
	unsigned long asked[KINDS], whole, broken, refused, left;
	char *oversize;
};

struct actor {
	struct soak *soak;
	struct client_request *request;
	struct sse_parser parser;
	struct timer timer; /* between requests, and of a slow reader's pauses */
	enum kind kind;
	int status;
	unsigned long events, next, leave_after; /* events: that were asked for */
	bool has_error;
};

static unsigned long chance(struct soak *s, unsigned long below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (unsigned long)(s->random % below);
}

static void complain(struct actor *a, const char *what)
{
	if (a->soak->complaints++ < COMPLAINTS_MAX) {
		fprintf(stderr, "%s: %s (status %d, event %lu of %lu)\n", kinds[a->kind].name, what,
			a->status, a->next, a->events);
	}
}

static void begin(struct actor *a);

static void on_next(struct timer *t)
{
	begin(CONTAINER_OF(t, struct actor, timer));
}

/* The request is over; the next one follows in a moment, until time is up. */
static void over(struct actor *a)
{
	struct soak *s = a->soak;

	sse_parser_finish(&a->parser);
	a->request = NULL;
	timer_stop(&a->timer);
	if (loop_now_ms(s->loop) < s->end_ms) {
		timer_init(&a->timer, s->loop, on_next);
		timer_start(&a->timer, chance(s, PAUSE_MS));
	} else if (--s->running == 0) {
		loop_stop(s->loop);
	}
}

static void on_event(void *user, const struct sse_event *event)
{
	struct actor *a = user;
	unsigned long n;
	char text[96];

	span_copy(event->data, text, sizeof(text));
	if (sscanf(text, "{\"n\":%lu,", &n) != 1) {
		a->has_error = span_has_prefix(event->data, "{\"error\":");
		if (!a->has_error) {
			complain(a, "an event that nobody sent");
		}
	} else if (n != a->next || a->has_error) {
		complain(a, "an event was lost, doubled or late");
	} else {
		a->next++;
	}
}

static bool is_stream(const struct actor *a)
{
	return a->kind == KIND_STREAM || a->kind == KIND_SLOW || a->kind == KIND_LEAVE;
}

static void judge_whole(struct actor *a)
{
	struct soak *s = a->soak;

	if (a->status == 502 || a->status == 503 || a->status == 429 || a->status == 504) {
		s->refused++;
	} else if (a->status != kinds[a->kind].status) {
		complain(a, "the wrong status");
	} else if (is_stream(a) && (a->next != a->events || a->has_error)) {
		complain(a, "a broken stream looked complete");
	} else {
		s->whole++;
	}
}

static void on_pause_over(struct timer *t)
{
	struct actor *a = CONTAINER_OF(t, struct actor, timer);

	client_resume(a->request);
}

static void on_piece(void *user, const struct client_piece *piece)
{
	struct actor *a = user;

	a->status = piece->head != NULL ? piece->head->status : a->status;
	if (is_stream(a) && a->status == 200) {
		sse_parse(&a->parser, piece->body);
	}
	if (piece->done) {
		judge_whole(a);
		over(a);
	} else if (a->kind == KIND_LEAVE && a->next >= a->leave_after) {
		a->soak->left++;
		client_cancel(a->request);
		over(a);
	} else if (a->kind == KIND_SLOW) {
		client_pause(a->request);
		timer_init(&a->timer, a->soak->loop, on_pause_over);
		timer_start(&a->timer, chance(a->soak, 2 * PAUSE_MS));
	}
}

static void on_fail(void *user, const struct err *why, bool sent)
{
	struct actor *a = user;

	if (why->code == ERR_TIMEOUT) {
		complain(a, "silence");
	} else if (a->kind == KIND_OVERSIZE && sent) {
		a->soak->refused++; /* the answer may be lost when we still send */
	} else if (a->status == 0) {
		complain(a, why->text);
	} else if (is_stream(a) && !a->has_error) {
		complain(a, "broke off without an error event");
	} else {
		a->soak->broken++;
	}
	over(a);
}

static enum kind pick(struct soak *s)
{
	unsigned total = 0;

	for (size_t i = 0; i < KINDS; i++) {
		total += kinds[i].weight;
	}
	unsigned long at = chance(s, total);
	size_t i = 0;

	for (; at >= kinds[i].weight; i++) {
		at -= kinds[i].weight;
	}
	return (enum kind)i;
}

static struct span body_of(const struct actor *a)
{
	switch (a->kind) {
	case KIND_OVERSIZE:
		return (struct span){ a->soak->oversize, OVERSIZE_BYTES };
	case KIND_NONSENSE:
		return SPAN_LIT("{\"model\":\"bench\",\"model\":[]}");
	case KIND_STREAM:
	case KIND_SLOW:
	case KIND_LEAVE:
		return SPAN_LIT("{\"model\":\"bench\",\"stream\":true,\"messages\":[]}");
	case KIND_PLAIN:
	case KINDS:
		break;
	}
	return SPAN_LIT("{\"model\":\"bench\",\"messages\":[{\"content\":\"\\u00e9\"}]}");
}

static void begin(struct actor *a)
{
	static const struct client_callbacks calls = { on_piece, on_fail, NULL };
	struct soak *s = a->soak;
	char target[96] = "/v1/chat/completions";

	a->kind = pick(s);
	a->events = 1 + chance(s, 200);
	a->leave_after = chance(s, a->events);
	a->next = 0;
	a->status = 0;
	a->has_error = false;
	s->asked[a->kind]++;
	sse_parser_init(&a->parser, EVENT_MAX_BYTES, on_event, a);
	if (is_stream(a)) {
		snprintf(target, sizeof(target), "/v1/chat/completions?events=%lu&ms=%lu",
			 a->events, chance(s, 10));
	}
	a->request = client_send(s->client,
				 &(struct client_options){
					 .to = { .host = "127.0.0.1", .port = s->port },
					 .method = H1_POST,
					 .target = span_of(target),
					 .body = body_of(a),
					 .connect_ms = HANG_MS,
					 .first_byte_ms = HANG_MS,
					 .idle_ms = HANG_MS,
				 },
				 &calls, a);
}

static unsigned long number(const char *text)
{
	uint64_t value = 0;

	if (text == NULL || span_to_u64(span_of(text), UINT32_MAX, &value) != 0) {
		fputs("usage: soak-load PORT SECONDS SEED\n", stderr);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	struct soak s = { .loop = loop_create() };
	static struct actor actors[ACTORS];

	s.client = client_create(s.loop);
	s.port = (uint16_t)number(argc > 3 ? argv[1] : NULL);
	s.end_ms = loop_now_ms(s.loop) + number(argv[2]) * 1000;
	s.random = 0x9e3779b97f4a7c15u ^ number(argv[3]);
	s.oversize = mem_alloc(OVERSIZE_BYTES);
	memset(s.oversize, ' ', OVERSIZE_BYTES);
	for (size_t i = 0; i < ACTORS; i++) {
		actors[i].soak = &s;
		s.running++;
		begin(&actors[i]);
	}
	loop_run(s.loop);
	for (size_t i = 0; i < KINDS; i++) {
		printf("%s=%lu ", kinds[i].name, s.asked[i]);
	}
	printf("whole=%lu broken=%lu refused=%lu left=%lu wrong=%u\n", s.whole, s.broken, s.refused,
	       s.left, s.complaints);
	client_close(s.client);
	loop_destroy(s.loop);
	free(s.oversize);
	return s.complaints != 0;
}
