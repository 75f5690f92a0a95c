/* SPDX-License-Identifier: MIT */
/*
 * Accepting. Above conns_max the pending connection is simply not accepted: libuv then leaves the
 * listening socket alone until uv_accept is called, so accepting waits without spinning and goes on
 * when a conn is closed. The struct lives until the listener and every conn it accepted are closed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/door.h"

#define LISTENER_BACKLOG 1024

struct listener {
	union stream uv;
	struct loop *loop;
	struct listener_options options;
	char *unix_path;  /* removed at the end; NULL for TCP */
	int open;	  /* conns accepted and not yet closed */
	bool has_pending; /* a connection waits for one of them to close */
	bool closing, closed;
};

static void free_when_unused(struct listener *l)
{
	if (l->closed && l->open == 0) {
		free(l->unix_path);
		free(l);
	}
}

static void accept_one(struct listener *l)
{
	struct conn *c = conn_accept(l->loop, &l->uv.stream, l);

	if (c != NULL) {
		l->open++;
		l->options.on_conn(l->options.user, c);
	}
}

static void on_uv_connection(uv_stream_t *stream, int status)
{
	struct listener *l = stream->data;

	if (status != 0) {
		return; /* the peer gave up while it waited, or descriptors ran out: next event */
	}
	if (l->open >= l->options.conns_max) {
		l->has_pending = true;
		return;
	}
	accept_one(l);
}

void listener_forget(struct listener *l)
{
	l->open--;
	if (l->has_pending && !l->closing) {
		l->has_pending = false;
		accept_one(l);
	}
	free_when_unused(l);
}

/* The status, and if it is none of success the sentence for it. */
static int say_if_failed(const struct listener *l, int status, struct err *err)
{
	const struct listener_options *o = &l->options;

	if (status != 0 && o->unix_path != NULL) {
		err_set_os(err, status, "listening on %s", o->unix_path);
	} else if (status != 0) {
		err_set_os(err, status, "listening on %s:%u", o->address, o->port);
	}
	return status;
}

static int bind_tcp(struct listener *l, struct err *err)
{
	const struct listener_options *o = &l->options;
	struct sockaddr_storage where;

	ENSURE(uv_tcp_init(&l->loop->uv, &l->uv.tcp) == 0);
	if (conn_parse_address(o->address, o->port, &where) != 0) {
		return err_set(err, ERR_INVALID, "%s is not a numeric IP address to listen on",
			       o->address);
	}
	return say_if_failed(l, uv_tcp_bind(&l->uv.tcp, (const struct sockaddr *)&where, 0), err);
}

static int bind_unix(struct listener *l, struct err *err)
{
	const char *path = l->options.unix_path;
	struct stat st;

	ENSURE(uv_pipe_init(&l->loop->uv, &l->uv.pipe, 0) == 0);
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		return err_set(err, ERR_FULL,
			       "the socket's path %s is longer than the system takes", path);
	}
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		unlink(path);
	}
	int status = uv_pipe_bind(&l->uv.pipe, path);

	if (status == 0 && chmod(path, l->options.unix_mode) != 0) {
		status = -errno;
	}
	l->unix_path = status == 0 ? mem_strdup(path) : NULL;
	return say_if_failed(l, status, err);
}

struct listener *listener_start(struct loop *loop, const struct listener_options *options,
				struct err *err)
{
	struct listener *l = mem_alloc(sizeof(*l));

	ENSURE(options->conns_max > 0);
	l->loop = loop;
	l->options = *options;
	int status = options->unix_path != NULL ? bind_unix(l, err) : bind_tcp(l, err);

	l->uv.handle.data = l;
	if (status == 0) {
		status = say_if_failed(l,
				       uv_listen(&l->uv.stream, LISTENER_BACKLOG, on_uv_connection),
				       err);
	}
	if (status != 0) {
		listener_close(l);
		return NULL;
	}
	return l;
}

uint16_t listener_port(const struct listener *l)
{
	struct sockaddr_storage where;
	int len = sizeof(where);

	if (l->uv.handle.type != UV_TCP ||
	    uv_tcp_getsockname(&l->uv.tcp, (struct sockaddr *)&where, &len) != 0) {
		return 0;
	}
	return ntohs(where.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&where)->sin6_port
						 : ((struct sockaddr_in *)&where)->sin_port);
}

static void on_uv_close(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	l->closed = true;
	free_when_unused(l);
}

void listener_close(struct listener *l)
{
	if (l != NULL && !l->closing) {
		l->closing = true;
		uv_close(&l->uv.handle, on_uv_close);
	}
}
