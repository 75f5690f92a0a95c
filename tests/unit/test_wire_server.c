/* SPDX-License-Identifier: MIT */
/*
 * The JSON form of servers, receipts and hosts: what is written is read back equal, and what a
 * newer, older or hostile other side says is read as far as it can be trusted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/server.h"

#define TEXT_MAX_BYTES 16384

static struct json *parse(const char *text)
{
	struct err err = { 0 };
	struct json *json = json_parse(span_of(text), &err);

	assert_non_null(json);
	return json;
}

static struct server sample(void)
{
	struct server s = {
		.id = "qwen3-4b",
		.name = "Qwen3 4B \xe2\x80\x9cinstruct\xe2\x80\x9d",
		.host = "m4pro",
		.phase = SERVER_READY,
		.enabled = true,
		.by_controller = true,
		.port = 65535,
		.pid = 4312,
		.starts = 3,
		.restarts = 2,
		.phase_unix_ms = 1795459590123,
		.ready_unix_ms = 1795459591000,
		.load_ms = 870,
		.progress = 0.625f,
		.eta_ms = -1,
		.retry_ms = 1500,
		.estimate_bytes = 5471788236,
		.memory_bytes = 5471788237,
		.busy_slots = 3,
		.tokens_per_second = 61.25f,
		.error_code = ERR_NO_MEMORY,
		.error = "needs 12.4 GiB, \"9.8\" are free\n",
		.next_step = "ronzal set qwen3-4b ctx_size=8192",
	};
	s.receipt = (struct receipt){
		.verdict = RECEIPT_PARTIAL,
		.wanted = true,
		.engine = "llama-server 0.7.0 (build 11669)",
		.device = "MTL0",
		.device_name = "Apple M4 Pro",
		.layers_offloaded = 10,
		.layers_total = 33,
		.device_bytes = 2081300480,
		.host_bytes = 22020096,
		.context_tokens = 8192,
		.slots = 4,
		.why = "10 of 33 layers fit",
		.evidence_count = 2,
		.evidence = { "load_tensors: offloaded 10/33 layers to GPU", "second" },
	};
	return s;
}

static void assert_server_survives(const struct server *s)
{
	struct server got;
	struct json_writer w;
	struct buf out;
	struct err err = { 0 };

	buf_init(&out, TEXT_MAX_BYTES);
	jsonw_init(&w, &out);
	server_write(&w, s);
	assert_int_equal(jsonw_end_all(&w), 0);
	struct json *json = parse(buf_text(&out));

	memset(&got, 0, sizeof(got));
	assert_int_equal(server_read(json_root(json), &got, &err), 0);
	assert_string_equal(got.id, s->id);
	assert_string_equal(got.name, s->name);
	assert_string_equal(got.error, s->error);
	assert_string_equal(got.next_step, s->next_step);
	assert_int_equal(got.phase, s->phase);
	assert_int_equal(got.error_code, s->error_code);
	assert_true(got.phase_unix_ms == s->phase_unix_ms);
	assert_true(got.memory_bytes == s->memory_bytes);
	assert_int_equal(got.busy_slots, s->busy_slots);
	assert_true(got.tokens_per_second == s->tokens_per_second);
	assert_true(got.progress == s->progress);
	assert_int_equal(got.receipt.verdict, s->receipt.verdict);
	assert_int_equal(got.receipt.evidence_count, s->receipt.evidence_count);

	/* And all the rest: written again it is the same text. */
	struct buf again;

	buf_init(&again, TEXT_MAX_BYTES);
	jsonw_init(&w, &again);
	server_write(&w, &got);
	assert_int_equal(jsonw_end_all(&w), 0);
	assert_string_equal(buf_text(&again), buf_text(&out));
	json_destroy(json);
	buf_finish(&out);
	buf_finish(&again);
}

static void server_comes_back_as_it_was_written(void **state)
{
	(void)state;
	struct server s = sample();

	for (int phase = SERVER_STOPPED; phase <= SERVER_UNKNOWN; phase++) {
		s.phase = (enum server_phase)phase;
		assert_server_survives(&s);
	}
	s = (struct server){ .id = "a", .progress = -1, .receipt = { .layers_total = -1 } };
	assert_server_survives(&s);
}

static void unknown_members_are_ignored_and_absent_ones_have_defaults(void **state)
{
	(void)state;
	struct server s;
	struct json *json = parse("{\"id\":\"m\",\"phase\":\"loading\",\"colour\":{\"a\":[1]}}");

	assert_int_equal(server_read(json_root(json), &s, NULL), 0);
	assert_int_equal(s.phase, SERVER_LOADING);
	assert_true(s.progress < 0);
	assert_true(s.eta_ms < 0);
	assert_int_equal(s.error_code, 0);
	assert_int_equal(s.receipt.verdict, RECEIPT_UNKNOWN);
	assert_int_equal(s.receipt.layers_offloaded, -1);
	assert_int_equal(s.receipt.layers_total, -1);
	json_destroy(json);
}

static void bad_members_are_named_and_leave_the_result_alone(void **state)
{
	(void)state;
	static const struct {
		const char *text, *named;
	} rows[] = {
		{ "{\"phase\":\"ready\"}", "id" },
		{ "{\"id\":\"\",\"phase\":\"ready\"}", "id" },
		{ "{\"id\":\"m\"}", "phase" },
		{ "{\"id\":\"m\",\"phase\":\"flying\"}", "phase" },
		{ "{\"id\":\"m\",\"phase\":\"ready\",\"port\":65536}", "port" },
		{ "{\"id\":\"m\",\"phase\":\"ready\",\"port\":-1}", "port" },
		{ "{\"id\":\"m\",\"phase\":\"ready\",\"memory_bytes\":-5}", "memory_bytes" },
		{ "{\"id\":\"m\",\"phase\":\"ready\",\"load_ms\":4294967296}", "load_ms" },
		{ "{\"id\":\"m\",\"phase\":\"ready\",\"enabled\":1}", "enabled" },
		{ "{\"id\":\"m\",\"phase\":\"ready\",\"progress\":1e300}", "progress" },
		{ "{\"id\":\"m\",\"phase\":\"ready\",\"error\":{}}", "error" },
		{ "[]", "id" },
		{ "7", "id" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct server s = { .pid = 77 };
		struct err err = { 0 };
		struct json *json = parse(rows[i].text);

		assert_int_equal(server_read(json_root(json), &s, &err), ERR_INVALID);
		assert_non_null(strstr(err.text, rows[i].named));
		assert_int_equal(s.pid, 77);
		json_destroy(json);
	}
}

static void texts_that_are_too_long_are_cut_between_characters(void **state)
{
	(void)state;
	struct server s;
	struct buf text;

	buf_init(&text, TEXT_MAX_BYTES);
	buf_add_text(&text, "{\"id\":\"m\",\"phase\":\"ready\",\"host\":\"a");
	for (int i = 0; i < 100; i++) {
		buf_add_text(&text, "\xe2\x82\xac");
	}
	buf_add_text(&text, "\"}");
	struct json *json = parse(buf_text(&text));

	assert_int_equal(server_read(json_root(json), &s, NULL), 0);
	assert_int_equal(strlen(s.host), 61); /* a and 20 signs of 3 bytes; 63 would cut one */
	assert_true(span_is_utf8(span_of(s.host)));
	json_destroy(json);

	buf_clear(&text);
	buf_add_text(&text, "{\"phase\":\"ready\",\"id\":\"");
	for (int i = 0; i < SERVER_ID_MAX_BYTES; i++) {
		buf_add_char(&text, 'x');
	}
	buf_add_text(&text, "\"}");
	json = parse(buf_text(&text));
	assert_int_equal(server_read(json_root(json), &s, NULL), ERR_INVALID);
	json_destroy(json);
	buf_finish(&text);
}

static void broken_receipt_proves_nothing(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"{\"verdict\":\"gpu\",\"layers_total\":\"33\"}",
		"{\"verdict\":\"warp\",\"device\":\"MTL0\"}",
		"{\"device\":\"MTL0\",\"verdict\":\"gpu\",\"slots\":-1}",
		"\"gpu\"",
		"null",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct receipt r;
		struct json *json = parse(texts[i]);

		receipt_read(json_root(json), &r);
		assert_int_equal(r.verdict, RECEIPT_UNKNOWN);
		assert_string_equal(r.device, "");
		json_destroy(json);
	}
}

static void evidence_beyond_the_limit_is_dropped(void **state)
{
	(void)state;
	struct receipt r;
	struct json *json = parse(
		"{\"verdict\":\"cpu\",\"evidence\":[\"1\",2,\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"]}");

	receipt_read(json_root(json), &r);
	assert_int_equal(r.evidence_count, RECEIPT_EVIDENCE_MAX);
	assert_string_equal(r.evidence[1], "3");
	assert_string_equal(r.evidence[5], "7");
	json_destroy(json);
}

static void host_comes_back_as_it_was_written(void **state)
{
	(void)state;
	struct host_info h = {
		.name = "m4pro",
		.engine = "llama-server 0.7.0 (build 11669)",
		.engine_path = "/opt/homebrew/bin/llama-server",
		.channel = "ssh",
		.device_count = 2,
		.devices = { { "MTL0", "Apple M4 Pro", 55664705536, 55663656960 },
			     { "CPU", "Apple", 1, 0 } },
		.memory_total_bytes = 68719476736,
		.memory_available_bytes = 31,
		.memory_budget_bytes = 32,
	};
	struct host_info got;
	struct json_writer w;
	struct buf out;

	buf_init(&out, TEXT_MAX_BYTES);
	jsonw_init(&w, &out);
	host_info_write(&w, &h);
	assert_int_equal(jsonw_end_all(&w), 0);
	struct json *json = parse(buf_text(&out));

	host_info_read(json_root(json), &got);
	assert_memory_equal(&got.devices[0], &h.devices[0], sizeof(h.devices[0]));
	assert_int_equal(got.device_count, 2);
	assert_string_equal(got.name, h.name);
	assert_string_equal(got.engine_path, h.engine_path);
	assert_string_equal(got.channel, h.channel);
	assert_true(got.memory_total_bytes == h.memory_total_bytes);
	assert_true(got.memory_budget_bytes == h.memory_budget_bytes);
	json_destroy(json);
	buf_finish(&out);
}

static void phases_have_names_and_meanings(void **state)
{
	(void)state;
	enum server_phase phase = SERVER_FAILED;

	assert_int_equal(server_phase_from_name(SPAN_LIT("draining"), &phase), 0);
	assert_int_equal(phase, SERVER_DRAINING);
	assert_int_equal(server_phase_from_name(SPAN_LIT("Ready"), &phase), ERR_INVALID);
	assert_int_equal(server_phase_from_name(SPAN_LIT(""), &phase), ERR_INVALID);
	assert_int_equal(phase, SERVER_DRAINING);
	assert_true(server_phase_is_running(SERVER_DRAINING));
	assert_false(server_phase_is_accepting(SERVER_DRAINING));
	assert_true(server_phase_is_accepting(SERVER_READY));
	assert_false(server_phase_is_running(SERVER_BACKOFF));
	assert_string_equal(receipt_verdict_name(RECEIPT_PARTIAL), "partial");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_comes_back_as_it_was_written),
		cmocka_unit_test(unknown_members_are_ignored_and_absent_ones_have_defaults),
		cmocka_unit_test(bad_members_are_named_and_leave_the_result_alone),
		cmocka_unit_test(texts_that_are_too_long_are_cut_between_characters),
		cmocka_unit_test(broken_receipt_proves_nothing),
		cmocka_unit_test(evidence_beyond_the_limit_is_dropped),
		cmocka_unit_test(host_comes_back_as_it_was_written),
		cmocka_unit_test(phases_have_names_and_meanings),
	};

	return cmocka_run_group_tests_name("wire_server", tests, NULL, NULL);
}
