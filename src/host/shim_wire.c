/* SPDX-License-Identifier: MIT */
/*
 * Lines between shim and agent, and the line of the identity file. Pure.
 */
#include <signal.h>
#include <stdio.h>

#include "base/mem.h"
#include "host/shim.h"

enum payload {
	SHIM_NOTHING,
	SHIM_TEXT,
	SHIM_COUNT,
	SHIM_STATUS,
	SHIM_SIGNAL_NAME,
	SHIM_HELLO_FIELDS,
};

#define VERB_ROW(name, word, payload) { word, payload },
static const struct {
	const char *word;
	enum payload payload;
} verbs[] = { SHIM_VERB_TABLE(VERB_ROW) };
#undef VERB_ROW

#define STATUS_MAX 255	      /* exit codes, and signals below 0 */
#define STARTED_MAX INT64_MAX /* wall clock, ms */

bool shim_model_is_valid(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
			return false;
		}
	}
	return text.len > 0 && text.len < SHIM_MODEL_MAX_BYTES;
}

static int add_payload(const struct shim_message *m, struct buf *out)
{
	const struct shim_hello *h = &m->hello;

	switch (verbs[m->verb].payload) {
	case SHIM_NOTHING:
		return 0;
	case SHIM_TEXT:
		ENSURE(span_find_char(m->text, '\n') == m->text.len);
		return buf_add_char(out, ' ') != 0 ? ERR_FULL : buf_add_span(out, m->text);
	case SHIM_COUNT:
	case SHIM_STATUS:
		return buf_printf(out, " %lld", (long long)m->number);
	case SHIM_SIGNAL_NAME:
		ENSURE(m->number == SIGTERM || m->number == SIGKILL);
		return buf_add_text(out, m->number == SIGTERM ? " TERM" : " KILL");
	case SHIM_HELLO_FIELDS:
		return buf_printf(out, " %u %s %u %lld %llu %lld", h->version, h->model, h->port,
				  (long long)h->engine.pid, (unsigned long long)h->engine.started,
				  (long long)h->started_unix_ms);
	}
	return ERR_INTERNAL;
}

int shim_encode(const struct shim_message *m, struct buf *out)
{
	size_t before = out->len;

	if (buf_add_text(out, verbs[m->verb].word) == 0 && add_payload(m, out) == 0 &&
	    buf_add_char(out, '\n') == 0) {
		return 0;
	}
	buf_truncate(out, before);
	return ERR_FULL;
}

static bool read_number(struct span text, int64_t min, int64_t max, int64_t *ret)
{
	bool is_negative = min < 0 && text.len > 0 && text.ptr[0] == '-';
	uint64_t value;

	if (span_to_u64(span_from(text, is_negative ? 1 : 0), (uint64_t)(is_negative ? -min : max),
			&value) != 0) {
		return false;
	}
	*ret = is_negative ? -(int64_t)value : (int64_t)value;
	return true;
}

static bool read_proc(struct span *rest, struct proc *ret)
{
	int64_t pid;
	uint64_t started;

	if (!read_number(span_split(rest, ' '), 0, INT32_MAX, &pid) || pid == 0 ||
	    span_to_u64(span_split(rest, ' '), UINT64_MAX, &started) != 0) {
		return false;
	}
	*ret = (struct proc){ .pid = (pid_t)pid, .started = started };
	return true;
}

static bool read_model(struct span text, char ret_model[SHIM_MODEL_MAX_BYTES])
{
	if (!shim_model_is_valid(text)) {
		return false;
	}
	memcpy(ret_model, text.ptr, text.len);
	ret_model[text.len] = '\0';
	return true;
}

static bool read_hello(struct span rest, struct shim_hello *ret)
{
	int64_t version, port;

	if (!read_number(span_split(&rest, ' '), 0, INT32_MAX, &version) ||
	    !read_model(span_split(&rest, ' '), ret->model) ||
	    !read_number(span_split(&rest, ' '), 0, UINT16_MAX, &port) ||
	    !read_proc(&rest, &ret->engine) ||
	    !read_number(rest, 0, STARTED_MAX, &ret->started_unix_ms)) {
		return false;
	}
	ret->version = (unsigned)version;
	ret->port = (uint16_t)port;
	return true;
}

static bool read_payload(enum payload payload, struct span rest, struct shim_message *m)
{
	switch (payload) {
	case SHIM_NOTHING:
		return rest.ptr == NULL;
	case SHIM_TEXT:
		m->text = rest;
		return rest.ptr != NULL;
	case SHIM_COUNT:
		return read_number(rest, 0, INT64_MAX, &m->number);
	case SHIM_STATUS:
		return read_number(rest, -STATUS_MAX, STATUS_MAX, &m->number);
	case SHIM_SIGNAL_NAME:
		m->number = span_is(rest, "TERM") ? SIGTERM : SIGKILL;
		return m->number == SIGTERM || span_is(rest, "KILL");
	case SHIM_HELLO_FIELDS:
		return read_hello(rest, &m->hello);
	}
	return false;
}

int shim_decode(struct span line, struct shim_message *ret_message, struct err *err)
{
	struct shim_message m = { .verb = SHIM_HELLO };
	struct span rest = line;
	struct span word = span_split(&rest, ' ');
	size_t row = 0;

	while (row < ARRAY_LEN(verbs) && !span_is(word, verbs[row].word)) {
		row++;
	}
	if (row == ARRAY_LEN(verbs)) {
		return err_set(err, ERR_NOT_FOUND, "a verb that is not known");
	}
	m.verb = (enum shim_verb)row;
	if (!read_payload(verbs[row].payload, rest, &m)) {
		return err_set(err, ERR_PROTOCOL, "a malformed %s line of %zu bytes",
			       verbs[row].word, line.len);
	}
	if (m.verb == SHIM_NOTE && m.text.len > SHIM_NOTE_MAX_BYTES) {
		return err_set(err, ERR_PROTOCOL, "a note of %zu bytes; the limit is %u",
			       m.text.len, SHIM_NOTE_MAX_BYTES);
	}
	*ret_message = m;
	return 0;
}

void shim_identity_print(const struct shim_identity *id, char line[SHIM_IDENTITY_MAX_BYTES])
{
	snprintf(line, SHIM_IDENTITY_MAX_BYTES, "%d %lld %llu %lld %llu %s\n", SHIM_VERSION,
		 (long long)id->shim.pid, (unsigned long long)id->shim.started,
		 (long long)id->engine.pid, (unsigned long long)id->engine.started, id->model);
}

int shim_identity_parse(struct span line, struct shim_identity *ret_id)
{
	struct shim_identity id;
	int64_t version;

	if (line.len > 0 && line.ptr[line.len - 1] == '\n') {
		line.len--;
	}
	if (!read_number(span_split(&line, ' '), 0, INT32_MAX, &version) ||
	    !read_proc(&line, &id.shim) || !read_proc(&line, &id.engine) ||
	    !read_model(line, id.model)) {
		return ERR_INVALID;
	}
	*ret_id = id;
	return 0;
}
