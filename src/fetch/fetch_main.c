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
	uint64_t room_bytes; /* still to come */
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

static int link_file(const char *folder, const struct hub_repo *r, const struct hub_file *f,
		     struct err *err)
{
	char *path = hub_snapshot_path(folder, r, f), *target = hub_link_target(f);
	char *above = mem_spandup((struct span){ path, (size_t)(strrchr(path, '/') - path) });
	int status = fs_mkdirs(above, 0755, err);

	if (status == 0 && !fs_is_file(path)) {
		unlink(path); /* a link to a blob that is gone */
		status =
			symlink(target, path) == 0 ? 0 : err_set_os(err, -errno, "making %s", path);
	}
	free(above);
	free(target);
	free(path);
	return status;
}

/* What a file of the repository is to store. */
struct item {
	const struct hub_file *file;
	struct store_file store;
	char *what, *url, *path;
};

static struct item make_item(const struct job *j, const struct hub_repo *r, const char *folder,
			     const struct hub_file *f)
{
	struct item i = { .file = f,
			  .what = mem_printf("%s: %s", r->name, f->path),
			  .url = hub_url(j->endpoint, r, f),
			  .path = hub_blob_path(folder, f) };

	i.store = (struct store_file){ i.what, i.url, i.path, "", f->sha256, f->bytes };
	return i;
}

static int get_items(struct job *j, const struct hub_repo *r, const char *folder,
		     struct item *items, size_t count, struct err *err)
{
	struct pull *p = &j->report.pull;
	uint64_t there = 0;
	char *blobs = fs_join(folder, "blobs"), *refs = fs_join(folder, "refs");
	char *ref = fs_join(refs, "main");
	int status = fs_mkdirs(blobs, 0755, err);

	for (size_t i = 0; i < count; i++) {
		p->total_bytes += items[i].store.bytes;
		there += store_have(&items[i].store);
	}
	if (status == 0 && there < p->total_bytes) {
		status = store_check_room(blobs, p->total_bytes - there, err);
	}
	for (size_t i = 0; status == 0 && i < count; i++) {
		status = store_get(&items[i].store, j->transfer, &j->report, err);
		if (status == 0) {
			status = link_file(folder, r, items[i].file, err);
		}
	}
	if (status == 0) {
		status = fs_mkdirs(refs, 0755, err);
	}
	if (status == 0) {
		status = fs_replace(ref, span_of(r->commit), 0644, err);
	}
	free(ref);
	free(refs);
	free(blobs);
	return status;
}

static void say_path(char to[PULL_PATH_MAX_BYTES], const char *folder, const struct hub_repo *r,
		     const struct hub_file *f)
{
	char *path = hub_snapshot_path(folder, r, f);

	span_copy(span_of(path), to, PULL_PATH_MAX_BYTES);
	free(path);
}

static int get_model(struct job *j, const struct hub_repo *r, const struct hub_model *m,
		     struct err *err)
{
	char *folder = hub_folder(j->cache, r->name);
	struct item *items = mem_alloc((m->parts + 1) * sizeof(*items));
	size_t count = 0;

	while (count < m->parts) {
		items[count] = make_item(j, r, folder, &r->files[m->first + count]);
		count++;
	}
	if (r->projector != NULL) {
		items[count++] = make_item(j, r, folder, r->projector);
	}
	int status = get_items(j, r, folder, items, count, err);

	if (status == 0) {
		say_path(j->report.pull.path, folder, r, &r->files[m->first]);
	}
	if (status == 0 && r->projector != NULL) {
		say_path(j->report.pull.mmproj_path, folder, r, r->projector);
	}
	for (size_t i = 0; i < count; i++) {
		free(items[i].what);
		free(items[i].url);
		free(items[i].path);
	}
	free(items);
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
	size_t len = strcspn(url, "?#");
	size_t from = len;

	while (from > 0 && url[from - 1] != '/') {
		from--;
	}
	struct span name = { url + from, len - from };
	size_t plain = strspn(name.ptr, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					"0123456789._-");

	return name.len > 5 && name.len < 200 && plain >= name.len && name.ptr[0] != '.' &&
			       span_has_suffix(name, ".gguf")
		       ? mem_spandup(name)
		       : NULL;
}

static int get_url(struct job *j, const char *url, const char *path, struct err *err)
{
	char etag[128] = "", tag[DIGEST_HEX_BYTES] = "";
	struct store_file f = { .what = url, .url = url, .path = path, .tag = tag, .sha256 = "" };
	int status = transfer_look(j->transfer, url, url, &f.bytes, etag, err);

	if (status != 0) {
		return status;
	}
	if (etag[0] != '\0') { /* what is there of another content is not gone on with */
		digest_hex_of(span_of(etag), tag);
		tag[12] = '\0';
	}
	uint64_t have = store_have(&f);

	if (fs_is_file(path) && have != f.bytes) {
		return err_set(
			err, ERR_BUSY,
			"%s is there already, and is another file (%llu bytes, not %llu). Move "
			"it away first",
			path, (unsigned long long)have, (unsigned long long)f.bytes);
	}
	j->report.pull.total_bytes += f.bytes;
	status = have < f.bytes ? store_check_room(j->folder, f.bytes - have, err) : 0;
	return status == 0 ? store_get(&f, j->transfer, &j->report, err) : status;
}

/* Of a split model all parts, as its first part's name counts them. */
static int run_url(struct job *j, const char *url, struct err *err)
{
	char *name = name_of_url(url);
	uint32_t part = 0, count = 1;
	int status = fs_mkdirs(j->folder, 0755, err);

	if (name == NULL) {
		return err_set(err, ERR_INVALID,
			       "%s is not the address of a .gguf file. Give that, or ORG/REPO",
			       url);
	}
	char *first = gguf_part_path(name, 0, &part, &count);

	for (uint32_t i = 0; status == 0 && i < (first != NULL ? count : 1); i++) {
		char *part_name =
			first != NULL ? gguf_part_path(name, i, &part, &part) : mem_strdup(name);
		char *at = strstr(url, name);
		char *part_url =
			mem_printf("%.*s%s%s", (int)(at - url), url, part_name, at + strlen(name));
		char *path = fs_join(j->folder, part_name);

		status = get_url(j, part_url, path, err);
		if (i == 0) {
			span_copy(span_of(path), j->report.pull.path, PULL_PATH_MAX_BYTES);
		}
		free(path);
		free(part_url);
		free(part_name);
	}
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
	report_init(&job.report, job.source);
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
