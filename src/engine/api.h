/* SPDX-License-Identifier: MIT */
/*
 * Readers of what llama-server answers over HTTP. All are bounded, ignore unknown members and take
 * what is missing as not said. Written against build 11669 and the forms of older builds.
 */
#ifndef ENGINE_API_H
#define ENGINE_API_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define API_BODY_MAX_BYTES (4u << 20) /* of /props and /slots; templates are long */
#define API_SLOTS_MAX 64
#define API_USAGE_MAX_BYTES 4096 /* of one usage or timings object */

/* GET /health (and any path while loading). */
enum api_health {
	API_HEALTH_READY,
	API_HEALTH_LOADING,
	API_HEALTH_OTHER, /* neither is what llama-server says: maybe another program's port */
};
enum api_health api_health_read(int http_status, struct span body);

/* GET /props */
struct api_props {
	uint32_t context_tokens; /* of one slot; 0: not said */
	uint32_t slots;		 /* 0: not said */
	char alias[256];	 /* the first one */
	char model_path[1024];
	char build[96]; /* "b11669-Debian" */
	bool has_chat_template;
	bool has_vision, has_audio;
};
int api_props_read(struct span body, struct api_props *ret_props, struct err *err);

/* GET /slots */
struct api_slot {
	uint32_t id;
	bool is_busy;
	uint32_t context_tokens;
	int64_t decoded_tokens, remaining_tokens; /* of its last task; -1: not said */
};
struct api_slots {
	uint32_t count, busy; /* all of them, also those beyond API_SLOTS_MAX */
	struct api_slot slots[API_SLOTS_MAX];
};
int api_slots_read(struct span body, struct api_slots *ret_slots, struct err *err);

/* GET /metrics: X(field, name of the series) */
#define API_METRICS_TABLE(X) \
	X(prompt_tokens, "llamacpp:prompt_tokens_total") \
	X(prompt_seconds, "llamacpp:prompt_seconds_total") \
	X(predicted_tokens, "llamacpp:tokens_predicted_total") \
	X(predicted_seconds, "llamacpp:tokens_predicted_seconds_total") \
	X(prompt_tokens_per_second, "llamacpp:prompt_tokens_seconds") \
	X(predicted_tokens_per_second, "llamacpp:predicted_tokens_seconds") \
	X(requests_processing, "llamacpp:requests_processing") \
	X(requests_deferred, "llamacpp:requests_deferred") \
	X(decodes, "llamacpp:n_decode_total") \
	X(busy_slots_per_decode, "llamacpp:n_busy_slots_per_decode") \
	X(tokens_max, "llamacpp:n_tokens_max")

#define API_METRICS_FIELD(field, series) double field;
struct api_metrics {
	API_METRICS_TABLE(API_METRICS_FIELD) /* negative: not said */
};
#undef API_METRICS_FIELD
void api_metrics_read(struct span text, struct api_metrics *ret_metrics);

/*
 * What a request took. The engine's own clock (timings) where it says so; tokens from usage, in any
 * of the dialects (OpenAI chat, completions, embeddings and responses; Anthropic messages), else
 * from timings. Anthropic's input_tokens leave the cached ones out: they are added.
 */
struct api_usage {
	int64_t prompt_tokens;		       /* cached ones included; -1: not said */
	int64_t completion_tokens;	       /* -1: not said */
	int64_t cached_tokens;		       /* -1: not said */
	double prompt_ms, predicted_ms;	       /* negative: not said */
	int64_t prompt_evaluated, predicted_n; /* tokens of these times; -1: not said */
};
void api_usage_init(struct api_usage *u);

/*
 * Adds what a piece of a response says: a body, an end of it, or the data of one event. A later
 * object replaces what an earlier one said. Only whole "usage" and "timings" objects count; a quote
 * within a JSON string is always escaped, so generated text cannot look like one.
 */
void api_usage_scan(struct api_usage *u, struct span text);

#endif
