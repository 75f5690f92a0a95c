/* SPDX-License-Identifier: MIT */
#include "io/errand.h"

#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"
#include "io/timer.h"

struct errand {
	struct loop *loop;
	struct child *child;
	struct conn *pipes[2]; /* stdout, stderr */
	int open;	       /* of pipes and child: what did not end yet */
	int exit_code;
	struct buf text;
	struct err err;
	struct timer timer; /* the limit; then, once all has ended, the answer */
	errand_fn *on_end;
	void *user;
};

static void halt(struct errand *e)
{
	for (int i = 0; i < 2; i++) {
		conn_close(e->pipes[i]);
		e->pipes[i] = NULL;
	}
	if (e->child != NULL && child_pid(e->child) != 0) {
		child_kill(e->child, SIGKILL);
	}
	child_close(e->child);
	e->child = NULL;
}

static void answer(struct timer *timer)
{
	struct errand *e = CONTAINER_OF(timer, struct errand, timer);

	if (e->open > 0) {
		err_set(&e->err, ERR_TIMEOUT, "it did not end in time");
	}
	halt(e);
	e->on_end(e->user, buf_span(&e->text), e->exit_code, &e->err);
}

static void part_ended(struct errand *e)
{
	if (--e->open == 0) {
		timer_start(&e->timer, 0);
	}
}

static void on_text(void *user, struct span data)
{
	struct errand *e = user;

	if (data.len > buf_room(&e->text)) {
		data.len = buf_room(&e->text);
	}
	buf_add_span(&e->text, data);
}

static void on_text_end(void *user, int status)
{
	(void)status;
	part_ended(user);
}

static const struct conn_callbacks text_callbacks = { .on_data = on_text, .on_end = on_text_end };

static void on_exit_code(void *user, int exit_code)
{
	struct errand *e = user;

	e->exit_code = exit_code;
	part_ended(e);
}

struct errand *errand_start(struct loop *loop, const struct errand_options *options)
{
	struct errand *e = mem_alloc(sizeof(*e));
	int pipes = options->with_stderr ? 2 : 1;

	e->loop = loop;
	e->on_end = options->on_end;
	e->user = options->user;
	buf_init(&e->text, options->text_max_bytes);
	timer_init(&e->timer, loop, answer);
	e->child = child_start(loop,
			       &(struct child_options){
				       .argv = options->argv,
				       .env = options->env,
				       .stdio = { CHILD_NULL, CHILD_PIPE,
						  pipes == 2 ? CHILD_PIPE : CHILD_NULL },
				       .new_session = true,
				       .on_exit = on_exit_code,
				       .user = e,
			       },
			       &e->err);
	timer_start(&e->timer, e->child != NULL ? options->limit_ms : 0);
	e->open = e->child != NULL ? 1 + pipes : 0;
	for (int i = 0; i < e->open - 1; i++) {
		e->pipes[i] = child_take_pipe(e->child, 1 + i);
		conn_start(e->pipes[i], &text_callbacks, e);
	}
	return e;
}

static void errand_free(void *arg)
{
	struct errand *e = arg;

	buf_finish(&e->text);
	free(e);
}

void errand_close(struct errand *e)
{
	if (e != NULL) {
		timer_stop(&e->timer);
		halt(e);
		loop_defer(e->loop, errand_free, e);
	}
}

/* Waited for */

struct outcome {
	struct loop *loop;
	struct buf *text;
	struct err *err;
	int status;
};

static void on_waited(void *user, struct span text, int exit_code, const struct err *err)
{
	struct outcome *w = user;

	buf_add_span(w->text, text);
	w->status = exit_code;
	if (err->code != 0) {
		w->status = err_set(w->err, err->code, "%s", err->text);
	} else if (exit_code < 0) {
		w->status = err_set(w->err, ERR_CANCELED, "ended by signal %d", -exit_code);
	}
	loop_stop(w->loop);
}

int errand_run(const struct errand_options *options, struct buf *text, struct err *err)
{
	struct outcome w = { .loop = loop_create(), .text = text, .err = err };
	struct errand_options o = *options;

	o.on_end = on_waited;
	o.user = &w;
	buf_init(text, o.text_max_bytes);
	struct errand *e = errand_start(w.loop, &o);

	loop_run(w.loop);
	errand_close(e);
	loop_destroy(w.loop);
	return w.status;
}
