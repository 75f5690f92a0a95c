/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "../fake_fleet.h"
#include "backend/router.h"

#define REGISTRY \
	"{\"models\":{" \
	"\"qwen3-4b\":{\"file_path\":\"/m/q.gguf\",\"port\":8081,\"enabled\":true," \
	"\"aliases\":[\"small\"]}," \
	"\"gpt-oss-20b\":{\"file_path\":\"/m/g.gguf\",\"port\":8082,\"enabled\":false}}}"

static void finds_routes_by_exact_path_only(void **state)
{
	static const char *const known[] = { "/v1/models", "/v1/models/a/b", "/v1/messages",
					     "/v1/chat/completions", "/infill" };
	static const char *const unknown[] = { "/",
					       "/v1",
					       "/v1/",
					       "/v1/model",
					       "/v1/modelsX",
					       "/v1/chat",
					       "/V1/models",
					       "/v1/chat/completions/",
					       "/v1/messages/x",
					       "/slots",
					       "/props",
					       "/lora-adapters" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		assert_non_null(route_find(known[i]));
	}
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		assert_null(route_find(unknown[i]));
	}
	assert_int_equal(route_find("/v1/messages")->dialect, DIALECT_ANTHROPIC);
	assert_int_equal(route_find("/v1/audio/transcriptions")->kind, ROUTE_FORM);
}

static void reads_top_level_model_and_stream(void **state)
{
	static const struct {
		const char *body, *model;
		bool stream;
	} rows[] = {
		{ "{\"model\":\"a\",\"stream\":true}", "a", true },
		{ " {\"stream\":false , \"x\":{\"model\":\"in\",\"stream\":true}}\n", "", false },
		{ "{\"mod\\u0065l\":\"a\\u002db\"}", "a-b", false },
		{ "{\"model\":null,\"stream\":null}", "", false },
		{ "{}", "", false },
		{ "{\"n_discard\":5,\"messages\":[{\"lora\":1}]}", "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct routing routing;

		assert_int_equal(routing_read_json(span_of(rows[i].body), &routing, NULL), 0);
		assert_string_equal(routing.model, rows[i].model);
		assert_int_equal(routing.stream, rows[i].stream);
	}
}

static void refuses_bodies_that_are_wrong_ambiguous_or_reach_into_the_engine(void **state)
{
	static const struct {
		const char *body, *said;
	} rows[] = {
		{ "", "" },
		{ "[]", "" },
		{ "{", "" },
		{ "{} x", "" },
		{ "{\"model\":NaN}", "" },
		{ "{\"model\":\"a\",\"model\":\"a\"}", "'model' stands twice" },
		{ "{\"model\":\"a\",\"m\\u006fdel\":\"b\"}", "'model' stands twice" },
		{ "{\"stream\":true,\"str\\u0065am\":false}", "'stream' stands twice" },
		{ "{\"model\":7}", "'model' is not a model's name" },
		{ "{\"model\":[\"a\"]}", "'model' is not a model's name" },
		{ "{\"model\":\"a\\u0000b\"}", "'model' is not a model's name" },
		{ "{\"stream\":\"true\"}", "'stream' is neither" },
		{ "{\"stream\":1}", "'stream' is neither" },
		{ "{\"n_discard\":-1}", "'n_discard' is negative" },
		{ "{\"lora\":[{\"id\":0,\"scale\":9}]}", "'lora' is not accepted" },
		{ "{\"\\u006cora\":[]}", "'lora' is not accepted" },
		{ "{\"model_path\":\"/etc/passwd\"}", "'model_path' is not accepted" },
		{ "{\"id_slot\":9999}", "'id_slot' is not accepted" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct routing routing = { .model = "untouched" };
		struct err err;

		assert_int_equal(routing_read_json(span_of(rows[i].body), &routing, &err),
				 ERR_INVALID);
		assert_non_null(strstr(err.text, rows[i].said));
		assert_string_equal(routing.model, "untouched");
	}
}

#define PART(name, value) \
	"--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static void reads_the_model_of_a_form(void **state)
{
	static const struct {
		const char *type, *body, *model;
		int status;
	} rows[] = {
		{ "multipart/form-data; boundary=XX",
		  PART("file", "RIFF\x01\x02") PART("model", "small") "--XX--\r\n", "small", 0 },
		{ "multipart/form-data; boundary=\"XX\"", PART("model", "a") "--XX--\r\n", "a", 0 },
		{ "multipart/form-data; boundary=XX", PART("language", "en") "--XX--\r\n", "", 0 },
		{ "multipart/form-data; boundary=XX",
		  PART("model", "a") PART("model", "b") "--XX--\r\n", "", ERR_INVALID },
		{ "multipart/form-data; boundary=XX", "--XX\r\nContent-Disposition: form-data", "",
		  0 },
		{ "multipart/form-data", PART("model", "a"), "", ERR_INVALID },
		{ "multipart/form-data; boundary=", PART("model", "a"), "", ERR_INVALID },
		{ "application/json", "{}", "", ERR_INVALID },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct routing routing = { .stream = false };

		assert_int_equal(routing_read_form(span_of(rows[i].body), span_of(rows[i].type),
						   &routing, NULL),
				 rows[i].status);
		assert_string_equal(routing.model, rows[i].model);
	}
}

static const char *chosen(struct fleet *f, const char *name, struct err *err)
{
	struct fleet_model *m;

	return routing_choose(f, NULL, name, &m, err) == 0 ? m->server.id : "none";
}

static void chooses_by_id_alias_or_the_only_one(void **state)
{
	struct fleet f;
	struct err err;

	(void)state;
	fake_init(&f, REGISTRY);
	assert_string_equal(chosen(&f, "qwen3-4b", &err), "qwen3-4b");
	assert_string_equal(chosen(&f, "QWEN3-4B", &err), "qwen3-4b");
	assert_string_equal(chosen(&f, "small", &err), "qwen3-4b");
	assert_string_equal(chosen(&f, "", &err), "qwen3-4b"); /* the only one enabled */
	fake_set(&f, "gpt-oss-20b", SERVER_READY, 1);
	assert_string_equal(chosen(&f, "", &err), "gpt-oss-20b"); /* the only one that runs */
	fake_set(&f, "qwen3-4b", SERVER_READY, 1);
	fleet_find(&f, SPAN_LIT("gpt-oss-20b"))->server.enabled = true;
	assert_string_equal(chosen(&f, "", &err), "none");
	assert_string_equal(err.text, "'model' is missing. Models: qwen3-4b, gpt-oss-20b");
	assert_int_equal(err.code, ERR_INVALID);
	assert_string_equal(chosen(&f, "qwen3", &err), "none");
	assert_string_equal(err.text, "model 'qwen3' is not here. Models: qwen3-4b, gpt-oss-20b. "
				      "Did you mean 'qwen3-4b'?");
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_string_equal(chosen(&f, "completely-else", &err), "none");
	assert_null(strstr(err.text, "Did you mean"));
	fake_finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_routes_by_exact_path_only),
		cmocka_unit_test(reads_top_level_model_and_stream),
		cmocka_unit_test(refuses_bodies_that_are_wrong_ambiguous_or_reach_into_the_engine),
		cmocka_unit_test(reads_the_model_of_a_form),
		cmocka_unit_test(chooses_by_id_alias_or_the_only_one),
	};

	return cmocka_run_group_tests_name("router", tests, NULL, NULL);
}
