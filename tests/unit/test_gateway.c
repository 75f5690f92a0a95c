/* SPDX-License-Identifier: MIT */
/*
 * The gateway between raw sockets and a scripted engine, on one loop: real connections, a fleet
 * whose phases the test sets.
 */
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

enum script { ANSWER, STREAM, STREAM_ON, DIE_IN_STREAM, HANG_UP, SILENT };

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
	struct buf asked; /* what the engine heard: lines of method, target, fields, body */
	int requests, engine_closed;
	struct exchange *held;
	struct peer peers[CLIENTS_MAX];
	int peer_count;
	struct account accounts[CLIENTS_MAX]; /* done ones */
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
		r->accounts[r->done++] = *a;
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

/* Tests */

static void relays_with_the_engines_own_key_and_counts_the_tokens(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	struct peer *p = post(r, "/v1/chat/completions?a=1",
			      "Authorization: Bearer mine\r\nCookie: c\r\nX-Evil: 1\r\n",
			      "{\"model\":\"small\",\"messages\":[]}");

	run_until(r, all_ended);
	expect(p, 200, "{\"answer\":42,");
	assert_true(has(&r->asked, "POST /v1/chat/completions?a=1\n"));
	assert_true(has(&r->asked, "Authorization: Bearer engine-key\r\n"));
	assert_true(has(&r->asked, "{\"model\":\"small\",\"messages\":[]}"));
	assert_false(has(&r->asked, "mine"));
	assert_false(has(&r->asked, "Cookie"));
	assert_false(has(&r->asked, "X-Evil"));
	assert_int_equal(r->done, 1);
	const struct account *a = &r->accounts[0];

	assert_int_equal(a->id, 100);
	assert_int_equal(a->status, 200);
	assert_string_equal(a->model, "qwen3-4b");
	assert_string_equal(a->path, "/v1/chat/completions");
	assert_string_equal(a->error, "");
	assert_int_equal(a->prompt_tokens, 11);
	assert_int_equal(a->generated_tokens, 3);
	assert_true(a->begin_us <= a->routed_us && a->routed_us <= a->first_us &&
		    a->first_us <= a->end_us);
	finish_rig(r);
}

static void relays_a_stream_byte_by_byte_and_reads_its_timings(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	r->script = STREAM;
	struct peer *p = chat(r, "{\"stream\":true,\"model\":\"qwen3-4b\"}");

	run_until(r, all_ended);
	expect(p, 200, "data: {\"n\":0}\n\ndata: {\"n\":1}\n\ndata: {\"n\":2}\n\n");
	assert_true(has(&p->got, "data: [DONE]\n\n"));
	assert_true(span_has_suffix(buf_span(&p->got), "\r\n0\r\n\r\n"));
	assert_false(has(&p->got, "usage"));
	const struct account *a = &r->accounts[0];

	assert_true(a->stream);
	assert_int_equal(r->gaps, EVENTS);
	assert_int_equal(a->prompt_tokens, 7);
	assert_int_equal(a->cached_tokens, 2);
	assert_int_equal(a->generated_tokens, 7);
	assert_true(a->tokens_per_second > 69.9 && a->tokens_per_second < 70.1);
	finish_rig(r);
}

static void ends_a_stream_whose_engine_dies_with_an_error_event_and_no_end(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	r->script = DIE_IN_STREAM;
	struct peer *openai = chat(r, "{\"stream\":true}");
	struct peer *anthropic = post(r, "/v1/messages", "", "{\"stream\":true}");

	run_until(r, all_ended);
	expect(openai, 200, "data: {\"n\":2}\n\n");
	assert_true(has(&openai->got,
			"data: {\"error\":{\"message\":\"model 'qwen3-4b' broke off"));
	expect(anthropic, 200, "event: error\ndata: {\"type\":\"error\",\"error\":{");
	for (int i = 0; i < 2; i++) {
		assert_false(has(&r->peers[i].got, "\r\n0\r\n"));
		assert_false(has(&r->peers[i].got, "[DONE]"));
		assert_int_equal(r->accounts[i].status, 502);
		assert_true(strlen(r->accounts[i].error) > 0);
	}
	finish_rig(r);
}

static void sends_a_request_once_that_had_reached_an_engine(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	r->script = HANG_UP;
	struct peer *p = chat(r, "{}");

	run_until(r, all_ended);
	expect(p, 502, "model 'qwen3-4b'");
	assert_int_equal(r->requests, 1);
	finish_rig(r);
}

static bool two_wait(const struct rig *r)
{
	return fleet_find(&r->fleet, SPAN_LIT("qwen3-4b"))->queued == 2;
}

static void starts_a_stopped_model_once_and_answers_all_who_waited(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	fake_set(&r->fleet, "qwen3-4b", SERVER_STOPPED, 0);
	struct peer *first = chat(r, "{\"model\":\"qwen3-4b\",\"n\":1}");

	chat(r, "{\"model\":\"qwen3-4b\",\"n\":2}");
	run_until(r, two_wait);
	assert_int_equal(r->fleet.starts, 1);
	assert_string_equal(r->fleet.started, "qwen3-4b");
	fake_set(&r->fleet, "qwen3-4b", SERVER_LOADING, 0);
	fake_set(&r->fleet, "qwen3-4b", SERVER_READY, 0);
	assert_true(two_wait(r));
	fake_set(&r->fleet, "qwen3-4b", SERVER_READY, r->engine_port);
	run_until(r, all_ended);
	expect(first, 200, "42");
	expect(&r->peers[1], 200, "42");
	assert_int_equal(r->requests, 2);
	assert_true(r->accounts[0].routed_us > r->accounts[0].begin_us);
	finish_rig(r);
}

static void says_at_once_why_a_start_was_refused(void **state)
{
	struct rig *r = make_rig(NULL);
	struct wire_reply reply = { .count = 0 };

	(void)state;
	fake_set(&r->fleet, "qwen3-4b", SERVER_STOPPED, 0);
	struct peer *p = chat(r, "{}");

	chat(r, "{}");
	run_until(r, two_wait);
	err_set(&reply.err, ERR_NO_MEMORY, "needs 12.4 GiB, 9.8 GiB are free");
	r->fleet.due_count--;
	r->fleet.due[0].on_reply(r->fleet.due[0].user, &reply);
	run_until(r, all_ended);
	expect(p, 507, "9.8 GiB are free");
	expect(&r->peers[1], 507, "9.8 GiB are free");
	finish_rig(r);
}

static void says_at_once_that_waiting_is_no_use(void **state)
{
	struct rig *r = make_rig(NULL);
	struct fleet_model *m = fleet_find(&r->fleet, SPAN_LIT("qwen3-4b"));

	(void)state;
	struct peer *disabled = chat(r, "{\"model\":\"gpt-oss-20b\"}");

	run_until(r, all_ended);
	expect(disabled, 503, "not enabled");
	snprintf(m->server.error, sizeof(m->server.error), "out of memory.");
	fake_set(&r->fleet, "qwen3-4b", SERVER_FAILED, 0);
	struct peer *failed = chat(r, "{\"model\":\"qwen3-4b\"}");

	run_until(r, all_ended);
	expect(failed, 503, "Retry-After: ");
	expect(failed, 503, "out of memory.");
	err_set(&r->fleet.link_err, ERR_UNAVAILABLE, "External server not running: no route");
	fake_set(&r->fleet, "qwen3-4b", SERVER_STOPPED, 0);
	struct peer *away = post(r, "/v1/messages", "", "{\"model\":\"qwen3-4b\"}");

	run_until(r, all_ended);
	expect(away, 503, "External server not running: no route");
	expect(away, 503, "overloaded_error");
	assert_int_equal(r->fleet.starts, 0);
	finish_rig(r);
}

static bool queue_is_full(const struct rig *r)
{
	return fleet_find(&r->fleet, SPAN_LIT("qwen3-4b"))->queued == QUEUE_MAX;
}

static bool last_ended(const struct rig *r)
{
	return r->peers[r->peer_count - 1].has_ended;
}

static void bounds_the_queue_and_the_wait(void **state)
{
	struct gateway_options options = { .queue_ms = 400 };
	struct rig *r = make_rig(&options);

	(void)state;
	fake_set(&r->fleet, "qwen3-4b", SERVER_LOADING, 0);
	for (int i = 0; i < QUEUE_MAX; i++) {
		chat(r, "{\"model\":\"qwen3-4b\"}");
	}
	run_until(r, queue_is_full);
	struct peer *over = chat(r, "{\"model\":\"qwen3-4b\"}");

	run_until(r, last_ended);
	expect(over, 429, "Retry-After: ");
	expect(over, 429, "rate_limit_exceeded");
	run_until(r, all_ended);
	expect(&r->peers[0], 503, "did not become ready");
	expect(&r->peers[QUEUE_MAX - 1], 503, "Retry-After: ");
	finish_rig(r);
}

static bool nobody_waits(const struct rig *r)
{
	return r->done == 1 && fleet_find(&r->fleet, SPAN_LIT("qwen3-4b"))->queued == 1;
}

static void forgets_a_client_that_leaves_the_queue(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	fake_set(&r->fleet, "qwen3-4b", SERVER_LOADING, 0);
	chat(r, "{\"model\":\"qwen3-4b\"}");
	chat(r, "{\"model\":\"qwen3-4b\"}");
	run_until(r, two_wait);
	close_peer(&r->peers[0]);
	run_until(r, nobody_waits);
	assert_int_equal(r->accounts[0].status, 499);
	fake_set(&r->fleet, "qwen3-4b", SERVER_READY, r->engine_port);
	run_until(r, all_ended);
	expect(&r->peers[1], 200, "42");
	assert_int_equal(r->requests, 1);
	finish_rig(r);
}

static bool was_tried(const struct rig *r)
{
	return fleet_find(&r->fleet, SPAN_LIT("qwen3-4b"))->queued == 1;
}

static void tries_again_what_a_crashed_engine_never_got(void **state)
{
	struct rig *r = make_rig(NULL);
	uint16_t port = r->engine_port;

	(void)state;
	http_server_close(r->engine);
	r->engine = NULL;
	struct peer *p = chat(r, "{\"model\":\"qwen3-4b\"}");

	run_until(r, was_tried); /* refused; the fleet still says ready */
	start_engine(r, port);
	run_until(r, all_ended);
	expect(p, 200, "42");
	assert_int_equal(r->requests, 1);
	finish_rig(r);
}

static bool one_is_done(const struct rig *r)
{
	return r->done == 1;
}

static void hears_a_client_leave_between_two_tries(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	http_server_close(r->engine);
	r->engine = NULL;
	chat(r, "{\"model\":\"qwen3-4b\"}");
	run_until(r, was_tried);
	close_peer(&r->peers[0]);
	fake_set(&r->fleet, "qwen3-4b", SERVER_BACKOFF, 0);
	run_until(r, one_is_done);
	assert_int_equal(r->accounts[0].status, 499);
	finish_rig(r);
}

static bool stream_runs(const struct rig *r)
{
	return has(&r->peers[0].got, "{\"n\":2}");
}

static bool engine_was_left(const struct rig *r)
{
	return r->engine_closed == 1;
}

static void closes_engine_connection_when_client_leaves(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	r->script = STREAM_ON;
	chat(r, "{\"stream\":true}");
	run_until(r, stream_runs);
	uint64_t left_us = loop_now_us();

	close_peer(&r->peers[0]);
	run_until(r, engine_was_left);
	assert_true(loop_now_us() - left_us < 100000);
	assert_int_equal(r->accounts[0].status, 499);
	finish_rig(r);
}

static void ends_streams_with_a_word_when_their_model_is_stopped(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	r->script = STREAM_ON;
	struct peer *p = chat(r, "{\"stream\":true}");

	run_until(r, stream_runs);
	fake_set(&r->fleet, "qwen3-4b", SERVER_STOPPING, 0);
	run_until(r, all_ended);
	expect(p, 200, "model 'qwen3-4b' is being stopped");
	assert_false(has(&p->got, "\r\n0\r\n"));
	finish_rig(r);
}

static void waits_for_a_restart_that_meets_the_request(void **state)
{
	struct rig *r = make_rig(NULL);
	struct fleet_model *m = fleet_find(&r->fleet, SPAN_LIT("qwen3-4b"));

	(void)state;
	m->is_draining = true;
	fake_set(&r->fleet, "qwen3-4b", SERVER_DRAINING, r->engine_port);
	struct peer *p = chat(r, "{\"model\":\"qwen3-4b\"}");

	run_until(r, was_tried);
	fake_set(&r->fleet, "qwen3-4b", SERVER_STOPPING, 0);
	m->is_draining = false;
	fake_set(&r->fleet, "qwen3-4b", SERVER_STARTING, 0);
	fake_set(&r->fleet, "qwen3-4b", SERVER_READY, r->engine_port);
	run_until(r, all_ended);
	expect(p, 200, "42");
	finish_rig(r);
}

static void tells_waiters_that_their_model_was_removed(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	fake_set(&r->fleet, "qwen3-4b", SERVER_LOADING, 0);
	struct peer *p = chat(r, "{\"model\":\"qwen3-4b\"}");

	run_until(r, was_tried);
	struct fleet_model *m = fleet_find(&r->fleet, SPAN_LIT("qwen3-4b"));
	struct fleet_listener *l = LIST_ITEM(r->fleet.listeners.next, struct fleet_listener, link);

	list_remove(&m->link);
	l->on_removed(l, "qwen3-4b");
	run_until(r, all_ended);
	expect(p, 404, "was removed");
	assert_int_equal(m->queued, 0);
	free(m);
	finish_rig(r);
}

static void refuses_wrong_keys_with_one_body_and_right_ones_for_other_models(void **state)
{
	struct gateway_options options = { .keys_always = true };
	struct rig *r = make_rig(&options);
	const char *models[] = { "gpt-oss-20b" };
	char secret[KEY_SECRET_BYTES], other[KEY_SECRET_BYTES], fields[160];
	struct err err;

	(void)state;
	assert_int_equal(keys_add(&r->keys, "all", NULL, 0, secret, &err), 0);
	assert_int_equal(keys_add(&r->keys, "one", models, 1, other, &err), 0);
	struct peer *none = chat(r, "{}");

	snprintf(fields, sizeof(fields), "Authorization: Bearer %.*s\r\n", (int)strlen(secret) - 1,
		 secret);
	struct peer *prefix = post(r, "/v1/chat/completions", fields, "{}");

	secret[10] ^= 1;
	snprintf(fields, sizeof(fields), "x-api-key: %s\r\n", secret);
	struct peer *off = post(r, "/v1/chat/completions", fields, "{}");

	secret[10] ^= 1;
	snprintf(fields, sizeof(fields), "x-api-key: %s\r\n", secret);
	struct peer *good = post(r, "/v1/messages", fields, "{}");

	snprintf(fields, sizeof(fields), "authorization: bearer %s\r\n", r->keys.token);
	struct peer *page = post(r, "/v1/chat/completions", fields, "{}");

	snprintf(fields, sizeof(fields), "Authorization: Bearer %s\r\n", other);
	struct peer *denied = post(r, "/v1/chat/completions", fields, "{\"model\":\"qwen3-4b\"}");

	run_until(r, all_ended);
	expect(none, 401, "invalid_api_key");
	size_t at = span_find(buf_span(&none->got), "\r\n\r\n");
	const char *body = none->got.data + at;

	expect(prefix, 401, body);
	expect(off, 401, body);
	expect(good, 200, "42");
	expect(page, 200, "42");
	expect(denied, 403, "does not open model 'qwen3-4b'");
	for (int i = 0; i < r->done; i++) {
		if (r->accounts[i].status == 200) {
			assert_true(strcmp(r->accounts[i].key, "all") == 0 ||
				    strcmp(r->accounts[i].key, "page") == 0);
		}
	}
	finish_rig(r);
}

/* As `ronzal keys add` does it, in a process of its own, right after the file was looked at. */
static void takes_a_key_that_was_made_just_now(void **state)
{
	struct gateway_options options = { .keys_always = true };
	struct rig *r = make_rig(&options);
	struct keys elsewhere;
	char secret[KEY_SECRET_BYTES], fields[160];
	struct err err;

	(void)state;
	struct peer *wrong =
		post(r, "/v1/chat/completions", "x-api-key: " KEY_PREFIX "wrong\r\n", "{}");

	run_until(r, all_ended);
	expect(wrong, 401, "invalid_api_key");
	assert_int_equal(keys_open(&elsewhere, r->folder, &err), 0);
	assert_int_equal(keys_add(&elsewhere, "new", NULL, 0, secret, &err), 0);
	keys_close(&elsewhere);
	snprintf(fields, sizeof(fields), "x-api-key: %s\r\n", secret);
	struct peer *good = post(r, "/v1/chat/completions", fields, "{}");

	run_until(r, all_ended);
	expect(good, 200, "42");
	finish_rig(r);
}

static void lets_this_machine_in_without_a_key_but_not_with_a_wrong_one(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	struct peer *none = chat(r, "{}");
	struct peer *any =
		post(r, "/v1/chat/completions", "Authorization: Bearer sk-no-key\r\n", "{}");
	struct peer *wrong = post(r, "/v1/messages", "x-api-key: rz-wrong\r\n", "{}");

	run_until(r, all_ended);
	expect(none, 200, "42");
	expect(any, 200, "42");
	expect(wrong, 401, "{\"type\":\"error\",\"error\":{");
	expect(wrong, 401, "authentication_error");
	finish_rig(r);
}

static void answers_what_is_not_here_in_the_callers_dialect(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	struct peer *openai = chat(r, "{\"model\":\"qwen3\"}");
	struct peer *anthropic = post(r, "/v1/messages", "", "{\"model\":\"qwen3-4c\"}");
	struct peer *llama = post(r, "/tokenize", "", "{\"model\":7}");
	struct peer *wrong_method = send_raw(r, "GET /v1/chat/completions HTTP/1.1\r\n"
						"Host: localhost\r\nConnection: close\r\n\r\n");
	struct peer *big = post(r, "/v1/chat/completions", "", "{\"x\":\"");

	buf_clear(&big->sent);
	buf_add_text(&big->sent, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
				 "Connection: close\r\nContent-Length: 4097\r\n\r\n");
	run_until(r, all_ended);
	expect(openai, 404, "\"code\":\"model_not_found\"");
	expect(openai, 404, "Models: qwen3-4b, gpt-oss-20b. Did you mean 'qwen3-4b'?");
	expect(anthropic, 404, "\"type\":\"not_found_error\"");
	expect(llama, 400, "\"code\":400");
	expect(wrong_method, 405, "Allow: POST");
	expect(big, 413, "error");
	assert_int_equal(r->requests, 0);
	finish_rig(r);
}

static void hides_the_engines_control_endpoints(void **state)
{
	static const char *const paths[] = { "/slots",		 "/slots/0?action=erase",
					     "/props",		 "/lora-adapters",
					     "/v1/slots",	 "/metrics",
					     "/health",		 "/v1/../slots",
					     "/v1/%2e%2e/props", "/models/load" };
	struct rig *r = make_rig(NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		post(r, paths[i], "", "{}");
	}
	run_until(r, all_ended);
	for (int i = 0; i < r->peer_count; i++) {
		assert_true(span_has_prefix(buf_span(&r->peers[i].got), "HTTP/1.1 404 ") ||
			    span_has_prefix(buf_span(&r->peers[i].got), "HTTP/1.1 400 "));
	}
	assert_int_equal(r->requests, 0);
	finish_rig(r);
}

static void lists_models_in_one_form_for_both_client_libraries(void **state)
{
	struct rig *r = make_rig(NULL);
	struct fleet_model *m = fleet_find(&r->fleet, SPAN_LIT("qwen3-4b"));

	(void)state;
	m->server.receipt.context_tokens = 32768;
	struct peer *list = send_raw(r, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
					"Connection: close\r\n\r\n");
	struct peer *one = send_raw(r, "GET /v1/models/small HTTP/1.1\r\nHost: localhost\r\n"
				       "Connection: close\r\n\r\n");
	struct peer *missing = send_raw(r, "GET /v1/models/none HTTP/1.1\r\nHost: localhost\r\n"
					   "Connection: close\r\n\r\n");

	run_until(r, all_ended);
	expect(list, 200, "{\"object\":\"list\",\"data\":[{\"id\":\"qwen3-4b\",");
	expect(list, 200,
	       "\"has_more\":false,\"first_id\":\"qwen3-4b\",\"last_id\":\"gpt-oss-20b\"");
	expect(one, 200,
	       "\"context_length\":32768,\"quantization\":\"Q4_K_M\","
	       "\"parameters_billion\":4.020,\"aliases\":[\"small\"]}");
	expect(one, 200, "\"state\":\"ready\"");
	expect(missing, 404, "model_not_found");
	finish_rig(r);
}

static void ends_everything_when_the_gateway_stops(void **state)
{
	struct rig *r = make_rig(NULL);
	struct err why;

	(void)state;
	r->script = STREAM_ON;
	struct peer *stream = chat(r, "{\"stream\":true}");

	run_until(r, stream_runs);
	fake_set(&r->fleet, "qwen3-4b", SERVER_LOADING, 0);
	struct peer *waits = chat(r, "{\"model\":\"qwen3-4b\"}");

	run_until(r, was_tried);
	assert_int_equal(gateway_active(r->gateway), 2);
	err_set(&why, ERR_UNAVAILABLE, "ronzal is being stopped");
	gateway_stop(r->gateway, &why);
	run_until(r, all_ended);
	expect(stream, 200, "data: {\"error\":{\"message\":\"ronzal is being stopped\"");
	expect(waits, 503, "ronzal is being stopped");
	finish_rig(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relays_with_the_engines_own_key_and_counts_the_tokens),
		cmocka_unit_test(relays_a_stream_byte_by_byte_and_reads_its_timings),
		cmocka_unit_test(ends_a_stream_whose_engine_dies_with_an_error_event_and_no_end),
		cmocka_unit_test(sends_a_request_once_that_had_reached_an_engine),
		cmocka_unit_test(starts_a_stopped_model_once_and_answers_all_who_waited),
		cmocka_unit_test(says_at_once_why_a_start_was_refused),
		cmocka_unit_test(says_at_once_that_waiting_is_no_use),
		cmocka_unit_test(bounds_the_queue_and_the_wait),
		cmocka_unit_test(forgets_a_client_that_leaves_the_queue),
		cmocka_unit_test(tries_again_what_a_crashed_engine_never_got),
		cmocka_unit_test(hears_a_client_leave_between_two_tries),
		cmocka_unit_test(closes_engine_connection_when_client_leaves),
		cmocka_unit_test(ends_streams_with_a_word_when_their_model_is_stopped),
		cmocka_unit_test(waits_for_a_restart_that_meets_the_request),
		cmocka_unit_test(tells_waiters_that_their_model_was_removed),
		cmocka_unit_test(refuses_wrong_keys_with_one_body_and_right_ones_for_other_models),
		cmocka_unit_test(takes_a_key_that_was_made_just_now),
		cmocka_unit_test(lets_this_machine_in_without_a_key_but_not_with_a_wrong_one),
		cmocka_unit_test(answers_what_is_not_here_in_the_callers_dialect),
		cmocka_unit_test(hides_the_engines_control_endpoints),
		cmocka_unit_test(lists_models_in_one_form_for_both_client_libraries),
		cmocka_unit_test(ends_everything_when_the_gateway_stops),
	};

	return cmocka_run_group_tests_name("gateway", tests, NULL, NULL);
}
