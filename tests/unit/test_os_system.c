/* SPDX-License-Identifier: MIT */
/* The doors to the system, tried on real processes, sockets and folders of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "os/memory.h"
#include "os/paths.h"
#include "os/peer.h"
#include "os/port.h"
#include "os/proc.h"

#define WAIT_MS 5000

/* A child, in a process group of its own, that sleeps until a signal comes. */
static struct proc start_sleeper(void)
{
	struct proc p;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setpgid(0, 0);
		pause();
		_exit(0);
	}
	setpgid(pid, pid);
	assert_int_equal(proc_identify(pid, &p), 0);
	return p;
}

static void end(struct proc p)
{
	kill(p.pid, SIGKILL);
	waitpid(p.pid, NULL, 0);
}

static void a_process_keeps_its_identity(void **state)
{
	struct proc self, again;

	(void)state;
	assert_int_equal(proc_identify(getpid(), &self), 0);
	assert_int_equal(proc_identify(getpid(), &again), 0);
	assert_int_equal(self.pid, getpid());
	assert_true(self.started != 0 && self.started == again.started);
	assert_true(proc_is_alive(self));
	assert_int_equal(proc_identify(0, &again), -ESRCH);
	assert_int_equal(proc_identify(-1, &again), -ESRCH);
}

static void a_zombie_does_not_run(void **state)
{
	struct proc p = start_sleeper();
	struct proc other;

	(void)state;
	assert_int_equal(proc_signal(p, SIGKILL), 0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)p.pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(proc_is_alive(p));
	assert_int_equal(proc_identify(p.pid, &other), -ESRCH);
	assert_int_equal(proc_signal(p, 0), -ESRCH);
	end(p);
	assert_int_equal(proc_signal(p, 0), -ESRCH);
	assert_int_equal(proc_signal_group(p, 0), -ESRCH);
}

static void another_process_with_that_pid_is_left_alone(void **state)
{
	struct proc p = start_sleeper();
	struct proc older = { .pid = p.pid, .started = p.started - 1 };

	(void)state;
	assert_false(proc_is_alive(older));
	assert_int_equal(proc_signal(older, SIGKILL), -ESRCH);
	assert_int_equal(proc_signal_group(older, SIGKILL), -ESRCH);
	assert_int_equal(proc_watch(older), -ESRCH);
	assert_true(proc_is_alive(p));
	assert_int_equal(proc_signal_group(p, SIGKILL), 0);
	end(p);
}

static void a_group_is_reached_after_its_leader_is_gone(void **state)
{
	int held[2];
	char byte;
	struct proc leader;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(held), 0);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		pid_t member = fork();
		if (member == 0) {
			pause();
		}
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	assert_int_equal(proc_identify(pid, &leader), 0);
	close(held[1]);
	kill(pid, SIGCONT);
	waitpid(pid, NULL, 0);
	assert_false(proc_is_alive(leader));
	assert_int_equal(proc_signal_group(leader, SIGKILL), 0);
	struct pollfd wait = { .fd = held[0], .events = POLLIN };
	assert_int_equal(poll(&wait, 1, WAIT_MS), 1); /* the member held the other end */
	assert_int_equal(read(held[0], &byte, 1), 0);
	close(held[0]);
}

static void a_watch_tells_the_end_and_nothing_before(void **state)
{
	struct proc p = start_sleeper();
	int fd = proc_watch(p);
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(poll(&wait, 1, 0), 0);
	assert_int_equal(proc_signal(p, SIGKILL), 0);
	assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
	close(fd);
	end(p);
}

static void names_memory_and_path_of_a_process(void **state)
{
	char name[PROC_NAME_MAX_BYTES], path[FS_PATH_MAX_BYTES], tiny[3];
	struct proc_usage usage = { 0 };

	(void)state;
	proc_name_of(getpid(), name);
	assert_int_equal(strncmp(name, "test_os_system", strlen(name)), 0);
	proc_name_of(0, name);
	assert_string_equal(name, "?");
	assert_int_equal(proc_usage(getpid(), &usage), 0);
	assert_in_range(usage.memory_bytes, 100 << 10, 1 << 30);
	for (uint64_t before = usage.cpu_ms;
	     usage.cpu_ms < before + 20;) { /* spins until it counts */
		assert_int_equal(proc_usage(getpid(), &usage), 0);
	}
	assert_int_equal(proc_usage(0, &usage), -ESRCH);
	assert_int_equal(proc_self_path(path, sizeof(path)), 0);
	assert_true(path[0] == '/' && span_has_suffix(span_of(path), "/test_os_system"));
	assert_int_equal(proc_self_path(tiny, sizeof(tiny)), -ENAMETOOLONG);
}

static void a_child_dies_with_its_parent(void **state)
{
	int held[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(held), 0);
	pid_t parent = fork();
	if (parent == 0) {
		pid_t child = fork();
		if (child == 0) {
			proc_die_with_parent();
			assert_int_equal(write(held[1], "x", 1), 1);
			pause();
		}
		pause();
	}
	close(held[1]);
	assert_int_equal(read(held[0], &byte, 1), 1);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	struct pollfd wait = { .fd = held[0], .events = POLLIN };
	assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
	assert_int_equal(read(held[0], &byte, 1), 0);
	close(held[0]);
}

static void the_peer_of_a_socket_is_known(void **state)
{
	int pair[2];
	struct peer peer;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(peer_of(pair[0], &peer), 0);
	assert_int_equal(peer.uid, getuid());
	assert_int_equal(peer.pid, getpid());
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(peer_of(-1, &peer), -EBADF);
}

static void check_holder(int family, const struct sockaddr *address, socklen_t len)
{
	struct sockaddr_storage bound;
	struct port_holder holder;
	int fd = socket(family, SOCK_STREAM, 0);
	uint16_t port;

	assert_int_equal(bind(fd, address, len), 0);
	len = sizeof(bound);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
	port = ntohs(family == AF_INET ? ((struct sockaddr_in *)(void *)&bound)->sin_port
				       : ((struct sockaddr_in6 *)(void *)&bound)->sin6_port);
	assert_int_equal(port_holder_of(port, &holder), -ENOENT); /* bound, does not listen */
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(port_holder_of(port, &holder), 0);
	assert_int_equal(holder.pid, getpid());
	assert_int_equal(strncmp(holder.name, "test_os_system", strlen(holder.name)), 0);
	close(fd);
	assert_int_equal(port_holder_of(port, &holder), -ENOENT);
}

static void the_holder_of_a_port_is_found(void **state)
{
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	int probe = socket(AF_INET6, SOCK_STREAM, 0);
	bool has_six = probe >= 0 && bind(probe, (const struct sockaddr *)&six, sizeof(six)) == 0;

	(void)state;
	close(probe);
	four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check_holder(AF_INET, (const struct sockaddr *)&four, sizeof(four));
	if (has_six) {
		check_holder(AF_INET6, (const struct sockaddr *)&six, sizeof(six));
	}
}

static void memory_is_plausible(void **state)
{
	struct memory m;

	(void)state;
	assert_int_equal(memory_read(&m), 0);
	assert_true(m.total_bytes >= 256ull << 20);
	assert_true(m.available_bytes > 0 && m.available_bytes <= m.total_bytes);
}

/* Paths */

static int make_home(void **state)
{
	static const char template[] = "/tmp/paths.XXXXXX";
	char *home = malloc(sizeof(template));

	memcpy(home, template, sizeof(template));
	*state = mkdtemp(home);
	unsetenv("RONZAL_HOME");
	unsetenv("XDG_STATE_HOME");
	unsetenv("XDG_RUNTIME_DIR");
	unsetenv("XDG_CONFIG_HOME");
	return setenv("HOME", home, 1);
}

static int remove_home(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "%s", (const char *)*state);
	pid_t pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", command, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	free(*state);
	return 0;
}

static void assert_private_folder(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void ronzal_home_holds_all_four(void **state)
{
	char own[64], expected[128];
	struct paths p;
	struct err err;

	snprintf(own, sizeof(own), "%s/own", (const char *)*state);
	setenv("RONZAL_HOME", own, 1);
	assert_int_equal(paths_init(&p, &err), 0);
	snprintf(expected, sizeof(expected), "%s/run", own);
	assert_string_equal(p.run, expected);
	assert_private_folder(p.state);
	assert_private_folder(p.run);
	assert_private_folder(p.logs);
	assert_private_folder(p.config);
	chmod(p.run, 0777);
	paths_finish(&p);
	assert_null(p.run);
	assert_int_equal(paths_init(&p, &err), 0);
	assert_private_folder(expected);
	paths_finish(&p);
}

static void without_ronzal_home_they_lie_below_the_home_folder(void **state)
{
	struct paths p;
	struct err err;

	assert_int_equal(paths_init(&p, &err), 0);
	assert_true(span_has_prefix(span_of(p.state), *state));
	assert_true(span_has_prefix(span_of(p.run), *state));
	assert_true(span_has_prefix(span_of(p.logs), *state));
	assert_private_folder(p.run);
	paths_finish(&p);
}

static void bad_places_are_named_with_the_variable_to_set(void **state)
{
	char path[256];
	struct paths p;
	struct err err;

	setenv("RONZAL_HOME", "relative/place", 1);
	assert_int_equal(paths_init(&p, &err), ERR_INVALID);
	assert_string_equal(err.text,
			    "RONZAL_HOME is 'relative/place': set it to an absolute path");
	snprintf(path, sizeof(path), "%s/%0120d", (const char *)*state, 7);
	setenv("RONZAL_HOME", path, 1);
	assert_int_equal(paths_init(&p, &err), ERR_INVALID);
	assert_non_null(strstr(err.text, "too long for sockets"));
	setenv("RONZAL_HOME", "/dev/null/x", 1);
	assert_int_equal(paths_init(&p, &err), -ENOTDIR);
	assert_non_null(strstr(err.text, "/dev/null"));
	assert_non_null(strstr(err.text, "RONZAL_HOME"));
	assert_null(p.state);
	unsetenv("RONZAL_HOME");
	unsetenv("HOME");
	assert_int_equal(paths_init(&p, &err), ERR_INVALID);
	assert_non_null(strstr(err.text, "HOME"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_keeps_its_identity),
		cmocka_unit_test(a_zombie_does_not_run),
		cmocka_unit_test(another_process_with_that_pid_is_left_alone),
		cmocka_unit_test(a_group_is_reached_after_its_leader_is_gone),
		cmocka_unit_test(a_watch_tells_the_end_and_nothing_before),
		cmocka_unit_test(names_memory_and_path_of_a_process),
		cmocka_unit_test(a_child_dies_with_its_parent),
		cmocka_unit_test(the_peer_of_a_socket_is_known),
		cmocka_unit_test(the_holder_of_a_port_is_found),
		cmocka_unit_test(memory_is_plausible),
		cmocka_unit_test_setup_teardown(ronzal_home_holds_all_four, make_home, remove_home),
		cmocka_unit_test_setup_teardown(without_ronzal_home_they_lie_below_the_home_folder,
						make_home, remove_home),
		cmocka_unit_test_setup_teardown(bad_places_are_named_with_the_variable_to_set,
						make_home, remove_home),
	};
	return cmocka_run_group_tests_name("system", tests, NULL, NULL);
}
