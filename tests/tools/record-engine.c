/* SPDX-License-Identifier: MIT */
/*
 * An engine whose every byte of request is judged: takes llama-server's flags, runs bench/engine on
 * the port behind the one that it was given, and relays. What goes to the engine must be exactly
 * what the gateway and the prober may write: this is a second opinion on HTTP/1.1, so it uses
 * nothing of src/http.
 *
 * Says on stderr, which ronzal keeps as the engine's log:
 *   record: deviation: WHAT at byte N of a request: "LINE"
 *   record: N requests, N deviations         after each connection
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/child.h"
#include "io/conn.h"

#define CONNS_MAX 1000
#define LINE_MAX_BYTES 4096
#define ARGS_MAX 128

static const char *const allowed[] = { "Host",		 "Content-Type",
				       "Accept",	 "anthropic-version",
				       "anthropic-beta", "Authorization",
				       "Content-Length" };

struct record {
	struct loop *loop;
	uint16_t engine_port;
	unsigned long requests, deviations;
};

/* One connection from ronzal and the one that goes on to the engine. */
struct relay {
	struct record *record;
	struct conn *front, *back;
	struct buf line;
	struct buf early; /* before `back` is there */
	bool is_connected, in_body, is_post, after_cr;
	size_t bytes;	    /* of the request so far */
	uint64_t body_left; /* of its Content-Length */
	unsigned seen;	    /* bits of `allowed` */
};

static void deviate(struct relay *r, const char *what)
{
	r->record->deviations++;
	fprintf(stderr, "record: deviation: %s at byte %zu of a request: \"%s\"\n", what, r->bytes,
		buf_text(&r->line));
}

static bool is_visible(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~') {
			return false;
		}
	}
	return s.len > 0;
}

static void judge_request_line(struct relay *r, struct span line)
{
	struct span method = span_split(&line, ' ');
	struct span target = line.ptr != NULL ? span_split(&line, ' ') : line;

	r->is_post = span_is(method, "POST");
	if ((!r->is_post && !span_is(method, "GET")) || !span_has_prefix(target, "/") ||
	    !is_visible(target) || line.ptr == NULL || !span_is(line, "HTTP/1.1")) {
		deviate(r, "not METHOD TARGET HTTP/1.1");
	}
}

static void judge_field(struct relay *r, struct span line)
{
	size_t colon = span_find_char(line, ':');
	struct span name = { line.ptr, colon };
	struct span value = span_from(line, colon + 2);
	size_t i = 0;

	while (i < ARRAY_LEN(allowed) && !span_is(name, allowed[i])) {
		i++;
	}
	if (i == ARRAY_LEN(allowed)) {
		deviate(r, "a field that is not for the engine");
	} else if ((r->seen & 1u << i) != 0) {
		deviate(r, "a field twice");
	} else if (colon + 1 >= line.len || line.ptr[colon + 1] != ' ' || value.len == 0 ||
		   span_trim(value).len != value.len) {
		deviate(r, "not NAME, colon, blank, value");
	} else if (span_is(name, "Content-Length") &&
		   (span_to_u64(value, INT64_MAX, &r->body_left) != 0 ||
		    (value.len > 1 && value.ptr[0] == '0'))) {
		deviate(r, "not a plain length");
	}
	r->seen |= i < ARRAY_LEN(allowed) ? 1u << i : 0;
}

static void end_head(struct relay *r)
{
	bool has_host = (r->seen & 1) != 0;
	bool has_length = (r->seen & 1u << 6) != 0;

	if (!has_host || has_length != r->is_post) {
		deviate(r, "no Host, or a length where none belongs, or none where one does");
	}
	r->record->requests++;
	r->in_body = r->body_left > 0;
	r->seen = 0;
	r->bytes = 0;
}

static void judge_line(struct relay *r)
{
	struct span line = buf_span(&r->line);

	if (line.len == 0 && r->seen != 0) {
		end_head(r);
	} else if (r->bytes == line.len + 2) {
		judge_request_line(r, line);
	} else {
		judge_field(r, line);
	}
	buf_clear(&r->line);
}

static void judge_byte(struct relay *r, char c)
{
	r->bytes++;
	if (r->after_cr != (c == '\n')) {
		deviate(r, "a line that does not end in CR LF");
	} else if (c == '\n') {
		judge_line(r);
	} else if (c != '\r' && (c < ' ' || c > '~' || buf_add_char(&r->line, c) != 0)) {
		deviate(r, "a byte that does not belong into a head");
	}
	r->after_cr = c == '\r';
}

static void judge(struct relay *r, struct span data)
{
	while (data.len > 0) {
		if (r->in_body) {
			size_t len = data.len < r->body_left ? data.len : (size_t)r->body_left;

			data = span_from(data, len);
			r->body_left -= len;
			r->in_body = r->body_left > 0;
		} else {
			judge_byte(r, data.ptr[0]);
			data = span_from(data, 1);
		}
	}
}

static void end_relay(struct relay *r)
{
	if (!r->in_body && r->bytes > 0) {
		deviate(r, "the connection ended within a head");
	}
	fprintf(stderr, "record: %lu requests, %lu deviations\n", r->record->requests,
		r->record->deviations);
	conn_close(r->front);
	conn_close(r->back);
	buf_finish(&r->line);
	buf_finish(&r->early);
	free(r);
}

static void on_end(void *user, int status)
{
	(void)status;
	end_relay(user);
}

static void on_front_data(void *user, struct span data)
{
	struct relay *r = user;

	judge(r, data);
	if (!r->is_connected) {
		buf_add_span(&r->early, data);
	} else if (conn_write(r->back, data) != 0) {
		end_relay(r);
	}
}

static void on_back_data(void *user, struct span data)
{
	struct relay *r = user;

	if (conn_write(r->front, data) != 0) {
		end_relay(r);
	}
}

static void on_connect(void *user, int status)
{
	static const struct conn_callbacks calls = { on_back_data, on_end, NULL };
	struct relay *r = user;

	r->is_connected = true;
	if (status != 0) {
		end_relay(r);
		return;
	}
	conn_set_out_max(r->back, 64u << 20);
	conn_start(r->back, &calls, r);
	conn_write(r->back, buf_span(&r->early));
}

static void on_conn(void *user, struct conn *front)
{
	static const struct conn_callbacks calls = { on_front_data, on_end, NULL };
	struct record *record = user;
	struct relay *r = mem_alloc(sizeof(*r));

	r->record = record;
	r->front = front;
	buf_init(&r->line, LINE_MAX_BYTES);
	buf_init(&r->early, 64u << 20);
	r->back = conn_dial_tcp(record->loop, "127.0.0.1", record->engine_port, on_connect, r);
	conn_set_out_max(front, 64u << 20);
	conn_start(front, &calls, r);
}

/* The engine lies beside the tests' tools, and ends when our end of its input does. */
static const char *engine_path(const char *self)
{
	const char *slash = strrchr(self, '/');

	return mem_printf("%.*s/../../bench/engine", (int)(slash - self), self);
}

static void on_engine_exit(void *user, int exit_code)
{
	(void)user;
	exit(exit_code);
}

int main(int argc, char **argv)
{
	struct record record = { .loop = loop_create() };
	const char *args[ARGS_MAX] = { engine_path(argv[0]) };
	char port_text[8];
	uint64_t port = 0;
	struct err err;

	ENSURE(argc < ARGS_MAX);
	for (int i = 1; i < argc; i++) {
		args[i] = argv[i];
		if (strcmp(argv[i - 1], "--port") == 0 &&
		    span_to_u64(span_of(argv[i]), UINT16_MAX - 1, &port) == 0) {
			snprintf(port_text, sizeof(port_text), "%u", (unsigned)port + 1);
			args[i] = port_text;
		}
	}
	if (port == 0) {
		execv(args[0], (char **)(uintptr_t)args); /* asked about itself */
		return 127;
	}
	record.engine_port = (uint16_t)(port + 1);
	struct listener_options options = { .address = "127.0.0.1",
					    .port = (uint16_t)port,
					    .conns_max = CONNS_MAX,
					    .on_conn = on_conn,
					    .user = &record };
	struct child_options child = { .argv = args,
				       .stdio = { CHILD_NULL, CHILD_INHERIT, CHILD_INHERIT },
				       .on_exit = on_engine_exit };

	if (listener_start(record.loop, &options, &err) == NULL ||
	    child_start(record.loop, &child, &err) == NULL) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	loop_run(record.loop);
	return 0;
}
