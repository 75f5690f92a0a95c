/* SPDX-License-Identifier: MIT */
#include "host/scout.h"

#include <signal.h>
#include <stdlib.h>

#include "base/mem.h"
#include "io/child.h"
#include "io/timer.h"

enum errand_kind { ERRAND_VERSION, ERRAND_HELP, ERRAND_DEVICES, ERRAND_COUNT };

static const char *const flags[ERRAND_COUNT] = { "--version", "--help", "--list-devices" };

/* One run. Its end is the end of its outputs: they may come after the exit. */
struct errand {
	struct scout *scout;
	struct child *child;
	struct conn *pipes[2]; /* stdout, stderr */
	struct buf text;
};

struct scout {
	struct loop *loop;
	struct errand errands[ERRAND_COUNT];
	int open;	    /* pipes that did not end yet */
	struct timer timer; /* the time limit; then, or at the end, the answer */
	struct engine_abilities abilities;
	struct err err;
	scout_fn *on_end;
	void *user;
};

static void end_errands(struct scout *s)
{
	for (int i = 0; i < ERRAND_COUNT; i++) {
		struct errand *e = &s->errands[i];

		conn_close(e->pipes[0]);
		conn_close(e->pipes[1]);
		e->pipes[0] = NULL;
		e->pipes[1] = NULL;
		if (e->child != NULL && child_pid(e->child) != 0) {
			child_kill(e->child, SIGKILL);
		}
		child_close(e->child);
		e->child = NULL;
	}
}

static void answer(struct timer *timer)
{
	struct scout *s = CONTAINER_OF(timer, struct scout, timer);
	struct errand *e = s->errands;

	if (s->open > 0) {
		err_set(&s->err, ERR_NO_ENGINE, "llama-server did not say what it can do in %d s",
			SCOUT_MS / 1000);
	} else if (s->err.code == 0) {
		probe_read(buf_span(&e[ERRAND_VERSION].text), buf_span(&e[ERRAND_HELP].text),
			   buf_span(&e[ERRAND_DEVICES].text), &s->abilities, &s->err);
	}
	end_errands(s);
	s->on_end(s->user, &s->abilities, &s->err);
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
	struct errand *e = user;

	(void)status;
	if (--e->scout->open == 0) {
		timer_start(&e->scout->timer, 0);
	}
}

static const struct conn_callbacks text_callbacks = { .on_data = on_text, .on_end = on_text_end };

static int run_errand(struct scout *s, struct errand *e, const char *const *argv,
		      const char *const *env)
{
	e->scout = s;
	buf_init(&e->text, PROBE_TEXT_MAX_BYTES);
	e->child = child_start(s->loop,
			       &(struct child_options){
				       .argv = argv,
				       .env = env,
				       .stdio = { CHILD_NULL, CHILD_PIPE, CHILD_PIPE },
				       .new_session = true,
			       },
			       &s->err);
	if (e->child == NULL) {
		return s->err.code;
	}
	for (int i = 0; i < 2; i++) {
		e->pipes[i] = child_take_pipe(e->child, 1 + i);
		conn_start(e->pipes[i], &text_callbacks, e);
		s->open++;
	}
	return 0;
}

struct scout *scout_start(struct loop *loop, const char *engine_path, const char *const *env,
			  scout_fn *on_end, void *user)
{
	struct scout *s = mem_alloc(sizeof(*s));

	s->loop = loop;
	s->on_end = on_end;
	s->user = user;
	timer_init(&s->timer, loop, answer);
	timer_start(&s->timer, SCOUT_MS);
	for (int i = 0; i < ERRAND_COUNT; i++) {
		const char *argv[] = { engine_path, flags[i], NULL };

		if (run_errand(s, &s->errands[i], argv, env) != 0) {
			s->err.code = ERR_NO_ENGINE;
			s->open = 0;
			end_errands(s);
			timer_start(&s->timer, 0);
			break;
		}
	}
	return s;
}

static void scout_free(void *arg)
{
	struct scout *s = arg;

	for (int i = 0; i < ERRAND_COUNT; i++) {
		buf_finish(&s->errands[i].text);
	}
	free(s);
}

void scout_close(struct scout *s)
{
	if (s != NULL) {
		timer_stop(&s->timer);
		end_errands(s);
		loop_defer(s->loop, scout_free, s);
	}
}
