/* SPDX-License-Identifier: MIT */
/*
 * The gateway between raw sockets and a scripted engine, on one loop: real connections, a fleet
 * whose phases the test sets. Included by one file of a program, as the fleet is.
 */
#ifndef GATEWAY_RIG_H
#define GATEWAY_RIG_H

#include "unit.h"

#include <unistd.h>

#include "../fake_fleet.h"
#include "backend/gateway.h"
#include "base/fs.h"
#include "http/sse.h"
#include "io/timer.h"

#define CLIENTS_MAX 16
#define LATE_MS 8000
#define QUEUE_MAX 4
#define EVENTS 5
#define REGISTRY \
	"{\"models\":{" \
	"\"qwen3-4b\":{\"file_path\":\"/m/q.gguf\",\"port\":8081,\"enabled\":true," \
	"\"quantization\":\"Q4_K_M\",\"size_params\":4.02,\"aliases\":[\"small\"]}," \
	"\"gpt-oss-20b\":{\"file_path\":\"/m/g.gguf\",\"port\":8082,\"enabled\":false}}}"

enum script { ANSWER, ANSWER_TIMED, STREAM, STREAM_ON, DIE_IN_STREAM, HANG_UP, SILENT, REFUSE };

struct rig;

struct peer {
	struct rig *rig;
	struct conn *conn;
	struct buf sent, got;
	bool has_ended;
	int end_status;
};

struct rig {
	struct loop *loop;
	struct fleet fleet;
	struct keys keys;
	char folder[64];
	struct gateway *gateway;
	struct http_server *front, *engine;
	uint16_t engine_port;
	enum script script;
	const char *predicted_ms; /* of ANSWER_TIMED */
	int refusal;		  /* of REFUSE: its status, and body */
	const char *refusal_body;
	struct buf asked; /* what the engine heard: lines of method, target, fields, body */
	int requests, engine_closed;
	struct exchange *held;
	struct peer peers[CLIENTS_MAX];
	int peer_count;
	struct account accounts[CLIENTS_MAX]; /* done ones; their texts in `told` */
	char *told[CLIENTS_MAX][3];
	int done;
	int gaps;
	struct timer tick;
	bool (*is_done)(const struct rig *r);
	uint64_t late_ms;
	struct account_sink sink;
};

/* The engine */

static void on_engine_close(void *user)
{
	struct rig *r = user;

	r->engine_closed++;
	r->held = NULL;
}

static void send_events(struct exchange *x, int count)
{
	static const struct reply reply = { .status = 200, .content_type = "text/event-stream" };
	struct buf out;

	buf_init(&out, 65536);
	for (int i = 0; i < count; i++) {
		char data[160];

		snprintf(data, sizeof(data), "{\"n\":%d%s}", i,
			 i == EVENTS - 1 ? ",\"timings\":{\"cache_n\":2,\"prompt_n\":5,"
					   "\"predicted_n\":7,\"predicted_ms\":100}"
					 : "");
		sse_write(&out, NULL, span_of(data));
	}
	exchange_begin(x, &reply, -1);
	exchange_send(x, buf_span(&out));
	buf_finish(&out);
}

static void on_engine_body(void *user, struct exchange *x, struct span body)
{
	static const struct exchange_callbacks calls = { on_engine_close, NULL };
	const struct request *request = exchange_request(x);
	struct rig *r = user;
	char timed[64];

	r->requests++;
	buf_printf(&r->asked, "%s %.*s\n%.*s\n", h1_method_name(request->method),
		   SPAN_ARG(request->target), SPAN_ARG(request->head->text));
	buf_printf(&r->asked, "%.*s\n", SPAN_ARG(body));
	switch (r->script) {
	case ANSWER:
		exchange_reply_json(x, 200,
				    SPAN_LIT("{\"answer\":42,\"usage\":{\"prompt_tokens\":11,"
					     "\"completion_tokens\":3}}"));
		return;
	case ANSWER_TIMED:
		snprintf(timed, sizeof(timed), "{\"timings\":{\"predicted_ms\":%s}}",
			 r->predicted_ms);
		exchange_reply_json(x, 200, span_of(timed));
		return;
	case REFUSE:
		exchange_reply_json(x, r->refusal, span_of(r->refusal_body));
		return;
	case STREAM:
		send_events(x, EVENTS);
		exchange_end(x, SPAN_LIT("data: [DONE]\n\n"));
		return;
	case DIE_IN_STREAM:
		send_events(x, 3);
		exchange_abort(x);
		return;
	case HANG_UP:
		exchange_abort(x);
		return;
	case STREAM_ON:
		send_events(x, 3);
		break;
	case SILENT:
		break;
	}
	r->held = x;
	exchange_watch(x, &calls, r);
}

static void on_engine_request(void *user, struct exchange *x)
{
	exchange_read_body(x, 1 << 20, on_engine_body, user);
}

static void start_engine(struct rig *r, uint16_t port)
{
	struct http_server_options options = {
		.listener = { .address = "127.0.0.1", .port = port, .conns_max = 64 },
		.on_request = on_engine_request,
		.user = r,
	};
	struct err err;

	r->engine = http_server_start(r->loop, &options, &err);
	assert_non_null(r->engine);
	r->engine_port = http_server_port(r->engine);
}

/* The front */

static void on_front_request(void *user, struct exchange *x)
{
	struct rig *r = user;

	gateway_handle(r->gateway, x);
}

static void write_error(void *user, const struct request *request, const struct err *why,
			struct buf *out)
{
	(void)user;
	gateway_write_error(request, why, out);
}

static void on_account(void *user, const struct account *a)
{
	struct rig *r = user;

	if (a->phase == ACCOUNT_DONE && r->done < CLIENTS_MAX) {
		struct account *copy = &r->accounts[r->done];
		char **told = r->told[r->done++];

		*copy = *a;
		copy->model = told[0] = mem_strdup(a->model);
		copy->key = told[1] = mem_strdup(a->key);
		copy->error = told[2] = mem_strdup(a->error);
	}
}

static void on_gap(void *user, const char *model, uint64_t gap_us)
{
	struct rig *r = user;

	(void)model;
	(void)gap_us;
	r->gaps++;
}

static void on_tick(struct timer *t)
{
	struct rig *r = CONTAINER_OF(t, struct rig, tick);

	if (r->is_done(r) || loop_now_ms(r->loop) > r->late_ms) {
		loop_stop(r->loop);
	} else {
		timer_start(t, 1);
	}
}

static void run_until(struct rig *r, bool (*is_done)(const struct rig *r))
{
	r->is_done = is_done;
	r->late_ms = loop_now_ms(r->loop) + LATE_MS;
	timer_start(&r->tick, 0);
	loop_run(r->loop);
	assert_true(is_done(r));
}

static struct gateway_options options_of(struct rig *r)
{
	return (struct gateway_options){
		.loop = r->loop,
		.fleet = &r->fleet,
		.keys = &r->keys,
		.sink = &r->sink,
		.first_id = 100,
		.body_max_bytes = 4096,
		.queue_max = QUEUE_MAX,
		.queue_ms = 4000,
		.first_token_ms = 5000,
	};
}

static struct rig *make_rig(const struct gateway_options *options)
{
	struct rig *r = mem_alloc(sizeof(*r));
	struct http_server_options front = {
		.listener = { .address = "127.0.0.1", .conns_max = 64 },
		.on_request = on_front_request,
		.write_error = write_error,
		.user = r,
	};
	struct gateway_options defaults;
	struct err err;

	r->loop = loop_create();
	fake_init(&r->fleet, REGISTRY);
	snprintf(r->folder, sizeof(r->folder), "/tmp/ronzal-gateway-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	assert_int_equal(keys_open(&r->keys, r->folder, &err), 0);
	r->sink = (struct account_sink){ on_account, on_gap, r };
	defaults = options_of(r);
	if (options != NULL) {
		defaults.keys_always = options->keys_always;
		defaults.queue_ms = options->queue_ms != 0 ? options->queue_ms : defaults.queue_ms;
	}
	r->gateway = gateway_create(&defaults);
	r->front = http_server_start(r->loop, &front, &err);
	assert_non_null(r->front);
	buf_init(&r->asked, 1 << 20);
	timer_init(&r->tick, r->loop, on_tick);
	start_engine(r, 0);
	fake_set(&r->fleet, "qwen3-4b", SERVER_READY, r->engine_port);
	return r;
}

static void close_peer(struct peer *p)
{
	conn_close(p->conn);
	p->conn = NULL;
}

static void finish_rig(struct rig *r)
{
	char *files[2] = { fs_join(r->folder, "keys.json"),
			   fs_join(r->folder, "management.token") };
	struct err why;

	for (int i = 0; i < r->peer_count; i++) {
		close_peer(&r->peers[i]);
		buf_finish(&r->peers[i].sent);
		buf_finish(&r->peers[i].got);
	}
	err_set(&why, ERR_UNAVAILABLE, "ronzal is being stopped");
	gateway_stop(r->gateway, &why);
	assert_int_equal(gateway_active(r->gateway), 0);
	gateway_close(r->gateway);
	while (r->fleet.due_count > 0) {
		r->fleet.due_count--;
		r->fleet.due[r->fleet.due_count].on_reply(r->fleet.due[r->fleet.due_count].user,
							  &(struct wire_reply){ .count = 0 });
	}
	LIST_EACH (struct fleet_model, m, link, &r->fleet.models) {
		assert_int_equal(m->active, 0);
		assert_int_equal(m->queued, 0);
	}
	http_server_close(r->front);
	http_server_close(r->engine);
	loop_destroy(r->loop);
	keys_close(&r->keys);
	fake_finish(&r->fleet);
	buf_finish(&r->asked);
	for (int i = 0; i < 3 * r->done; i++) {
		free(r->told[i / 3][i % 3]);
	}
	for (int i = 0; i < 2; i++) {
		unlink(files[i]);
		free(files[i]);
	}
	rmdir(r->folder);
	free(r);
}

/* Clients */

static void on_peer_connect(void *user, int status)
{
	struct peer *p = user;

	assert_int_equal(status, 0);
	conn_write(p->conn, buf_span(&p->sent));
}

static void on_peer_data(void *user, struct span data)
{
	struct peer *p = user;

	buf_add_span(&p->got, data);
}

static void on_peer_end(void *user, int status)
{
	struct peer *p = user;

	p->has_ended = true;
	p->end_status = status;
}

/* Sends a request as it is. */
static struct peer *send_raw(struct rig *r, const char *text)
{
	static const struct conn_callbacks calls = { on_peer_data, on_peer_end, NULL };
	struct peer *p = &r->peers[r->peer_count++];

	assert_true(r->peer_count <= CLIENTS_MAX);
	p->rig = r;
	buf_init(&p->sent, 1 << 16);
	buf_init(&p->got, 1 << 20);
	buf_add_text(&p->sent, text);
	p->conn =
		conn_dial_tcp(r->loop, "127.0.0.1", http_server_port(r->front), on_peer_connect, p);
	conn_start(p->conn, &calls, p);
	return p;
}

static struct peer *post(struct rig *r, const char *path, const char *fields, const char *body)
{
	char *text = mem_printf("POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
				"Content-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s",
				path, strlen(body), fields, body);
	struct peer *p = send_raw(r, text);

	free(text);
	return p;
}

static struct peer *chat(struct rig *r, const char *body)
{
	return post(r, "/v1/chat/completions", "", body);
}

static bool all_ended(const struct rig *r)
{
	for (int i = 0; i < r->peer_count; i++) {
		if (r->peers[i].conn != NULL && !r->peers[i].has_ended) {
			return false;
		}
	}
	return true;
}

static bool has(const struct buf *b, const char *text)
{
	return span_find(buf_span(b), text) < b->len;
}

static void expect(const struct peer *p, int status, const char *text)
{
	char line[32];

	snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
	if (!span_has_prefix(buf_span(&p->got), line) || !has(&p->got, text)) {
		fail_msg("expected %d and %s in: %s", status, text, buf_text(&p->got));
	}
}

#endif
