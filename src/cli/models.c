/* SPDX-License-Identifier: MIT */
/*
 * models and set: what a person does to the registry. Works without an agent; one that runs is told
 * to read the file again.
 */
#include <stdio.h>

#include "base/mem.h"
#include "cli/models.h"
#include "cli/term.h"
#include "cli/visit.h"
#include "model/gguf.h"

int models_load(struct registry *r, const struct cli *cli, struct err *err)
{
	return registry_load(r, cli->places.registry, (uint16_t)cli->config.engine_port_min,
			     (uint16_t)cli->config.engine_port_max, err);
}

int models_begin(struct registry_edit *e, const struct cli *cli, struct err *err)
{
	return registry_edit_begin(e, cli->places.registry, (uint16_t)cli->config.engine_port_min,
				   (uint16_t)cli->config.engine_port_max, err);
}

int models_check_files(const struct cli *cli, const struct model *m, struct preflight *ret_found)
{
	return preflight_check_files(&(struct preflight_options){ .model_roots =
									  cli->places.model_roots },
				     m, ret_found);
}

int models_end(struct registry_edit *e, const struct cli *cli, int status, struct err *err)
{
	struct visit s;

	if (status != 0) {
		registry_edit_abandon(e);
		return status;
	}
	status = registry_edit_commit(e, err);
	if (status == 0 && visit_open(&s, cli, NULL) == 0) {
		visit_ask(&s, &(struct wire_request){ .verb = VERB_RELOAD }, NULL);
		visit_close(&s);
	}
	return status;
}

bool models_is_running(const struct cli *cli, const char *id)
{
	bool is_running = false;
	struct visit s;

	if (visit_open(&s, cli, NULL) == 0) {
		const struct server *server = visit_find(&s, id);

		is_running = server != NULL && server_phase_is_running(server->phase);
		visit_close(&s);
	}
	return is_running;
}

int models_find(const struct registry *r, const char *word, struct model **ret_model,
		struct err *err)
{
	struct span id = span_of(word);
	const char *nearest;

	*ret_model = registry_find(r, id);
	if (*ret_model != NULL) {
		return 0;
	}
	nearest = registry_nearest(r, id);
	return err_set(err, ERR_NOT_FOUND,
		       nearest != NULL ? "there is no model '%s'. Did you mean '%s'?"
				       : "there is no model '%s'. See them: ronzal models%s",
		       word, nearest != NULL ? nearest : "");
}

static void list_as_json(const struct registry *r, struct buf *out)
{
	struct json_writer w;

	jsonw_init(&w, out);
	w.pretty = true;
	jsonw_array(&w);
	for (size_t i = 0; i < r->count; i++) {
		const struct model *m = &r->models[i];

		jsonw_object(&w);
		jsonw_member_text(&w, "id", m->id);
		jsonw_member_text(&w, "name", m->name);
		jsonw_member_text(&w, "file_path", m->file_path);
		jsonw_member_text(&w, "quantization", m->quantization);
		jsonw_member_bool(&w, "enabled", m->enabled);
		jsonw_member_i64(&w, "port", m->port);
		jsonw_end(&w);
	}
	jsonw_end_all(&w);
}

static void list_as_table(const struct registry *r, struct buf *out)
{
	struct table t;

	table_init(&t, "MODEL\tENABLED\tPORT\tQUANT\tFILE");
	for (size_t i = 0; i < r->count; i++) {
		const struct model *m = &r->models[i];

		table_row(&t, m->enabled ? TERM_PLAIN : TERM_DIM, "%s\t%s\t%u\t%s\t%s", m->id,
			  m->enabled ? "yes" : "no", m->port,
			  m->quantization != NULL ? m->quantization : "-", m->file_path);
	}
	table_print(&t, out);
	if (r->count == 0) {
		buf_add_text(out, "No model is registered. Find those on this machine: ronzal "
				  "models scan\n");
	}
}

/* Refused models are said every time: nobody looks for what silently is not there. */
static void print_problems(const struct registry *r)
{
	for (size_t i = 0; i < r->problem_count && i < REGISTRY_PROBLEMS_MAX; i++) {
		fprintf(stderr, "ronzal: registry: %s\n", r->problems[i].text);
	}
	if (r->problem_count > REGISTRY_PROBLEMS_MAX) {
		fprintf(stderr, "ronzal: registry: and %zu more\n",
			r->problem_count - REGISTRY_PROBLEMS_MAX);
	}
}

static int list_models(struct cli *cli, struct args *args, struct err *err)
{
	struct registry_edit e;
	int status = models_begin(&e, cli, err);

	if (status != 0) {
		return status;
	}
	(void)args;
	(cli->json ? list_as_json : list_as_table)(&e.registry, &cli->out);
	term_print_lines(&cli->out);
	print_problems(&e.registry);
	registry_edit_abandon(&e);
	return 0;
}

static int enable_models(struct cli *cli, struct args *args, struct err *err)
{
	bool enabled = strcmp(args->items[0], "enable") == 0;
	struct registry_edit e;
	struct model *m;
	int status = models_begin(&e, cli, err);

	if (status != 0) {
		return status;
	}
	for (int i = 1; status == 0 && i < args->count; i++) {
		status = models_find(&e.registry, args->items[i], &m, err);
		if (status == 0) {
			m->enabled = enabled;
		}
	}
	return models_end(&e, cli, status, err);
}

static void print_facts(const struct gguf *g, struct buf *out)
{
	buf_printf(out, "  kind       %s, %.2f B parameters, %s, %s\n", g->architecture,
		   (double)g->parameters / 1e9, g->quantization, term_bytes(g->file_bytes).text);
	buf_printf(out, "  shape      %u layers, width %u, %u heads, vocabulary %u\n",
		   g->layer_count, g->embedding_length, g->head_count, g->vocabulary);
	buf_printf(out, "  context    trained for %u tokens; chat template: %s\n",
		   g->context_length, g->has_chat_template ? "yes" : "no");
}

static void print_settings(const struct model *m, bool all, struct buf *out)
{
	for (size_t i = 0; i < setting_row_count; i++) {
		const struct setting_row *row = &setting_rows[i];
		int32_t value = setting_get(&m->settings, row);
		char text[32];

		setting_print(row, value, text, sizeof(text));
		if (all || value != SETTING_UNSET) {
			buf_printf(out, "  %-17s%-10s%s\n", row->name, text, row->help);
		}
	}
}

static int show_model(struct cli *cli, struct args *args, struct err *err)
{
	struct registry_edit e;
	struct gguf g = { 0 };
	struct err unread = { 0 };
	struct buf *out = &cli->out;
	struct model *m;
	int status = models_begin(&e, cli, err);

	if (status != 0) {
		return status;
	}
	status = models_find(&e.registry, args->items[1], &m, err);
	if (status == 0) {
		buf_printf(out, "%s\n  file       %s\n", m->id, m->file_path);
		if (gguf_read_path(&g, m->file_path, &unread) == 0) {
			print_facts(&g, out);
		} else {
			buf_printf(out, "  kind       unknown: %s\n", unread.text);
		}
		buf_printf(out, "  port       %u, %s\n", m->port,
			   m->enabled ? "enabled" : "not enabled");
		print_settings(m, false, out);
		gguf_finish(&g);
	}
	registry_edit_abandon(&e);
	return status;
}

static int add_model(struct cli *cli, struct args *args, struct err *err)
{
	return models_add(cli, args->items[1], "", err);
}

int command_models(struct cli *cli, struct args *args, struct err *err)
{
	static const char which_model[] = "model? See them: ronzal models";
	static const struct {
		const char *name;
		command_fn *run;
		const char *which; /* what it wants to know; NULL: nothing */
	} verbs[] = {
		{ "", list_models, NULL },
		{ "scan", models_scan, NULL },
		{ "add", add_model, "file?" },
		{ "rm", models_remove, which_model },
		{ "show", show_model, which_model },
		{ "enable", enable_models, which_model },
		{ "disable", enable_models, which_model },
	};
	const char *verb = args->count > 0 ? args->items[0] : "";

	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(verb, verbs[i].name) != 0) {
			continue;
		}
		return verbs[i].which != NULL && args->count < 2
			       ? err_set(err, ERR_INVALID, "%s which %s", verb, verbs[i].which)
			       : verbs[i].run(cli, args, err);
	}
	return err_set(err, ERR_INVALID,
		       "ronzal models knows scan, add, rm, show, enable and disable; "
		       "'%s' is none of them",
		       verb);
}

static int set_port(struct registry *r, struct model *m, struct span value, struct err *err)
{
	uint64_t port;

	if (span_to_u64(value, INT32_MAX, &port) != 0) {
		return err_set(err, ERR_INVALID, "port: \"%.*s\" is not a number", SPAN_ARG(value));
	}
	return registry_set_port(r, m, (int64_t)port, err);
}

/* One KEY=VALUE. */
static int set_one(struct registry *r, struct model *m, const char *word, struct err *err)
{
	struct span value = span_of(word);
	struct span key = span_split(&value, '=');
	const struct setting_row *row = setting_find(key);
	int32_t number;

	if (value.ptr == NULL) {
		return err_set(err, ERR_INVALID, "'%s' is not of the form KEY=VALUE", word);
	}
	if (span_is(key, "port")) {
		return set_port(r, m, value, err);
	}
	if (row == NULL) {
		struct nearest nearest = { .word = key };

		for (size_t i = 0; i < setting_row_count; i++) {
			nearest_try(&nearest, setting_rows[i].name);
		}
		return err_set(err, ERR_INVALID,
			       nearest.name != NULL ? "there is no setting '%.*s'. Did you mean %s?"
						    : "there is no setting '%.*s'. What can be "
						      "set: ronzal set %s",
			       SPAN_ARG(key), nearest.name != NULL ? nearest.name : m->id);
	}
	int status = setting_parse(row, value, &number, err);

	if (status == 0) {
		setting_put(&m->settings, row, number);
	}
	return status;
}

int command_set(struct cli *cli, struct args *args, struct err *err)
{
	struct registry_edit e;
	struct model *m;
	char id[REGISTRY_ID_MAX_BYTES];
	int status = models_begin(&e, cli, err);

	if (status != 0) {
		return status;
	}
	status = models_find(&e.registry, args->items[0], &m, err);
	for (int i = 1; status == 0 && i < args->count; i++) {
		status = set_one(&e.registry, m, args->items[i], err);
	}
	if (status == 0) {
		snprintf(id, sizeof(id), "%s", m->id);
		print_settings(m, true, &cli->out);
	}
	if (args->count == 1) {
		registry_edit_abandon(&e);
		return status;
	}
	status = models_end(&e, cli, status, err);
	if (status == 0 && models_is_running(cli, id)) {
		buf_printf(&cli->out,
			   "%s runs with its former settings. To apply: ronzal restart %s\n", id,
			   id);
	}
	return status;
}
