/* SPDX-License-Identifier: MIT */
/*
 * ronzal-fetch REQUEST: downloads one model and says on standard output how that goes (report.h).
 * REQUEST is a JSON object (puller.h makes it):
 *
 *   source   "ORG/REPO", "ORG/REPO:NAME", or an https address
 *   cache    the hub's cache; files of an address go to `folder`
 *   host_free_bytes, device_free_bytes, budget_free_bytes, is_unified, cache_ram_mib
 *            the machine that is to run it
 *
 * From the environment: HF_TOKEN (else the token that the hub's own login left in HF_HOME),
 * HF_ENDPOINT, proxies. Blocks; SIGINT and SIGTERM end it at once, and what is there is kept.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "fetch/fits.h"
#include "fetch/store.h"

#define TOKEN_MAX_BYTES 512
#define NAMES_MAX_BYTES 400

struct job {
	const char *source, *cache, *folder; /* of the request */
	struct fits_machine machine;
	char *endpoint, *token;
	struct transfer *transfer;
	struct report report;
};

/* The environment */

static char *read_token(void)
{
	const char *given = getenv("HF_TOKEN"), *home = getenv("HF_HOME"), *user = getenv("HOME");
	struct buf text;

	if (given != NULL) {
		return given[0] != '\0' ? mem_strdup(given) : NULL;
	}
	char *path = home != NULL ? fs_join(home, "token")
				  : fs_join(user != NULL ? user : "/", ".cache/huggingface/token");

	buf_init(&text, TOKEN_MAX_BYTES);
	fs_read(path, &text, NULL);
	free(path);
	struct span token = buf_span(&text);

	token.len = span_find_char(token, '\n');
	char *copy = token.len > 0 ? mem_spandup(token) : NULL;

	buf_finish(&text);
	return copy;
}

static int read_endpoint(char **ret_endpoint, struct err *err)
{
	const char *given = getenv("HF_ENDPOINT");
	struct span s =
		span_of(given != NULL && given[0] != '\0' ? given : "https://huggingface.co");

	while (s.len > 0 && s.ptr[s.len - 1] == '/') {
		s.len--;
	}
	if (!span_has_prefix(s, "https://") && !span_has_prefix(s, "http://")) {
		return err_set(err, ERR_INVALID,
			       "HF_ENDPOINT is \"%s\": it is to begin with https://", given);
	}
	*ret_endpoint = mem_spandup(s);
	return 0;
}

/* Repositories */

/* A file of the model; the projector stands behind its parts. */
static const struct hub_file *file_of(const struct hub_repo *r, const struct hub_model *m, size_t i)
{
	return i < m->parts ? &r->files[m->first + i] : r->projector;
}

static struct store_file stored(const struct job *j, const struct hub_repo *r, const char *folder,
				const struct hub_file *f)
{
	struct store_file s = { .what = mem_printf("%s: %s", r->name, f->path),
				.url = hub_url(j->endpoint, r, f),
				.path = hub_blob_path(folder, f),
				.bytes = f->bytes };

	memcpy(s.sha256, f->sha256, sizeof(s.sha256));
	return s;
}

static int link_file(const char *path, const struct hub_file *f, struct err *err)
{
	char *above = mem_spandup((struct span){ path, (size_t)(strrchr(path, '/') - path) });
	char *target = hub_link_target(f);
	int status = fs_mkdirs(above, 0755, err);

	if (status == 0 && !fs_is_file(path)) {
		unlink(path); /* a link to a blob that is gone */
		status =
			symlink(target, path) == 0 ? 0 : err_set_os(err, -errno, "making %s", path);
	}
	free(target);
	free(above);
	return status;
}

/* Links to the blobs of the model, of which the pull tells; the commit. */
static int finish_snapshot(struct pull *p, const char *folder, const struct hub_repo *r,
			   const struct hub_model *m, size_t count, struct err *err)
{
	char *refs = fs_join(folder, "refs"), *ref = fs_join(refs, "main");
	int status = fs_mkdirs(refs, 0755, err);

	for (size_t i = 0; status == 0 && i < count; i++) {
		const struct hub_file *f = file_of(r, m, i);
		char *path = hub_snapshot_path(folder, r, f);

		status = link_file(path, f, err);
		if (i == 0 || f == r->projector) {
			span_copy(span_of(path), i == 0 ? p->path : p->mmproj_path,
				  PULL_PATH_MAX_BYTES);
		}
		free(path);
	}
	if (status == 0) {
		status = fs_replace(ref, span_of(r->commit), 0644, err);
	}
	free(ref);
	free(refs);
	return status;
}

static int get_model(struct job *j, const struct hub_repo *r, const struct hub_model *m,
		     struct err *err)
{
	char *folder = hub_folder(j->cache, r->name), *blobs = fs_join(folder, "blobs");
	size_t count = m->parts + (r->projector != NULL);
	struct store_file *files = mem_alloc(count * sizeof(*files));

	for (size_t i = 0; i < count; i++) {
		files[i] = stored(j, r, folder, file_of(r, m, i));
	}
	int status = store_get(files, count, blobs, j->transfer, &j->report, err);

	if (status == 0) {
		status = finish_snapshot(&j->report.pull, folder, r, m, count, err);
	}
	store_files_free(files, count);
	free(blobs);
	free(folder);
	return status;
}

static int no_such_model(const struct hub_repo *r, struct span name, struct err *err)
{
	struct buf names;

	buf_init(&names, NAMES_MAX_BYTES);
	for (size_t i = 0; i < r->model_count; i++) {
		buf_printf(&names, "%s%s", i > 0 ? ", " : "", r->models[i].name);
	}
	err_set(err, ERR_NOT_FOUND, "%s has no '%.*s'. It has: %s", r->name, SPAN_ARG(name),
		buf_text(&names));
	buf_finish(&names);
	return ERR_NOT_FOUND;
}

static int run_repo(struct job *j, struct span repo, struct span name, struct err *err)
{
	char *what = mem_spandup(repo);
	char *url = mem_printf("%s/api/models/%s/revision/main?blobs=true", j->endpoint, what);
	struct hub_repo r = { 0 };
	struct buf answer;

	buf_init(&answer, HUB_ANSWER_MAX_BYTES);
	int status = transfer_text(j->transfer, what, url, 0, 0, &answer, err);

	if (status == 0) {
		status = hub_read(&r, repo, buf_span(&answer), err);
	}
	buf_finish(&answer);
	if (status == 0) {
		const struct hub_model *m = name.len > 0	 ? hub_find(&r, name)
					    : r.model_count == 1 ? &r.models[0]
								 : NULL;

		if (m != NULL) {
			status = get_model(j, &r, m, err);
		} else if (name.len > 0) {
			status = no_such_model(&r, name, err);
		} else {
			fits_fill(&j->report.pull, &r, j->endpoint, &j->machine, j->transfer);
			j->report.pull.phase = PULL_CHOOSING;
		}
	}
	hub_finish(&r);
	free(url);
	free(what);
	return status;
}

/* Addresses */

/* The file's name in an address, or NULL when it is none that may be a file here. */
static char *name_of_url(const char *url)
{
	struct span rest = { url, strcspn(url, "?#") }, name = rest;

	while (rest.ptr != NULL) {
		name = span_split(&rest, '/');
	}
	size_t plain = strspn(name.ptr, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					"0123456789._-");

	return name.len > 5 && name.len < 200 && plain >= name.len && name.ptr[0] != '.' &&
			       span_has_suffix(name, ".gguf")
		       ? mem_spandup(name)
		       : NULL;
}

/* Asks the server about the file at that address. */
static int look_at_url(struct job *j, struct store_file *f, struct err *err)
{
	char etag[128] = "", hex[DIGEST_HEX_BYTES];
	uint64_t there = 0;
	int status = transfer_look(j->transfer, f->url, f->url, &f->bytes, etag, err);

	if (status == 0 && fs_size(f->path, &there) == 0 && there != f->bytes) {
		status = err_set(err, ERR_BUSY,
				 "%s is there already, and is another file (%llu bytes, not %llu). "
				 "Move it away first",
				 f->path, (unsigned long long)there, (unsigned long long)f->bytes);
	}
	if (etag[0] != '\0') { /* what is there of another content is not gone on with */
		digest_hex_of(span_of(etag), hex);
		span_copy((struct span){ hex, 12 }, f->tag, sizeof(f->tag));
	}
	return status;
}

/* Of a split model all parts, as the name of the one given counts them. */
static int run_url(struct job *j, const char *url, struct err *err)
{
	char *name = name_of_url(url);
	uint32_t part = 0, count = 1;

	if (name == NULL) {
		return err_set(err, ERR_INVALID,
			       "%s is not the address of a .gguf file. Give that, or ORG/REPO",
			       url);
	}
	char *first = gguf_part_path(name, 0, &part, &count);
	const char *at = strstr(url, name);
	struct store_file *files = mem_alloc(count * sizeof(*files));
	int status = 0;

	for (uint32_t i = 0; i < count; i++) {
		char *file =
			first != NULL ? gguf_part_path(name, i, &part, &part) : mem_strdup(name);

		files[i].url =
			mem_printf("%.*s%s%s", (int)(at - url), url, file, at + strlen(name));
		files[i].what = mem_strdup(files[i].url);
		files[i].path = fs_join(j->folder, file);
		free(file);
		status = status == 0 ? look_at_url(j, &files[i], err) : status;
	}
	if (status == 0) {
		status = store_get(files, count, j->folder, j->transfer, &j->report, err);
		span_copy(span_of(files[0].path), j->report.pull.path, PULL_PATH_MAX_BYTES);
	}
	store_files_free(files, count);
	free(first);
	free(name);
	return status;
}

/* The request */

static int read_request(struct job *j, const struct json_value *v, struct err *err)
{
	struct memory_machine *m = &j->machine.memory;

	j->source = json_text_at(v, "source", "");
	j->cache = json_text_at(v, "cache", "");
	j->folder = json_text_at(v, "folder", "");
	m->host_free_bytes = (uint64_t)json_i64_at(v, "host_free_bytes", 0);
	m->device_free_bytes = (uint64_t)json_i64_at(v, "device_free_bytes", 0);
	m->budget_free_bytes = (uint64_t)json_i64_at(v, "budget_free_bytes", INT64_MAX);
	m->is_unified = json_bool_at(v, "is_unified", false);
	j->machine.cache_ram_mib = (uint32_t)json_i64_at(v, "cache_ram_mib", 0);
	if (j->source[0] == '\0' || j->cache[0] != '/' || j->folder[0] != '/') {
		return err_set(err, ERR_INVALID,
			       "ronzal-fetch is run by ronzal: use ronzal pull ORG/REPO");
	}
	return read_endpoint(&j->endpoint, err);
}

static int run(struct job *j, struct err *err)
{
	struct span source = span_of(j->source), repo, name;

	j->token = read_token();
	j->transfer = transfer_create(&(struct transfer_options){ .endpoint = j->endpoint,
								  .token = j->token,
								  .on_wait = report_note,
								  .user = &j->report },
				      err);
	if (j->transfer == NULL) {
		return err->code;
	}
	report_say(&j->report);
	if (hub_source(source, &repo, &name)) {
		return run_repo(j, repo, name, err);
	}
	if (span_has_prefix(source, "https://") || span_has_prefix(source, "http://")) {
		return run_url(j, j->source, err);
	}
	return err_set(err, ERR_INVALID,
		       "'%s' is neither ORG/REPO, ORG/REPO:QUANT nor an https address", j->source);
}

int main(int argc, char **argv)
{
	struct job job = { 0 };
	struct err err = { 0 };
	struct json *request = argc == 2 ? json_parse(span_of(argv[1]), NULL) : NULL;
	int status = read_request(&job, json_root(request), &err);

	umask(022);
	pull_init(&job.report.pull, job.source);
	if (status == 0) {
		status = run(&job, &err);
	}
	if (status != 0) {
		pull_fail(&job.report.pull, &err);
	} else if (job.report.pull.phase != PULL_CHOOSING) {
		job.report.pull.phase = PULL_DONE;
	}
	report_say(&job.report);
	transfer_destroy(job.transfer);
	free(job.endpoint);
	free(job.token);
	json_destroy(request);
	return err_exit_code(status);
}
