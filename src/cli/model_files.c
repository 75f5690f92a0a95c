/* SPDX-License-Identifier: MIT */
/*
 * `ronzal models add`, `rm` and `scan`: between the registry and the files on the disk. A file is
 * deleted only after a person saw which, and who else has it; what scan finds is registered, not
 * enabled.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/models.h"
#include "cli/term.h"
#include "model/scan.h"

#define SHARERS_MAX_BYTES 1024

static const char *first_root(const struct cli *cli)
{
	return cli->places.model_roots[0] != NULL ? cli->places.model_roots[0] : "/models";
}

/* Adding */

static char *absolute(const char *path)
{
	char here[FS_PATH_MAX_BYTES];

	return path[0] == '/' || getcwd(here, sizeof(here)) == NULL ? mem_strdup(path)
								    : fs_join(here, path);
}

/* That the agent would take the file, and what to do if not. */
static int check_place(const struct cli *cli, char *path, struct err *err)
{
	struct model m = { .file_path = path };
	struct preflight found;
	int status = models_check_files(cli, &m, &found);
	bool is_elsewhere = status == ERR_DENIED || status == ERR_NOT_FOUND;

	gguf_finish(&found.gguf);
	return status == 0 ? 0
			   : err_set(err, status, "%s%s%s", found.err.text,
				     is_elsewhere ? ": " : "", is_elsewhere ? found.next_step : "");
}

int models_add(struct cli *cli, const char *path, const char *mmproj_path, struct err *err)
{
	char *file = absolute(path);
	char id[REGISTRY_ID_MAX_BYTES] = "";
	uint16_t port = 0;
	struct registry_edit e;
	int status = check_place(cli, file, err);

	status = status != 0 ? status : models_begin(&e, cli, err);
	if (status == 0) {
		status = scan_add(&e.registry, file, mmproj_path, first_root(cli), id, err);
		port = status == 0 ? registry_find(&e.registry, span_of(id))->port : 0;
		status = models_end(&e, cli, status, err);
	}
	if (status == 0 && cli->json) {
		printf("{\"model\":\"%s\",\"port\":%u}\n", id, port);
	} else if (status == 0) {
		printf("%s is registered, enabled, on port %u. To start it:\nronzal start %s\n", id,
		       port, id);
	}
	free(file);
	return status;
}

/* Removing */

/* What would go, and who else has it. */
struct doomed {
	char id[REGISTRY_ID_MAX_BYTES];
	char **paths;
	size_t count;
	uint64_t bytes;
	struct buf sharers;
};

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void note_sharers(struct doomed *d, const struct cli *cli, const struct registry *r,
			 const struct model *m, const char *path)
{
	struct stat st;

	for (size_t i = 0; i < r->count; i++) {
		const struct model *other = &r->models[i];
		char *file = registry_host_path(first_root(cli), other->file_path);

		if (other != m && is_same_file(file, path)) {
			buf_printf(&d->sharers, "  the model %s runs from it too\n", other->id);
		}
		free(file);
	}
	if (stat(path, &st) == 0 && st.st_nlink > 1) {
		buf_printf(&d->sharers, "  it has %u more names on this disk, which keep it\n",
			   (unsigned)st.st_nlink - 1);
	}
	if (strstr(path, "/models--") != NULL) {
		buf_add_text(&d->sharers,
			     "  the Hugging Face cache is there for other programs too\n");
	} else if (strstr(path, "/blobs/sha256-") != NULL) {
		buf_add_text(&d->sharers, "  Ollama lists it: better is ollama rm\n");
	}
}

static void doom(struct doomed *d, const char *path)
{
	d->paths = mem_resize(d->paths, d->count + 1, sizeof(*d->paths));
	d->paths[d->count++] = mem_strdup(path);
}

/* The file; and in the hub's cache what its link leads to. */
static void doom_file(struct doomed *d, const char *path)
{
	char target[FS_PATH_MAX_BYTES], link[FS_PATH_MAX_BYTES];
	uint64_t bytes = 0;
	ssize_t len = readlink(path, link, sizeof(link));
	bool is_blob = len > 0 && fs_resolve_inside(path, "/", target, NULL) == 0 &&
		       strstr(path, "/models--") != NULL && strstr(target, "/blobs/") != NULL;

	fs_size(path, &bytes);
	d->bytes += bytes;
	if (is_blob) {
		doom(d, target);
	}
	doom(d, path);
}

/* A projector that no other model looks through. */
static bool has_own_projector(const struct registry *r, const struct model *m)
{
	bool is_own = m->mmproj_path != NULL;

	for (size_t i = 0; is_own && i < r->count; i++) {
		const char *other = r->models[i].mmproj_path;

		is_own = &r->models[i] == m || other == NULL || strcmp(other, m->mmproj_path) != 0;
	}
	return is_own;
}

static void look_at_files(struct doomed *d, const struct cli *cli, const struct registry *r,
			  const struct model *m)
{
	char *file = registry_host_path(first_root(cli), m->file_path);
	uint32_t own = 0, parts = 1;
	char *first = gguf_part_path(file, 0, &own, &parts);

	buf_init(&d->sharers, SHARERS_MAX_BYTES);
	note_sharers(d, cli, r, m, file);
	for (uint32_t i = 0; i < (first != NULL ? parts : 1); i++) {
		char *part = first != NULL ? gguf_part_path(file, i, &own, &own) : mem_strdup(file);

		doom_file(d, part);
		free(part);
	}
	if (has_own_projector(r, m)) {
		char *projector = registry_host_path(first_root(cli), m->mmproj_path);

		doom_file(d, projector);
		free(projector);
	}
	free(first);
	free(file);
}

static bool is_agreed(const struct doomed *d, bool is_sure)
{
	if (d->count == 0) {
		return is_sure || !isatty(STDIN_FILENO) ||
		       term_confirm("Take it out of the registry? Its file stays.", true);
	}
	printf("%s leaves the registry, and from the disk go %s:\n", d->id,
	       term_bytes(d->bytes).text);
	for (size_t i = 0; i < d->count; i++) {
		printf("  %s\n", d->paths[i]);
	}
	if (d->sharers.len > 0) {
		printf("Others have a share in that:\n%s", buf_text(&d->sharers));
	}
	return is_sure || term_confirm("Delete them?", false);
}

static int delete_files(const struct doomed *d, struct err *err)
{
	int status = 0;

	for (size_t i = 0; i < d->count; i++) {
		if (unlink(d->paths[i]) != 0 && errno != ENOENT && status == 0) {
			status = err_set_os(err, -errno, "deleting %s", d->paths[i]);
		}
	}
	return status;
}

/* What the word means, and what would go; the registry is let go of before anybody is asked. */
static int look_up(const struct cli *cli, const char *word, bool delete_file, struct doomed *d,
		   struct err *err)
{
	struct registry_edit e;
	struct model *m = NULL;
	int status = models_begin(&e, cli, err);

	if (status != 0) {
		return status;
	}
	status = models_find(&e.registry, word, &m, err);
	if (status == 0) {
		memcpy(d->id, m->id, sizeof(d->id));
		if (delete_file) {
			look_at_files(d, cli, &e.registry, m);
		}
	}
	registry_edit_abandon(&e);
	return status;
}

int models_remove(struct cli *cli, struct args *args, struct err *err)
{
	bool delete_file = args_flag(args, "--delete-file") != NULL;
	bool is_sure = args_flag(args, "--yes") != NULL;
	struct doomed d = { .count = 0 };
	struct registry_edit e;
	int status = look_up(cli, args->items[1], delete_file, &d, err);

	if (status == 0 && models_is_running(cli, d.id)) {
		status = err_set(err, ERR_BUSY, "%s is running. First: ronzal stop %s", d.id, d.id);
	}
	if (status == 0 && !is_agreed(&d, is_sure)) {
		status = err_set(err, ERR_CANCELED,
				 "nothing was changed. To agree without being asked: --yes");
	}
	status = status != 0 ? status : models_begin(&e, cli, err);
	if (status == 0) {
		registry_remove(&e.registry, d.id);
		status = models_end(&e, cli, 0, err);
	}
	status = status != 0 ? status : delete_files(&d, err);
	for (size_t i = 0; i < d.count; i++) {
		free(d.paths[i]);
	}
	free(d.paths);
	buf_finish(&d.sharers);
	return status;
}

/* Finding */

static void scan_roots(struct scan *s, const struct cli *cli)
{
	bool talk = isatty(STDERR_FILENO) && !cli->quiet;
	struct err err;

	for (const char *const *roots = cli->places.model_roots; *roots != NULL; roots++) {
		bool is_there = fs_is_folder(*roots);

		if (is_there && talk) {
			fprintf(stderr, "looking in %s ...\n", *roots);
		}
		if (is_there && scan_folder(s, *roots, &err) != 0) {
			fprintf(stderr, "ronzal: %s\n", err.text);
		}
	}
	for (size_t i = 0; i < s->problem_count && i < SCAN_PROBLEMS_MAX; i++) {
		fprintf(stderr, "ronzal: %s\n", s->problems[i]);
	}
}

static const char *const fates[] = { [SCAN_ADDED] = "added",
				     [SCAN_KNOWN] = "known",
				     [SCAN_MISSING] = "missing",
				     [SCAN_REFUSED] = "refused" };

static void report_as_json(const struct scan_report *report, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	w.pretty = true;
	jsonw_array(&w);
	for (size_t i = 0; i < report->count; i++) {
		jsonw_object(&w);
		jsonw_member_text(&w, "fate", fates[report->lines[i].fate]);
		jsonw_member_text(&w, "id", report->lines[i].id);
		jsonw_member_text(&w, "text", report->lines[i].text);
		jsonw_end(&w);
	}
	jsonw_end_all(&w);
}

static void report_as_table(const struct scan_report *report, struct buf *out)
{
	struct table t;
	size_t added = 0;

	table_init(&t, NULL);
	for (size_t i = 0; i < report->count; i++) {
		const struct scan_line *line = &report->lines[i];

		added += line->fate == SCAN_ADDED;
		table_row(&t, line->fate == SCAN_ADDED ? TERM_GREEN : TERM_PLAIN, "%s\t%s\t%s",
			  fates[line->fate], line->id, line->text);
	}
	table_print(&t, out);
	if (added > 0) {
		buf_printf(out, "%zu added, not enabled. To use one: ronzal models enable MODEL\n",
			   added);
	} else if (report->count == 0) {
		buf_add_text(out, "No model file was found. To get one: ronzal pull ORG/REPO\n");
	}
}

/* What other tools have where model_roots does not reach, and so could not be started. */
static void tell_of_stores(const struct cli *cli)
{
	for (const char *const *store = cli->places.stores; *store != NULL; store++) {
		bool is_ours = cli_is_below(*store, cli->places.model_roots) ||
			       strcmp(*store, cli->places.demo) == 0;
		struct scan s;

		scan_init(&s);
		if (!is_ours && fs_is_folder(*store) && scan_folder(&s, *store, NULL) == 0 &&
		    s.count > 0) {
			fprintf(stderr,
				"ronzal: %zu more in %s, which is no model folder; to use them add "
				"it to model_roots in host.conf\n",
				s.count, *store);
		}
		scan_finish(&s);
	}
}

int models_scan(struct cli *cli, struct args *args, struct err *err)
{
	struct registry_edit e;
	struct scan_report report;
	struct scan s;

	(void)args;
	scan_init(&s);
	scan_roots(&s, cli);
	int status = models_begin(&e, cli, err);

	if (status == 0) {
		scan_merge(&s, &e.registry, first_root(cli), &report);
		(cli->json ? report_as_json : report_as_table)(&report, &cli->out);
		status = models_end(&e, cli, 0, err);
		term_print_lines(&cli->out);
		free(report.lines);
	}
	scan_finish(&s);
	tell_of_stores(cli);
	return status;
}
