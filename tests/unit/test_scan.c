/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../gguf_build.h"
#include "base/fs.h"
#include "model/scan.h"

#define BLOB_A "sha256-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BLOB_B "sha256-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DIGEST_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A folder of its own per test; *state is its path. */
static int make_root(void **state)
{
	char *root = mem_strdup("/tmp/ronzal-scan-XXXXXX");

	*state = root;
	return mkdtemp(root) != NULL ? 0 : -1;
}

static int drop_root(void **state)
{
	char *root = *state;
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--", root, (char *)NULL);
		_exit(127);
	}
	int status = -1;

	free(root);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static void put(const char *root, const char *path, struct span bytes)
{
	char *file = fs_join(root, path);
	char *slash = strrchr(file, '/');
	struct err err;

	*slash = '\0';
	assert_int_equal(fs_mkdirs(file, 0755, &err), 0);
	*slash = '/';
	assert_int_equal(fs_replace(file, bytes, 0644, &err), 0);
	free(file);
}

static void put_link(const char *root, const char *path, const char *target)
{
	put(root, path, SPAN_LIT(""));
	char *file = fs_join(root, path);

	unlink(file);
	assert_int_equal(symlink(target, file), 0);
	free(file);
}

struct facts {
	const char *architecture, *basename, *size_label, *type;
	uint32_t file_type, part, parts, salt;
};

static void put_gguf(const char *root, const char *path, const struct facts *f)
{
	struct gguf_build b;
	struct buf file;

	build_init(&b);
	buf_init(&file, BUILD_MAX_BYTES);
	if (f->part == 0) {
		build_text(&b, "general.architecture", f->architecture);
		build_text(&b, "general.type", f->type != NULL ? f->type : "model");
		build_text(&b, "general.basename", f->basename);
		build_text(&b, "general.size_label", f->size_label);
		build_u32(&b, "general.file_type", f->file_type);
	}
	if (f->parts > 0) {
		build_u32(&b, "split.no", f->part);
		build_u32(&b, "split.count", f->parts);
	}
	build_u32(&b, "test.salt", f->salt);
	build_tensor(&b, "t", BUILD_F32, (uint64_t[3]){ 8, 0, 0 });
	build_finish(&b, &file);
	buf_add(&file, "................................", 32);
	put(root, path, buf_span(&file));
	buf_finish(&file);
}

static const struct facts qwen = { "qwen3", "Qwen3", "4B", NULL, 15, 0, 0, 1 };
static const struct facts eyes = { "clip", "Qwen3", "4B", "mmproj", 1, 0, 0, 2 };
static const struct facts llama = { "llama", "Llama-3.2", "3B", NULL, 7, 0, 0, 3 };

static struct scan scan(const char *root)
{
	struct scan s;
	struct err err;

	scan_init(&s);
	if (scan_folder(&s, root, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return s;
}

static void assert_path(const char *got, const char *root, const char *path)
{
	char *wanted = fs_join(root, path);

	assert_non_null(got);
	assert_string_equal(got, wanted);
	free(wanted);
}

static void the_hugging_face_cache_is_read_through_its_links(void **state)
{
	const char *root = *state;
	const char *repo = "models--unsloth--Qwen3-4B-GGUF";
	char *blob = mem_printf("%s/blobs/one", repo), *mmproj = mem_printf("%s/blobs/two", repo);
	char *old = mem_printf("%s/snapshots/aaa/Qwen3-4B-Q4_K_M.gguf", repo);
	char *new = mem_printf("%s/snapshots/bbb/Qwen3-4B-Q4_K_M.gguf", repo);
	char *eye = mem_printf("%s/snapshots/aaa/mmproj-F16.gguf", repo);
	char *gone = mem_printf("%s/snapshots/bbb/gone.gguf", repo);

	put_gguf(root, blob, &qwen);
	put_gguf(root, mmproj, &eyes);
	put_link(root, old, "../../blobs/one");
	put_link(root, new, "../../blobs/one");
	put_link(root, eye, "../../blobs/two");
	put_link(root, gone, "../../blobs/three");
	struct scan s = scan(root);

	assert_int_equal(s.count, 1);
	assert_path(s.models[0].path, root, old);
	assert_path(s.models[0].mmproj_path, root, eye);
	assert_string_equal(s.models[0].name, "Qwen3-4B-Q4_K_M");
	assert_string_equal(s.models[0].gguf.quantization, "Q4_K_M");
	assert_int_equal(s.problem_count, 1);
	assert_non_null(strstr(s.problems[0], "gone.gguf is a link to a file that is gone"));
	scan_finish(&s);
	free(blob);
	free(mmproj);
	free(old);
	free(new);
	free(eye);
	free(gone);
}

static void projectors_go_to_the_models_that_they_were_made_for(void **state)
{
	const char *root = *state;

	put_gguf(root, "pub/Qwen3-VL/Qwen3-Q4.gguf", &qwen);
	put_gguf(root, "pub/Qwen3-VL/mmproj-model-f16.gguf", &eyes);
	put_gguf(root, "pub/Llama/Llama-Q8.gguf", &llama);
	struct scan s = scan(root);

	assert_int_equal(s.count, 2);
	assert_int_equal(s.projector_count, 1);
	assert_path(s.models[0].path, root, "pub/Llama/Llama-Q8.gguf");
	assert_null(s.models[0].mmproj_path);
	assert_path(s.models[1].mmproj_path, root, "pub/Qwen3-VL/mmproj-model-f16.gguf");
	scan_finish(&s);
}

static void a_projector_among_several_models_goes_by_its_name(void **state)
{
	const char *root = *state;

	put_gguf(root, "a-qwen.gguf", &qwen);
	put_gguf(root, "b-llama.gguf", &llama);
	put_gguf(root, "mmproj.gguf", &eyes);
	struct scan s = scan(root);

	assert_int_equal(s.count, 2);
	assert_path(s.models[0].mmproj_path, root, "mmproj.gguf");
	assert_null(s.models[1].mmproj_path);
	scan_finish(&s);
}

static void split_models_are_one_and_must_be_whole(void **state)
{
	const char *root = *state;
	struct facts part = llama;

	part.parts = 2;
	put_gguf(root, "whole-00001-of-00002.gguf", &part);
	put_gguf(root, "half-00001-of-00002.gguf",
		 &(struct facts){ "llama", "x", "1B", NULL, 7, 0, 2, 9 });
	part.part = 1;
	put_gguf(root, "whole-00002-of-00002.gguf", &part);
	put_gguf(root, "headless-00002-of-00002.gguf", &part);
	struct scan s = scan(root);

	assert_int_equal(s.count, 1);
	assert_path(s.models[0].path, root, "whole-00001-of-00002.gguf");
	assert_int_equal(s.models[0].gguf.parameters, 16);
	assert_int_equal(s.problem_count, 2);
	assert_non_null(strstr(s.problems[0], "half-00002-of-00002.gguf is not there"));
	assert_non_null(strstr(s.problems[1], "its first part is not there"));
	scan_finish(&s);
}

static void put_manifest(const char *root, const char *path, const char *layers)
{
	char *text = mem_printf("{\"schemaVersion\":2,\"layers\":[%s]}", layers);

	put(root, path, span_of(text));
	free(text);
}

static void ollamas_store_is_read_by_its_manifests(void **state)
{
	const char *root = *state;
	const char *hub = "models/manifests/registry.ollama.ai";
	char *latest = mem_printf("%s/library/llama3.2/latest", hub);
	char *same = mem_printf("%s/library/llama3.2/3b", hub);
	char *other = mem_printf("%s/someone/vision/q4", hub);
	char *evil = mem_printf("%s/library/evil/1", hub);

	put_gguf(root, "models/blobs/" BLOB_A, &llama);
	put_gguf(root, "models/blobs/" BLOB_B, &qwen);
	put_manifest(root, same,
		     "{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"" DIGEST_A
		     "\"}");
	put_manifest(root, latest,
		     "{\"mediaType\":\"application/vnd.ollama.image.license\"},"
		     "{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"" DIGEST_A
		     "\"}");
	put_manifest(
		root, other,
		"{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"" DIGEST_B
		"\"},"
		"{\"mediaType\":\"application/vnd.ollama.image.projector\",\"digest\":\"" DIGEST_A
		"\"}");
	put_manifest(root, evil,
		     "{\"mediaType\":\"application/vnd.ollama.image.model\","
		     "\"digest\":\"sha256:../../../../etc/passwd\"}");
	struct scan s = scan(root);

	assert_int_equal(s.count, 2);
	assert_string_equal(s.models[0].name, "llama3.2:3b");
	assert_true(s.models[0].is_blob);
	assert_path(s.models[0].path, root, "models/blobs/" BLOB_A);
	assert_string_equal(s.models[1].name, "someone/vision:q4");
	assert_path(s.models[1].mmproj_path, root, "models/blobs/" BLOB_A);
	assert_int_equal(s.problem_count, 0);
	scan_finish(&s);
	free(latest);
	free(same);
	free(other);
	free(evil);
}

static void lm_studios_and_llama_cpps_folders_are_read(void **state)
{
	const char *root = *state;

	put_gguf(root, ".lmstudio/models/lmstudio-community/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf",
		 &qwen);
	put_gguf(root, ".lmstudio/models/lmstudio-community/Qwen3-4B-GGUF/mmproj-Qwen3-F16.gguf",
		 &eyes);
	put_gguf(root, "llama.cpp/ggml-org_Llama-3.2-3B_llama-3.2-3b-q8_0.gguf", &llama);
	put(root, "llama.cpp/manifest=ggml-org=Llama-3.2-3B=latest.json", SPAN_LIT("{}"));
	char *studio = fs_join(root, ".lmstudio/models"), *cpp = fs_join(root, "llama.cpp");
	struct scan s = scan(studio);
	struct err err;

	assert_int_equal(scan_folder(&s, cpp, &err), 0);
	assert_int_equal(s.count, 2);
	assert_string_equal(s.models[0].name, "Qwen3-4B-Q4_K_M");
	assert_non_null(s.models[0].mmproj_path);
	assert_null(s.models[1].mmproj_path);
	assert_int_equal(s.problem_count, 0);
	scan_finish(&s);
	free(studio);
	free(cpp);
}

/* A copy of a registered model is that model; one that lies out of sight goes by its name. */
static void single_models_are_added_once_and_enabled(void **state)
{
	const char *root = *state;
	char id[REGISTRY_ID_MAX_BYTES], *copy = fs_join(root, "b/copy.gguf");
	struct registry r;
	struct err err = { 0 };

	put_gguf(root, "a/model.gguf", &qwen);
	put_gguf(root, "b/copy.gguf", &qwen);
	put_gguf(root, "eyes.gguf", &eyes);
	registry_init_empty(&r, 8080, 8099);
	assert_int_equal(scan_add(&r, "/models/a/model.gguf", "", root, id, &err), 0);
	assert_string_equal(id, "qwen3-4b-q4_k_m");
	assert_true(r.models[0].enabled);
	r.models[0].enabled = false;
	assert_int_equal(scan_add(&r, copy, "", root, id, &err), 0);
	assert_string_equal(id, "qwen3-4b-q4_k_m");
	assert_true(r.models[0].enabled);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(scan_add(&r, "/host/Far-3B-Q8_0.gguf", "/host/eye.gguf", root, id,
					  &err),
				 0);
		assert_string_equal(id, "far-3b-q8_0");
	}
	assert_int_equal(r.count, 2);
	assert_string_equal(r.models[1].mmproj_path, "/host/eye.gguf");
	assert_int_equal(scan_add(&r, "/models/eyes.gguf", "", root, id, &err), ERR_INVALID);
	assert_non_null(strstr(err.text, "not a model by itself"));
	registry_finish(&r);
	free(copy);
}

static void circles_copies_and_strange_files_do_no_harm(void **state)
{
	const char *root = *state;
	char *fifo = fs_join(root, "pipe.gguf");

	put_gguf(root, "a/model.gguf", &qwen);
	put_gguf(root, "b/copy.gguf", &qwen);
	put_link(root, "a/up", "..");
	put_link(root, "a/self", "self");
	put(root, "notes.gguf", SPAN_LIT("these are notes, not a model, and longer than a header"));
	assert_int_equal(mkfifo(fifo, 0600), 0);
	struct scan s = scan(root);

	assert_int_equal(s.count, 1);
	assert_path(s.models[0].path, root, "a/model.gguf");
	assert_int_equal(s.problem_count, 1);
	assert_non_null(strstr(s.problems[0], "notes.gguf cannot be used: it is not a GGUF file"));
	scan_finish(&s);
	free(fifo);
}

static void a_folder_that_lies_too_deep_is_told_and_the_rest_is_read(void **state)
{
	const char *root = *state;

	put_gguf(root, "1/2/3/4/5/6/7/8/9/10/here.gguf", &qwen);
	put_gguf(root, "1/2/3/4/5/6/7/8/9/10/11/deeper.gguf", &eyes);
	put_gguf(root, "2/after.gguf", &llama);
	struct scan s = scan(root);

	assert_int_equal(s.count, 2);
	assert_path(s.models[1].path, root, "2/after.gguf");
	assert_int_equal(s.problem_count, 1);
	assert_non_null(strstr(s.problems[0], "/10/11 lies too deep to be looked into"));
	scan_finish(&s);
}

static void found_models_are_merged_and_nothing_is_renamed(void **state)
{
	const char *root = *state;
	struct scan_report report;
	struct registry r;
	struct err err;
	struct facts twin = qwen;

	twin.salt = 77;
	put_gguf(root, "known/file.gguf", &llama);
	put_gguf(root, "new/Qwen3.gguf", &qwen);
	put_gguf(root, "other/Qwen3.gguf", &twin);
	put_link(root, "alias.gguf", "known/file.gguf");
	assert_int_equal(
		registry_parse(
			&r,
			SPAN_LIT("{\"models\":{\"mine\":{\"file_path\":\"/models/alias.gguf\"},"
				 "\"lost\":{\"file_path\":\"/models/lost.gguf\"}}}"),
			8080, 8099, &err),
		0);
	struct scan s = scan(root);

	scan_merge(&s, &r, root, &report);
	static const struct {
		enum scan_fate fate;
		const char *id, *text;
	} lines[] = {
		{ SCAN_MISSING, "lost", "/models/lost.gguf" },
		{ SCAN_KNOWN, "mine", "/models/alias.gguf" },
		{ SCAN_ADDED, "qwen3-4b-q4_k_m", "/models/new/Qwen3.gguf" },
		{ SCAN_ADDED, "qwen3-4b-q4_k_m-2", "/models/other/Qwen3.gguf" },
	};

	assert_int_equal(report.count, ARRAY_LEN(lines));
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(report.lines[i].fate, lines[i].fate);
		assert_string_equal(report.lines[i].id, lines[i].id);
		assert_string_equal(report.lines[i].text, lines[i].text);
	}
	const struct model *m = registry_find(&r, SPAN_LIT("qwen3-4b-q4_k_m"));

	assert_non_null(m);
	assert_false(m->enabled);
	assert_string_equal(m->quantization, "q4_k_m");
	assert_string_equal(m->family, "qwen3");
	assert_in_range(m->port, 8080, 8099);
	free(report.lines);

	/* A second time nothing is new. */
	scan_merge(&s, &r, root, &report);
	assert_int_equal(r.count, 4);
	for (size_t i = 0; i < report.count; i++) {
		assert_int_not_equal(report.lines[i].fate, SCAN_ADDED);
	}
	free(report.lines);
	scan_finish(&s);
	registry_finish(&r);
}

static void a_folder_that_is_not_there_is_said(void **state)
{
	struct scan s;
	struct err err;

	(void)state;
	scan_init(&s);
	assert_true(scan_folder(&s, "/nowhere/at/all", &err) < 0);
	assert_non_null(strstr(err.text, "looking for models in /nowhere/at/all"));
	scan_finish(&s);
}

#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, drop_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ROOT(the_hugging_face_cache_is_read_through_its_links),
		IN_ROOT(projectors_go_to_the_models_that_they_were_made_for),
		IN_ROOT(a_projector_among_several_models_goes_by_its_name),
		IN_ROOT(split_models_are_one_and_must_be_whole),
		IN_ROOT(ollamas_store_is_read_by_its_manifests),
		IN_ROOT(circles_copies_and_strange_files_do_no_harm),
		IN_ROOT(a_folder_that_lies_too_deep_is_told_and_the_rest_is_read),
		IN_ROOT(found_models_are_merged_and_nothing_is_renamed),
		IN_ROOT(lm_studios_and_llama_cpps_folders_are_read),
		IN_ROOT(single_models_are_added_once_and_enabled),
		cmocka_unit_test(a_folder_that_is_not_there_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
