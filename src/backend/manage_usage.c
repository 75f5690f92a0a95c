/* SPDX-License-Identifier: MIT */
/*
 * What was used, how starts went, logs, and who may use the gateway.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/manage_core.h"
#include "backend/usage.h"
#include "base/fs.h"
#include "base/mem.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define BUCKETS_DEFAULT 60
#define REQUESTS_MAX 500
#define REQUESTS_DEFAULT 100
#define MEASUREMENTS_MAX_BYTES (1u << 20)

static void on_answer(void *user, const struct err *err, struct span json)
{
	struct call *c = user;

	if (!call_resume(c)) {
		return;
	}
	if (err->code == 0) {
		jsonw_raw(&c->w, json);
	}
	call_end(c, err, 200);
}

static void ask(struct call *c, const struct usage_question *q)
{
	c->is_held = true;
	usage_ask(c->backend->usage, q, on_answer, c);
}

void handle_requests(struct call *c)
{
	struct usage_question q = { .what = USAGE_REQUESTS };
	uint64_t before, limit;

	call_query(c, "model", q.model, sizeof(q.model));
	call_query(c, "key", q.key, sizeof(q.key));
	if (call_query_flag(c, "failed", false, &q.failed) &&
	    call_query_number(c, "before", INT64_MAX, 0, &before) &&
	    call_query_number(c, "limit", REQUESTS_MAX, REQUESTS_DEFAULT, &limit)) {
		q.before = (int64_t)before;
		q.limit = (int64_t)limit;
		ask(c, &q);
	}
}

void handle_usage(struct call *c)
{
	struct usage_question q = { .what = USAGE_BUCKETS, .step_ms = HOUR_MS };
	char step[16];
	uint64_t since;

	call_query(c, "model", q.model, sizeof(q.model));
	call_query(c, "step", step, sizeof(step));
	if (strcmp(step, "minute") == 0) {
		q.step_ms = MINUTE_MS;
	} else if (strcmp(step, "day") == 0) {
		q.step_ms = DAY_MS;
	} else if (step[0] != '\0' && strcmp(step, "hour") != 0) {
		call_refuse(c, ERR_INVALID, "step=%s is none of minute, hour and day", step);
		return;
	}
	if (call_query_number(c, "since_unix_ms", INT64_MAX,
			      (uint64_t)(loop_unix_ms() - BUCKETS_DEFAULT * q.step_ms), &since)) {
		q.since_unix_ms = (int64_t)since;
		ask(c, &q);
	}
}

void handle_history(struct call *c)
{
	struct usage_question q = { .what = USAGE_STARTS };
	const struct fleet_model *m = call_model(c);

	if (m != NULL) {
		memcpy(q.model, m->server.id, sizeof(q.model));
		ask(c, &q);
	}
}

void handle_logs(struct call *c)
{
	const struct fleet_model *m = call_model(c);
	bool follow;
	uint64_t tail;
	struct err err;

	if (m == NULL || !call_query_flag(c, "follow", true, &follow) ||
	    !call_query_number(c, "tail", LOGS_TAIL_MAX_LINES, 500, &tail)) {
		return;
	}
	if (logs_add(c->m->logs, c->x, m->server.id, (uint32_t)tail, follow, &err) != 0) {
		call_fail(c, &err);
	} else {
		call_take(c);
	}
}

/* Measurements: the file that `ronzal bench` writes, read on another thread */

struct measurements {
	struct call *call;
	const char *path;
	struct buf text;
	struct err err;
};

static void read_measurements(void *arg)
{
	struct measurements *f = arg;

	fs_read(f->path, &f->text, &f->err);
}

static void on_measurements(void *arg)
{
	struct measurements *f = arg;
	struct json *json = f->err.code == 0 ? json_parse(buf_span(&f->text), &f->err) : NULL;
	struct call *c = f->call;
	char model[SERVER_ID_MAX_BYTES];
	bool is_open = call_resume(c);

	if (is_open && f->err.code != 0 && f->err.code != -ENOENT) {
		call_fail(c, &f->err);
	} else if (is_open) {
		call_query(c, "model", model, sizeof(model));
		jsonw_object(&c->w);
		jsonw_member_array(&c->w, "results");
		JSON_EACH (it, json_get(json_root(json), "results")) {
			if (model[0] == '\0' ||
			    strcmp(json_text_at(it.value, "model_id", ""), model) == 0) {
				jsonw_value(&c->w, it.value);
			}
		}
		call_reply(c, 200);
	}
	json_destroy(json);
	buf_finish(&f->text);
	free(f);
}

void handle_bench(struct call *c)
{
	struct measurements *f = mem_alloc(sizeof(*f));

	f->call = c;
	f->path = c->backend->options.bench_path;
	buf_init(&f->text, MEASUREMENTS_MAX_BYTES);
	c->is_held = true;
	loop_work(c->backend->loop, read_measurements, on_measurements, f);
}

/* Keys */

void handle_keys(struct call *c)
{
	struct err err = { 0 };

	keys_refresh(&c->backend->keys, &err);
	jsonw_object(&c->w);
	jsonw_key(&c->w, "keys");
	keys_write(&c->backend->keys, &c->w);
	call_end(c, &err, 200);
}

static int read_models(struct call *c, const struct json_value *list, const char **ret_models,
		       int *ret_count, struct err *err)
{
	struct json_iter it = json_iter(list);
	struct span id;

	if (list != NULL && json_type(list) != JSON_ARRAY) {
		return err_set(err, ERR_INVALID, "models: not an array of ids");
	}
	for (*ret_count = 0; json_next(&it); (*ret_count)++) {
		const struct fleet_model *m =
			json_to_span(it.value, &id) ? fleet_find(c->backend->fleet, id) : NULL;

		if (*ret_count == KEY_MODELS_MAX) {
			return err_set(err, ERR_FULL, "models: more than %d", KEY_MODELS_MAX);
		}
		if (m == NULL) {
			return err_set(err, ERR_NOT_FOUND, "models[%d]: no such model", *ret_count);
		}
		ret_models[*ret_count] = m->server.id;
	}
	return 0;
}

void handle_add_key(struct call *c)
{
	struct keys *keys = &c->backend->keys;
	const char *name = json_text_at(c->body, "name", "");
	const char *models[KEY_MODELS_MAX];
	char secret[KEY_SECRET_BYTES];
	struct err err = { 0 };
	int count = 0;

	if (call_check_members(c, "name models", &err) == 0 &&
	    read_models(c, json_get(c->body, "models"), models, &count, &err) == 0 &&
	    keys_add(keys, name, models, count, secret, &err) == 0) {
		jsonw_object(&c->w);
		jsonw_key(&c->w, "key");
		key_write(&keys->items[keys->count - 1], false, &c->w);
		jsonw_member_text(&c->w, "secret", secret);
	}
	call_end(c, &err, 201);
}

void handle_revoke_key(struct call *c)
{
	struct err err = { 0 };

	keys_revoke(&c->backend->keys, c->id, &err);
	call_end(c, &err, 204);
}
