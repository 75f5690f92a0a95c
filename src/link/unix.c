/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "link/stream.h"

#define UNIX_HELLO_MS 5000

struct unix_link {
	struct stream stream; /* first */
	char *path;
	struct conn *dialing;
};

static struct unix_link *unix_of(struct link *l)
{
	return CONTAINER_OF(l, struct unix_link, stream.base);
}

static void on_connect(void *user, int status)
{
	struct unix_link *u = user;
	struct conn *c = u->dialing;
	struct err err = { 0 };

	u->dialing = NULL;
	if (status == 0) {
		stream_open(&u->stream, c, c);
		return;
	}
	conn_close(c);
	if (status == -ENOENT || status == -ECONNREFUSED) {
		err_set(&err, ERR_NO_AGENT,
			"no agent listens at %s: start it with 'ronzal agent', or for good with "
			"'ronzal service install'",
			u->path);
	} else {
		err_set_os(&err, status, "connecting to the agent at %s", u->path);
	}
	link_lose(&u->stream.base, &err);
}

static void unix_dial(struct link *l)
{
	struct unix_link *u = unix_of(l);

	u->dialing = conn_dial_unix(l->loop, u->path, on_connect, u);
}

static void unix_hang_up(struct link *l)
{
	struct unix_link *u = unix_of(l);

	conn_close(u->dialing);
	u->dialing = NULL;
	stream_close(&u->stream);
}

static void unix_free(struct link *l)
{
	free(unix_of(l)->path);
	free(l);
}

static const struct link_kind unix_kind = {
	.dial = unix_dial,
	.say = stream_say,
	.hang_up = unix_hang_up,
	.free = unix_free,
	.hello_ms = UNIX_HELLO_MS,
};

struct link *link_unix_create(struct loop *loop, const char *socket_path, const char *controller,
			      const char *who, const struct link_callbacks *callbacks, void *user)
{
	struct unix_link *u = mem_alloc(sizeof(*u));

	u->path = mem_strdup(socket_path);
	stream_init(&u->stream, controller, who);
	link_init(&u->stream.base, loop, &unix_kind, mem_strdup("the agent"), callbacks, user);
	return &u->stream.base;
}
