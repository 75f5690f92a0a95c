/* SPDX-License-Identifier: MIT */
#include "engine/api.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"

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

int api_props_read(struct span body, struct api_props *ret_props, struct err *err)
{
	struct json *json = body_parse(body, "/props", JSON_OBJECT, err);
	const struct json_value *root = json_root(json);

	if (json == NULL) {
		return ERR_PROTOCOL;
	}
	*ret_props = (struct api_props){
		.context_tokens = u32_at(json_get(root, "default_generation_settings"), "n_ctx"),
		.slots = u32_at(root, "total_slots"),
	};
	json_destroy(json);
	return 0;
}

int api_slots_read(struct span body, uint32_t *ret_busy, struct err *err)
{
	struct json *json = body_parse(body, "/slots", JSON_ARRAY, err);

	if (json == NULL) {
		return ERR_PROTOCOL;
	}
	*ret_busy = 0;
	JSON_EACH (it, json_root(json)) {
		*ret_busy += json_bool_at(it.value, "is_processing", false);
	}
	json_destroy(json);
	return 0;
}

/* Errors */

/* Its reader of Anthropic's requests throws these as if they were its own faults (build 11669). */
static bool blames_request(struct span sentence)
{
	return span_has_suffix(sentence, " is required") ||
	       span_has(sentence, " input is not supported");
}

static int error_code(int status, struct span sentence)
{
	switch (status) {
	case 401: /* our key, not the caller's */
	case 403:
		return ERR_ENGINE_FAILED;
	case 404:
		return ERR_NOT_FOUND;
	case 413:
		return ERR_FULL;
	case 429:
		return ERR_RATE;
	case 503:
		return ERR_UNAVAILABLE;
	default:
		return status < 500 || blames_request(sentence) ? ERR_INVALID : ERR_ENGINE_FAILED;
	}
}

void api_error_read(struct span body, int status, struct err *ret_err)
{
	struct json_room room;
	struct json *json = json_parse_in(&room, body, false, NULL);
	const struct json_value *error = json_get(json_root(json), "error");
	struct span sentence = { NULL, 0 };

	json_to_span(json_get(error, "message"), &sentence);
	if (sentence.len > 0) {
		err_set(ret_err, error_code(status, sentence), "%.*s", SPAN_ARG(sentence));
	} else {
		err_set(ret_err, error_code(status, sentence),
			"llama-server answered %d without saying why", status);
	}
	json_destroy(json);
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

static void scan_for(struct api_usage *u, struct span text, struct span key,
		     void (*read)(struct api_usage *u, const struct json_value *v))
{
	struct json_room room;

	for (size_t at; (at = span_find_span(text, key)) < text.len;) {
		text = span_from(text, at + key.len);
		struct span object = span_trim(text);

		if (!span_has_prefix(object, ":")) {
			continue;
		}
		object = span_trim(span_from(object, 1));
		if (!span_has_prefix(object, "{")) {
			continue;
		}
		object.len = object.len < API_USAGE_MAX_BYTES ? object.len : API_USAGE_MAX_BYTES;
		struct json *json = json_parse_in(&room, object, true, NULL);

		if (json != NULL) {
			read(u, json_root(json));
		}
		json_destroy(json);
	}
}

void api_usage_scan(struct api_usage *u, struct span text)
{
	if (text.len > 0) {
		scan_for(u, text, SPAN_LIT("\"usage\""), usage_read);
		scan_for(u, text, SPAN_LIT("\"timings\""), timings_read);
	}
}
