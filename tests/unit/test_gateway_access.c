/* SPDX-License-Identifier: MIT */
/* Who may pass the gateway, and what is there for them. */
#include "gateway_rig.h"

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
	struct peer *unknown = post(r, "/v1/chat/completions", fields, "{\"model\":\"qwen3\"}");
	char *get = mem_printf("GET /v1/models/qwen3-4b HTTP/1.1\r\nHost: localhost\r\n%s"
			       "Connection: close\r\n\r\n",
			       fields);
	struct peer *unseen = send_raw(r, get);

	free(get);
	run_until(r, all_ended);
	expect(none, 401, "invalid_api_key");
	size_t at = span_find(buf_span(&none->got), "\r\n\r\n");
	const char *body = none->got.data + at;

	expect(prefix, 401, body);
	expect(off, 401, body);
	expect(good, 200, "42");
	expect(page, 200, "42");
	expect(denied, 403, "does not open model 'qwen3-4b'");
	expect(unknown, 404, "model 'qwen3' is not here. Models: gpt-oss-20b\"");
	expect(unseen, 403, "does not open model 'qwen3-4b'");
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
	struct peer *batches = post(r, "/v1/messages/batches", "", "{}");
	struct peer *llama = post(r, "/tokenize", "", "{\"model\":7}");
	struct peer *empty = chat(r, "");
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
	expect(batches, 404, "{\"type\":\"error\",\"error\":{\"message\":\"there is no endpoint");
	expect(llama, 400, "\"code\":400");
	expect(empty, 400, "there is nothing");
	expect(wrong_method, 405, "Allow: POST");
	expect(big, 413, "error");
	bool is_counted = false;

	for (int i = 0; i < r->done; i++) { /* what was refused is not said to have left */
		assert_int_not_equal(r->accounts[i].status, 499);
		is_counted |= r->accounts[i].status == 413;
	}
	assert_true(is_counted);
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
	struct peer *same = send_raw(r, "GET /v1/models/ HTTP/1.1\r\nHost: localhost\r\n"
					"Connection: close\r\n\r\n");
	struct peer *unversioned = send_raw(r, "GET /models HTTP/1.1\r\nHost: localhost\r\n"
					       "Connection: close\r\n\r\n");
	struct peer *one = send_raw(r, "GET /v1/models/small HTTP/1.1\r\nHost: localhost\r\n"
				       "Connection: close\r\n\r\n");
	struct peer *missing = send_raw(r, "GET /v1/models/none HTTP/1.1\r\nHost: localhost\r\n"
					   "Connection: close\r\n\r\n");

	run_until(r, all_ended);
	expect(list, 200, "{\"object\":\"list\",\"data\":[{\"id\":\"qwen3-4b\",");
	expect(list, 200,
	       "\"has_more\":false,\"first_id\":\"qwen3-4b\",\"last_id\":\"gpt-oss-20b\"");
	expect(same, 200, "{\"object\":\"list\",");
	expect(unversioned, 200, "{\"object\":\"list\",");
	expect(one, 200,
	       "\"context_length\":32768,\"quantization\":\"Q4_K_M\","
	       "\"parameters_billion\":4.020,\"aliases\":[\"small\"]}");
	expect(one, 200, "\"state\":\"ready\"");
	expect(missing, 404, "model_not_found");
	finish_rig(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_wrong_keys_with_one_body_and_right_ones_for_other_models),
		cmocka_unit_test(takes_a_key_that_was_made_just_now),
		cmocka_unit_test(lets_this_machine_in_without_a_key_but_not_with_a_wrong_one),
		cmocka_unit_test(answers_what_is_not_here_in_the_callers_dialect),
		cmocka_unit_test(hides_the_engines_control_endpoints),
		cmocka_unit_test(lists_models_in_one_form_for_both_client_libraries),
	};

	return cmocka_run_group_tests_name("gateway_access", tests, NULL, NULL);
}
