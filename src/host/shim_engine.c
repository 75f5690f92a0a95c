/* SPDX-License-Identifier: MIT */
#include "host/shim_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNALS_MAX 64
#define EXEC_FAILED_EXIT_CODE 127

struct channels {
	int output[2];
	int start[2]; /* a go to the child, the errno of a failed exec back */
};

static void close_pair(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static int open_channels(struct channels *c)
{
	if (pipe(c->output) != 0) {
		return -errno;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, c->start) != 0) {
		int status = -errno;

		close_pair(c->output);
		return status;
	}
	for (int i = 0; i < 2; i++) {
		fcntl(c->output[i], F_SETFD, FD_CLOEXEC);
		fcntl(c->start[i], F_SETFD, FD_CLOEXEC);
	}
	fcntl(c->output[0], F_SETFL, O_NONBLOCK);
	return 0;
}

static void reset_signals(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i <= SIGNALS_MAX; i++) {
		sigaction(i, &plain, NULL); /* KILL and STOP refuse, and are as they should be */
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* All other descriptors are close-on-exec. */
static _Noreturn void be_engine(const struct channels *c, char *const *argv)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char go = 0;
	int why = 0;

	close(c->start[0]);
	setsid();
	proc_die_with_parent();
	reset_signals();
	if (read(c->start[1], &go, 1) != 1) {
		_exit(EXEC_FAILED_EXIT_CODE);
	}
	if (dup2(null, 0) < 0 || dup2(c->output[1], 1) < 0 || dup2(c->output[1], 2) < 0) {
		why = errno;
	} else {
		execvp(argv[0], argv);
		why = errno;
	}
	ssize_t told = write(c->start[1], &why, sizeof(why));

	(void)told; /* nobody may be left to tell */
	_exit(EXEC_FAILED_EXIT_CODE);
}

int shim_engine_fork(struct shim_engine *e, char *const *argv, struct err *err)
{
	struct channels c;
	pid_t pid = -1;
	int status = open_channels(&c);

	if (status != 0) {
		return err_set_os(err, status, "making a pipe for %s", argv[0]);
	}
	pid = fork();
	if (pid == 0) {
		be_engine(&c, argv);
	}
	if (pid < 0) {
		status = err_set_os(err, -errno, "making a process for %s", argv[0]);
		close_pair(c.output);
		close_pair(c.start);
		return status;
	}
	close(c.output[1]);
	close(c.start[1]);
	*e = (struct shim_engine){ .proc = { .pid = pid },
				   .output_fd = c.output[0],
				   .start_fd = c.start[0],
				   .is_running = true };
	status = proc_identify(pid, &e->proc);
	if (status != 0) {
		shim_engine_cancel(e);
		return err_set_os(err, status, "looking at the new process %lld", (long long)pid);
	}
	return 0;
}

void shim_engine_cancel(struct shim_engine *e)
{
	close(e->start_fd);
	while (waitpid(e->proc.pid, NULL, 0) < 0 && errno == EINTR) {
	}
	close(e->output_fd);
	e->is_running = false;
}

int shim_engine_exec(struct shim_engine *e, const char *program, struct err *err)
{
	int why = 0;
	ssize_t got = -1;

	if (write(e->start_fd, "g", 1) == 1) {
		do {
			got = read(e->start_fd, &why, sizeof(why));
		} while (got < 0 && errno == EINTR);
	}
	if (got == 0) {
		close(e->start_fd);
		return 0;
	}
	shim_engine_cancel(e);
	return err_set_os(err, got == (ssize_t)sizeof(why) ? -why : -EIO, "running %s", program);
}

void shim_engine_signal(const struct shim_engine *e, int signum)
{
	if (e->is_running) {
		kill(-e->proc.pid, signum); /* our child: its pid is its own until it is reaped */
	}
}

bool shim_engine_bury(struct shim_engine *e)
{
	siginfo_t info = { .si_pid = 0 };
	int status = 0;

	if (!e->is_running ||
	    waitid(P_PID, (id_t)e->proc.pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
	    info.si_pid == 0) {
		return false;
	}
	shim_engine_signal(e, SIGKILL);
	while (waitpid(e->proc.pid, &status, 0) < 0 && errno == EINTR) {
	}
	e->is_running = false;
	e->exit_status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
	return true;
}
