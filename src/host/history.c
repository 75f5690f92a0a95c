/* SPDX-License-Identifier: MIT */
#include "host/history.h"

#include "base/mem.h"

#define EXPECT_FROM 5
#define SLOW_TIMES 3 /* as long as expected, ... */
#define SLOW_LEAST_MS 2000

struct history_start *history_begin(struct history *h, int64_t unix_ms)
{
	if (h->count == HISTORY_STARTS_MAX) {
		h->count--;
		memmove(h->starts, h->starts + 1, h->count * sizeof(h->starts[0]));
	}
	h->starts[h->count] =
		(struct history_start){ .unix_ms = unix_ms, .exit = HISTORY_EXIT_NONE };
	return &h->starts[h->count++];
}

struct history_start *history_last(struct history *h)
{
	return h->count > 0 ? &h->starts[h->count - 1] : NULL;
}

uint32_t history_expected_load_ms(const struct history *h)
{
	uint32_t loads[EXPECT_FROM];
	size_t count = 0;

	for (size_t i = h->count; i > 0 && count < EXPECT_FROM; i--) {
		uint32_t load_ms = h->starts[i - 1].load_ms;
		size_t at = count;

		if (load_ms == 0) {
			continue;
		}
		for (; at > 0 && loads[at - 1] > load_ms; at--) {
			loads[at] = loads[at - 1];
		}
		loads[at] = load_ms;
		count++;
	}
	return count > 0 ? loads[count / 2] : 0;
}

bool history_is_slow(const struct history *h, uint32_t load_ms, struct err *err)
{
	uint32_t expected_ms = history_expected_load_ms(h);
	bool is_slow = expected_ms > 0 && load_ms / SLOW_TIMES >= expected_ms &&
		       load_ms - expected_ms >= SLOW_LEAST_MS;

	if (is_slow) {
		err_set(err, ERR_TIMEOUT, "ready after %.1f s, where the last starts took %.1f s",
			load_ms / 1000.0, expected_ms / 1000.0);
	}
	return is_slow;
}

void history_write(struct json_writer *w, const struct history *h)
{
	jsonw_array(w);
	for (size_t i = 0; i < h->count; i++) {
		const struct history_start *s = &h->starts[i];

		jsonw_object(w);
		jsonw_member_i64(w, "unix_ms", s->unix_ms);
		jsonw_member_u64(w, "load_ms", s->load_ms);
		if (s->exit != HISTORY_EXIT_NONE) {
			jsonw_member_i64(w, "exit", s->exit);
		}
		jsonw_member_text(w, "verdict", receipt_verdict_name(s->verdict));
		jsonw_end(w);
	}
	jsonw_end(w);
}

void history_read(const struct json_value *v, struct history *ret_history)
{
	*ret_history = (struct history){ 0 };
	JSON_EACH (it, v) {
		const char *verdict = json_text_at(it.value, "verdict", "");
		int64_t load_ms = json_i64_at(it.value, "load_ms", 0);
		int64_t status = json_i64_at(it.value, "exit", HISTORY_EXIT_NONE);
		struct history_start *s;

		if (load_ms < 0 || load_ms > UINT32_MAX || status < INT32_MIN ||
		    status > INT32_MAX) {
			continue;
		}
		s = history_begin(ret_history, json_i64_at(it.value, "unix_ms", 0));
		s->load_ms = (uint32_t)load_ms;
		s->exit = (int32_t)status;
		receipt_verdict_from_name(span_of(verdict), &s->verdict);
	}
}
