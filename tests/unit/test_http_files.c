/* SPDX-License-Identifier: MIT */
/* Files for browsers, from a real folder, over a real socket. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "http/files.h"
#include "http_rig.h"
#include "unit.h"

struct site {
	struct rig rig; /* first: on_request gets it */
	char folder[32];
	struct files *files;
};

static const char *const contents[][2] = {
	{ "index.html", "<p>page" },
	{ "app.js", "plain" },
	{ "app.js.gz", "gzipped" },
	{ "app.js.br", "brotli" },
	{ "assets/index-Bx3kQ9aZ.js", "hashed" },
};

static void serve(struct rig *rig, struct exchange *x)
{
	files_serve(CONTAINER_OF(rig, struct site, rig)->files, x);
}

static void site_start(struct site *s)
{
	static const struct h1_field csp[] = { { SPAN_INIT("X-Policy"), SPAN_INIT("strict") } };
	struct err err;

	*s = (struct site){ .rig.on_request = serve, .folder = "/tmp/ronzal-files-XXXXXX" };
	assert_non_null(mkdtemp(s->folder));
	char *assets = fs_join(s->folder, "assets");

	assert_int_equal(fs_mkdirs(assets, 0700, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
		char *path = fs_join(s->folder, contents[i][0]);

		assert_int_equal(fs_replace(path, span_of(contents[i][1]), 0600, &err), 0);
		free(path);
	}
	free(assets);
	s->files = files_load(&(struct files_options){ .folder = s->folder,
						       .fall_back_to_index = true,
						       .fields = csp,
						       .field_count = 1 },
			      &err);
	assert_non_null(s->files);
	rig_start(&s->rig, &(struct http_server_options){ 0 });
}

static void site_finish(struct site *s)
{
	for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
		char *path = fs_join(s->folder, contents[i][0]);

		unlink(path);
		free(path);
	}
	char *assets = fs_join(s->folder, "assets");

	rmdir(assets);
	rmdir(s->folder);
	free(assets);
	rig_finish(&s->rig);
	files_destroy(s->files);
}

static char *get(struct site *s, const char *method, const char *path, const char *fields)
{
	char request[512];

	snprintf(request, sizeof(request),
		 "%s %s HTTP/1.1\r\nHost: a\r\n%sConnection: close\r\n\r\n", method, path, fields);
	return rig_talk(&s->rig, span_of(request), 1000);
}

static void the_right_form_of_the_right_file_is_served(void **state)
{
	static const struct {
		const char *path, *fields, *status, *body, *field;
	} rows[] = {
		{ "/", "", "200", "<p>page", "Content-Type: text/html; charset=utf-8" },
		{ "/index.html", "", "200", "<p>page", "Cache-Control: no-cache" },
		{ "/chat/7", "", "200", "<p>page", "X-Policy: strict" },
		{ "/app.js", "", "200", "plain", "Vary: Accept-Encoding" },
		{ "/app.js", "Accept-Encoding: gzip, deflate\r\n", "200", "gzipped",
		  "Content-Encoding: gzip" },
		{ "/app.js", "Accept-Encoding: gzip, br\r\n", "200", "brotli",
		  "Content-Type: text/javascript" },
		{ "/assets/index-Bx3kQ9aZ.js", "", "200", "hashed", "max-age=31536000, immutable" },
		{ "/assets/none", "", "200", "<p>page", "Cache-Control: no-cache" },
		{ "/app.js.gz", "", "404", "", "application/json" },
		{ "/missing.js", "", "404", "", "application/json" },
		{ "/../etc/passwd", "", "400", "", "" },
		{ "/assets/%2e%2e/index.html", "", "400", "", "" },
		{ "/assets", "", "200", "<p>page", "" },
	};
	struct site s;

	(void)state;
	site_start(&s);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *got = get(&s, "GET", rows[i].path, rows[i].fields);

		assert_memory_equal(got + 9, rows[i].status, 3);
		assert_non_null(strstr(got, rows[i].field));
		assert_true(span_has_suffix(span_of(got), rows[i].body));
		free(got);
	}
	site_finish(&s);
}

static void a_known_etag_gets_304_without_a_body(void **state)
{
	struct site s;
	char fields[80];

	(void)state;
	site_start(&s);
	char *got = get(&s, "GET", "/app.js", "");

	snprintf(fields, sizeof(fields), "If-None-Match: \"other\", %.18s\r\n",
		 strstr(got, "ETag: ") + 6);
	free(got);
	got = get(&s, "GET", "/app.js", fields);
	assert_memory_equal(got, "HTTP/1.1 304 ", 13);
	assert_null(strstr(got, "Content-Length"));
	assert_true(span_has_suffix(span_of(got), "\r\n\r\n"));
	free(got);
	got = get(&s, "GET", "/index.html", fields);
	assert_memory_equal(got, "HTTP/1.1 200 ", 13);
	free(got);
	got = get(&s, "POST", "/app.js", "");
	assert_memory_equal(got, "HTTP/1.1 405 ", 13);
	assert_non_null(strstr(got, "\r\nAllow: GET, HEAD\r\n"));
	free(got);
	site_finish(&s);
}

static void a_missing_folder_is_named(void **state)
{
	struct err err;

	(void)state;
	assert_null(files_load(&(struct files_options){ .folder = "/nonexistent/web" }, &err));
	assert_non_null(strstr(err.text, "/nonexistent/web"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_right_form_of_the_right_file_is_served),
		cmocka_unit_test(a_known_etag_gets_304_without_a_body),
		cmocka_unit_test(a_missing_folder_is_named),
	};

	return cmocka_run_group_tests_name("http_files", tests, NULL, NULL);
}
