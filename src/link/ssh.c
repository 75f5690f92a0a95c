/* SPDX-License-Identifier: MIT */
/*
 * One ssh child at a time: dial starts it, hang_up ends it. Its end of stdout comes before its exit
 * code, and only the code and stderr say why, so the channel waits a moment for them (explain_ms).
 */
#include "link/ssh.h"

#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"
#include "io/child.h"
#include "link/channel.h"

#define SSH_HELLO_MS 15000	  /* from spawn to hello: connect, keys, login, gate, script */
#define SSH_EXPLAIN_MS 2000	  /* from the end of stdout to the exit code */
#define SSH_STDERR_MAX_BYTES 8192 /* kept of what one child writes; the rest is read and dropped */

struct ssh_transport {
	struct loop *loop;
	char *program, *config, *host;
	struct child *child;
	struct conn *words; /* its stderr */
	struct buf said;
	int exit_code;
	bool exited, hushed; /* the child; its stderr */
	struct link *link;
};

static void explain(struct ssh_transport *t)
{
	struct err why = { 0 };

	if (t->exited && t->hushed) {
		ssh_explain(t->exit_code, buf_span(&t->said), &why);
		channel_failed(t->link, &why);
	}
}

static void on_words(void *user, struct span data)
{
	struct ssh_transport *t = user;
	size_t room = buf_room(&t->said);

	buf_add(&t->said, data.ptr, data.len < room ? data.len : room);
}

static void on_words_end(void *user, int status)
{
	struct ssh_transport *t = user;

	(void)status;
	t->hushed = true;
	explain(t);
}

static const struct conn_callbacks words_calls = { .on_data = on_words, .on_end = on_words_end };

static void on_exit(void *user, int exit_code)
{
	struct ssh_transport *t = user;

	t->exited = true;
	t->exit_code = exit_code;
	explain(t);
}

static void ssh_dial(void *transport)
{
	struct ssh_transport *t = transport;
	const char *const argv[] = { t->program, "-F",		 t->config, "-T",
				     t->host,	 WIRE_SSH_START, NULL };
	struct err err = { 0 };

	t->exited = false;
	t->hushed = false;
	t->child = child_start(t->loop,
			       &(struct child_options){
				       .argv = argv,
				       .stdio = { CHILD_PIPE, CHILD_PIPE, CHILD_PIPE },
				       .on_exit = on_exit,
				       .user = t,
			       },
			       &err);
	if (t->child == NULL) {
		channel_failed(t->link, &err);
		return;
	}
	t->words = child_take_pipe(t->child, 2);
	conn_start(t->words, &words_calls, t);
	channel_opened(t->link, child_take_pipe(t->child, 1), child_take_pipe(t->child, 0));
}

/* ssh ends by itself when its stdin has; the signal is for one that hangs in a dead connection. */
static void ssh_hang_up(void *transport)
{
	struct ssh_transport *t = transport;

	if (t->child != NULL) {
		child_kill(t->child, SIGTERM);
		child_close(t->child);
		t->child = NULL;
	}
	conn_close(t->words);
	t->words = NULL;
	buf_clear(&t->said);
}

static void ssh_destroy(void *transport)
{
	struct ssh_transport *t = transport;

	buf_finish(&t->said);
	free(t->program);
	free(t->config);
	free(t->host);
	free(t);
}

static const struct channel_transport ssh_transport = {
	.dial = ssh_dial,
	.hang_up = ssh_hang_up,
	.destroy = ssh_destroy,
	.explain_ms = SSH_EXPLAIN_MS,
};

struct link *link_ssh_create(struct loop *loop, const struct link_ssh_options *options)
{
	struct ssh_transport *t = mem_alloc(sizeof(*t));

	t->loop = loop;
	t->program = mem_strdup(options->program);
	t->config = mem_strdup(options->config);
	t->host = mem_strdup(options->host);
	buf_init(&t->said, SSH_STDERR_MAX_BYTES);
	t->link = channel_create(loop, &(struct channel_options){
					       .controller = options->controller,
					       .who = options->who,
					       .peer = "the agent on the host",
					       .hello_ms = SSH_HELLO_MS,
					       .transport = &ssh_transport,
					       .transport_data = t,
					       .callbacks = options->callbacks,
					       .user = options->user,
				       });
	return t->link;
}
