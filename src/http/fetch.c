/* SPDX-License-Identifier: MIT */
/* client_fetch: a request whose short answer is wanted whole. */
#include <stdlib.h>

#include "base/mem.h"
#include "http/client.h"

struct client_fetch {
	struct client_request *request;
	client_reply_fn *on_reply;
	void *user;
	int status;
	struct buf body;
};

static void free_fetch(struct client_fetch *f)
{
	buf_finish(&f->body);
	free(f);
}

static void finish(struct client_fetch *f, struct client_reply *reply)
{
	f->on_reply(f->user, reply);
	free_fetch(f);
}

static void on_piece(void *user, const struct client_piece *piece)
{
	struct client_fetch *f = user;
	struct client_reply reply = { .err.code = 0 };

	f->status = piece->head != NULL ? piece->head->status : f->status;
	if (buf_add_span(&f->body, piece->body) != 0) {
		err_set(&reply.err, ERR_FULL, "the answer is longer than %zu bytes",
			f->body.max_bytes);
		client_cancel(f->request);
		f->request = NULL;
		finish(f, &reply);
	} else if (piece->done) {
		f->request = NULL;
		reply.status = f->status;
		reply.body = buf_span(&f->body);
		finish(f, &reply);
	}
}

static void on_fail(void *user, const struct err *why, bool sent)
{
	struct client_fetch *f = user;
	struct client_reply reply = { .err = *why };

	(void)sent;
	f->request = NULL;
	finish(f, &reply);
}

struct client_fetch *client_fetch(struct client *c, const struct client_options *options,
				  size_t max_bytes, client_reply_fn *on_reply, void *user)
{
	static const struct client_callbacks callbacks = { on_piece, on_fail, NULL };
	struct client_fetch *f = mem_alloc(sizeof(*f));

	f->on_reply = on_reply;
	f->user = user;
	buf_init(&f->body, max_bytes);
	f->request = client_send(c, options, &callbacks, f);
	return f;
}

void client_fetch_cancel(struct client_fetch *f)
{
	if (f != NULL && f->request != NULL) {
		client_cancel(f->request);
		free_fetch(f);
	}
}
