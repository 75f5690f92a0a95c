/* SPDX-License-Identifier: MIT */
#include "host/vigil.h"

#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/child.h"

static void drop_child(struct vigil *v)
{
	if (v->child != NULL) {
		child_kill(v->child, SIGTERM);
		child_close(v->child);
		v->child = NULL;
	}
}

static void on_linger(struct timer *timer)
{
	drop_child(CONTAINER_OF(timer, struct vigil, linger));
}

/* By itself, or because somebody ended it: the next work starts another one. */
static void on_tool_exit(void *user, int exit_code)
{
	struct vigil *v = user;

	(void)exit_code;
	child_close(v->child);
	v->child = NULL;
}

static void start_child(struct vigil *v)
{
	struct err err = { 0 };

	v->child = child_start(v->loop,
			       &(struct child_options){
				       .argv = v->argv,
				       .stdio = { CHILD_NULL, CHILD_NULL, CHILD_NULL },
				       .on_exit = on_tool_exit,
				       .user = v,
			       },
			       &err);
	if (v->child == NULL && !v->has_failed) {
		v->has_failed = true;
		log_warn("the machine may fall asleep while a model works: %s", err.text);
	}
}

void vigil_init(struct vigil *v, struct loop *loop, const char *const *argv, uint32_t linger_ms)
{
	*v = (struct vigil){ .loop = loop, .argv = argv, .linger_ms = linger_ms };
	timer_init(&v->linger, loop, on_linger);
}

void vigil_set(struct vigil *v, bool is_working)
{
	if (v->argv[0] == NULL) {
		return;
	}
	if (!is_working) {
		if (v->child != NULL && !timer_is_on(&v->linger)) {
			timer_start(&v->linger, v->linger_ms);
		}
		return;
	}
	timer_stop(&v->linger);
	if (v->child == NULL && !v->has_failed) {
		start_child(v);
	}
}

void vigil_finish(struct vigil *v)
{
	timer_stop(&v->linger);
	drop_child(v);
}
