/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fetch/hub.h"
#include "wire/pull.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define SHA "b85fa296ae9dcfb7bfe20f23789b9a75520567e8c2ed87df6dc86e7b4fbd614f"
#define LFS "\"lfs\":{\"sha256\":\"" SHA "\",\"size\":9}"
#define FILE_OF(path, size) \
	"{\"rfilename\":\"" path "\",\"size\":" size ",\"blobId\":\"x\"," LFS "}"
#define ANSWER(files) "{\"sha\":\"" COMMIT "\",\"siblings\":[" files "]}"

#define SPLIT \
	FILE_OF("README.md", "5") \
	"," FILE_OF("q8/M-Q8_0-00002-of-00002.gguf", "40") "," FILE_OF( \
		"q8/M-Q8_0-00001-of-00002.gguf", \
		"60") "," FILE_OF("M-Q4_K_M.gguf", \
				  "50") "," FILE_OF("mmproj-M-BF16.gguf", \
						    "7") "," FILE_OF("mmproj-M-F16.gguf", \
								     "8") "," FILE_OF("M.imatrix." \
										      "gguf", \
										      "9")

static void takes_repository_and_name_apart(void **state)
{
	static const struct {
		const char *text, *repo, *name;
	} rows[] = {
		{ "Qwen/Qwen3-4B-GGUF", "Qwen/Qwen3-4B-GGUF", "" },
		{ "a/b:Q4_K_M", "a/b", "Q4_K_M" },
		{ "a/b:sub/x.gguf", "a/b", "sub/x.gguf" },
		{ "https://hub/a/b", NULL, NULL },
		{ "a", NULL, NULL },
		{ "a/b/c", NULL, NULL },
		{ "a/b:", NULL, NULL },
		{ "../b", NULL, NULL },
		{ "a/..", NULL, NULL },
		{ "/etc/passwd", NULL, NULL },
		{ "a/-b", NULL, NULL },
		{ "a/b--c", NULL, NULL },
		{ "a/b c", NULL, NULL },
		{ "a\n/b", NULL, NULL },
		{ "", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span repo, name;
		bool is_one = hub_source(span_of(rows[i].text), &repo, &name);

		if (is_one != (rows[i].repo != NULL) ||
		    (is_one && (!span_is(repo, rows[i].repo) || !span_is(name, rows[i].name)))) {
			fail_msg("%s: %d", rows[i].text, is_one);
		}
	}
}

static void finds_the_quantization_in_a_name(void **state)
{
	static const char *const rows[][2] = {
		{ "qwen3-4b-q4_k_m.gguf", "q4_k_m" },
		{ "d/Qwen3-4B-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL" },
		{ "llama-2-7b.Q4_0.gguf", "Q4_0" },
		{ "m-IQ2_XXS.gguf", "IQ2_XXS" },
		{ "gpt-oss-20b-mxfp4.gguf", "mxfp4" },
		{ "m-BF16.gguf", "BF16" },
		{ "Qwen3-4B.gguf", "" },
		{ "Q.gguf", "" },
		{ "-.gguf", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span found = hub_quantization(span_of(rows[i][0]));

		if (!span_is(found, rows[i][1])) {
			fail_msg("%s: %.*s", rows[i][0], SPAN_ARG(found));
		}
	}
}

static void groups_parts_and_sorts_models_by_size(void **state)
{
	struct hub_repo r;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(hub_read(&r, SPAN_LIT("a/b"), SPAN_LIT(ANSWER(SPLIT)), &err), 0);
	assert_int_equal(r.model_count, 2);
	assert_string_equal(r.models[0].name, "Q4_K_M");
	assert_string_equal(r.models[1].name, "Q8_0");
	assert_int_equal(r.models[1].parts, 2);
	assert_int_equal(r.models[1].bytes, 100);
	assert_string_equal(r.files[r.models[1].first].path, "q8/M-Q8_0-00001-of-00002.gguf");
	assert_string_equal(r.projector->path, "mmproj-M-F16.gguf");
	assert_ptr_equal(hub_find(&r, SPAN_LIT("q8_0")), &r.models[1]);
	assert_ptr_equal(hub_find(&r, SPAN_LIT("M-Q4_K_M.gguf")), &r.models[0]);
	assert_null(hub_find(&r, SPAN_LIT("Q5_K_M")));

	char *target = hub_link_target(&r.files[r.models[1].first]);
	char *url = hub_url("https://hub", &r, &r.files[r.models[1].first]);

	assert_string_equal(target, "../../../blobs/" SHA);
	assert_string_equal(url,
			    "https://hub/a/b/resolve/" COMMIT "/q8/M-Q8_0-00001-of-00002.gguf");
	free(url);
	free(target);
	hub_finish(&r);
}

static void names_two_models_of_one_quantization_by_their_files(void **state)
{
	struct hub_repo r;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(hub_read(&r, SPAN_LIT("a/b"),
				  SPAN_LIT(ANSWER(FILE_OF("One-Q4_0.gguf", "1") "," FILE_OF(
					  "Two-q4_0.gguf", "2") "," FILE_OF("Two-Q8_0.gguf", "3"))),
				  &err),
			 0);
	assert_string_equal(r.models[0].name, "One-Q4_0");
	assert_string_equal(r.models[1].name, "Two-q4_0");
	assert_string_equal(r.models[2].name, "Q8_0");
	hub_finish(&r);
}

static void refuses_answers_that_lead_elsewhere(void **state)
{
	static const struct {
		const char *answer;
		int code;
	} rows[] = {
		{ ANSWER(FILE_OF("../x.gguf", "1")), ERR_PROTOCOL },
		{ ANSWER(FILE_OF("/x.gguf", "1")), ERR_PROTOCOL },
		{ ANSWER(FILE_OF("a//x.gguf", "1")), ERR_PROTOCOL },
		{ ANSWER(FILE_OF("a/./x.gguf", "1")), ERR_PROTOCOL },
		{ ANSWER(FILE_OF("a\\\\x.gguf", "1")), ERR_PROTOCOL },
		{ ANSWER(FILE_OF("a\\nx.gguf", "1")), ERR_PROTOCOL },
		{ ANSWER(FILE_OF("x.gguf", "-1")), ERR_PROTOCOL },
		{ ANSWER(FILE_OF("x.gguf", "\"1\"")), ERR_PROTOCOL },
		{ ANSWER("{\"rfilename\":\"x.gguf\",\"size\":1,\"blobId\":\"../../x\"}"),
		  ERR_PROTOCOL },
		{ ANSWER("{\"rfilename\":\"x.gguf\",\"size\":1,\"lfs\":{\"sha256\":\"../x\"}}"),
		  ERR_PROTOCOL },
		{ "{\"sha\":\"../..\",\"siblings\":[]}", ERR_PROTOCOL },
		{ "{\"sha\":\"" COMMIT "\",\"siblings\":{}}", ERR_PROTOCOL },
		{ "{\"sha\":\"" COMMIT "\"}", ERR_PROTOCOL },
		{ "<html>", ERR_PROTOCOL },
		{ "", ERR_PROTOCOL },
		{ ANSWER(FILE_OF("README.md", "1")), ERR_NOT_FOUND },
		{ ANSWER(FILE_OF("mmproj-F16.gguf", "1")), ERR_NOT_FOUND },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct hub_repo r;
		struct err err = { 0 };

		if (hub_read(&r, SPAN_LIT("a/b"), span_of(rows[i].answer), &err) != rows[i].code) {
			fail_msg("%s: %d %s", rows[i].answer, err.code, err.text);
		}
		hub_finish(&r);
	}
}

static void says_a_download_and_reads_it_back(void **state)
{
	struct pull p, back;
	struct json_writer w;
	struct buf out;
	struct err err = { 0 };

	(void)state;
	pull_init(&p, "a/b");
	p.phase = PULL_CHOOSING;
	p.choice_count = 2;
	p.choices[1] = (struct pull_choice){ "Q8_0", 7, 9, PULL_TOO_LARGE };
	p.best = 1;
	buf_init(&out, 65536);
	jsonw_init(&w, &out);
	pull_write(&w, &p);
	pull_init(&back, "");
	struct json *doc = json_parse(buf_span(&out), &err);

	assert_int_equal(pull_read(json_root(doc), &back, &err), 0);
	assert_string_equal(back.source, "a/b");
	assert_int_equal(back.phase, PULL_CHOOSING);
	assert_int_equal(back.best, 1);
	assert_memory_equal(&back.choices[1], &p.choices[1], sizeof(p.choices[1]));
	json_destroy(doc);
	buf_finish(&out);

	doc = json_parse(SPAN_LIT("{\"phase\":\"melting\"}"), &err);
	assert_int_equal(pull_read(json_root(doc), &back, &err), ERR_INVALID);
	json_destroy(doc);
	doc = json_parse(SPAN_LIT("{\"best\":7,\"choices\":[]}"), &err);
	assert_int_equal(pull_read(json_root(doc), &back, &err), 0);
	assert_int_equal(back.best, -1);
	json_destroy(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_repository_and_name_apart),
		cmocka_unit_test(finds_the_quantization_in_a_name),
		cmocka_unit_test(groups_parts_and_sorts_models_by_size),
		cmocka_unit_test(names_two_models_of_one_quantization_by_their_files),
		cmocka_unit_test(refuses_answers_that_lead_elsewhere),
		cmocka_unit_test(says_a_download_and_reads_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
