/* SPDX-License-Identifier: MIT */
/*
 * One ssh child at a time. Its end of stdout comes before its exit code, and only the code and
 * stderr say why, so they are waited for a moment.
 */
#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"
#include "io/child.h"
#include "link/stream.h"

#define SSH_HELLO_MS 15000	  /* from spawn to hello: connect, keys, login, gate, script */
#define SSH_EXPLAIN_MS 2000	  /* from the end of stdout to the exit code */
#define SSH_STDERR_MAX_BYTES 8192 /* kept of what one child writes; the rest is read and dropped */

struct ssh_link {
	struct stream stream; /* first */
	char *program, *config, *host;
	struct child *child;
	struct conn *words; /* its stderr */
	struct buf said;
	int exit_code;
	bool exited, hushed; /* the child; its stderr */
	struct timer explain_timer;
};

static struct ssh_link *ssh_of(struct link *l)
{
	return CONTAINER_OF(l, struct ssh_link, stream.base);
}

static void explain(struct ssh_link *s)
{
	struct err why = { 0 };

	if (s->exited && s->hushed) {
		ssh_explain(s->exit_code, buf_span(&s->said), &why);
		link_lose(&s->stream.base, &why);
	}
}

static void on_words(void *user, struct span data)
{
	struct ssh_link *s = user;
	size_t room = buf_room(&s->said);

	buf_add(&s->said, data.ptr, data.len < room ? data.len : room);
}

static void on_words_end(void *user, int status)
{
	struct ssh_link *s = user;

	(void)status;
	s->hushed = true;
	explain(s);
}

static const struct conn_callbacks words_calls = { .on_data = on_words, .on_end = on_words_end };

static void on_exit(void *user, int exit_code)
{
	struct ssh_link *s = user;

	s->exited = true;
	s->exit_code = exit_code;
	explain(s);
}

static void on_stream_end(struct stream *stream)
{
	timer_start(&CONTAINER_OF(stream, struct ssh_link, stream)->explain_timer, SSH_EXPLAIN_MS);
}

static void on_unexplained(struct timer *t)
{
	struct ssh_link *s = CONTAINER_OF(t, struct ssh_link, explain_timer);

	link_lose(&s->stream.base, &s->stream.ended);
}

static void ssh_dial(struct link *l)
{
	struct ssh_link *s = ssh_of(l);
	const char *const argv[] = { s->program, "-F",		 s->config, "-T",
				     s->host,	 WIRE_SSH_START, NULL };
	struct err err = { 0 };

	s->exited = false;
	s->hushed = false;
	s->child = child_start(l->loop,
			       &(struct child_options){
				       .argv = argv,
				       .stdio = { CHILD_PIPE, CHILD_PIPE, CHILD_PIPE },
				       .on_exit = on_exit,
				       .user = s,
			       },
			       &err);
	if (s->child == NULL) {
		link_lose(l, &err);
		return;
	}
	s->words = child_take_pipe(s->child, 2);
	conn_start(s->words, &words_calls, s);
	stream_open(&s->stream, child_take_pipe(s->child, 1), child_take_pipe(s->child, 0));
}

/* ssh ends by itself when its stdin has; the signal is for one that hangs in a dead connection. */
static void ssh_hang_up(struct link *l)
{
	struct ssh_link *s = ssh_of(l);

	stream_close(&s->stream);
	timer_stop(&s->explain_timer);
	if (s->child != NULL) {
		child_kill(s->child, SIGTERM);
		child_close(s->child);
		s->child = NULL;
	}
	conn_close(s->words);
	s->words = NULL;
	buf_clear(&s->said);
}

static void ssh_free(struct link *l)
{
	struct ssh_link *s = ssh_of(l);

	buf_finish(&s->said);
	free(s->program);
	free(s->config);
	free(s->host);
	free(s);
}

static const struct link_kind ssh_kind = {
	.dial = ssh_dial,
	.say = stream_say,
	.hang_up = ssh_hang_up,
	.free = ssh_free,
	.hello_ms = SSH_HELLO_MS,
};

struct link *link_ssh_create(struct loop *loop, const struct link_ssh_options *options)
{
	struct ssh_link *s = mem_alloc(sizeof(*s));

	s->program = mem_strdup(options->program);
	s->config = mem_strdup(options->config);
	s->host = mem_strdup(options->host);
	buf_init(&s->said, SSH_STDERR_MAX_BYTES);
	timer_init(&s->explain_timer, loop, on_unexplained);
	stream_init(&s->stream, options->controller, options->who);
	s->stream.on_end = on_stream_end;
	link_init(&s->stream.base, loop, &ssh_kind, mem_strdup("the agent on the host"),
		  options->callbacks, options->user);
	return &s->stream.base;
}
