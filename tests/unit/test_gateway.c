/* SPDX-License-Identifier: MIT */
/* What the gateway does with a request that may pass: relaying, waiting, ending. */
#include "gateway_rig.h"

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
	assert_true(a->begin_us <= a->routed_us && a->routed_us <= a->end_us);
	assert_int_equal(a->first_us, 0); /* it does not tell */
	finish_rig(r);
}

/* A whole answer's first token is not its first byte. */
static void believes_what_a_whole_answer_tells_of_its_times_if_it_can_be(void **state)
{
	struct rig *r = make_rig(NULL);

	(void)state;
	r->script = ANSWER_TIMED;
	r->predicted_ms = "0.001";
	chat(r, "{}");
	run_until(r, all_ended);
	r->predicted_ms = "1e9";
	chat(r, "{}");
	run_until(r, all_ended);
	const struct account *a = r->accounts;

	assert_true(a->routed_us <= a->first_us && a->first_us < a->end_us);
	assert_int_equal(a[1].status, 200);
	assert_int_equal(a[1].first_us, 0);
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

static void words_the_engines_refusals_in_the_callers_dialect(void **state)
{
	static const struct {
		int status;
		const char *body;
		int expected;
		const char *type, *sentence;
	} cases[] = {
		{ 400,
		  "{\"error\":{\"code\":400,\"message\":\"no \\\"content\\\"\",\"type\":\"x\"}}",
		  400, "invalid_request_error", "no \\\"content\\\"" },
		{ 500, "{\"error\":{\"message\":\"'messages' is required\"}}", 400,
		  "invalid_request_error", "'messages' is required" },
		{ 500, "{\"error\":{\"message\":\"Compute error.\"}}", 502, "api_error",
		  "Compute error." },
		{ 503, "{\"error\":{\"message\":\"Loading model\"}}", 503, "overloaded_error",
		  "Loading model" },
		{ 401, "", 502, "api_error", "llama-server answered 401 without saying why" },
	};
	struct rig *r = make_rig(NULL);
	char error[200];

	(void)state;
	r->script = REFUSE;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		r->refusal = cases[i].status;
		r->refusal_body = cases[i].body;
		struct peer *anthropic = post(r, "/v1/messages", "", "{\"stream\":true}");
		struct peer *openai = chat(r, "{}");

		run_until(r, all_ended);
		snprintf(error, sizeof(error),
			 "{\"type\":\"error\",\"error\":{\"message\":\"%s\",\"type\":\"%s\"}}",
			 cases[i].sentence, cases[i].type);
		expect(anthropic, cases[i].expected, error);
		expect(openai, cases[i].status, cases[i].body);
	}
	assert_int_equal(r->done, 2 * (int)ARRAY_LEN(cases));
	assert_int_equal(gateway_active(r->gateway), 0);
	finish_rig(r);
}

/* No more of it is kept than is shown. */
static void a_long_refusal_is_cut(void **state)
{
	struct rig *r = make_rig(NULL);
	char *body = mem_printf("{\"error\":{\"message\":\"%*s\"}}", 200000, "x");

	(void)state;
	r->script = REFUSE;
	r->refusal = 400;
	r->refusal_body = body;
	struct peer *p = post(r, "/v1/messages", "", "{}");

	run_until(r, all_ended);
	expect(p, 400, "llama-server answered 400 without saying why");
	free(body);
	finish_rig(r);
}

static bool engine_was_asked(const struct rig *r)
{
	return r->requests == 1;
}

static void a_stop_tells_whom_the_engine_had_not_answered_to_come_again(void **state)
{
	struct rig *r = make_rig(NULL);
	struct err why;

	(void)state;
	r->script = SILENT;
	struct peer *p = chat(r, "{}");

	run_until(r, engine_was_asked);
	err_set(&why, ERR_UNAVAILABLE, "the gateway is stopping");
	gateway_stop(r->gateway, &why);
	run_until(r, all_ended);
	expect(p, 503, "\r\nRetry-After: 5\r\n");
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
		cmocka_unit_test(believes_what_a_whole_answer_tells_of_its_times_if_it_can_be),
		cmocka_unit_test(relays_a_stream_byte_by_byte_and_reads_its_timings),
		cmocka_unit_test(ends_a_stream_whose_engine_dies_with_an_error_event_and_no_end),
		cmocka_unit_test(sends_a_request_once_that_had_reached_an_engine),
		cmocka_unit_test(words_the_engines_refusals_in_the_callers_dialect),
		cmocka_unit_test(a_long_refusal_is_cut),
		cmocka_unit_test(a_stop_tells_whom_the_engine_had_not_answered_to_come_again),
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
		cmocka_unit_test(ends_everything_when_the_gateway_stops),
	};

	return cmocka_run_group_tests_name("gateway", tests, NULL, NULL);
}
