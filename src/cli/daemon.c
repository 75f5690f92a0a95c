/* SPDX-License-Identifier: MIT */
#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define START_AGAIN_MS 1000

static void on_signal(void *user)
{
	struct daemon *d = user;

	d->leave(d);
}

void daemon_init(struct daemon *d, void (*leave)(struct daemon *d))
{
	*d = (struct daemon){ .loop = loop_create(), .leave = leave };
}

void daemon_listen(struct daemon *d)
{
	d->signals[0] = loop_signal_start(d->loop, SIGTERM, on_signal, d);
	d->signals[1] = loop_signal_start(d->loop, SIGINT, on_signal, d);
}

int daemon_run(struct daemon *d, int status)
{
	if (status == 0) {
		daemon_listen(d);
	}
	loop_run(d->loop);
	loop_destroy(d->loop);
	return status;
}

void daemon_left(struct daemon *d)
{
	for (size_t i = 0; i < ARRAY_LEN(d->signals); i++) {
		loop_signal_close(d->signals[i]);
		d->signals[i] = NULL;
	}
}

/* Kept children */

static void on_exit(void *user, int exit_code)
{
	struct kept *k = user;

	child_close(k->child);
	k->child = NULL;
	uint32_t again_ms = k->on_end(k, exit_code);

	if (!k->is_stopped) {
		timer_start(&k->again, again_ms);
	}
}

static void start(struct timer *t)
{
	struct kept *k = CONTAINER_OF(t, struct kept, again);
	int log =
		k->log != NULL ? open(k->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	enum child_stdio output = k->log != NULL ? CHILD_FD : CHILD_INHERIT;
	struct child_options options = { .argv = k->argv,
					 .stdio = { CHILD_NULL, output, output },
					 .fds = { -1, log, log },
					 .new_session = k->log != NULL,
					 .on_exit = on_exit,
					 .user = k };
	struct err err = { 0 };

	if (k->log != NULL && log < 0) {
		err_set_os(&err, -errno, "opening %s", k->log);
	} else {
		k->child = child_start(k->loop, &options, &err);
	}
	if (k->child == NULL) {
		log_error("%s", err.text);
		timer_start(t, START_AGAIN_MS);
	}
	if (log >= 0) {
		close(log);
	}
}

void kept_start(struct kept *k)
{
	timer_init(&k->again, k->loop, start);
	start(&k->again);
}

void kept_stop(struct kept *k, int signum)
{
	k->is_stopped = true;
	timer_stop(&k->again);
	if (k->child != NULL) {
		child_kill(k->child, signum);
	}
}

void kept_close(struct kept *k)
{
	timer_stop(&k->again);
	child_close(k->child);
	k->child = NULL;
}
