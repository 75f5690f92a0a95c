/* SPDX-License-Identifier: MIT */
/*
 * A conn is one libuv stream and what waits to be written to it.
 *
 * States: dialing -> open -> closing. Bytes that the system does not take at once are copied: the
 * piece in flight (struct piece, freed when libuv is done with it) and what came behind it; an idle
 * conn owns no buffer. The struct is freed in libuv's close callback and nowhere else.
 */
#include "io/conn.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/door.h"
#include "os/peer.h"

struct piece {
	uv_write_t request;
	struct conn *conn;
	char *bytes;
};

struct dial {
	union {
		uv_getaddrinfo_t lookup;
		uv_connect_t connect; /* after it */
	};
	struct conn *conn; /* NULL once the conn was closed */
	conn_connect_fn *on_connect;
};

/* What comes later: word of a failed dial or a broken write, the end of a graceful close. */
struct ending {
	struct timer timer;
	struct conn *conn;
	int status;
};

/* What the system has not taken yet. */
struct backlog {
	size_t in_flight; /* bytes of the piece that libuv holds */
	struct buf behind;
};

struct conn {
	union stream uv;
	const struct conn_callbacks *callbacks;
	void *user;
	struct listener *accepted_by;
	struct dial *dial;	 /* while dialing */
	struct backlog *backlog; /* NULL: nothing is kept */
	struct ending *ending;	 /* while one is due */
	uint32_t out_max_bytes;
	bool started, paused, ended, shutting_down, draining_to_close, closing;
};

/* Life cycle */

static struct loop *loop_of(const struct conn *c)
{
	return CONTAINER_OF(c->uv.handle.loop, struct loop, uv);
}

struct conn *conn_create(struct loop *loop, bool is_tcp)
{
	struct conn *c = mem_alloc(sizeof(*c));
	int status = is_tcp ? uv_tcp_init(&loop->uv, &c->uv.tcp)
			    : uv_pipe_init(&loop->uv, &c->uv.pipe, 0);

	ENSURE(status == 0);
	c->uv.handle.data = c;
	c->out_max_bytes = CONN_OUT_MAX_BYTES;
	return c;
}

uv_stream_t *conn_stream(struct conn *c)
{
	return &c->uv.stream;
}

struct conn *conn_accept(struct loop *loop, uv_stream_t *listening, struct listener *l)
{
	bool is_tcp = listening->type == UV_TCP;
	struct conn *c = conn_create(loop, is_tcp);

	if (uv_accept(listening, &c->uv.stream) != 0) {
		conn_close(c);
		return NULL;
	}
	if (is_tcp) {
		uv_tcp_nodelay(&c->uv.tcp, 1);
	}
	c->accepted_by = l;
	return c;
}

static void drop_backlog(struct conn *c)
{
	if (c->backlog != NULL) {
		buf_finish(&c->backlog->behind);
		free(c->backlog);
		c->backlog = NULL;
	}
}

static void drop_ending(struct conn *c)
{
	if (c->ending != NULL) {
		timer_stop(&c->ending->timer);
		free(c->ending);
		c->ending = NULL;
	}
}

/* One at a time: a new one takes the place of what was due. */
static void end_later(struct conn *c, uint64_t after_ms, int status,
		      void (*fn)(struct timer *timer))
{
	drop_ending(c);
	c->ending = mem_alloc(sizeof(*c->ending));
	c->ending->conn = c;
	c->ending->status = status;
	timer_init(&c->ending->timer, loop_of(c), fn);
	timer_start(&c->ending->timer, after_ms);
}

/* What has come, no longer due. */
static struct ending take_ending(struct timer *t)
{
	struct ending ending = *CONTAINER_OF(t, struct ending, timer);

	drop_ending(ending.conn);
	return ending;
}

static void on_uv_close(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	drop_backlog(c);
	free(c);
}

/* Everything that ends a conn passes here, once. */
static void detach(struct conn *c)
{
	c->closing = true;
	if (c->dial != NULL && c->ending == NULL) {
		c->dial->conn = NULL; /* libuv has it, and will call back */
	} else {
		free(c->dial);
	}
	drop_ending(c);
	if (c->accepted_by != NULL) {
		listener_forget(c->accepted_by);
		c->accepted_by = NULL;
	}
}

void conn_close(struct conn *c)
{
	if (c != NULL && !c->closing) {
		detach(c);
		uv_close(&c->uv.handle, on_uv_close);
	}
}

void conn_abort(struct conn *c)
{
	if (c == NULL || c->closing) {
		return;
	}
	detach(c);
	if (c->uv.handle.type != UV_TCP || uv_tcp_close_reset(&c->uv.tcp, on_uv_close) != 0) {
		uv_close(&c->uv.handle, on_uv_close);
	}
}

/* Reading */

static void on_uv_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct conn *c = handle->data;

	(void)suggested;
	*ret_buf = uv_buf_init(loop_of(c)->read_bytes, LOOP_READ_BYTES);
}

static void end_of_input(struct conn *c, int status)
{
	c->ended = true;
	uv_read_stop(&c->uv.stream);
	if (c->draining_to_close) {
		if (c->shutting_down || status != 0) {
			conn_close(c);
		}
	} else if (c->callbacks->on_end != NULL) {
		c->callbacks->on_end(c->user, status);
	}
}

static void on_uv_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
	struct conn *c = stream->data;

	if (got < 0) {
		end_of_input(c, got == UV_EOF ? 0 : (int)got);
	} else if (got > 0 && !c->draining_to_close) {
		c->callbacks->on_data(c->user, (struct span){ buffer->base, (size_t)got });
	}
}

void conn_set_callbacks(struct conn *c, const struct conn_callbacks *callbacks, void *user)
{
	c->callbacks = callbacks;
	c->user = user;
}

static void on_broken(struct timer *t)
{
	struct ending ending = take_ending(t);

	if (!ending.conn->ended) {
		end_of_input(ending.conn, ending.status);
	}
}

/* Says on_end(status) from the loop, also to a paused reader. */
static void break_soon(struct conn *c, int status)
{
	if (c->draining_to_close) {
		conn_close(c);
	} else if (c->started && !c->ended) {
		end_later(c, 0, status, on_broken);
	}
}

static void read_on(struct conn *c)
{
	int status = uv_read_start(&c->uv.stream, on_uv_alloc, on_uv_read);

	if (status != 0 && status != UV_EALREADY) {
		break_soon(c, status);
	}
}

void conn_start(struct conn *c, const struct conn_callbacks *callbacks, void *user)
{
	conn_set_callbacks(c, callbacks, user);
	c->started = true;
	if (!c->paused) {
		read_on(c);
	}
}

void conn_pause(struct conn *c)
{
	if (!c->paused && !c->closing) {
		c->paused = true;
		uv_read_stop(&c->uv.stream);
	}
}

void conn_resume(struct conn *c)
{
	if (c->paused && !c->closing) {
		c->paused = false;
		if (c->started && !c->ended) {
			read_on(c);
		}
	}
}

/* Writing */

static void on_uv_shutdown(uv_shutdown_t *request, int status)
{
	(void)status; /* a broken conn says so by its end of input */
	free(request);
}

static void shut_down_now(struct conn *c)
{
	uv_shutdown_t *request = mem_alloc(sizeof(*request));

	if (uv_shutdown(request, &c->uv.stream, on_uv_shutdown) != 0) {
		free(request);
	}
	if (c->draining_to_close && c->ended) {
		conn_close(c);
	}
}

void conn_shutdown(struct conn *c)
{
	if (!c->shutting_down && !c->closing) {
		c->shutting_down = true;
		if (conn_kept(c) == 0) {
			shut_down_now(c);
		}
	}
}

static void send_kept(struct conn *c);

static void on_uv_write(uv_write_t *request, int status)
{
	struct piece *piece = CONTAINER_OF(request, struct piece, request);
	struct conn *c = piece->conn;

	free(piece->bytes);
	free(piece);
	if (c->closing) {
		return;
	}
	if (status == 0 && c->backlog->behind.len > 0) {
		send_kept(c);
		return;
	}
	drop_backlog(c);
	if (status != 0) {
		break_soon(c, status);
	} else if (c->shutting_down) {
		shut_down_now(c);
	} else if (c->callbacks != NULL && c->callbacks->on_drain != NULL) {
		c->callbacks->on_drain(c->user);
	}
}

/* Hands all that is kept, its memory included, to libuv as one piece. */
static void send_kept(struct conn *c)
{
	struct piece *piece = mem_alloc(sizeof(*piece));
	struct backlog *b = c->backlog;

	piece->conn = c;
	b->in_flight = b->behind.len;
	piece->bytes = buf_detach(&b->behind);
	uv_buf_t buffer = uv_buf_init(piece->bytes, (unsigned)b->in_flight);

	if (uv_write(&piece->request, &c->uv.stream, &buffer, 1, on_uv_write) != 0) {
		free(piece->bytes);
		free(piece);
		drop_backlog(c);
	}
}

static int keep(struct conn *c, const struct span *parts, size_t count, size_t skip)
{
	if (c->backlog == NULL) {
		c->backlog = mem_alloc(sizeof(*c->backlog));
		buf_init(&c->backlog->behind, SIZE_MAX); /* conn_out_room is the limit */
	}
	for (size_t i = 0; i < count; i++) {
		size_t skipped = skip < parts[i].len ? skip : parts[i].len;

		skip -= skipped;
		ENSURE(buf_add_span(&c->backlog->behind, span_from(parts[i], skipped)) == 0);
	}
	if (c->backlog->in_flight == 0) {
		send_kept(c);
	}
	return 0;
}

int conn_writev(struct conn *c, const struct span *parts, size_t count)
{
	uv_buf_t buffers[CONN_PARTS_MAX];
	size_t total = 0;
	int sent = 0;

	ENSURE(count <= CONN_PARTS_MAX && !c->shutting_down);
	if (c->closing) {
		return ERR_CLOSED;
	}
	for (size_t i = 0; i < count; i++) {
		buffers[i] = uv_buf_init((char *)(uintptr_t)parts[i].ptr, (unsigned)parts[i].len);
		total += parts[i].len;
	}
	if (total > conn_out_room(c)) {
		return ERR_FULL;
	}
	if (total > 0 && conn_kept(c) == 0) {
		sent = uv_try_write(&c->uv.stream, buffers, (unsigned)count);
		if (sent == UV_EAGAIN) {
			sent = 0;
		} else if (sent < 0) {
			if (c->paused) { /* whoever reads sees it by itself, behind what came */
				break_soon(c, sent);
			}
			return sent;
		}
	}
	return (size_t)sent < total ? keep(c, parts, count, (size_t)sent) : 0;
}

int conn_write(struct conn *c, struct span bytes)
{
	return conn_writev(c, &bytes, 1);
}

void conn_set_out_max(struct conn *c, size_t out_max_bytes)
{
	c->out_max_bytes = (uint32_t)out_max_bytes;
}

size_t conn_kept(const struct conn *c)
{
	return c->backlog != NULL ? c->backlog->in_flight + c->backlog->behind.len : 0;
}

size_t conn_untaken(const struct conn *c)
{
	size_t behind = c->backlog != NULL ? c->backlog->behind.len : 0;

	return behind + uv_stream_get_write_queue_size(&c->uv.stream) + peer_untaken(conn_fd(c));
}

size_t conn_out_room(const struct conn *c)
{
	size_t kept = conn_kept(c);

	return kept < c->out_max_bytes ? c->out_max_bytes - kept : 0;
}

static void on_linger_over(struct timer *t)
{
	conn_close(take_ending(t).conn);
}

void conn_close_gracefully(struct conn *c, uint64_t timeout_ms)
{
	static const struct conn_callbacks none = { 0 };

	if (c == NULL || c->closing) {
		return;
	}
	/*
	 * Input is read and thrown away until the peer closes: closing with unread input is a
	 * reset, and a reset can destroy what the peer has not read yet.
	 */
	conn_set_callbacks(c, &none, NULL);
	c->draining_to_close = true;
	end_later(c, timeout_ms, 0, on_linger_over);
	conn_resume(c);
	if (!c->started && !c->ended) {
		c->started = true;
		read_on(c);
	}
	conn_shutdown(c);
}

/* Dialing */

static void end_dial(struct dial *dial, int status)
{
	conn_connect_fn *on_connect = dial->on_connect;
	struct conn *c = dial->conn;

	free(dial);
	if (c == NULL) {
		return;
	}
	c->dial = NULL;
	if (status == 0 && c->uv.handle.type == UV_TCP) {
		uv_tcp_nodelay(&c->uv.tcp, 1);
	}
	on_connect(c->user, status);
}

static void on_dial_failed_at_once(struct timer *t)
{
	struct ending ending = take_ending(t);

	end_dial(ending.conn->dial, ending.status);
}

static void on_uv_connect(uv_connect_t *request, int status)
{
	end_dial(CONTAINER_OF(request, struct dial, connect), status);
}

static struct conn *begin_dial(struct conn *c, conn_connect_fn *on_connect, void *user)
{
	c->dial = mem_alloc(sizeof(*c->dial));
	c->dial->conn = c;
	c->dial->on_connect = on_connect;
	c->user = user;
	return c;
}

/* If nothing has failed so far. */
static void connect_to(struct conn *c, int status, const struct sockaddr *address)
{
	if (status == 0) {
		status = uv_tcp_connect(&c->dial->connect, &c->uv.tcp, address, on_uv_connect);
	}
	if (status != 0) {
		end_later(c, 0, status, on_dial_failed_at_once);
	}
}

int conn_parse_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
	int status = uv_ip4_addr(text, port, (struct sockaddr_in *)ret);

	return status == 0 ? 0 : uv_ip6_addr(text, port, (struct sockaddr_in6 *)ret);
}

struct conn *conn_dial_tcp(struct loop *loop, const char *address, uint16_t port,
			   conn_connect_fn *on_connect, void *user)
{
	struct conn *c = begin_dial(conn_create(loop, true), on_connect, user);
	struct sockaddr_storage where;
	int status = conn_parse_address(address, port, &where);

	connect_to(c, status, (const struct sockaddr *)&where);
	return c;
}

static void on_uv_lookup(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct dial *dial = CONTAINER_OF(request, struct dial, lookup);

	if (dial->conn == NULL || status != 0) {
		end_dial(dial, status);
	} else {
		connect_to(dial->conn, 0, found->ai_addr);
	}
	uv_freeaddrinfo(found);
}

struct conn *conn_dial_host(struct loop *loop, const char *host, uint16_t port,
			    conn_connect_fn *on_connect, void *user)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct sockaddr_storage where;
	char service[8];

	if (strcmp(host, "localhost") == 0) {
		host = "127.0.0.1";
	}
	if (conn_parse_address(host, port, &where) == 0) {
		return conn_dial_tcp(loop, host, port, on_connect, user);
	}
	struct conn *c = begin_dial(conn_create(loop, true), on_connect, user);

	snprintf(service, sizeof(service), "%u", port);
	int status =
		uv_getaddrinfo(&loop->uv, &c->dial->lookup, on_uv_lookup, host, service, &hints);

	if (status != 0) {
		end_later(c, 0, status, on_dial_failed_at_once);
	}
	return c;
}

struct conn *conn_dial_unix(struct loop *loop, const char *path, conn_connect_fn *on_connect,
			    void *user)
{
	struct conn *c = begin_dial(conn_create(loop, false), on_connect, user);

	uv_pipe_connect(&c->dial->connect, &c->uv.pipe, path, on_uv_connect);
	return c;
}

struct conn *conn_of_fd(struct loop *loop, int fd, struct err *err)
{
	uv_handle_type kind = uv_guess_handle(fd);
	struct conn *c = conn_create(loop, kind == UV_TCP);
	int status = UV_ENOTSUP; /* a file or /dev/null: the system cannot wait for it */

	if (kind == UV_TCP) {
		status = uv_tcp_open(&c->uv.tcp, fd);
	} else if (kind == UV_NAMED_PIPE || kind == UV_TTY) {
		status = uv_pipe_open(&c->uv.pipe, fd);
	}
	if (status != 0) {
		uv_fs_t request;

		err_set_os(err, status, "taking over descriptor %d", fd);
		uv_fs_close(&loop->uv, &request, fd, NULL);
		conn_close(c);
		return NULL;
	}
	return c;
}

/* Inspect */

int conn_fd(const struct conn *c)
{
	uv_os_fd_t fd;

	return uv_fileno(&c->uv.handle, &fd) == 0 ? (int)fd : -1;
}

bool conn_peer_is_local(const struct conn *c, const char *address)
{
	struct sockaddr_storage peer = { 0 };
	const struct in6_addr *a = &((struct sockaddr_in6 *)&peer)->sin6_addr;
	char text[INET6_ADDRSTRLEN];
	int len = sizeof(peer);

	if (c->uv.handle.type != UV_TCP) {
		return true;
	}
	if (uv_tcp_getpeername(&c->uv.tcp, (struct sockaddr *)&peer, &len) != 0) {
		return false;
	}
	if (address != NULL &&
	    uv_ip_name((const struct sockaddr *)&peer, text, sizeof(text)) == 0 &&
	    strcmp(text, address) == 0) {
		return true;
	}
	if (peer.ss_family == AF_INET6) {
		return IN6_IS_ADDR_LOOPBACK(a) ||
		       (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
	}
	return ntohl(((struct sockaddr_in *)&peer)->sin_addr.s_addr) >> 24 == 127;
}
