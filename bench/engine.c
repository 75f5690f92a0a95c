/* SPDX-License-Identifier: MIT */
/*
 * A cheap stand-in for llama-server to measure what stands in front of it. It takes the flags that
 * ronzal passes; a POST whose target ends in ?events=N&ms=M is answered by N numbered events, M ms
 * apart, each with the time at which it was sent; any other POST by a short body. With &id=I behind
 * that, GET /closed?I tells when the stream's connection was closed before its end (0: not yet).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "http/server.h"
#include "io/timer.h"

#define CONNS_MAX 19000
#define BODY_MAX_BYTES (64u << 20)
#define IDS_MAX 16384

struct engine {
	struct loop *loop;
	uint16_t port;
	char authorization[80];	     /* "": any */
	uint64_t closed_us[IDS_MAX]; /* by id */
};

struct stream {
	struct engine *engine;
	struct exchange *x;
	struct timer timer;
	unsigned long sent, count, ms, id;
	uint64_t due_ms;
};

static void on_close(void *user)
{
	struct stream *s = user;

	s->engine->closed_us[s->id % IDS_MAX] = loop_now_us();
	timer_stop(&s->timer);
	free(s);
}

static void on_due(struct timer *t)
{
	struct stream *s = CONTAINER_OF(t, struct stream, timer);
	char text[96];
	int len = snprintf(text, sizeof(text),
			   "data: {\"n\":%lu,\"t\":%llu,\"choices\":[{\"delta\":{}}]}\n\n", s->sent,
			   (unsigned long long)loop_now_us());
	struct span event = { text, (size_t)len };

	if (++s->sent < s->count) {
		exchange_send(s->x, event);
		s->due_ms += s->ms;
		timer_start_at(t, s->due_ms);
	} else {
		exchange_end(s->x, event);
		free(s);
	}
}

static void on_body(void *user, struct exchange *x, struct span body)
{
	static const struct exchange_callbacks calls = { on_close, NULL };
	static const struct reply reply = { .status = 200, .content_type = "text/event-stream" };
	char query[64];
	unsigned long count, ms, id = 0;

	(void)body;
	span_copy(exchange_request(x)->query, query, sizeof(query));
	if (sscanf(query, "events=%lu&ms=%lu&id=%lu", &count, &ms, &id) < 2) {
		exchange_reply_json(x, 200,
				    SPAN_LIT("{\"choices\":[{\"message\":{\"content\":\"hi\"}}],"
					     "\"usage\":{\"prompt_tokens\":9,"
					     "\"completion_tokens\":2}}"));
		return;
	}
	struct stream *s = mem_alloc(sizeof(*s));

	s->engine = user;
	s->x = x;
	s->count = count;
	s->ms = ms;
	s->id = id;
	timer_init(&s->timer, s->engine->loop, on_due);
	exchange_watch(x, &calls, s);
	exchange_begin(x, &reply, -1);
	exchange_flush(x);
	s->due_ms = loop_now_ms(s->engine->loop) + 1 + ms;
	timer_start_at(&s->timer, s->due_ms);
}

static void tell_closed(struct engine *e, struct exchange *x)
{
	uint64_t id = 0;
	char text[24];

	span_to_u64(exchange_request(x)->query, IDS_MAX - 1, &id);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)e->closed_us[id]);
	exchange_reply_json(x, 200, span_of(text));
}

static void on_request(void *user, struct exchange *x)
{
	struct engine *e = user;
	const struct request *r = exchange_request(x);
	struct err err;

	if (strcmp(r->path, "/health") == 0) {
		exchange_reply_json(x, 200, SPAN_LIT("{\"status\":\"ok\"}"));
	} else if (strcmp(r->path, "/closed") == 0) {
		tell_closed(e, x);
	} else if (e->authorization[0] != '\0' &&
		   !span_is(h1_get(r->head, "Authorization"), e->authorization)) {
		err_set(&err, ERR_UNAUTHENTICATED, "wrong key");
		exchange_fail(x, &err);
	} else if (r->method == H1_POST) {
		exchange_read_body(x, BODY_MAX_BYTES, on_body, e);
	} else {
		exchange_reply_json(x, 200,
				    SPAN_LIT("{\"default_generation_settings\":{\"n_ctx\":4096},"
					     "\"total_slots\":4}"));
	}
}

/* What the prober asks; true: told. */
static bool tell_about(const char *flag)
{
	static const char *const flags[] = { "version",	 "ctx-size", "n-gpu-layers", "model",
					     "alias",	 "host",     "port",	     "api-key-file",
					     "parallel", "metrics",  "threads",	     "batch-size" };

	if (strcmp(flag, "--version") == 0) {
		fputs("version: 0.7.0 (build 1, commit bench)\n", stderr);
	} else if (strcmp(flag, "--help") == 0) {
		for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
			printf("--%s VALUE\n", flags[i]);
		}
	} else if (strcmp(flag, "--list-devices") == 0) {
		puts("Available devices:");
	} else {
		return false;
	}
	return true;
}

static void read_key(struct engine *e, const char *path)
{
	struct err err;
	struct buf key;

	buf_init(&key, 64);
	ENSURE(fs_read(path, &key, &err) == 0);
	snprintf(e->authorization, sizeof(e->authorization), "Bearer %.*s",
		 (int)strcspn(buf_text(&key), "\n"), buf_text(&key));
	buf_finish(&key);
}

int main(int argc, char **argv)
{
	static struct engine e;
	struct http_server *server;
	uint64_t port;
	struct err err;

	for (int i = 1; i < argc; i++) {
		if (tell_about(argv[i])) {
			return 0;
		}
		if (i + 1 < argc && strcmp(argv[i], "--port") == 0 &&
		    span_to_u64(span_of(argv[i + 1]), UINT16_MAX, &port) == 0) {
			e.port = (uint16_t)port;
		} else if (i + 1 < argc && strcmp(argv[i], "--api-key-file") == 0) {
			read_key(&e, argv[i + 1]);
		}
	}
	e.loop = loop_create();
	server = http_server_start(e.loop,
				   &(struct http_server_options){
					   .listener = { .address = "127.0.0.1",
							 .port = e.port,
							 .conns_max = CONNS_MAX },
					   .on_request = on_request,
					   .user = &e,
				   },
				   &err);
	if (server == NULL) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	fputs("load_tensors: offloaded 0/5 layers to GPU\n", stderr);
	loop_run(e.loop);
	return 0;
}
