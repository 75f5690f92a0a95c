/* SPDX-License-Identifier: MIT */
/*
 * http-echo PORT [UPSTREAM_PORT [FOLDER]]: a server on src/http for wire tests and benchmarks. A
 * path in place of PORT makes it listen on a UNIX socket.
 *
 *   /echo          the request's body, whole       /stream-echo  the same, piece by piece
 *   /size?N        N bytes with their length       /events?N     N server-sent events, 10 ms apart
 *   /half          begins an answer and breaks it off
 *   /slow          answers after 200 ms            /proxy/...    relayed to UPSTREAM_PORT
 *   anything else  FOLDER's file, or "hello"
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/files.h"
#include "http/proxy.h"
#include "io/timer.h"

#define BODY_MAX_BYTES (8u << 20)
#define EVENT_MS 10

struct echo {
	struct loop *loop;
	struct http_server *server;
	struct client *client;
	struct files *files;
	uint16_t upstream_port;
};

/* Something that is answered by and by. */
struct task {
	struct echo *echo;
	struct exchange *x;
	struct timer timer;
	uint64_t left;
	bool has_begun;
};

static const struct reply text_reply = { .status = 200, .content_type = "text/plain" };

static void on_task_close(void *user)
{
	struct task *t = user;

	timer_stop(&t->timer);
	free(t);
}

static void on_task_drain(void *user)
{
	struct task *t = user;

	exchange_resume_body(t->x);
}

static struct task *task_create(struct echo *e, struct exchange *x, void (*fn)(struct timer *))
{
	static const struct exchange_callbacks callbacks = { on_task_close, on_task_drain };
	struct task *t = mem_alloc(sizeof(*t));

	t->echo = e;
	t->x = x;
	timer_init(&t->timer, e->loop, fn);
	exchange_watch(x, &callbacks, t);
	return t;
}

static void on_body(void *user, struct exchange *x, struct span body)
{
	(void)user;
	exchange_reply(x, &text_reply, body);
}

static void on_piece(void *user, struct exchange *x, struct span piece, bool last)
{
	struct task *t = user;

	if (!t->has_begun) {
		t->has_begun = true;
		exchange_begin(x, &text_reply, -1);
	}
	if (last) {
		exchange_end(x, piece);
		free(t);
		return;
	}
	exchange_send(x, piece);
	if (exchange_kept(x) > 0) {
		exchange_pause_body(x);
	}
}

static void on_slow(struct timer *timer)
{
	struct task *t = CONTAINER_OF(timer, struct task, timer);

	exchange_reply(t->x, &text_reply, SPAN_LIT("slow\n"));
	free(t);
}

static void on_event(struct timer *timer)
{
	struct task *t = CONTAINER_OF(timer, struct task, timer);
	char text[64];

	if (t->left == 0) {
		exchange_end(t->x, SPAN_LIT(""));
		free(t);
		return;
	}
	snprintf(text, sizeof(text), "data: {\"left\":%llu}\n\n", (unsigned long long)--t->left);
	exchange_send(t->x, span_of(text));
	timer_start(timer, EVENT_MS);
}

static void begin_events(struct echo *e, struct exchange *x, uint64_t count)
{
	static const struct exchange_callbacks callbacks = { on_task_close, NULL };
	static const struct reply events = { .status = 200, .content_type = "text/event-stream" };
	struct task *t = mem_alloc(sizeof(*t));

	t->left = count;
	t->x = x;
	exchange_watch(x, &callbacks, t);
	exchange_begin(x, &events, -1);
	timer_init(&t->timer, e->loop, on_event);
	timer_start(&t->timer, 0);
}

static void break_off(struct exchange *x)
{
	exchange_begin(x, &text_reply, -1);
	exchange_send(x, SPAN_LIT("only half"));
	exchange_abort(x);
}

static void send_size(struct exchange *x, uint64_t size)
{
	char *bytes = mem_alloc(size);

	memset(bytes, 'x', size);
	exchange_reply(x, &text_reply, (struct span){ bytes, size });
	free(bytes);
}

static void relay(struct echo *e, struct exchange *x)
{
	static const struct span pass[] = { SPAN_INIT("Accept"), SPAN_INIT("Content-Type") };
	const struct request *request = exchange_request(x);

	proxy_start(x,
		    &(struct proxy_options){
			    .client = e->client,
			    .request = { .to = { .host = "127.0.0.1", .port = e->upstream_port },
					 .target = span_from(request->target, strlen("/proxy")) },
			    .pass = pass,
			    .pass_count = ARRAY_LEN(pass),
			    .stream_body = true,
			    .body_max_bytes = BODY_MAX_BYTES,
		    });
}

static void on_request(void *user, struct exchange *x)
{
	struct echo *e = user;
	const struct request *request = exchange_request(x);
	struct span path = span_of(request->path);
	uint64_t number = 1;

	span_to_u64(request->query, BODY_MAX_BYTES, &number);
	if (span_is(path, "/echo")) {
		exchange_read_body(x, BODY_MAX_BYTES, on_body, NULL);
	} else if (span_is(path, "/stream-echo")) {
		exchange_stream_body(x, BODY_MAX_BYTES, on_piece, task_create(e, x, on_slow));
	} else if (span_is(path, "/size")) {
		send_size(x, number);
	} else if (span_is(path, "/events")) {
		begin_events(e, x, number);
	} else if (span_is(path, "/half")) {
		break_off(x);
	} else if (span_is(path, "/slow")) {
		timer_start(&task_create(e, x, on_slow)->timer, 200);
	} else if (span_has_prefix(path, "/proxy/")) {
		relay(e, x);
	} else if (e->files != NULL) {
		files_serve(e->files, x);
	} else {
		exchange_reply(x, &text_reply, SPAN_LIT("hello\n"));
	}
}

static void on_signal(void *arg)
{
	struct echo *e = arg;

	http_server_close(e->server);
	client_close(e->client);
	loop_stop(e->loop);
}

int main(int argc, char **argv)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", NULL };
	struct echo e = { .loop = loop_create() };
	struct http_server_options options = {
		.listener = { .address = "127.0.0.1", .unix_mode = 0600 },
		.hosts = hosts,
		.head_ms = 1000,
		.body_ms = 1000,
		.on_request = on_request,
		.user = &e,
	};
	struct err err;

	if (argc > 1 && argv[1][0] == '/') {
		options.listener.unix_path = argv[1];
	} else if (argc > 1) {
		options.listener.port = (uint16_t)strtol(argv[1], NULL, 10);
	}
	e.upstream_port = (uint16_t)(argc > 2 ? strtol(argv[2], NULL, 10) : 0);
	e.client = client_create(e.loop);
	if (argc > 3) {
		e.files = files_load(&(struct files_options){ .folder = argv[3] }, &err);
	}
	e.server = http_server_start(e.loop, &options, &err);
	if (e.server == NULL || (argc > 3 && e.files == NULL)) {
		fprintf(stderr, "http-echo: %s\n", err.text);
		return 1;
	}
	struct loop_signal *term = loop_signal_start(e.loop, SIGTERM, on_signal, &e);

	printf("http-echo: listening on port %u\n", http_server_port(e.server));
	fflush(stdout);
	loop_run(e.loop);
	loop_signal_close(term);
	files_destroy(e.files);
	loop_destroy(e.loop);
	return 0;
}
