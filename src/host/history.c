/* SPDX-License-Identifier: MIT */
#include "host/history.h"

#define SLOW_TIMES 3 /* as long as expected, ... */
#define SLOW_LEAST_MS 2000

void history_add(struct history *h, uint32_t load_ms)
{
	if (h->count == HISTORY_LOADS_MAX) {
		h->count--;
		memmove(h->loads_ms, h->loads_ms + 1, h->count * sizeof(h->loads_ms[0]));
	}
	h->loads_ms[h->count++] = load_ms;
}

uint32_t history_expected_load_ms(const struct history *h)
{
	uint32_t sorted[HISTORY_LOADS_MAX] = { 0 };

	for (size_t i = 0; i < h->count; i++) {
		size_t at = i;

		for (; at > 0 && sorted[at - 1] > h->loads_ms[i]; at--) {
			sorted[at] = sorted[at - 1];
		}
		sorted[at] = h->loads_ms[i];
	}
	return sorted[h->count / 2];
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
		jsonw_u64(w, h->loads_ms[i]);
	}
	jsonw_end(w);
}

void history_read(const struct json_value *v, struct history *ret_history)
{
	*ret_history = (struct history){ 0 };
	JSON_EACH (it, v) {
		int64_t load_ms;

		if (json_to_i64(it.value, &load_ms) && load_ms > 0 && load_ms <= UINT32_MAX) {
			history_add(ret_history, (uint32_t)load_ms);
		}
	}
}
