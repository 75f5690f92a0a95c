/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "../fake_fleet.h"
#include "backend/metrics.h"
#include "http/server.h"

#define REGISTRY \
	"{\"models\":{\"a\":{\"file_path\":\"/m/a.gguf\",\"port\":8081,\"enabled\":true}," \
	"\"b\":{\"file_path\":\"/m/b.gguf\",\"port\":8082,\"enabled\":true}}}"

struct scene {
	struct loop *loop;
	struct fleet fleet;
	struct usage *usage;
	struct metrics *metrics;
	struct http_server *engine;
	int asked;
	bool is_silent, is_running;
	struct buf text;
};

static struct scene *make_scene(void)
{
	struct scene *s = mem_alloc(sizeof(*s));

	s->loop = loop_create();
	fake_init(&s->fleet, REGISTRY);
	s->usage = usage_open(s->loop, "/nonexistent/usage.db");
	s->metrics = metrics_create(s->loop, &s->fleet, s->usage);
	buf_init(&s->text, METRICS_TEXT_MAX_BYTES);
	return s;
}

static void finish_scene(struct scene *s)
{
	metrics_close(s->metrics);
	usage_close(s->usage);
	http_server_close(s->engine);
	loop_destroy(s->loop);
	fake_finish(&s->fleet);
	buf_finish(&s->text);
	free(s);
}

static void on_text(void *user, struct span text)
{
	struct scene *s = user;

	buf_clear(&s->text);
	buf_add_span(&s->text, text);
	if (s->is_running) {
		loop_stop(s->loop);
	}
}

static const char *collect(struct scene *s)
{
	buf_clear(&s->text);
	metrics_collect(s->metrics, on_text, s);
	if (s->text.len == 0) {
		s->is_running = true;
		loop_run(s->loop);
		s->is_running = false;
	}
	return buf_text(&s->text);
}

static void has_line(const char *text, const char *line)
{
	char *with_ends = mem_printf("\n%s\n", line);

	if (strstr(text, with_ends) == NULL) {
		fail_msg("no line %s in:\n%s", line, text);
	}
	free(with_ends);
}

static const struct account done = {
	.model = "a",
	.phase = ACCOUNT_DONE,
	.status = 200,
	.prompt_tokens = 11,
	.cached_tokens = 4,
	.generated_tokens = 3,
	.begin_us = 1000000,
	.routed_us = 1020000,
	.first_us = 1300000,
	.end_us = 3000000,
	.tokens_per_second = 61.5,
};

static void counts_what_was_served(void **state)
{
	struct scene *s = make_scene();
	struct account running = done, failed = done, left = done;

	(void)state;
	running.phase = ACCOUNT_GENERATING;
	failed.status = 502;
	left.status = 499;
	left.routed_us = left.first_us = 0;
	left.tokens_per_second = 0;
	left.prompt_tokens = left.cached_tokens = left.generated_tokens = -1;
	metrics_account(s->metrics, &running);
	metrics_account(s->metrics, &done);
	metrics_account(s->metrics, &failed);
	metrics_account(s->metrics, &left);
	metrics_gap(s->metrics, "a", 20000);
	const char *text = collect(s);

	has_line(text, "ronzal_requests_total{model=\"a\"} 3");
	has_line(text, "ronzal_prompt_tokens_total{model=\"a\"} 22");
	has_line(text, "ronzal_generated_tokens_total{model=\"a\"} 6");
	has_line(text, "ronzal_queue_wait_seconds_bucket{model=\"a\",le=\"0.01\"} 0");
	has_line(text, "ronzal_queue_wait_seconds_bucket{model=\"a\",le=\"0.025\"} 2");
	has_line(text, "ronzal_queue_wait_seconds_count{model=\"a\"} 2");
	has_line(text, "ronzal_queue_wait_seconds_sum{model=\"a\"} 0.04");
	has_line(text, "ronzal_time_to_first_token_seconds_bucket{model=\"a\",le=\"0.25\"} 0");
	has_line(text, "ronzal_time_to_first_token_seconds_bucket{model=\"a\",le=\"0.5\"} 2");
	has_line(text, "ronzal_request_seconds_bucket{model=\"a\",le=\"2.5\"} 3");
	has_line(text, "ronzal_inter_token_seconds_bucket{model=\"a\",le=\"0.025\"} 1");
	has_line(text, "ronzal_generation_tokens_per_second_bucket{model=\"a\",le=\"100\"} 2");
	has_line(text, "ronzal_errors_total{model=\"a\",class=\"server\"} 1");
	has_line(text, "ronzal_errors_total{model=\"a\",class=\"left\"} 1");
	has_line(text, "ronzal_errors_total{model=\"a\",class=\"client\"} 0");
	finish_scene(s);
}

static void bounds_the_number_of_models(void **state)
{
	struct scene *s = make_scene();
	struct account a = done;

	(void)state;
	for (int i = 0; i < METRICS_MODELS_MAX + 50; i++) {
		char model[16];

		snprintf(model, sizeof(model), "m%d", i);
		a.model = model;
		metrics_account(s->metrics, &a);
	}
	const char *text = collect(s);
	size_t lines = 0;

	for (const char *at = text; (at = strstr(at, "ronzal_requests_total{")) != NULL; at++) {
		lines++;
	}
	assert_int_equal(lines, METRICS_MODELS_MAX);
	finish_scene(s);
}

static void on_engine_request(void *user, struct exchange *x)
{
	struct scene *s = user;

	s->asked++;
	if (s->is_silent) {
		static const struct exchange_callbacks calls = { NULL, NULL };

		exchange_watch(x, &calls, s);
		return;
	}
	assert_true(span_is(h1_get(exchange_request(x)->head, "Authorization"),
			    "Bearer engine-key"));
	exchange_reply(x, &(struct reply){ .status = 200, .content_type = "text/plain" },
		       SPAN_LIT("# HELP llamacpp:prompt_tokens_total x\n"
				"# TYPE llamacpp:prompt_tokens_total counter\n"
				"llamacpp:prompt_tokens_total 12\n"
				"llamacpp:requests_processing 1\n"
				"# TYPE odd histogram\n"
				"evil{a=\"b\"} 1\nnonsense\n blank\n"));
}

static void start_engine(struct scene *s)
{
	struct http_server_options options = {
		.listener = { .address = "127.0.0.1", .conns_max = 8 },
		.on_request = on_engine_request,
		.user = s,
	};
	struct err err;

	s->engine = http_server_start(s->loop, &options, &err);
	assert_non_null(s->engine);
	fake_set(&s->fleet, "a", SERVER_READY, http_server_port(s->engine));
	fake_set(&s->fleet, "b", SERVER_READY, http_server_port(s->engine));
}

static void passes_on_engines_own_figures_by_model_and_asks_once_a_second(void **state)
{
	struct scene *s = make_scene();

	(void)state;
	start_engine(s);
	fleet_find(&s->fleet, SPAN_LIT("a"))->server.receipt.verdict = RECEIPT_GPU;
	const char *text = collect(s);

	has_line(text, "# HELP llamacpp:prompt_tokens_total x\n"
		       "# TYPE llamacpp:prompt_tokens_total counter\n"
		       "llamacpp:prompt_tokens_total{model=\"a\"} 12\n"
		       "llamacpp:prompt_tokens_total{model=\"b\"} 12");
	has_line(text, "# TYPE llamacpp:requests_processing untyped\n"
		       "llamacpp:requests_processing{model=\"a\"} 1\n"
		       "llamacpp:requests_processing{model=\"b\"} 1");
	has_line(text, "ronzal_model_ready{model=\"a\"} 1");
	has_line(text, "ronzal_receipt{model=\"a\",verdict=\"gpu\"} 1");
	assert_null(strstr(text, "evil"));
	assert_null(strstr(text, "nonsense"));
	assert_null(strstr(text, "odd"));
	assert_null(strstr(text, "blank"));
	assert_int_equal(s->asked, 2);
	assert_non_null(strstr(collect(s), "llamacpp:prompt_tokens_total{model=\"b\"} 12"));
	assert_int_equal(s->asked, 2);
	finish_scene(s);
}

static void answers_without_an_engine_that_is_silent(void **state)
{
	struct scene *s = make_scene();

	(void)state;
	start_engine(s);
	s->is_silent = true;
	const char *text = collect(s);

	has_line(text, "ronzal_model_ready{model=\"a\"} 1");
	assert_null(strstr(text, "llamacpp:"));
	finish_scene(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_what_was_served),
		cmocka_unit_test(bounds_the_number_of_models),
		cmocka_unit_test(passes_on_engines_own_figures_by_model_and_asks_once_a_second),
		cmocka_unit_test(answers_without_an_engine_that_is_silent),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
