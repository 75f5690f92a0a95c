/* SPDX-License-Identifier: MIT */
#include "http_scene.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/timer.h"

#define GOT_MAX_BYTES (64u << 20)
#define QUICK_TURNS 32 /* before a turn waits a millisecond */
#define BACKLOG 256

/* The handler */

static const struct reply text_reply = { .status = 200, .content_type = "text/plain" };

/* Remembers an exchange that stays: its callbacks' user is the place. */
static struct exchange **hold(struct scene *s, struct exchange *x)
{
	size_t i = 0;

	while (s->held[i] != NULL) {
		i++;
		assert_true(i < SCENE_HELD_MAX);
	}
	s->held[i] = x;
	return &s->held[i];
}

static struct scene *now; /* the one open scene */

static void on_close(void *user)
{
	struct exchange **place = user;

	now->closes++;
	if (place != NULL) {
		*place = NULL;
	}
}

static void on_drain(void *user)
{
	struct exchange **place = user;

	if (place != NULL) {
		exchange_resume_body(*place);
	}
}

static const struct exchange_callbacks callbacks = { on_close, on_drain };

static void on_body(void *user, struct exchange *x, struct span body)
{
	(void)user;
	exchange_reply(x, &text_reply, body);
}

static void on_piece(void *user, struct exchange *x, struct span piece, bool last)
{
	struct exchange **place = user;

	if (!exchange_has_begun(x)) {
		exchange_begin(x, &text_reply, -1);
	}
	if (last) {
		*place = NULL;
		exchange_end(x, piece);
		return;
	}
	exchange_send(x, piece);
	if (exchange_kept(x) > 0) {
		exchange_pause_body(x);
	}
}

static void stream_echo(struct scene *s, struct exchange *x)
{
	struct exchange **place = hold(s, x);

	exchange_watch(x, &callbacks, place);
	exchange_stream_body(x, SCENE_BODY_MAX_BYTES, on_piece, place);
}

static void send_size(struct exchange *x, struct span query)
{
	uint64_t size = 0;

	assert_int_equal(span_to_u64(query, GOT_MAX_BYTES, &size), 0);
	char *bytes = mem_alloc(size);

	memset(bytes, 'x', size);
	exchange_reply(x, &text_reply, (struct span){ bytes, size });
	free(bytes);
}

static void tell_path(struct exchange *x)
{
	const struct request *request = exchange_request(x);
	struct buf out;

	buf_init(&out, 2 * H1_LINE_MAX_BYTES);
	buf_printf(&out, "[%s][%.*s]", request->path, SPAN_ARG(request->query));
	exchange_reply(x, &text_reply, buf_span(&out));
	buf_finish(&out);
}

static void hold_open(struct scene *s, struct exchange *x)
{
	exchange_watch(x, &callbacks, hold(s, x));
	exchange_begin(x, &text_reply, -1);
	exchange_send(x, SPAN_LIT("held"));
}

static void on_done(void *user, const struct err *why, int status)
{
	struct exchange **place = user;

	(void)status;
	now->why = why != NULL ? *why : (struct err){ .code = 0 };
	now->results++;
	*place = NULL;
}

static void relay(struct scene *s, struct exchange *x)
{
	static const struct span pass[] = { SPAN_INIT("Accept"), SPAN_INIT("Content-Type") };
	const struct request *request = exchange_request(x);

	proxy_start(x, &(struct proxy_options){
			       .client = s->client,
			       .request = { .to = { .host = "127.0.0.1", .port = s->upstream_port },
					    .target = span_from(request->target, strlen("/proxy")),
					    .first_byte_ms = s->first_byte_ms,
					    .idle_ms = s->idle_ms },
			       .pass = pass,
			       .pass_count = ARRAY_LEN(pass),
			       .stream_body = true,
			       .body_max_bytes = SCENE_BODY_MAX_BYTES,
			       .hooks = &s->hooks,
			       .user = hold(s, x),
		       });
}

static void on_request(void *user, struct exchange *x)
{
	struct scene *s = user;
	const struct request *request = exchange_request(x);
	struct span path = span_of(request->path);

	s->requests++;
	if (span_is(path, "/echo")) {
		exchange_watch(x, &callbacks, NULL);
		exchange_read_body(x, SCENE_BODY_MAX_BYTES, on_body, NULL);
	} else if (span_is(path, "/stream-echo")) {
		stream_echo(s, x);
	} else if (span_is(path, "/size")) {
		send_size(x, request->query);
	} else if (span_is(path, "/hold")) {
		hold_open(s, x);
	} else if (span_is(path, "/silent")) {
		exchange_watch(x, &callbacks, NULL);
	} else if (span_has_prefix(path, "/proxy/")) {
		relay(s, x);
	} else if (span_has_prefix(path, "/path")) {
		tell_path(x);
	} else {
		exchange_reply(x, &text_reply, SPAN_LIT("hello"));
	}
}

/* The scene */

static uint16_t port_of(int fd)
{
	struct sockaddr_in where;
	socklen_t len = sizeof(where);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&where, &len), 0);
	return ntohs(where.sin_port);
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void listen_upstream(struct scene *s)
{
	struct sockaddr_in where = loopback(0);

	s->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(s->listener >= 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&where, sizeof(where)), 0);
	assert_int_equal(listen(s->listener, BACKLOG), 0);
	assert_int_equal(fcntl(s->listener, F_SETFL, O_NONBLOCK), 0);
	s->upstream_port = port_of(s->listener);
}

void scene_open(struct scene *s, const struct http_server_options *limits)
{
	struct http_server_options options = { 0 };
	struct err err = { 0 };

	if (limits != NULL) {
		options = *limits;
	}
	*s = (struct scene){ .loop = loop_create(), .hooks.on_done = on_done };
	now = s;
	options.listener.address = "127.0.0.1";
	options.on_request = on_request;
	options.user = s;
	s->server = http_server_start(s->loop, &options, &err);
	if (s->server == NULL) {
		fail_msg("%s", err.text);
	}
	s->port = http_server_port(s->server);
	s->client = client_create(s->loop);
	listen_upstream(s);
}

void scene_close(struct scene *s)
{
	http_server_close(s->server);
	client_close(s->client);
	close(s->listener);
	loop_destroy(s->loop);
	now = NULL;
}

static void on_deferred(void *arg)
{
	loop_stop(arg);
}

static void on_tick(struct timer *t)
{
	loop_stop(t->loop);
}

void scene_turn(struct scene *s)
{
	struct timer tick;

	if (++s->turns % QUICK_TURNS != 0) {
		loop_defer(s->loop, on_deferred, s->loop);
		loop_run(s->loop);
		return;
	}
	timer_init(&tick, s->loop, on_tick);
	timer_start(&tick, 1);
	loop_run(s->loop);
	timer_stop(&tick);
}

/* Peers */

static void peer_init(struct peer *p, int fd)
{
	int yes = 1;

	*p = (struct peer){ .fd = fd };
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	buf_init(&p->got, GOT_MAX_BYTES);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

void peer_dial(struct scene *s, struct peer *p)
{
	struct sockaddr_in where = loopback(s->port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
	peer_init(p, fd);
}

void peer_accept(struct scene *s, struct peer *p)
{
	int fd = -1;

	WAIT_FOR(s, (fd = accept(s->listener, NULL, NULL)) >= 0);
	peer_init(p, fd);
}

void peer_send(struct scene *s, struct peer *p, struct span bytes)
{
	s->turns = 0;
	while (bytes.len > 0) {
		ssize_t sent = send(p->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		if (sent > 0) {
			bytes = span_from(bytes, (size_t)sent);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			scene_turn(s);
		} else {
			return; /* the other side has closed: what it said tells the rest */
		}
	}
}

void peer_close(struct peer *p)
{
	close(p->fd);
	buf_finish(&p->got);
	p->fd = -1;
}

void peer_reset(struct peer *p)
{
	struct linger now_ = { .l_onoff = 1 };

	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now_, sizeof(now_));
	peer_close(p);
}

static void take(struct peer *p)
{
	char bytes[65536];
	ssize_t got;

	while (!p->has_ended && (got = recv(p->fd, bytes, sizeof(bytes), 0)) != -1) {
		p->has_ended = got == 0;
		assert_int_equal(buf_add(&p->got, bytes, (size_t)got), 0);
	}
	if (!p->has_ended && errno != EAGAIN && errno != EWOULDBLOCK) {
		p->has_ended = true;
		p->was_reset = true;
	}
}

bool peer_has(struct peer *p, const char *text)
{
	take(p);
	return span_find(buf_span(&p->got), text) < p->got.len;
}

bool peer_has_bytes(struct peer *p, size_t bytes)
{
	take(p);
	return p->got.len >= bytes;
}

bool peer_is_done(struct peer *p)
{
	take(p);
	return p->has_ended;
}

int peer_status(struct peer *p)
{
	uint64_t status = 0;

	take(p);
	if (p->got.len >= 12 && span_has_prefix(buf_span(&p->got), "HTTP/1.1 ")) {
		span_to_u64((struct span){ p->got.data + 9, 3 }, 999, &status);
	}
	return (int)status;
}

size_t peer_count(struct peer *p, const char *text)
{
	size_t count = 0;

	take(p);
	for (struct span rest = buf_span(&p->got); rest.len > 0;
	     rest = span_from(rest, span_find(rest, text) + strlen(text))) {
		count += span_find(rest, text) < rest.len;
	}
	return count;
}

const char *peer_undated(struct peer *p)
{
	size_t field_len = strlen("Date: Mon, 23 Nov 2026 20:04:44 GMT\r\n");
	struct span got = buf_span(&p->got);
	size_t at = span_find(got, "\r\nDate: ");

	while (at < got.len) {
		char *field = p->got.data + at + 2;

		memmove(field, field + field_len, got.len - at - 2 - field_len + 1);
		buf_truncate(&p->got, got.len - field_len);
		got = buf_span(&p->got);
		at = span_find(got, "\r\nDate: ");
	}
	return buf_text(&p->got);
}

int peer_ask(struct scene *s, struct peer *p, struct span bytes)
{
	peer_dial(s, p);
	peer_send(s, p, bytes);
	WAIT_FOR(s, peer_is_done(p));
	return peer_status(p);
}
