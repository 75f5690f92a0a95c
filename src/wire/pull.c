/* SPDX-License-Identifier: MIT */
#include "wire/pull.h"

#include "base/mem.h"
#include "wire/members.h"

static const struct member pull_members[] = {
	MEMBER(pull, id, TEXT),		MEMBER(pull, source, TEXT),
	MEMBER(pull, done_bytes, U64),	MEMBER(pull, total_bytes, U64),
	MEMBER(pull, bytes_per_s, U64), MEMBER(pull, note, TEXT),
	MEMBER(pull, path, TEXT),	MEMBER(pull, mmproj_path, TEXT),
	MEMBER(pull, model, TEXT),	MEMBER(pull, error_code, CODE),
	MEMBER(pull, error, TEXT),	MEMBER(pull, best, INT),
};

static const struct member choice_members[] = {
	MEMBER(pull_choice, name, TEXT),
	MEMBER(pull_choice, bytes, U64),
	MEMBER(pull_choice, memory_bytes, U64),
};

#define PHASE_ROW(name, text, running) { text, running },
static const struct {
	const char *name;
	bool running;
} phases[] = { PULL_PHASE_TABLE(PHASE_ROW) };
#undef PHASE_ROW

static const char *const verdict_names[] = { "unknown", "fits", "tight", "too_large" };

const char *pull_phase_name(enum pull_phase phase)
{
	return phases[phase].name;
}

bool pull_phase_is_running(enum pull_phase phase)
{
	return phases[phase].running;
}

void pull_init(struct pull *p, const char *source)
{
	*p = (struct pull){ .best = -1 };
	span_copy(span_of(source), p->source, sizeof(p->source));
}

void pull_fail(struct pull *p, const struct err *why)
{
	p->phase = why->code == ERR_CANCELED ? PULL_CANCELED : PULL_FAILED;
	p->error_code = why->code > ERR_BASE ? ERR_IO : why->code;
	span_copy(span_of(why->text), p->error, sizeof(p->error));
	p->note[0] = '\0';
	p->bytes_per_s = 0;
}

int64_t pull_eta_ms(const struct pull *p)
{
	return p->bytes_per_s > 0 && p->total_bytes >= p->done_bytes
		       ? (int64_t)((p->total_bytes - p->done_bytes) * 1000 / p->bytes_per_s)
		       : -1;
}

void pull_write(struct json_writer *w, const struct pull *p)
{
	jsonw_object(w);
	members_write(w, pull_members, ARRAY_LEN(pull_members), p);
	jsonw_member_text(w, "phase", pull_phase_name(p->phase));
	jsonw_member_i64(w, "eta_ms", pull_eta_ms(p));
	jsonw_member_array(w, "choices");
	for (int i = 0; i < p->choice_count; i++) {
		jsonw_object(w);
		members_write(w, choice_members, ARRAY_LEN(choice_members), &p->choices[i]);
		jsonw_member_text(w, "verdict", verdict_names[p->choices[i].verdict]);
		jsonw_end(w);
	}
	jsonw_end(w);
	jsonw_end(w);
}

static int read_choices(const struct json_value *v, struct pull *p, struct err *err)
{
	struct json_iter it = json_iter(v);
	int status = 0;

	p->choice_count = 0;
	while (status == 0 && p->choice_count < PULL_CHOICES_MAX && json_next(&it)) {
		struct pull_choice *c = &p->choices[p->choice_count++];
		const char *verdict = json_text_at(it.value, "verdict", "");

		*c = (struct pull_choice){ .verdict = PULL_UNKNOWN };
		for (size_t i = 0; i < ARRAY_LEN(verdict_names); i++) {
			if (strcmp(verdict_names[i], verdict) == 0) {
				c->verdict = (enum pull_verdict)i;
			}
		}
		status = members_read(it.value, choice_members, ARRAY_LEN(choice_members), c, err);
	}
	return status;
}

int pull_read(const struct json_value *v, struct pull *ret_pull, struct err *err)
{
	struct pull p = *ret_pull;
	const char *name = json_text_at(v, "phase", pull_phase_name(p.phase));
	int status = members_read(v, pull_members, ARRAY_LEN(pull_members), &p, err);
	size_t phase = 0;

	while (phase < ARRAY_LEN(phases) && strcmp(phases[phase].name, name) != 0) {
		phase++;
	}
	if (status == 0 && phase == ARRAY_LEN(phases)) {
		status = err_set(err, ERR_INVALID, "phase: there is no '%s'", name);
	}
	if (status == 0 && json_get(v, "choices") != NULL) {
		status = read_choices(json_get(v, "choices"), &p, err);
	}
	if (status == 0) {
		p.phase = (enum pull_phase)phase;
		p.best = p.best < p.choice_count ? p.best : -1;
		*ret_pull = p;
	}
	return status;
}
