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
#define API_USAGE_MAX_BYTES 4096      /* of one usage or timings object */

/* GET /props: what was granted; 0: not said. */
struct api_props {
	uint32_t context_tokens; /* of one slot */
	uint32_t slots;
};
int api_props_read(struct span body, struct api_props *ret_props, struct err *err);

/* GET /slots: how many of them are busy. */
int api_slots_read(struct span body, uint32_t *ret_busy, struct err *err);

/*
 * What an answer of `status`, 400 or above, says, as an error of ours: the engine's sentence where
 * it has one, and a code by the status. Some of what is wrong with a request it calls a fault of
 * its own, with 500; here that is ERR_INVALID too.
 */
void api_error_read(struct span body, int status, struct err *ret_err);

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
