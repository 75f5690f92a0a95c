/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "backend/usage.h"
#include "base/mem.h"

struct scene {
	struct loop *loop;
	struct usage *usage;
	char path[64];
	char *answer;
	int status;
};

static void open_scene(struct scene *s)
{
	snprintf(s->path, sizeof(s->path), "/tmp/ronzal-usage-%ld.db", (long)getpid());
	s->loop = loop_create();
	s->usage = usage_open(s->loop, s->path);
}

static void close_scene(struct scene *s)
{
	usage_close(s->usage);
	loop_run(s->loop);
	loop_destroy(s->loop);
	free(s->answer);
	s->answer = NULL;
}

static void remove_files(const struct scene *s)
{
	static const char *const ends[] = { "", "-wal", "-shm" };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		char *path = mem_printf("%s%s", s->path, ends[i]);

		unlink(path);
		free(path);
	}
}

static void on_answer(void *user, const struct err *err, struct span json)
{
	struct scene *s = user;

	s->status = err->code;
	free(s->answer);
	s->answer = mem_spandup(json);
}

static void ask(struct scene *s, const struct usage_question *q)
{
	s->status = 1;
	usage_ask(s->usage, q, on_answer, s);
	loop_run(s->loop);
	assert_int_equal(s->status, 0);
}

static struct account account_of(uint64_t id, const char *model, int status)
{
	struct account a = { .id = id,
			     .at_unix_ms = 1700000000000,
			     .phase = ACCOUNT_DONE,
			     .model = model,
			     .key = "",
			     .path = "/v1/chat/completions",
			     .status = status,
			     .error = status >= 400 ? "broken" : "",
			     .prompt_tokens = 10,
			     .cached_tokens = -1,
			     .generated_tokens = 5,
			     .begin_us = 1000,
			     .routed_us = 2000,
			     .first_us = 21000,
			     .end_us = 101000,
			     .tokens_per_second = 62.5 };

	return a;
}

static void requests_and_sums_come_back_after_a_restart(void **state)
{
	struct scene s = { .answer = NULL };
	struct account accounts[] = { account_of(1, "a", 200), account_of(2, "a", 502),
				      account_of(3, "b", 200) };

	(void)state;
	accounts[1].at_unix_ms += 5;
	open_scene(&s);
	assert_int_equal(usage_next_id(s.usage), 1);
	for (size_t i = 0; i < ARRAY_LEN(accounts); i++) {
		usage_account(s.usage, &accounts[i]);
	}
	close_scene(&s);

	open_scene(&s);
	assert_int_equal(usage_next_id(s.usage), 4);
	ask(&s, &(struct usage_question){ .what = USAGE_REQUESTS, .model = "a", .limit = 10 });
	assert_non_null(strstr(s.answer, "\"id\":2,\"at_unix_ms\":1700000000005,"));
	assert_non_null(strstr(s.answer, "\"id\":1,\"at_unix_ms\":1700000000000,"));
	assert_non_null(strstr(s.answer, "\"tokens_per_second\":62.50,"));
	assert_non_null(strstr(s.answer, "\"error\":\"broken\""));
	assert_non_null(strstr(s.answer, "\"first_token_ms\":20,"));
	assert_non_null(strstr(s.answer, "\"cached_tokens\":null"));
	assert_null(strstr(s.answer, "\"model_id\":\"b\""));
	ask(&s, &(struct usage_question){ .what = USAGE_REQUESTS, .failed = true, .limit = 10 });
	assert_null(strstr(s.answer, "\"id\":1,"));
	ask(&s,
	    &(struct usage_question){ .what = USAGE_BUCKETS, .model = "a", .step_ms = 86400000 });
	assert_non_null(strstr(s.answer, "\"requests\":2,\"errors\":1,\"prompt_tokens\":20,"
					 "\"generated_tokens\":10,\"generating_ms\":160,"
					 "\"first_token_ms_mean\":20.00"));
	close_scene(&s);
	remove_files(&s);
}

/* Fills the queue with ids from `id` on; it is written in two batches. The id after them. */
static uint64_t fill_queue(struct scene *s, uint64_t id)
{
	for (size_t i = 0; i < USAGE_QUEUE_MAX; i++) {
		struct account a = account_of(id++, "a", 200);

		usage_account(s->usage, &a);
	}
	loop_run(s->loop);
	return id;
}

static void the_oldest_requests_make_room(void **state)
{
	struct scene s = { .answer = NULL };
	uint64_t next = 1;

	(void)state;
	open_scene(&s);
	next = fill_queue(&s, next);
	next = fill_queue(&s, next);
	ask(&s, &(struct usage_question){ .what = USAGE_REQUESTS, .before = 2, .limit = 10 });
	assert_non_null(strstr(s.answer, "\"id\":1,"));
	next = fill_queue(&s, next);
	close_scene(&s);

	open_scene(&s);
	assert_int_equal(usage_next_id(s.usage), next);
	ask(&s, &(struct usage_question){ .what = USAGE_REQUESTS, .limit = 10 });
	assert_non_null(strstr(s.answer, "\"requests\":[{\"id\":12288,"));
	assert_non_null(strstr(s.answer, "{\"id\":12279,"));
	assert_null(strstr(s.answer, "{\"id\":12278,"));
	ask(&s, &(struct usage_question){ .what = USAGE_REQUESTS, .before = 2060, .limit = 100 });
	assert_non_null(strstr(s.answer, "\"requests\":[{\"id\":2059,"));
	assert_non_null(strstr(s.answer, "{\"id\":2049,"));
	assert_null(strstr(s.answer, "{\"id\":2048,"));
	close_scene(&s);
	remove_files(&s);
}

static void a_start_is_one_row_from_its_beginning_to_its_end(void **state)
{
	struct scene s = { .answer = NULL };
	struct server server = { .phase = SERVER_LOADING, .pid = 7, .phase_unix_ms = 1000 };

	(void)state;
	open_scene(&s);
	snprintf(server.id, sizeof(server.id), "m");
	usage_server(s.usage, &server);
	server.phase = SERVER_READY;
	server.ready_unix_ms = 1400;
	server.load_ms = 400;
	server.receipt.verdict = RECEIPT_GPU;
	server.receipt.context_tokens = 4096;
	usage_server(s.usage, &server);
	usage_server(s.usage, &server);
	server = (struct server){ .phase = SERVER_BACKOFF };
	snprintf(server.id, sizeof(server.id), "m");
	snprintf(server.error, sizeof(server.error), "killed by signal 9");
	usage_server(s.usage, &server);
	loop_run(s.loop);
	ask(&s, &(struct usage_question){ .what = USAGE_STARTS, .model = "m" });
	assert_non_null(strstr(s.answer, "\"started_unix_ms\":1000,\"ready_unix_ms\":1400,"));
	assert_non_null(strstr(s.answer, "\"load_ms\":400,\"exit\":\"killed by signal 9\","
					 "\"verdict\":\"gpu\""));
	assert_null(strstr(strstr(s.answer, "started_unix_ms") + 1, "started_unix_ms"));
	close_scene(&s);
	remove_files(&s);
}

static void a_database_that_cannot_be_used_says_so_and_harms_nobody(void **state)
{
	struct scene s = { .loop = loop_create() };
	struct account a = account_of(1, "a", 200);

	(void)state;
	s.usage = usage_open(s.loop, "/nonexistent/usage.db");
	usage_account(s.usage, &a);
	assert_int_equal(usage_not_kept(s.usage), 1);
	usage_ask(s.usage, &(struct usage_question){ .what = USAGE_REQUESTS }, on_answer, &s);
	assert_int_equal(s.status, ERR_IO);
	close_scene(&s);
}

/* Another program's SQL on the same file. */
static sqlite3 *tamper(const struct scene *s, const char *sql)
{
	sqlite3 *other;

	assert_int_equal(sqlite3_open(s->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, sql, NULL, NULL, NULL), SQLITE_OK);
	return other;
}

static void what_cannot_be_written_is_counted_and_the_next_is_kept(void **state)
{
	struct scene s = { .answer = NULL };
	struct account accounts[] = { account_of(1, "a", 200), account_of(2, "a", 200) };
	const struct usage_question all = { .what = USAGE_REQUESTS, .limit = 10 };

	(void)state;
	open_scene(&s);
	sqlite3 *other = tamper(&s, "BEGIN IMMEDIATE");

	usage_account(s.usage, &accounts[0]);
	loop_run(s.loop);
	assert_int_equal(usage_not_kept(s.usage), 1);
	usage_ask(s.usage, &all, on_answer, &s);
	assert_int_equal(s.status, ERR_IO);
	sqlite3_close(other);
	usage_account(s.usage, &accounts[1]);
	loop_run(s.loop);
	assert_int_equal(usage_not_kept(s.usage), 1);
	ask(&s, &all);
	assert_non_null(strstr(s.answer, "\"id\":2,"));
	close_scene(&s);
	remove_files(&s);
}

static void a_broken_table_is_no_empty_answer(void **state)
{
	struct scene s = { .answer = NULL };

	(void)state;
	open_scene(&s);
	/* json() fails, and only once the row is read. */
	sqlite3_close(tamper(&s, "DROP TABLE batch; CREATE VIEW batch AS SELECT 1 AS upto, 1 AS id,"
				 " 1 AS at, json('{') AS requests, x'' AS texts"));
	usage_ask(s.usage, &(struct usage_question){ .what = USAGE_REQUESTS, .limit = 10 },
		  on_answer, &s);
	loop_run(s.loop);
	assert_int_equal(s.status, ERR_IO);
	close_scene(&s);
	remove_files(&s);
}

/* Tokens by milliseconds are the mean speed: both are of the same requests. */
static void generating_is_counted_where_something_was_generated(void **state)
{
	struct scene s = { .answer = NULL };
	struct account whole = account_of(1, "a", 200), left = account_of(2, "a", 499);

	(void)state;
	whole.first_us = 0; /* not told: all of its 99 ms since it was routed */
	left.generated_tokens = -1;
	open_scene(&s);
	usage_account(s.usage, &whole);
	usage_account(s.usage, &left);
	loop_run(s.loop);
	ask(&s, &(struct usage_question){ .what = USAGE_BUCKETS, .step_ms = 86400000 });
	assert_non_null(strstr(s.answer, "\"generated_tokens\":5,\"generating_ms\":99,"
					 "\"first_token_ms_mean\":20.00"));
	close_scene(&s);
	remove_files(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_and_sums_come_back_after_a_restart),
		cmocka_unit_test(the_oldest_requests_make_room),
		cmocka_unit_test(a_start_is_one_row_from_its_beginning_to_its_end),
		cmocka_unit_test(what_cannot_be_written_is_counted_and_the_next_is_kept),
		cmocka_unit_test(a_broken_table_is_no_empty_answer),
		cmocka_unit_test(generating_is_counted_where_something_was_generated),
		cmocka_unit_test(a_database_that_cannot_be_used_says_so_and_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
