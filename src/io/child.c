/* SPDX-License-Identifier: MIT */
/*
 * A child is a libuv process handle and up to three pipe ends. The handle stays until the child has
 * ended, also when the owner forgot it, because only an open handle is reaped; a forgotten one does
 * not keep the loop running.
 */
#include "io/child.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/door.h"

struct child {
	uv_process_t process; /* first: loop_destroy frees forgotten children through it */
	void (*on_exit)(void *user, int exit_code);
	void *user;
	struct conn *pipes[3];
	bool ended, forgotten;
};

static void close_handle(struct child *c)
{
	if (!uv_is_closing((uv_handle_t *)&c->process)) {
		uv_close((uv_handle_t *)&c->process, (uv_close_cb)free);
	}
}

static void on_uv_exit(uv_process_t *process, int64_t status, int signum)
{
	struct child *c = CONTAINER_OF(process, struct child, process);

	c->ended = true;
	if (c->forgotten) {
		close_handle(c);
	} else if (c->on_exit != NULL) {
		c->on_exit(c->user, signum != 0 ? -signum : (int)status);
	}
}

static void fill_stdio(struct loop *loop, struct child *c, const struct child_options *options,
		       uv_stdio_container_t stdio[3])
{
	for (int i = 0; i < 3; i++) {
		switch (options->stdio[i]) {
		case CHILD_NULL:
			stdio[i].flags = UV_IGNORE; /* libuv opens /dev/null for 0-2 */
			break;
		case CHILD_INHERIT:
			stdio[i].flags = UV_INHERIT_FD;
			stdio[i].data.fd = i;
			break;
		case CHILD_FD:
			stdio[i].flags = UV_INHERIT_FD;
			stdio[i].data.fd = options->fds[i];
			break;
		case CHILD_PIPE:
			c->pipes[i] = conn_create(loop, false);
			stdio[i].flags =
				UV_CREATE_PIPE | (i == 0 ? UV_READABLE_PIPE : UV_WRITABLE_PIPE);
			stdio[i].data.stream = conn_stream(c->pipes[i]);
			break;
		}
	}
}

struct child *child_start(struct loop *loop, const struct child_options *options, struct err *err)
{
	struct child *c = mem_alloc(sizeof(*c));
	uv_stdio_container_t stdio[3] = { 0 };
	uv_process_options_t uv = {
		.exit_cb = on_uv_exit,
		.file = options->argv[0],
		.args = (char **)(uintptr_t)options->argv,
		.env = (char **)(uintptr_t)options->env,
		.cwd = options->folder,
		.flags = options->new_session ? UV_PROCESS_DETACHED : 0,
		.stdio_count = 3,
		.stdio = stdio,
	};

	c->on_exit = options->on_exit;
	c->user = options->user;
	fill_stdio(loop, c, options, stdio);
	int status = uv_spawn(&loop->uv, &c->process, &uv);

	if (status != 0) {
		err_set_os(err, status, "starting %s", options->argv[0]);
		c->ended = true;
		child_close(c);
		return NULL;
	}
	return c;
}

pid_t child_pid(const struct child *c)
{
	return c->ended ? 0 : c->process.pid;
}

int child_kill(struct child *c, int signum)
{
	return c->ended ? UV_ESRCH : uv_process_kill(&c->process, signum);
}

struct conn *child_take_pipe(struct child *c, int which)
{
	struct conn *pipe = c->pipes[which];

	c->pipes[which] = NULL;
	return pipe;
}

void child_close(struct child *c)
{
	if (c == NULL || c->forgotten) {
		return;
	}
	c->forgotten = true;
	uv_unref((uv_handle_t *)&c->process);
	for (int i = 0; i < 3; i++) {
		conn_close(c->pipes[i]);
	}
	if (c->ended) {
		close_handle(c);
	}
}
