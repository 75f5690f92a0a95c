/* SPDX-License-Identifier: MIT */
#include "backend/account.h"

#include "backend/show.h"
#include "io/loop.h"

int64_t account_ms(uint64_t from_us, uint64_t to_us)
{
	return from_us == 0 || to_us < from_us ? -1 : (int64_t)((to_us - from_us) / 1000);
}

static void member_known(struct json_writer *w, const char *key, int64_t value)
{
	jsonw_key(w, key);
	if (value < 0) {
		jsonw_null(w);
	} else {
		jsonw_i64(w, value);
	}
}

void account_write(struct json_writer *w, const struct account *a)
{
	static const char *const phases[] = { "queued", "prompt", "generating", "done" };
	uint64_t routed_us = a->routed_us != 0 ? a->routed_us : loop_now_us();

	jsonw_object(w);
	jsonw_member_u64(w, "id", a->id);
	jsonw_member_i64(w, "at_unix_ms", a->at_unix_ms);
	jsonw_member_text(w, "model_id", a->model);
	jsonw_member_text(w, "key_name", a->key);
	jsonw_member_text(w, "path", a->path);
	jsonw_member_bool(w, "stream", a->stream);
	jsonw_member_text(w, "phase", phases[a->phase]);
	jsonw_member_i64(w, "status", a->status);
	member_known(w, "prompt_tokens", a->prompt_tokens);
	member_known(w, "cached_tokens", a->cached_tokens);
	member_known(w, "generated_tokens", a->generated_tokens);
	jsonw_member_i64(w, "queue_ms", account_ms(a->begin_us, routed_us));
	member_known(w, "first_token_ms", account_ms(a->begin_us, a->first_us));
	show_positive(w, "tokens_per_second", a->tokens_per_second, 2);
	jsonw_member_i64(w, "total_ms",
			 a->end_us != 0 ? account_ms(a->begin_us, a->end_us) : INT64_C(0));
	jsonw_member_text(w, "error", a->error);
	jsonw_end(w);
}
