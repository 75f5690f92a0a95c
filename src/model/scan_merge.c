/* SPDX-License-Identifier: MIT */
/*
 * From found models to a registry: which are known, what the others are called.
 */
#include "model/scan.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"

#define SLUG_MAX_BYTES 100 /* leaves room for a number behind it */

/* Lower case, what an id may hold, no '-' twice or at an end. */
static void add_slug(struct buf *slug, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		char last = slug->len > 0 ? slug->data[slug->len - 1] : '-';

		if (c < 0x80 && (isalnum(c) || ((c == '.' || c == '_') && last != '-'))) {
			buf_add_char(slug, (char)tolower(c));
		} else if (last != '-') {
			buf_add_char(slug, '-');
		}
	}
}

static void add_word(struct buf *slug, const char *word)
{
	if (word[0] != '\0' && slug->len > 0 && slug->data[slug->len - 1] != '-') {
		buf_add_char(slug, '-');
	}
	add_slug(slug, word);
}

static void lower(const char *text, char *ret_lower, size_t room)
{
	span_copy(span_of(text), ret_lower, room);
	for (char *c = ret_lower; *c != '\0'; c++) {
		*c = (char)tolower((unsigned char)*c);
	}
}

/* "qwen3-4b-q4_k_m": by the metadata where they name the model, else by the file's name. */
static void make_slug(const struct scan_model *m, struct buf *slug)
{
	const struct gguf *g = &m->gguf;

	if (!m->is_blob && g->basename[0] != '\0' && g->size_label[0] != '\0') {
		add_word(slug, g->basename);
		add_word(slug, g->size_label);
		add_word(slug, g->finetune);
	} else {
		add_slug(slug, m->name);
	}
	size_t len = strlen(g->quantization);
	struct span end = span_from(buf_span(slug), slug->len > len ? slug->len - len : 0);

	if (!span_is_nocase(end, g->quantization)) {
		add_word(slug, g->quantization);
	}
	while (slug->len > 0 && strchr("-._", slug->data[slug->len - 1]) != NULL) {
		buf_truncate(slug, slug->len - 1);
	}
	if (slug->len == 0) {
		buf_add_text(slug, "model");
	}
}

static void make_id(const struct scan_model *m, const struct registry *r,
		    char id[REGISTRY_ID_MAX_BYTES])
{
	struct buf slug;

	buf_init(&slug, SLUG_MAX_BYTES);
	make_slug(m, &slug);
	snprintf(id, REGISTRY_ID_MAX_BYTES, "%s", buf_text(&slug));
	for (size_t n = 2; registry_find(r, span_of(id)) != NULL; n++) {
		snprintf(id, REGISTRY_ID_MAX_BYTES, "%s-%zu", buf_text(&slug), n);
	}
	buf_finish(&slug);
}

static void add_line(struct scan_report *report, enum scan_fate fate, const char *id,
		     const char *text)
{
	struct scan_line *line;

	report->lines = mem_resize(report->lines, report->count + 1, sizeof(report->lines[0]));
	line = &report->lines[report->count++];
	line->fate = fate;
	span_copy(span_of(id), line->id, sizeof(line->id));
	span_copy(span_of(text), line->text, sizeof(line->text));
}

static void add_model(const struct scan_model *found, struct registry *r, const char *model_root,
		      struct scan_report *report)
{
	const struct gguf *g = &found->gguf;
	char quantization[sizeof(g->quantization)], family[sizeof(g->architecture)];
	struct err err;
	struct model m = { .name = found->name,
			   .file_path = registry_file_path(model_root, found->path),
			   .mmproj_path = registry_file_path(model_root, found->mmproj_path),
			   .size_params = (double)g->parameters / 1e9 };

	settings_init(&m.settings);
	if (g->is_encoder || g->pooling > 0) {
		m.settings.embeddings = 1;
	}
	lower(g->quantization, quantization, sizeof(quantization));
	lower(g->architecture, family, sizeof(family));
	m.quantization = quantization[0] != '\0' ? quantization : NULL;
	m.family = family[0] != '\0' ? family : NULL;
	make_id(found, r, m.id);
	if (registry_add(r, &m, &err) == 0) {
		add_line(report, SCAN_ADDED, m.id, m.file_path);
	} else {
		add_line(report, SCAN_REFUSED, m.id, err.text);
	}
	free(m.file_path);
	free(m.mmproj_path);
}

void scan_merge(const struct scan *s, struct registry *r, const char *model_root,
		struct scan_report *ret_report)
{
	size_t before = r->count;
	char(*known)[DIGEST_HEX_BYTES] = mem_alloc((before + 1) * sizeof(*known));
	struct scan_report report = { 0 };

	for (size_t i = 0; i < before; i++) {
		char *path = registry_host_path(model_root, r->models[i].file_path);

		scan_fingerprint(path, known[i]);
		if (known[i][0] == '\0') {
			add_line(&report, SCAN_MISSING, r->models[i].id, r->models[i].file_path);
			digest_hex_of(span_of(path), known[i]);
		}
		free(path);
	}
	for (size_t i = 0; i < s->count; i++) {
		size_t k = 0;

		while (k < before && strcmp(known[k], s->models[i].fingerprint) != 0) {
			k++;
		}
		if (k < before) {
			add_line(&report, SCAN_KNOWN, r->models[k].id, r->models[k].file_path);
		} else {
			add_model(&s->models[i], r, model_root, &report);
		}
	}
	free(known);
	*ret_report = report;
}

/* A model of which only the path is known, in another container's or the host's terms. */
static void take_unseen(struct scan *s, const char *path, const char *mmproj_path)
{
	s->models = mem_alloc(sizeof(*s->models));
	s->count = 1;
	s->models[0] = (struct scan_model){ .path = mem_strdup(path),
					    .mmproj_path = mem_strdup(mmproj_path),
					    .name = model_made_name(path) };
	digest_hex_of(span_of(path), s->models[0].fingerprint);
}

int scan_add(struct registry *r, const char *file_path, const char *mmproj_path,
	     const char *model_root, char ret_id[REGISTRY_ID_MAX_BYTES], struct err *err)
{
	char *path = registry_host_path(model_root, file_path);
	char *mmproj = mmproj_path[0] != '\0' ? registry_host_path(model_root, mmproj_path) : NULL;
	struct scan_report report = { 0 };
	struct scan s;
	int status = 0;

	scan_init(&s);
	if (fs_is_file(path)) {
		status = scan_file(&s, path, mmproj, err);
	} else {
		take_unseen(&s, path, mmproj);
	}
	if (status == 0) {
		scan_merge(&s, r, model_root, &report);
		ENSURE(report.lines != NULL); /* the last line is of what was found last */
		const struct scan_line *line = &report.lines[report.count - 1];

		if (line->fate == SCAN_REFUSED) {
			status = err_set(err, ERR_INVALID, "%s", line->text);
		} else {
			memcpy(ret_id, line->id, sizeof(line->id));
			registry_find(r, span_of(ret_id))->enabled = true;
		}
	}
	free(report.lines);
	scan_finish(&s);
	free(mmproj);
	free(path);
	return status;
}
