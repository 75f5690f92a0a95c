/* SPDX-License-Identifier: MIT */
#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"

#define START_AGAIN_MS 1000

static void on_signal(void *user)
{
	struct daemon *d = user;

	d->told++;
	d->leave(d);
}

static void on_keeper_data(void *user, struct span data)
{
	(void)user, (void)data;
}

static void on_keeper_end(void *user, int status)
{
	struct daemon *d = user;

	(void)status;
	log_warn("the process that kept this one is gone: leaving");
	conn_close(d->keeper);
	d->keeper = NULL;
	d->is_orphan = true;
	on_signal(d);
}

static const struct conn_callbacks keeper_calls = { on_keeper_data, on_keeper_end, NULL };

void daemon_init(struct daemon *d, const struct args *args, void (*leave)(struct daemon *d))
{
	*d = (struct daemon){ .loop = loop_create(),
			      .leave = leave,
			      .is_kept = args_flag(args, "--kept") != NULL };
}

void daemon_listen(struct daemon *d)
{
	struct err err;

	d->signals[0] = loop_signal_start(d->loop, SIGTERM, on_signal, d);
	d->signals[1] = loop_signal_start(d->loop, SIGINT, on_signal, d);
	if (d->is_kept) {
		d->keeper = conn_of_fd(d->loop, STDIN_FILENO, &err);
	}
	if (d->keeper != NULL) {
		conn_start(d->keeper, &keeper_calls, d);
	} else if (d->is_kept) {
		log_warn("--kept wants a pipe as standard input, so it changes nothing: %s",
			 err.text);
	}
}

int daemon_run(struct daemon *d, const struct err *err)
{
	int status = d->what != NULL ? 0 : err->code;

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
	conn_close(d->keeper);
	d->keeper = NULL;
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

struct child *daemon_start(struct loop *loop, struct child_options *options, const char *log,
			   struct err *err)
{
	int fd = log != NULL ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	struct child *child = NULL;

	options->stdio[1] = options->stdio[2] = log != NULL ? CHILD_FD : CHILD_INHERIT;
	options->fds[1] = options->fds[2] = fd;
	options->new_session = log != NULL;
	if (log != NULL && fd < 0) {
		err_set_os(err, -errno, "opening %s", log);
	} else {
		child = child_start(loop, options, err);
	}
	if (fd >= 0) {
		close(fd);
	}
	return child;
}

static void start(struct timer *t)
{
	struct kept *k = CONTAINER_OF(t, struct kept, again);
	struct child_options options = {
		.argv = k->argv, .stdio = { CHILD_PIPE }, .on_exit = on_exit, .user = k
	};
	struct err err;

	k->child = daemon_start(k->loop, &options, k->log, &err);
	if (k->child == NULL) {
		log_error("%s", err.text);
		timer_start(t, START_AGAIN_MS);
	}
}

void kept_start(struct kept *k)
{
	timer_stop(&k->again);
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
