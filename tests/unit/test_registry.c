/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/registry_edit.h"

#define PORT_MIN 8080
#define PORT_MAX 8099
#define UPSTREAM "tests/data/model/registry-upstream.json"

static void parse(struct registry *r, const char *text)
{
	struct err err;

	if (registry_parse(r, span_of(text), PORT_MIN, PORT_MAX, &err) != 0) {
		fail_msg("%s", err.text);
	}
}

static struct json *parse_json(struct span text)
{
	struct err err;
	struct json *json = json_parse(text, &err);

	if (json == NULL) {
		fail_msg("%s", err.text);
	}
	return json;
}

static bool scalars_equal(const struct json_value *a, const struct json_value *b)
{
	struct span text_a = { "", 0 }, text_b = { "", 0 };
	double number_a = 0, number_b = 0;
	bool flag_a = false, flag_b = false;

	json_to_span(a, &text_a);
	json_to_span(b, &text_b);
	json_to_double(a, &number_a);
	json_to_double(b, &number_b);
	json_to_bool(a, &flag_a);
	json_to_bool(b, &flag_b);
	return span_equal(text_a, text_b) && number_a >= number_b && number_a <= number_b &&
	       flag_a == flag_b;
}

/* Same types, values and order. */
static bool values_equal(const struct json_value *a, const struct json_value *b)
{
	struct json_iter it_a = json_iter(a), it_b = json_iter(b);

	if (json_type(a) != json_type(b) || json_count(a) != json_count(b) ||
	    !scalars_equal(a, b)) {
		return false;
	}
	while (json_next(&it_a) && json_next(&it_b)) {
		if (!span_equal(it_a.key, it_b.key) || !values_equal(it_a.value, it_b.value)) {
			return false;
		}
	}
	return true;
}

static void assert_same_json(struct span got, struct span wanted)
{
	struct json *a = parse_json(got), *b = parse_json(wanted);

	if (!values_equal(json_root(a), json_root(b))) {
		fail_msg("written:\n%.*s", SPAN_ARG(got));
	}
	json_destroy(a);
	json_destroy(b);
}

/* What the registry writes must be the same JSON as `wanted`. */
static void assert_writes(const struct registry *r, const char *wanted)
{
	struct buf out;

	buf_init(&out, REGISTRY_FILE_MAX_BYTES);
	assert_int_equal(registry_write(r, &out), 0);
	assert_same_json(buf_span(&out), span_of(wanted));
	buf_finish(&out);
}

static void upstreams_file_survives_load_and_save(void **state)
{
	char path[] = "/tmp/ronzal-registry-XXXXXX";
	struct buf before, after;
	struct registry r;
	struct err err;

	(void)state;
	close(mkstemp(path));
	buf_init(&before, REGISTRY_FILE_MAX_BYTES);
	buf_init(&after, REGISTRY_FILE_MAX_BYTES);
	assert_int_equal(fs_read(UPSTREAM, &before, &err), 0);
	assert_int_equal(registry_load(&r, UPSTREAM, PORT_MIN, PORT_MAX, &err), 0);
	assert_int_equal(r.count, 5);
	assert_int_equal(r.problem_count, 0);
	const struct model *m = registry_find(&r, SPAN_LIT("QWEN3_4p0b_q4km_fast"));

	assert_non_null(m);
	assert_int_equal(m->port, 8083);
	assert_false(m->enabled);
	assert_string_equal(m->name, "Qwen3-4B-Q4_K_M");
	assert_string_equal(m->quantization, "q4_k_m");
	assert_int_equal(m->settings.ctx_size, SETTING_UNSET);
	assert_int_equal(registry_save(&r, path, &err), 0);
	assert_int_equal(fs_read(path, &after, &err), 0);
	assert_same_json(buf_span(&after), buf_span(&before));
	registry_finish(&r);
	buf_finish(&before);
	buf_finish(&after);
	unlink(path);
}

static void changes_are_written_and_the_rest_is_kept(void **state)
{
	struct registry r;

	(void)state;
	parse(&r, "{\"extra\":[1,{\"deep\":null}],\"models\":{"
		  "\"a\":{\"note\":\"x\",\"file_path\":\"/models/a.gguf\",\"port\":8081,"
		  "\"ctx_size\":null,\"parallel\":4,\"name\":null,\"future\":{\"k\":1.5e300}},"
		  "\"bad id\":{\"file_path\":\"/models/b.gguf\"},"
		  "\"c\":{\"file_path\":\"/models/c.gguf\",\"port\":8082}}}");
	assert_int_equal(r.count, 2);
	struct model *a = registry_find(&r, SPAN_LIT("a"));

	a->enabled = true;
	a->settings.ctx_size = 8192;
	a->settings.parallel = SETTING_UNSET;
	a->settings.cache_type_k = KV_Q8_0;
	a->settings.flash_attention = TRI_AUTO;
	a->settings.mlock = 1;
	assert_int_equal(registry_remove(&r, "C"), 0);
	assert_writes(&r, "{\"extra\":[1,{\"deep\":null}],\"models\":{"
			  "\"a\":{\"note\":\"x\",\"file_path\":\"/models/a.gguf\",\"port\":8081,"
			  "\"ctx_size\":8192,\"parallel\":null,\"name\":null,"
			  "\"future\":{\"k\":1.5e300},\"enabled\":true,"
			  "\"flash_attention\":\"auto\",\"cache_type_k\":\"q8_0\",\"mlock\":true},"
			  "\"bad id\":{\"file_path\":\"/models/b.gguf\"}}}");
	assert_int_equal(registry_remove(&r, "bad id"), 0);
	assert_int_equal(registry_remove(&r, "bad id"), ERR_NOT_FOUND);
	registry_finish(&r);
}

static void an_added_model_is_written_and_read_back(void **state)
{
	struct model m = { .file_path = (char *)(uintptr_t) "/models/new.gguf",
			   .aliases = { (char *)(uintptr_t) "latest" },
			   .alias_count = 1 };
	struct registry r, again;
	struct buf out;
	struct err err;

	(void)state;
	settings_init(&m.settings);
	m.settings.n_gpu_layers = 0;
	registry_init_empty(&r, PORT_MIN, PORT_MAX);
	snprintf(m.id, sizeof(m.id), "new-model");
	assert_int_equal(registry_add(&r, &m, &err), 0);
	buf_init(&out, REGISTRY_FILE_MAX_BYTES);
	assert_int_equal(registry_write(&r, &out), 0);
	assert_int_equal(registry_parse(&again, buf_span(&out), PORT_MIN, PORT_MAX, &err), 0);
	assert_int_equal(again.count, 1);
	assert_int_equal(again.problem_count, 0);
	assert_string_equal(again.models[0].id, "new-model");
	assert_string_equal(again.models[0].name, "new");
	assert_int_equal(again.models[0].port, PORT_MIN);
	assert_int_equal(again.models[0].settings.n_gpu_layers, 0);
	assert_ptr_equal(registry_find(&again, SPAN_LIT("LATEST")), &again.models[0]);
	buf_finish(&out);
	registry_finish(&again);
	registry_finish(&r);
}

static void add_refuses_what_is_taken_or_wrong(void **state)
{
	struct registry r;
	struct err err;
	struct model m = { .file_path = (char *)(uintptr_t) "/models/x.gguf" };

	(void)state;
	parse(&r, "{\"models\":{\"a\":{\"file_path\":\"/models/a.gguf\",\"port\":8080,"
		  "\"aliases\":[\"nick\"]}},\"port_range\":[8080,8081]}");
	settings_init(&m.settings);
	snprintf(m.id, sizeof(m.id), "NICK");
	assert_int_equal(registry_add(&r, &m, &err), ERR_BUSY);
	snprintf(m.id, sizeof(m.id), "../x");
	assert_int_equal(registry_add(&r, &m, &err), ERR_INVALID);
	snprintf(m.id, sizeof(m.id), "b");
	m.port = 8080;
	assert_int_equal(registry_add(&r, &m, &err), ERR_BUSY);
	m.port = 8082;
	assert_int_equal(registry_add(&r, &m, &err), ERR_INVALID);
	m.port = 0;
	m.file_path = (char *)(uintptr_t) "/models/../etc/passwd";
	assert_int_equal(registry_add(&r, &m, &err), ERR_INVALID);
	m.file_path = (char *)(uintptr_t) "/models/x.gguf";
	assert_int_equal(registry_add(&r, &m, &err), 0);
	assert_int_equal(registry_find(&r, SPAN_LIT("b"))->port, 8081);
	snprintf(m.id, sizeof(m.id), "c");
	assert_int_equal(registry_add(&r, &m, &err), ERR_FULL);
	assert_non_null(strstr(err.text, "8080..8081"));
	registry_finish(&r);
}

static void ports_that_are_not_said_are_assigned_in_the_files_order(void **state)
{
	struct registry r;

	(void)state;
	parse(&r, "{\"models\":{\"a\":{\"file_path\":\"/a\"},\"b\":{\"file_path\":\"/"
		  "b\",\"port\":null},"
		  "\"c\":{\"file_path\":\"/c\",\"port\":8080},\"d\":{\"file_path\":\"/d\"}},"
		  "\"port_range\":[8079,8082]}");
	assert_int_equal(r.port_min, 8080);
	assert_int_equal(r.port_max, 8082);
	assert_int_equal(r.count, 3);
	assert_int_equal(r.models[0].port, 8081);
	assert_int_equal(r.models[1].port, 8082);
	assert_int_equal(r.models[2].port, 8080);
	assert_int_equal(r.problem_count, 1);
	assert_string_equal(r.problems[0].id, "d");
	assert_string_equal(r.problems[0].text, "models.d.port: none is free in 8080..8082");
	registry_finish(&r);
}

struct bad_model {
	const char *members;
	const char *text;
};

/* One model "m" beside a good one: refused alone, with this reason. */
static const struct bad_model bad_models[] = {
	{ "", "models.m.file_path: is missing" },
	{ "\"file_path\":7", "models.m.file_path: must be a string, is a number" },
	{ "\"file_path\":\"m.gguf\"", "models.m.file_path: must be the absolute path of a file" },
	{ "\"file_path\":\"/models/\"", "models.m.file_path: must be the absolute path of a file" },
	{ "\"file_path\":\"/models/../m\"", "models.m.file_path: must not hold '..'" },
	{ "\"file_path\":\"/m\\u0000.gguf\"", "models.m.file_path: holds control characters" },
	{ "\"file_path\":\"/m\",\"file_path\":\"/n\"", "models.m.file_path: is given twice" },
	{ "\"file_path\":\"/m\",\"name\":\"\"", "models.m.name: is empty" },
	{ "\"file_path\":\"/m\",\"name\":\"a\\u001b[31mb\"",
	  "models.m.name: holds control characters" },
	{ "\"file_path\":\"/m\",\"name\":\"a\\u202eb\"",
	  "models.m.name: holds control characters" },
	{ "\"file_path\":\"/m\",\"name\":\"a\\u0085b\"",
	  "models.m.name: holds control characters" },
	{ "\"file_path\":\"/m\",\"model_id\":\"n\"",
	  "models.m.model_id: differs from the key that the model stands under" },
	{ "\"file_path\":\"/m\",\"port\":70000", "models.m.port: 70000 is outside 8080..8099" },
	{ "\"file_path\":\"/m\",\"port\":-1", "models.m.port: -1 is outside 8080..8099" },
	{ "\"file_path\":\"/m\",\"port\":8090",
	  "models.m.port: 8090 belongs to another model already" },
	{ "\"file_path\":\"/m\",\"port\":\"8081\"",
	  "models.m.port: must be a whole number, is a string" },
	{ "\"file_path\":\"/m\",\"port\":18446744073709551616",
	  "models.m.port: must be a whole number, is a number" },
	{ "\"file_path\":\"/m\",\"enabled\":1",
	  "models.m.enabled: must be a boolean, is a number" },
	{ "\"file_path\":\"/m\",\"size_params\":-1",
	  "models.m.size_params: -1 is outside 0..1e+06" },
	{ "\"file_path\":\"/m\",\"aliases\":[\"good\"]",
	  "models.m.aliases: the name good is taken" },
	{ "\"file_path\":\"/m\",\"aliases\":[\"--host\"]",
	  "models.m.aliases: holds what is not a name" },
	{ "\"file_path\":\"/m\",\"aliases\":{}",
	  "models.m.aliases: must be a list of at most 8 names" },
	{ "\"file_path\":\"/m\",\"ctx_size\":1e12",
	  "models.m.ctx_size: 1000000000000 is outside 0..16777216" },
	{ "\"file_path\":\"/m\",\"ctx_size\":4096.5",
	  "models.m.ctx_size: must be a whole number in 0..16777216" },
	{ "\"file_path\":\"/m\",\"n_gpu_layers\":\"99 --tools all\"",
	  "models.m.n_gpu_layers: must be a whole number in 0..999" },
	{ "\"file_path\":\"/m\",\"mlock\":\"yes\"", "models.m.mlock: must be off or on" },
	{ "\"file_path\":\"/m\",\"flash_attention\":3",
	  "models.m.flash_attention: must be off, on or auto" },
	{ "\"file_path\":\"/m\",\"cache_type_k\":\"q2_k\"",
	  "models.m.cache_type_k: must be f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl" },
};

static void a_bad_model_is_refused_alone_with_its_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_models); i++) {
		struct registry r;
		char *text = mem_printf("{\"models\":{\"good\":{\"file_path\":\"/models/g.gguf\","
					"\"port\":8090},\"m\":{%s}}}",
					bad_models[i].members);

		parse(&r, text);
		assert_int_equal(r.count, 1);
		assert_string_equal(r.models[0].id, "good");
		assert_int_equal(r.problem_count, 1);
		assert_string_equal(r.problems[0].id, "m");
		assert_string_equal(r.problems[0].text, bad_models[i].text);
		assert_writes(&r, text);
		registry_finish(&r);
		free(text);
	}
}

static void all_faults_of_a_file_are_said_at_once(void **state)
{
	struct registry r;

	(void)state;
	parse(&r, "{\"port_range\":[1,2],\"models\":{\"a\":{\"file_path\":\"/a\",\"port\":1,"
		  "\"ctx_size\":-1},\"B\":{\"file_path\":\"/b\"},\"b\":{\"file_path\":\"/c\"},"
		  "\"-x\":{},\"c\":[]}}");
	static const char *const texts[] = {
		"port_range: 1..2 lies outside 8080..8099, which is used instead",
		"models.a.port: 1 is outside 8080..8099",
		"models.a.ctx_size: -1 is outside 0..16777216",
		"models.b: the name is taken (upper and lower case are the same)",
		("models[3]: its id must be 1 to 128 letters, digits, '.', '_' and '-', the first "
		 "a "
		 "letter or digit"),
		"models.c: must be an object, is a list",
	};

	assert_int_equal(r.problem_count, ARRAY_LEN(texts));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_string_equal(r.problems[i].text, texts[i]);
	}
	assert_int_equal(r.count, 1);
	registry_finish(&r);
}

static void what_is_no_registry_is_refused_whole(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"null",
		"{}",
		"{\"models\":[]}",
		"{\"models\":{},\"models\":{}}",
		"{\"models\":{}}x",
		"{\"models\":{\"a\":\"\xff\"}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct registry r;
		struct err err = { 0 };

		assert_int_equal(registry_parse(&r, span_of(texts[i]), PORT_MIN, PORT_MAX, &err),
				 ERR_INVALID);
		assert_true(strlen(err.text) > 10);
	}
}

static void errors_quote_no_content(void **state)
{
	struct registry r;

	(void)state;
	parse(&r, "{\"models\":{\"SECRET KEY\":{\"file_path\":\"SECRET\"},\"m\":{"
		  "\"file_path\":\"SECRET\",\"name\":\"SECRET\\n\",\"port\":\"SECRET\","
		  "\"mlock\":\"SECRET\",\"aliases\":[\"SECRET!\"],\"model_id\":\"SECRET\"}}}");
	assert_int_equal(r.count, 0);
	assert_true(r.problem_count > 5);
	for (size_t i = 0; i < r.problem_count; i++) {
		assert_null(strstr(r.problems[i].text, "SECRET"));
	}
	registry_finish(&r);
}

static void a_hundred_thousand_models_cost_little(void **state)
{
	struct buf text;
	struct registry r;

	(void)state;
	buf_init(&text, REGISTRY_FILE_MAX_BYTES);
	buf_add_text(&text, "{\"models\":{");
	for (int i = 0; i < 100000; i++) {
		buf_printf(&text, "%s\"m%d\":{\"file_path\":\"/m%d\"}", i > 0 ? "," : "", i, i);
	}
	buf_add_text(&text, "}}");
	struct err err;

	assert_int_equal(registry_parse(&r, buf_span(&text), 1024, 65535, &err), 0);
	assert_int_equal(r.count, REGISTRY_MODELS_MAX);
	assert_int_equal(r.problem_count, 100000 - REGISTRY_MODELS_MAX);
	registry_finish(&r);
	buf_finish(&text);
}

static void a_mistyped_id_finds_its_neighbour(void **state)
{
	struct registry r;

	(void)state;
	parse(&r, "{\"models\":{\"qwen3-4b\":{\"file_path\":\"/a\"},"
		  "\"gpt-oss-20b\":{\"file_path\":\"/b\"}}}");
	assert_string_equal(registry_nearest(&r, SPAN_LIT("qwen3")), "qwen3-4b");
	assert_string_equal(registry_nearest(&r, SPAN_LIT("Qwem3-4b")), "qwen3-4b");
	assert_string_equal(registry_nearest(&r, SPAN_LIT("gpt-oss20b")), "gpt-oss-20b");
	assert_null(registry_nearest(&r, SPAN_LIT("llama")));
	assert_null(registry_nearest(&r, SPAN_LIT("")));
	registry_finish(&r);
}

static void settings_are_parsed_and_printed_by_the_table(void **state)
{
	static const struct {
		const char *name, *text, *printed;
	} good[] = {
		{ "ctx_size", "8192", "8192" },
		{ "ctx_size", "default", "default" },
		{ "mlock", "true", "on" },
		{ "mlock", "off", "off" },
		{ "flash_attention", "AUTO", "auto" },
		{ "cache_type_v", "q8_0", "q8_0" },
	};
	static const struct {
		const char *name, *text, *why;
	} bad[] = {
		{ "ctx_size", "-1", "ctx_size=-1: must be a whole number in 0..16777216" },
		{ "parallel", "65", "parallel=65: 65 is outside 1..64" },
		{ "mlock", "auto", "mlock=auto: must be off or on" },
		{ "flash_attention", "true", "flash_attention=true: must be off, on or auto" },
	};
	char text[24];
	int32_t value;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		const struct setting_row *row = setting_find(span_of(good[i].name));

		assert_int_equal(setting_parse(row, span_of(good[i].text), &value, &err), 0);
		setting_print(row, value, text, sizeof(text));
		assert_string_equal(text, good[i].printed);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct setting_row *row = setting_find(span_of(bad[i].name));

		assert_int_equal(setting_parse(row, span_of(bad[i].text), &value, &err),
				 ERR_INVALID);
		assert_string_equal(err.text, bad[i].why);
	}
	assert_null(setting_find(SPAN_LIT("host")));
}

static int begin_edit(struct registry_edit *e, const char *path, struct err *err)
{
	return registry_edit_begin(e, path, 8080, 8099, err);
}

/* A backend whose edit waits could not end. */
static void a_lock_that_another_process_keeps_is_not_waited_for_without_end(void **state)
{
	char folder[] = "/tmp/ronzal-registry-XXXXXX";
	struct registry_edit edit;
	struct err err;
	int ready[2];
	char byte;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(pipe(ready), 0);
	char *path = fs_join(folder, "registry.json"), *lock = mem_printf("%s.lock", path);
	pid_t other = fork();

	if (other == 0) {
		begin_edit(&edit, path, &err);
		_exit(write(ready[1], "x", 1) == 1 ? pause() : 1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(begin_edit(&edit, path, &err), ERR_BUSY);
	assert_non_null(strstr(err.text, lock));
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	assert_int_equal(begin_edit(&edit, path, &err), 0);
	registry_edit_abandon(&edit);
	unlink(lock);
	rmdir(folder);
	free(lock);
	free(path);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(upstreams_file_survives_load_and_save),
		cmocka_unit_test(changes_are_written_and_the_rest_is_kept),
		cmocka_unit_test(an_added_model_is_written_and_read_back),
		cmocka_unit_test(add_refuses_what_is_taken_or_wrong),
		cmocka_unit_test(ports_that_are_not_said_are_assigned_in_the_files_order),
		cmocka_unit_test(a_bad_model_is_refused_alone_with_its_reason),
		cmocka_unit_test(all_faults_of_a_file_are_said_at_once),
		cmocka_unit_test(what_is_no_registry_is_refused_whole),
		cmocka_unit_test(errors_quote_no_content),
		cmocka_unit_test(a_hundred_thousand_models_cost_little),
		cmocka_unit_test(a_mistyped_id_finds_its_neighbour),
		cmocka_unit_test(settings_are_parsed_and_printed_by_the_table),
		cmocka_unit_test(a_lock_that_another_process_keeps_is_not_waited_for_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
