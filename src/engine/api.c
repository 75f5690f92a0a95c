/* SPDX-License-Identifier: MIT */
#include "engine/api.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"

enum api_health api_health_read(int http_status, struct span body)
{
	struct json *json = body.len <= API_BODY_MAX_BYTES ? json_parse(body, NULL) : NULL;
	const struct json_value *root = json_root(json);
	const char *status = json_text_at(root, "status", "");
	const char *message = json_text_at(json_get(root, "error"), "message", "");
	enum api_health health = API_HEALTH_OTHER;

	if (http_status == 200 && strcmp(status, "ok") == 0) {
		health = API_HEALTH_READY;
	} else if (http_status == 503 && strcmp(message, "Loading model") == 0) {
		health = API_HEALTH_LOADING;
	}
	json_destroy(json);
	return health;
}

static struct json *body_parse(struct span body, const char *path, enum json_type type,
			       struct err *err)
{
	if (body.len > API_BODY_MAX_BYTES) {
		err_set(err, ERR_PROTOCOL, "the engine's %s: longer than %u bytes", path,
			API_BODY_MAX_BYTES);
		return NULL;
	}
	struct json *json = json_parse(body, err);

	if (json == NULL && err != NULL) {
		err->code = ERR_PROTOCOL;
		err_prefix(err, "the engine's %s", path);
	} else if (json != NULL && json_type(json_root(json)) != type) {
		err_set(err, ERR_PROTOCOL, "the engine's %s: %s instead of %s", path,
			json_type_name(json_type(json_root(json))), json_type_name(type));
		json_destroy(json);
		json = NULL;
	}
	return json;
}

static uint32_t u32_at(const struct json_value *object, const char *key)
{
	int64_t value = json_i64_at(object, key, 0);

	return value >= 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

static void text_at(const struct json_value *object, const char *key, char *text, size_t room)
{
	span_copy(span_of(json_text_at(object, key, "")), text, room);
}

int api_props_read(struct span body, struct api_props *ret_props, struct err *err)
{
	struct api_props p = { 0 };
	struct json *json = body_parse(body, "/props", JSON_OBJECT, err);

	if (json == NULL) {
		return ERR_PROTOCOL;
	}
	const struct json_value *root = json_root(json);
	const struct json_value *modalities = json_get(root, "modalities");

	p.context_tokens = u32_at(json_get(root, "default_generation_settings"), "n_ctx");
	p.slots = u32_at(root, "total_slots");
	text_at(root, "model_alias", p.alias, sizeof(p.alias));
	text_at(root, "model_path", p.model_path, sizeof(p.model_path));
	text_at(root, "build_info", p.build, sizeof(p.build));
	p.has_chat_template = json_text_at(root, "chat_template", "")[0] != '\0';
	p.has_vision = json_bool_at(modalities, "vision", false);
	p.has_audio = json_bool_at(modalities, "audio", false);
	json_destroy(json);
	*ret_props = p;
	return 0;
}

static struct api_slot slot_read(const struct json_value *v)
{
	const struct json_value *next = json_get(v, "next_token");
	struct json_iter it = json_iter(next);
	struct span key;

	if (json_type(next) == JSON_ARRAY && !json_next(&it, &key, &next)) {
		next = NULL; /* newer builds wrap it in a list, which may be empty */
	}
	return (struct api_slot){
		.id = u32_at(v, "id"),
		.is_busy = json_bool_at(v, "is_processing", false),
		.context_tokens = u32_at(v, "n_ctx"),
		.decoded_tokens = json_i64_at(next, "n_decoded", -1),
		.remaining_tokens = json_i64_at(next, "n_remain", -1),
	};
}

int api_slots_read(struct span body, struct api_slots *ret_slots, struct err *err)
{
	struct json *json = body_parse(body, "/slots", JSON_ARRAY, err);
	struct json_iter it = json_iter(json_root(json));
	const struct json_value *v;
	struct span key;

	if (json == NULL) {
		return ERR_PROTOCOL;
	}
	*ret_slots = (struct api_slots){ 0 };
	while (json_next(&it, &key, &v)) {
		struct api_slot slot = slot_read(v);

		if (ret_slots->count < API_SLOTS_MAX) {
			ret_slots->slots[ret_slots->count] = slot;
		}
		ret_slots->count++;
		ret_slots->busy += slot.is_busy;
	}
	json_destroy(json);
	return 0;
}

/* Metrics: lines of "NAME[{labels}] VALUE [time]" */

#define METRIC_ROW(field, series) { series, offsetof(struct api_metrics, field) },
static const struct metric_row {
	const char *series;
	size_t offset;
} metric_rows[] = { API_METRICS_TABLE(METRIC_ROW) };
#undef METRIC_ROW

static double *metric_field(struct api_metrics *m, const struct metric_row *row)
{
	return (double *)(void *)((char *)m + row->offset);
}

static bool metric_value(struct span text, double *ret_value)
{
	char number[48], *end;
	double value;

	text = span_trim(text);
	text.len = span_find_char(text, ' ');
	if (text.len == 0 || text.len >= sizeof(number)) {
		return false;
	}
	span_copy(text, number, sizeof(number));
	value = strtod(number, &end);
	if (*end != '\0' || !isfinite(value)) {
		return false;
	}
	*ret_value = value;
	return true;
}

void api_metrics_read(struct span text, struct api_metrics *ret_metrics)
{
	for (size_t i = 0; i < ARRAY_LEN(metric_rows); i++) {
		*metric_field(ret_metrics, &metric_rows[i]) = -1;
	}
	while (text.ptr != NULL) {
		struct span rest = span_split(&text, '\n');
		struct span series = span_split(&rest, ' ');

		series.len = span_find_char(series, '{');
		for (size_t i = 0; rest.ptr != NULL && i < ARRAY_LEN(metric_rows); i++) {
			if (span_is(series, metric_rows[i].series)) {
				metric_value(rest, metric_field(ret_metrics, &metric_rows[i]));
			}
		}
	}
}

/* Usage */

void api_usage_init(struct api_usage *u)
{
	*u = (struct api_usage){ .prompt_tokens = -1,
				 .completion_tokens = -1,
				 .cached_tokens = -1,
				 .prompt_ms = -1,
				 .predicted_ms = -1,
				 .prompt_evaluated = -1,
				 .predicted_n = -1 };
}

/* The object that text begins with, as written; empty when it is cut off or too long. */
static struct span object_at(struct span text)
{
	size_t depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < text.len && i < API_USAGE_MAX_BYTES; i++) {
		char c = text.ptr[i];

		if (in_string) {
			i += c == '\\';
			in_string = c != '"';
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{') {
			depth++;
		} else if (c == '}' && --depth == 0) {
			return (struct span){ text.ptr, i + 1 };
		}
	}
	return (struct span){ NULL, 0 };
}

static void count_at(const struct json_value *object, const char *key, int64_t *count)
{
	int64_t value = json_i64_at(object, key, -1);

	*count = value >= 0 ? value : *count;
}

static void usage_read(struct api_usage *u, const struct json_value *v)
{
	int64_t apart = -1; /* Anthropic's cached tokens, which its input_tokens leave out */

	count_at(v, "prompt_tokens", &u->prompt_tokens);
	count_at(v, "input_tokens", &u->prompt_tokens);
	count_at(v, "completion_tokens", &u->completion_tokens);
	count_at(v, "output_tokens", &u->completion_tokens);
	count_at(json_get(v, "prompt_tokens_details"), "cached_tokens", &u->cached_tokens);
	count_at(json_get(v, "input_tokens_details"), "cached_tokens", &u->cached_tokens);
	count_at(v, "cache_read_input_tokens", &apart);
	if (apart >= 0) {
		u->cached_tokens = apart;
		if (json_get(v, "input_tokens") != NULL && u->prompt_tokens <= INT64_MAX - apart) {
			u->prompt_tokens += apart;
		}
	}
}

static void timings_read(struct api_usage *u, const struct json_value *v)
{
	int64_t cached = 0;

	u->prompt_ms = json_double_at(v, "prompt_ms", u->prompt_ms);
	u->predicted_ms = json_double_at(v, "predicted_ms", u->predicted_ms);
	count_at(v, "prompt_n", &u->prompt_evaluated);
	count_at(v, "predicted_n", &u->predicted_n);
	count_at(v, "cache_n", &cached);
	if (u->prompt_tokens < 0 && u->prompt_evaluated >= 0 &&
	    u->prompt_evaluated <= INT64_MAX - cached) {
		u->prompt_tokens = u->prompt_evaluated + cached;
		u->cached_tokens = cached;
	}
	if (u->completion_tokens < 0) {
		u->completion_tokens = u->predicted_n;
	}
}

static void scan_for(struct api_usage *u, struct span text, const char *key,
		     void (*read)(struct api_usage *u, const struct json_value *v))
{
	for (size_t at; (at = span_find(text, key)) < text.len;) {
		text = span_from(text, at + strlen(key));
		struct span object = span_trim(text);

		if (!span_has_prefix(object, ":")) {
			continue;
		}
		object = span_trim(span_from(object, 1));
		if (!span_has_prefix(object, "{")) {
			continue;
		}
		struct json *json = json_parse(object_at(object), NULL);

		if (json != NULL) {
			read(u, json_root(json));
		}
		json_destroy(json);
	}
}

void api_usage_scan(struct api_usage *u, struct span text)
{
	scan_for(u, text, "\"usage\"", usage_read);
	scan_for(u, text, "\"timings\"", timings_read);
}
