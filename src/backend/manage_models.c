/* SPDX-License-Identifier: MIT */
/*
 * The registry: what it says, what files say about themselves, and changes. Whatever needs a file's
 * facts is held until they are read.
 */
#include <stdlib.h>

#include "backend/manage_core.h"
#include "backend/pulls.h"
#include "backend/show.h"
#include "base/fs.h"
#include "base/mem.h"
#include "model/memory.h"
#include "model/scan.h"

static void text_or_null(struct json_writer *w, const char *key, const char *text)
{
	jsonw_member_text(w, key, text != NULL && text[0] != '\0' ? text : NULL);
}

static void write_settings(struct json_writer *w, const struct settings *s)
{
	jsonw_member_object(w, "settings");
	for (size_t i = 0; i < setting_row_count; i++) {
		jsonw_key(w, setting_rows[i].name);
		setting_write(w, &setting_rows[i], setting_get(s, &setting_rows[i]));
	}
	jsonw_end(w);
}

static void write_facts(struct json_writer *w, const struct fact *fact)
{
	const struct gguf *g = &fact->gguf;
	uint32_t kv_heads = 0;

	for (uint32_t i = 0; i < g->layer_count; i++) {
		kv_heads = g->layers[i].kv_heads > kv_heads ? g->layers[i].kv_heads : kv_heads;
	}
	jsonw_object(w);
	jsonw_member_text(w, "architecture", g->architecture);
	jsonw_member_u64(w, "parameters", g->parameters);
	jsonw_member_i64(w, "layers", g->layer_count);
	jsonw_member_i64(w, "embedding", g->embedding_length);
	jsonw_member_i64(w, "heads", g->head_count);
	jsonw_member_i64(w, "kv_heads", kv_heads);
	jsonw_member_i64(w, "context_tokens", g->context_length);
	jsonw_member_i64(w, "vocabulary", g->vocabulary);
	jsonw_member_i64(w, "experts", g->expert_count);
	jsonw_member_u64(w, "file_bytes", g->file_bytes);
	jsonw_member_i64(w, "file_parts", g->part_count > 1 ? g->part_count : 1);
	jsonw_member_text(w, "quantization", g->quantization);
	jsonw_member_bool(w, "chat_template", g->has_chat_template);
	jsonw_member_bool(w, "embeddings_only", g->is_encoder);
	jsonw_end(w);
}

static void write_model(struct json_writer *w, const struct manage *manage, const struct model *m)
{
	const struct fact *fact = facts_find(manage->facts, m);
	bool is_known = fact != NULL && fact->err.code == 0;

	jsonw_object(w);
	jsonw_member_text(w, "id", m->id);
	jsonw_member_text(w, "name", m->name);
	jsonw_member_text(w, "file_path", m->file_path);
	text_or_null(w, "mmproj_path", m->mmproj_path);
	text_or_null(w, "family", m->family);
	text_or_null(w, "quantization", m->quantization);
	show_positive(w, "size_params", m->size_params, 3);
	jsonw_member_bool(w, "enabled", m->enabled);
	jsonw_member_i64(w, "port", m->port);
	jsonw_member_array(w, "aliases");
	for (int i = 0; i < m->alias_count; i++) {
		jsonw_text(w, m->aliases[i]);
	}
	jsonw_end(w);
	write_settings(w, &m->settings);
	jsonw_key(w, "facts");
	if (is_known) {
		write_facts(w, fact);
	} else {
		jsonw_null(w);
	}
	jsonw_member_text(w, "facts_error", is_known || fact == NULL ? "" : fact->err.text);
	jsonw_end(w);
}

/* GET registry */

static void write_problem(struct json_writer *w, const char *id, const char *text)
{
	jsonw_object(w);
	jsonw_member_text(w, "id", id);
	jsonw_member_text(w, "text", text);
	jsonw_end(w);
}

static void write_problems(struct json_writer *w, const struct manage *m, const struct registry *r)
{
	const struct err *whole = fleet_registry_error(m->backend->fleet);

	jsonw_member_array(w, "problems");
	if (whole->code != 0) {
		write_problem(w, "", whole->text);
	}
	for (size_t i = 0; i < r->problem_count && i < REGISTRY_PROBLEMS_MAX; i++) {
		write_problem(w, r->problems[i].id, r->problems[i].text);
	}
	jsonw_end(w);
}

static void write_setting_rows(struct json_writer *w)
{
	static const char *const kinds[] = { "int", "bool", "choice", "choice" };

	jsonw_member_array(w, "setting_rows");
	for (size_t i = 0; i < setting_row_count; i++) {
		const struct setting_row *row = &setting_rows[i];
		char text[32];

		jsonw_object(w);
		jsonw_member_text(w, "name", row->name);
		jsonw_member_text(w, "kind", kinds[row->kind]);
		jsonw_member_i64(w, "min", row->min);
		jsonw_member_i64(w, "max", row->max);
		jsonw_member_array(w, "choices");
		for (int32_t v = row->min; row->kind >= SETTING_TRI && v <= row->max; v++) {
			setting_print(row, v, text, sizeof(text));
			jsonw_text(w, text);
		}
		jsonw_end(w);
		jsonw_member_text(w, "help", row->help);
		jsonw_end(w);
	}
	jsonw_end(w);
}

static void on_facts(void *user)
{
	struct call *c = user;

	if (call_resume(c)) {
		c->then(c);
	}
}

/* Goes on with then(c) when the facts of all files are known, if there is somebody to answer. */
static void with_facts(struct call *c, void (*then)(struct call *c))
{
	c->is_held = true;
	c->then = then;
	facts_read(c->m->facts, fleet_registry(c->backend->fleet), on_facts, c);
}

static void answer_registry(struct call *c)
{
	const struct registry *r = fleet_registry(c->backend->fleet);
	struct json_writer *w = &c->w;

	jsonw_object(w);
	jsonw_member_object(w, "models");
	for (size_t i = 0; i < r->count; i++) {
		jsonw_key(w, r->models[i].id);
		write_model(w, c->m, &r->models[i]);
	}
	jsonw_end(w);
	write_problems(w, c->m, r);
	jsonw_member_i64(w, "port_min", r->port_min);
	jsonw_member_i64(w, "port_max", r->port_max);
	write_setting_rows(w);
	call_reply(c, 200);
}

void handle_registry(struct call *c)
{
	with_facts(c, answer_registry);
}

/* Changes: the file is changed under its lock, then the model is shown with its facts */

static int change_enabled(struct call *c, struct registry *r, struct model *m, struct err *err)
{
	(void)r;
	if (!json_to_bool(json_get(c->body, "enabled"), &m->enabled)) {
		return err_set(err, ERR_INVALID, "enabled: neither true nor false");
	}
	return call_check_members(c, "enabled", err);
}

static int change_port(struct call *c, struct registry *r, struct model *m, struct err *err)
{
	int64_t port;

	if (!json_to_i64(json_get(c->body, "port"), &port)) {
		return err_set(err, ERR_INVALID, "port: not a whole number");
	}
	int status = call_check_members(c, "port", err);

	return status == 0 ? registry_set_port(r, m, port, err) : status;
}

static int read_settings(const struct json_value *body, struct settings *s, struct err *err)
{
	int32_t number;

	JSON_EACH (it, body) {
		const struct setting_row *row = setting_find(it.key);

		if (row == NULL) {
			return err_set(err, ERR_INVALID, "there is no setting '%.*s'",
				       SPAN_ARG(it.key));
		}
		if (setting_read(row, it.value, &number, err) != 0) {
			return err_prefix(err, "%s", row->name);
		}
		setting_put(s, row, number);
	}
	return 0;
}

static int change_settings(struct call *c, struct registry *r, struct model *m, struct err *err)
{
	(void)r;
	return read_settings(c->body, &m->settings, err);
}

static int change_removed(struct call *c, struct registry *r, struct model *m, struct err *err)
{
	(void)m;
	(void)err;
	return registry_remove(r, c->id); /* it was found just now */
}

static const struct model *registered(struct call *c)
{
	const struct model *m = registry_find(fleet_registry(c->backend->fleet), span_of(c->id));

	if (m == NULL) {
		call_refuse(c, ERR_NOT_FOUND, "the model '%s' is no longer there", c->id);
	}
	return m;
}

static void answer_changed(struct call *c)
{
	const struct model *m = registered(c);
	const struct fleet_model *fm = fleet_find(c->backend->fleet, span_of(c->id));

	if (m == NULL) {
		return;
	}
	jsonw_object(&c->w);
	jsonw_key(&c->w, "model");
	write_model(&c->w, c->m, m);
	jsonw_member_bool(&c->w, "restart_needed", fm != NULL && fm->restart_needed);
	call_reply(c, 200);
}

static int make_change(void *user, struct registry *r, struct err *err)
{
	struct call *c = user;
	struct model *m = registry_find(r, span_of(c->id));

	return m != NULL ? c->change(c, r, m, err)
			 : err_set(err, ERR_NOT_FOUND, "there is no model '%s'", c->id);
}

static void on_changed(void *user, const struct err *err)
{
	struct call *c = user;

	if (!call_resume(c)) {
		return;
	}
	if (err->code == 0 && c->change != change_removed) {
		with_facts(c, answer_changed);
	} else {
		call_end(c, err, 204);
	}
}

static void change(struct call *c,
		   int (*make)(struct call *, struct registry *, struct model *, struct err *))
{
	if (call_model(c) != NULL) {
		c->is_held = true;
		c->change = make;
		fleet_edit(c->backend->fleet, make_change, on_changed, c);
	}
}

void handle_set_enabled(struct call *c)
{
	change(c, change_enabled);
}

void handle_set_port(struct call *c)
{
	change(c, change_port);
}

void handle_set_settings(struct call *c)
{
	change(c, change_settings);
}

void handle_remove_model(struct call *c)
{
	const struct fleet_model *m = fleet_find(c->backend->fleet, span_of(c->id));

	if (m != NULL && server_phase_is_running(m->server.phase)) {
		call_refuse(c, ERR_BUSY, "%s is running\nstop it first", m->server.id);
	} else {
		change(c, change_removed);
	}
}

/* Downloads */

void handle_pull(struct call *c)
{
	const char *source = json_text_at(c->body, "model", "");
	const struct pull *pull;
	struct err err = { 0 };

	if (call_check_members(c, "model", &err) == 0 &&
	    pulls_start(c->backend->pulls, source, &pull, &err) == 0) {
		jsonw_object(&c->w);
		jsonw_key(&c->w, "pull");
		pull_write(&c->w, pull);
	}
	call_end(c, &err, 202);
}

void handle_pulls(struct call *c)
{
	pulls_write(c->backend->pulls, &c->w);
	call_reply(c, 200);
}

void handle_cancel_pull(struct call *c)
{
	struct err err = { 0 };

	pulls_drop(c->backend->pulls, c->id, &err);
	call_end(c, &err, 204);
}

/* Estimates */

/* The machine as the agent last said it, with this model stopped. */
static struct memory_machine machine_without(const struct fleet *f, const struct fleet_model *m)
{
	const struct host_info *h = fleet_host(f);
	struct memory_machine machine = puller_machine(h, m->server.memory_bytes);
	uint64_t others = 0;

	FLEET_EACH (other, f) {
		others += other != m ? other->server.memory_bytes : 0;
	}
	if (h->memory_budget_bytes > 0) {
		machine.budget_free_bytes =
			h->memory_budget_bytes > others ? h->memory_budget_bytes - others : 0;
	}
	return machine;
}

/* "ronzal set MODEL KEY=VALUE...", as members of settings; null for any other command. */
static void write_suggestion(struct json_writer *w, const char *command)
{
	struct span rest = span_of(command);
	bool has_any = false;
	int32_t number;

	jsonw_object(w);
	jsonw_member_text(w, "text", command);
	jsonw_key(w, "settings");
	while (rest.ptr != NULL) {
		struct span value = span_split(&rest, ' ');
		struct span key = span_split(&value, '=');
		const struct setting_row *row = value.ptr != NULL ? setting_find(key) : NULL;

		if (row != NULL && setting_parse(row, value, &number, NULL) == 0) {
			if (!has_any) {
				jsonw_object(w);
				has_any = true;
			}
			jsonw_key(w, row->name);
			setting_write(w, row, number);
		}
	}
	if (has_any) {
		jsonw_end(w);
	} else {
		jsonw_null(w);
	}
	jsonw_end(w);
}

static void write_estimate(struct json_writer *w, const struct memory_model *wish,
			   const struct memory_machine *machine)
{
	struct memory_decision d;
	uint64_t free_bytes = machine->device_free_bytes > 0 && !machine->is_unified
				      ? machine->device_free_bytes
				      : machine->host_free_bytes;

	memory_decide(wish, machine, &d);
	const struct memory_share *host = &d.estimate.host, *device = &d.estimate.device;

	if (free_bytes > machine->budget_free_bytes) {
		free_bytes = machine->budget_free_bytes;
	}
	jsonw_object(w);
	jsonw_member_u64(w, "total_bytes", memory_estimate_bytes(&d.estimate));
	jsonw_member_u64(w, "weights_bytes", host->weights + device->weights);
	jsonw_member_u64(w, "kv_bytes", host->kv + device->kv);
	jsonw_member_u64(w, "compute_bytes", host->compute + device->compute);
	jsonw_member_u64(w, "other_bytes", host->other + device->other);
	jsonw_member_u64(w, "device_bytes", memory_share_bytes(device));
	jsonw_member_u64(w, "host_bytes", memory_share_bytes(host));
	jsonw_member_u64(w, "free_bytes", free_bytes);
	jsonw_member_bool(w, "fits", d.fits);
	jsonw_member_text(w, "why", d.fits ? "" : d.sentence);
	jsonw_member_array(w, "suggestions");
	for (int i = 0; i < d.suggestion_count; i++) {
		write_suggestion(w, d.suggestions[i]);
	}
	jsonw_end(w);
}

static uint64_t projector_bytes(const struct manage *m, const struct model *model)
{
	char *path = registry_host_path(m->backend->options.model_roots[0], model->mmproj_path);
	uint64_t bytes = 0;

	if (path != NULL) {
		fs_size(path, &bytes);
	}
	free(path);
	return bytes;
}

static void answer_estimate(struct call *c)
{
	const struct model *m = registered(c);
	const struct fact *fact = m != NULL ? facts_find(c->m->facts, m) : NULL;
	const struct fleet *fleet = c->backend->fleet;

	if (m == NULL) {
		return;
	}
	if (fact == NULL) {
		call_refuse(c, ERR_NOT_FOUND, "its file has just been changed");
		return;
	}
	if (fact->err.code != 0) {
		call_fail(c, &fact->err);
		return;
	}
	struct memory_machine machine = machine_without(fleet, fleet_find(fleet, span_of(c->id)));
	struct memory_model wish = { .id = m->id,
				     .gguf = &fact->gguf,
				     .settings = c->settings,
				     .projector_bytes = projector_bytes(c->m, m),
				     .cache_ram_mib = c->backend->options.cache_ram_mib };

	write_estimate(&c->w, &wish, &machine);
	call_reply(c, 200);
}

void handle_estimate(struct call *c)
{
	const struct model *m = call_model(c) != NULL ? registered(c) : NULL;
	struct err err = { 0 };

	if (m == NULL) {
		return;
	}
	c->settings = m->settings;
	if (read_settings(c->body, &c->settings, &err) != 0) {
		call_fail(c, &err);
	} else {
		with_facts(c, answer_estimate);
	}
}

/* Rescan: folders are walked on another thread */

struct rescan {
	struct call *call;
	const char *const *roots;
	struct scan scan;
	struct scan_report report;
};

static void walk_roots(void *arg)
{
	struct rescan *s = arg;

	for (const char *const *root = s->roots; *root != NULL; root++) {
		if (fs_is_folder(*root)) {
			scan_folder(&s->scan, *root, NULL);
		}
	}
}

static int merge(void *user, struct registry *r, struct err *err)
{
	struct rescan *s = user;

	(void)err;
	scan_merge(&s->scan, r, s->roots[0] != NULL ? s->roots[0] : "/models", &s->report);
	return 0;
}

static void write_ids(struct json_writer *w, const char *key, const struct scan_report *report,
		      enum scan_fate fate)
{
	jsonw_member_array(w, key);
	for (size_t i = 0; i < report->count; i++) {
		if (report->lines[i].fate == fate) {
			jsonw_text(w, report->lines[i].id);
		}
	}
	jsonw_end(w);
}

static void write_rescan(struct json_writer *w, const struct rescan *s)
{
	int64_t known = 0;

	for (size_t i = 0; i < s->report.count; i++) {
		known += s->report.lines[i].fate == SCAN_KNOWN;
	}
	jsonw_object(w);
	write_ids(w, "added", &s->report, SCAN_ADDED);
	jsonw_member_i64(w, "known", known);
	write_ids(w, "missing", &s->report, SCAN_MISSING);
	jsonw_member_array(w, "problems");
	for (size_t i = 0; i < s->scan.problem_count && i < SCAN_PROBLEMS_MAX; i++) {
		jsonw_text(w, s->scan.problems[i]);
	}
	jsonw_end(w);
}

static void on_merged(void *user, const struct err *err)
{
	struct rescan *s = user;

	if (call_resume(s->call)) {
		write_rescan(&s->call->w, s);
		call_end(s->call, err, 200);
	}
	free(s->report.lines);
	scan_finish(&s->scan);
	free(s);
}

static void on_walked(void *arg)
{
	struct rescan *s = arg;

	if (s->call->m->is_closed) { /* so is the fleet */
		on_merged(s, &(struct err){ ERR_UNAVAILABLE, "" });
	} else {
		fleet_edit(s->call->backend->fleet, merge, on_merged, s);
	}
}

void handle_rescan(struct call *c)
{
	struct rescan *s = mem_alloc(sizeof(*s));

	s->call = c;
	s->roots = c->backend->options.model_roots;
	scan_init(&s->scan);
	c->is_held = true;
	loop_work(c->backend->loop, walk_roots, on_walked, s);
}
