/* SPDX-License-Identifier: MIT */
/*
 * loadgen PORT plain REQUESTS AT_ONCE
 * loadgen PORT stream STREAMS EVENTS MS [HOLD_PID]
 * loadgen PORT cancel STREAMS ENGINE_PORT
 *
 * plain: requests over kept connections, so many at once; the time of each. stream: all at once;
 * every event's number is checked and its time on the way taken from its own stamp; with HOLD_PID
 * the RSS of that process is read when every stream has had its first event. cancel: one stream
 * after another is left after its first event; the time until the engine, which is asked directly,
 * saw its connection closed. Prints one line of name=value.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/sse.h"
#include "io/timer.h"

#define SAMPLES_MAX 2000000u
#define EVENT_MAX_BYTES 4096
#define STREAM_GAP_MS 600000
#define DIAL_BATCH 100
#define CLOSED_TRIES_MAX 5000 /* a millisecond each */

struct load {
	struct loop *loop;
	struct client *client;
	uint16_t port, engine_port;
	char target[96];
	unsigned long total, begun, ended, failed, events, begun_streams;
	unsigned long lost, doubled;
	bool is_stream, is_cancel;
	uint32_t *samples_us;
	size_t sample_count;
	char status_path[64]; /* of the process whose RSS is read */
	unsigned long rss_kib;
	struct timer dial;
};

struct ask {
	struct load *load;
	struct client_request *request;
	struct sse_parser parser;
	uint64_t begin_us;
	unsigned long next;
	bool is_over;
	unsigned long id, tries; /* cancel */
	uint64_t left_us;
	struct timer again;
};

static void add_sample(struct load *l, uint64_t us)
{
	if (l->sample_count < SAMPLES_MAX) {
		l->samples_us[l->sample_count++] = (uint32_t)us;
	}
}

static void begin(struct load *l);

static void end(struct ask *a, bool failed)
{
	struct load *l = a->load;

	sse_parser_finish(&a->parser);
	free(a);
	l->ended++;
	l->failed += failed;
	if (!l->is_stream && l->begun < l->total) {
		begin(l);
	} else if (l->ended == l->total) {
		loop_stop(l->loop);
	}
}

static void read_rss(struct load *l)
{
	char line[128];
	FILE *f = l->status_path[0] != '\0' ? fopen(l->status_path, "r") : NULL;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		sscanf(line, "VmRSS: %lu", &l->rss_kib);
	}
	if (f != NULL) {
		fclose(f);
	}
}

static void on_event(void *user, const struct sse_event *event)
{
	struct ask *a = user;
	struct load *l = a->load;
	unsigned long n;
	unsigned long long sent_us;
	char text[96];

	span_copy(event->data, text, sizeof(text));
	if (sscanf(text, "{\"n\":%lu,\"t\":%llu", &n, &sent_us) != 2) {
		l->lost++;
		return;
	}
	l->lost += n > a->next;
	l->doubled += n < a->next;
	a->next = n + 1;
	l->events++;
	add_sample(l, loop_now_us() - sent_us);
	if (n == 0 && ++l->begun_streams == l->total) {
		read_rss(l);
	}
	a->is_over = l->is_cancel;
}

/* After a stream was left: when did the engine see that? */

static void ask_closed(struct ask *a);

static void on_again(struct timer *t)
{
	ask_closed(CONTAINER_OF(t, struct ask, again));
}

static void on_closed(void *user, const struct client_reply *reply)
{
	struct ask *a = user;
	uint64_t closed_us = 0;

	if (reply->err.code == 0) {
		span_to_u64(reply->body, UINT64_MAX, &closed_us);
	}
	if (closed_us == 0 && ++a->tries < CLOSED_TRIES_MAX) {
		timer_start(&a->again, 1);
		return;
	}
	if (closed_us != 0) {
		add_sample(a->load, closed_us > a->left_us ? closed_us - a->left_us : 0);
	}
	end(a, closed_us == 0);
}

static void ask_closed(struct ask *a)
{
	char target[48];

	snprintf(target, sizeof(target), "/closed?%lu", a->id);
	client_fetch(a->load->client,
		     &(struct client_options){
			     .to = { .host = "127.0.0.1", .port = a->load->engine_port },
			     .method = H1_GET,
			     .target = span_of(target),
		     },
		     sizeof(target), on_closed, a);
}

static void leave(struct ask *a)
{
	a->left_us = loop_now_us();
	client_cancel(a->request);
	timer_init(&a->again, a->load->loop, on_again);
	ask_closed(a);
}

static void on_piece(void *user, const struct client_piece *piece)
{
	struct ask *a = user;
	struct load *l = a->load;

	if (piece->head != NULL && piece->head->status != 200) {
		l->failed++;
	}
	if (l->is_stream || l->is_cancel) {
		sse_parse(&a->parser, piece->body);
	}
	if (a->is_over) {
		leave(a);
	} else if (piece->done) {
		if (!l->is_stream) {
			add_sample(l, loop_now_us() - a->begin_us);
		}
		end(a, false);
	}
}

static void on_fail(void *user, const struct err *why, bool sent)
{
	struct ask *a = user;

	(void)sent;
	if (a->load->failed < 3) {
		fprintf(stderr, "loadgen: %s\n", why->text);
	}
	end(a, true);
}

static void begin(struct load *l)
{
	static const struct client_callbacks calls = { on_piece, on_fail, NULL };
	static const struct h1_field type = { SPAN_INIT("Content-Type"),
					      SPAN_INIT("application/json") };
	struct ask *a = mem_alloc(sizeof(*a));

	a->load = l;
	a->begin_us = loop_now_us();
	sse_parser_init(&a->parser, EVENT_MAX_BYTES, on_event, a);
	a->id = ++l->begun;
	if (l->is_cancel) {
		snprintf(l->target, sizeof(l->target),
			 "/v1/chat/completions?events=100000&ms=1&id=%lu", a->id);
	}
	a->request = client_send(
		l->client,
		&(struct client_options){
			.to = { .host = "127.0.0.1", .port = l->port },
			.method = H1_POST,
			.target = span_of(l->target),
			.fields = &type,
			.field_count = 1,
			.body = SPAN_LIT(
				"{\"model\":\"bench\",\"temperature\":0.7,\"max_tokens\":256,"
				"\"stream\":true,\"messages\":[{\"role\":\"system\",\"content\":"
				"\"You are a helpful assistant.\"},{\"role\":\"user\",\"content\":"
				"\"Tell me a story about a fox and a llama, in three parts.\"}]}"),
			.connect_ms = STREAM_GAP_MS,
			.first_byte_ms = STREAM_GAP_MS,
			.idle_ms = STREAM_GAP_MS,
		},
		&calls, a);
}

/* Not more at a time than a listener's backlog takes. */
static void on_dial(struct timer *t)
{
	struct load *l = CONTAINER_OF(t, struct load, dial);

	for (int i = 0; i < DIAL_BATCH && l->begun < l->total; i++) {
		begin(l);
	}
	if (l->begun < l->total) {
		timer_start(t, 10);
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

static void report(struct load *l)
{
	uint32_t p50 = 0, p99 = 0;

	if (l->sample_count > 0) {
		qsort(l->samples_us, l->sample_count, sizeof(*l->samples_us), by_value);
		p50 = l->samples_us[l->sample_count / 2];
		p99 = l->samples_us[l->sample_count * 99 / 100];
	}
	printf("ended=%lu failed=%lu events=%lu lost=%lu doubled=%lu p50_us=%u p99_us=%u "
	       "rss_kib=%lu\n",
	       l->ended, l->failed, l->events, l->lost, l->doubled, p50, p99, l->rss_kib);
}

static unsigned long number(const char *text)
{
	uint64_t value = 0;

	if (text == NULL || span_to_u64(span_of(text), UINT32_MAX, &value) != 0) {
		fputs("usage: loadgen PORT plain REQUESTS AT_ONCE | stream STREAMS EVENTS MS "
		      "[HOLD_PID] | cancel STREAMS ENGINE_PORT\n",
		      stderr);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	struct load l = { .loop = loop_create() };
	unsigned long at_once = 1;

	l.port = (uint16_t)number(argc > 3 ? argv[1] : NULL);
	l.is_stream = strcmp(argv[2], "stream") == 0;
	l.is_cancel = strcmp(argv[2], "cancel") == 0;
	l.total = number(argv[3]);
	snprintf(l.target, sizeof(l.target), "/v1/chat/completions");
	if (l.is_stream) {
		snprintf(l.target, sizeof(l.target), "/v1/chat/completions?events=%lu&ms=%lu",
			 number(argc > 5 ? argv[4] : NULL), number(argv[5]));
	} else if (l.is_cancel) {
		l.engine_port = (uint16_t)number(argc > 4 ? argv[4] : NULL);
	} else {
		at_once = number(argc > 4 ? argv[4] : NULL);
	}
	if (l.is_stream && argc > 6) {
		snprintf(l.status_path, sizeof(l.status_path), "/proc/%lu/status", number(argv[6]));
	}
	l.samples_us = mem_alloc(SAMPLES_MAX * sizeof(*l.samples_us));
	l.client = client_create(l.loop);
	timer_init(&l.dial, l.loop, on_dial);
	if (l.is_stream) {
		on_dial(&l.dial);
	} else {
		for (unsigned long i = 0; i < at_once; i++) {
			begin(&l);
		}
	}
	loop_run(l.loop);
	report(&l);
	client_close(l.client);
	loop_destroy(l.loop);
	free(l.samples_us);
	return l.failed != 0 || l.lost != 0 || l.doubled != 0;
}
