/* SPDX-License-Identifier: MIT */
#include "link/unix.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "link/channel.h"

#define UNIX_HELLO_MS 5000

struct unix_transport {
	struct loop *loop;
	char *path;
	struct conn *dialing;
	struct link *link;
};

static void on_connect(void *user, int status)
{
	struct unix_transport *t = user;
	struct conn *c = t->dialing;
	struct err err = { 0 };

	t->dialing = NULL;
	if (status == 0) {
		channel_opened(t->link, c, c);
		return;
	}
	conn_close(c);
	if (status == -ENOENT || status == -ECONNREFUSED) {
		err_set(&err, ERR_NO_AGENT,
			"no agent listens at %s: start it with 'ronzal agent', or for good with "
			"'ronzal service install'",
			t->path);
	} else {
		err_set_os(&err, status, "connecting to the agent at %s", t->path);
	}
	channel_failed(t->link, &err);
}

static void unix_dial(void *transport)
{
	struct unix_transport *t = transport;

	t->dialing = conn_dial_unix(t->loop, t->path, on_connect, t);
}

static void unix_hang_up(void *transport)
{
	struct unix_transport *t = transport;

	conn_close(t->dialing);
	t->dialing = NULL;
}

static void unix_destroy(void *transport)
{
	struct unix_transport *t = transport;

	free(t->path);
	free(t);
}

static const struct channel_transport unix_transport = {
	.dial = unix_dial,
	.hang_up = unix_hang_up,
	.destroy = unix_destroy,
};

struct link *link_unix_create(struct loop *loop, const char *socket_path, const char *controller,
			      const char *who, const struct link_callbacks *callbacks, void *user)
{
	struct unix_transport *t = mem_alloc(sizeof(*t));

	t->loop = loop;
	t->path = mem_strdup(socket_path);
	t->link = channel_create(loop, &(struct channel_options){
					       .controller = controller,
					       .who = who,
					       .peer = "the agent",
					       .hello_ms = UNIX_HELLO_MS,
					       .transport = &unix_transport,
					       .transport_data = t,
					       .callbacks = callbacks,
					       .user = user,
				       });
	return t->link;
}
