/* SPDX-License-Identifier: MIT */
/*
 * shim-test SHIM [CASE...]: how engines and their shims live and end. RONZAL_TEST_ENGINE and
 * RONZAL_TEST_MODEL name a llama-server and a model file for the last case.
 */
#define _XOPEN_SOURCE 700 /* realpath: glibc hides it from POSIX.1-2008 alone */

#include <arpa/inet.h>

#include "shim-harness.h"

#define ENGINE_PORT 19101

static void release_does_nothing_while_the_engine_runs(void)
{
	struct agent a;
	pid_t shim = start_shim("5", "sleep 30");
	struct proc engine = attach_and_greet(&a);

	say(&a, &(struct shim_message){ .verb = SHIM_RELEASE });
	say_signal(&a, SIGTERM);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == -SIGTERM);
	release(&a, shim);
	check_all_gone(engine);
}

static void a_failed_exec_is_no_started_engine(void)
{
	const char *missing[] = { "/nowhere/llama-server", "--port", "1", NULL };
	const char *folder[] = { "/tmp", NULL };
	struct started s = start_shim_with("5", "1000000", missing);

	CHECK_MSG(strcmp(s.line,
			 "error: running /nowhere/llama-server: No such file or directory") == 0,
		  "it said: %s", s.line);
	CHECK(wait_exit(s.pid) == 1);
	CHECK(!has_file("sock") && !has_file("id") && !has_file("lock"));
	s = start_shim_with("5", "1000000", folder);
	CHECK_MSG(strcmp(s.line, "error: running /tmp: Permission denied") == 0, "%s", s.line);
	CHECK(wait_exit(s.pid) == 1);
}

static void bad_arguments_are_named(void)
{
	const char *engine[] = { "/bin/true", NULL };
	struct started s = start_shim_with("never", "1000000", engine);

	CHECK_MSG(strcmp(s.line, "error: LEASE_S 'never' is outside 0..86400") == 0, "%s", s.line);
	CHECK(wait_exit(s.pid) == 1);
	s = start_shim_with("5", "12", engine);
	CHECK_MSG(strcmp(s.line, "error: LOG_MAX_BYTES '12' is below 65536") == 0, "%s", s.line);
	CHECK(wait_exit(s.pid) == 1);
}

static void a_port_is_kept_by_one_shim(void)
{
	const char *engine[] = { "/bin/sleep", "30", NULL };
	char expected[128];
	struct agent a;
	pid_t shim = start_shim("5", "sleep 30");
	struct proc first = attach_and_greet(&a);
	struct started second = start_shim_with("5", "1000000", engine);

	snprintf(expected, sizeof(expected),
		 "error: port 19100 is kept by the shim of model tiny (pid %d)", (int)shim);
	CHECK_MSG(strcmp(second.line, expected) == 0, "it said: %s", second.line);
	CHECK(wait_exit(second.pid) == 1);
	CHECK(proc_is_alive(first) && has_file("sock") && has_file("id"));
	end_shim(shim);
}

static void the_next_shim_waits_for_one_whose_engine_is_gone(void)
{
	const char *engine[] = { "/bin/sleep", "60", NULL };
	struct agent a;
	pid_t first = start_shim("60", "exit 0"), releaser;

	attach(&a);
	await(&a, SHIM_EXIT);
	releaser = fork();
	if (releaser == 0) {
		nap(500);
		say(&a, &(struct shim_message){ .verb = SHIM_RELEASE });
		_exit(0);
	}
	struct started second = start_shim_with("60", "1000000", engine);
	CHECK_MSG(strcmp(second.line, "ok") == 0, "it said: %s", second.line);
	CHECK(wait_exit(releaser) == 0 && wait_exit(first) == 0);
	detach(&a);
	attach_and_greet(&a);
	end_shim(second.pid);
}

static void sigterm_ends_engine_and_shim(void)
{
	struct agent a;
	pid_t shim = start_shim("60", "sleep 60");
	struct proc engine = attach_and_greet(&a);

	kill(shim, SIGTERM);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == -SIGTERM);
	CHECK(wait_exit(shim) == 0);
	check_all_gone(engine);
}

static void an_engine_that_ignores_term_is_killed_after_the_grace(void)
{
	struct agent a;
	pid_t shim =
		start_shim("60", "trap 'echo term' TERM; echo set; while :; do sleep 0.1; done");
	struct proc engine = attach_and_greet(&a);
	int64_t start;

	await_log(&a, "set");
	start = now_ms();
	kill(shim, SIGTERM);
	await_log(&a, "term");
	await_log(&a, "term");
	CHECK(now_ms() - start >= SHIM_TERM_AGAIN_MS);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == -SIGKILL);
	CHECK(now_ms() - start >= SHIM_KILL_MS);
	CHECK(wait_exit(shim) == 0);
	check_all_gone(engine);
}

static void a_stopped_engine_is_killed_after_the_grace(void)
{
	struct agent a;
	pid_t shim = start_shim("60", "sleep 60");
	struct proc engine = attach_and_greet(&a);

	kill(engine.pid, SIGSTOP);
	nap(300); /* pending together, TERM would be delivered before STOP */
	kill(shim, SIGTERM);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == -SIGKILL);
	CHECK(wait_exit(shim) == 0);
	check_all_gone(engine);
}

static void a_grandchild_that_holds_stdout_keeps_nothing(void)
{
	struct agent a;
	struct proc grandchild;
	uint64_t pid;
	pid_t shim = start_shim("60", "sleep 60 & echo $!; wait");

	attach_and_greet(&a);
	await(&a, SHIM_LOG);
	CHECK(span_to_u64(a.m.text, INT32_MAX, &pid) == 0);
	CHECK(proc_identify((pid_t)pid, &grandchild) == 0);
	say_signal(&a, SIGTERM);
	await(&a, SHIM_EXIT); /* long before the grandchild's own end */
	wait_gone(grandchild);
	release(&a, shim);
}

static void a_grandchild_outlives_the_leader_by_nothing(void)
{
	struct agent a;
	struct proc grandchild;
	uint64_t pid;
	pid_t shim = start_shim("60", "(trap '' TERM; exec sleep 60) & echo $!; sleep 0.5; exit 3");

	attach(&a);
	await(&a, SHIM_LOG);
	CHECK(span_to_u64(a.m.text, INT32_MAX, &pid) == 0);
	CHECK(proc_identify((pid_t)pid, &grandchild) == 0);
	await(&a, SHIM_EXIT);
	CHECK(a.m.number == 3);
	wait_gone(grandchild);
	end_shim(shim);
}

static void a_daemon_that_left_the_group_does_not_hold_the_shim(void)
{
	struct agent a;
	uint64_t pid;
	pid_t shim = start_shim("60", "setsid sleep 100 & echo $!; sleep 0.3; exit 4");

	attach(&a);
	await(&a, SHIM_LOG);
	CHECK(span_to_u64(a.m.text, INT32_MAX, &pid) == 0);
	await(&a, SHIM_EXIT); /* ... while the daemon holds the pipe */
	CHECK(a.m.number == 4 && kill((pid_t)pid, 0) == 0);
	kill((pid_t)pid, SIGKILL);
	end_shim(shim);
}

static void a_lost_agent_is_waited_for_then_the_engine_ends(void)
{
	struct agent a;
	pid_t shim = start_shim("3", "sleep 60");
	struct proc engine = attach_and_greet(&a);
	int64_t start;

	detach(&a);
	nap(500);
	CHECK(attach_and_greet(&a).started == engine.started); /* back in time: as it was */
	nap(3500);
	CHECK(proc_is_alive(engine));
	detach(&a);
	start = now_ms();
	CHECK(wait_exit(shim) == 0);
	CHECK(now_ms() - start >= 2900);
	check_all_gone(engine);
}

static void nobody_ever_connects(void)
{
	struct shim_identity id;
	pid_t shim = start_shim("3", "exec sleep 60");

	CHECK(shim_identity_read(run_folder, PORT, &id) == 0);
	CHECK(id.shim.pid == shim && proc_is_alive(id.shim) && proc_is_alive(id.engine));
	CHECK(wait_exit(shim) == 0);
	check_all_gone(id.engine);
}

static void sleep_of_the_machine_starts_the_lease_anew(void)
{
	struct agent a;
	pid_t shim = start_shim("1", "sleep 60");
	struct proc engine = attach_and_greet(&a);
	int64_t start;

	detach(&a);
	kill(shim, SIGSTOP);
	nap(1000 + SHIM_SLEEP_GAP_MS + 300);
	start = now_ms();
	kill(shim, SIGCONT);
	CHECK(wait_exit(shim) == 0);
	CHECK(now_ms() - start >= 900);
	check_all_gone(engine);
}

static void sigkill_of_the_shim_leaves_nothing_for_long(void)
{
	struct agent a;
	pid_t shim = start_shim("60", "(trap '' TERM; sleep 60) & sleep 60");
	struct proc engine = attach_and_greet(&a);
	struct err err;
	int fd = -1;

	CHECK(shim_lock(run_folder, PORT, 0, &fd, &err) == ERR_BUSY);
	CHECK(strstr(err.text, "is kept by the shim of model tiny") != NULL);
	kill(shim, SIGKILL);
	wait_exit(shim);
	CHECK(has_file("sock") && has_file("id"));
	CHECK_MSG(shim_lock(run_folder, PORT, WAIT_MS, &fd, &err) == 0, "%s", err.text);
	CHECK(!proc_is_alive(engine));
	int64_t until = now_ms() + WAIT_MS;
	while (proc_signal_group(engine, 0) == 0) { /* until init has reaped the grandchildren */
		CHECK(now_ms() < until);
		nap(10);
	}
	shim_unlock(run_folder, PORT, fd);
	check_all_gone(engine);
}

static void the_next_shim_ends_what_a_dead_one_left(void)
{
	struct proc sleeper;
	struct shim_identity id = { .model = "tiny", .shim = { .pid = 999999, .started = 1 } };
	char line[SHIM_IDENTITY_MAX_BYTES];
	char *path = shim_path(run_folder, PORT, "id");
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		pause();
	}
	while (getsid(pid) != pid) {
		nap(5);
	}
	CHECK(proc_identify(pid, &sleeper) == 0);
	signal(SIGCHLD, SIG_IGN); /* as init would reap it */
	id.engine = (struct proc){ .pid = pid, .started = sleeper.started + 1 };
	shim_identity_print(&id, line);
	CHECK(fs_replace(path, span_of(line), 0600, NULL) == 0);
	signal(SIGCHLD, SIG_DFL);
	pid_t shim = start_shim("60", "sleep 60");
	CHECK(proc_is_alive(sleeper)); /* another process with that pid is not ours to end */
	end_shim(shim);
	signal(SIGCHLD, SIG_IGN);
	id.engine = sleeper;
	shim_identity_print(&id, line);
	CHECK(fs_replace(path, span_of(line), 0600, NULL) == 0);
	shim = start_shim("60", "sleep 60");
	CHECK(!proc_is_alive(sleeper));
	signal(SIGCHLD, SIG_DFL);
	end_shim(shim);
}

static void an_engine_inherits_nothing(void)
{
	struct agent a;
	sigset_t blocked;
	int leak = open("/dev/null", O_RDWR);

	CHECK(dup2(leak, 77) == 77);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	setenv("RONZAL_TEST", "passed on", 1);
	pid_t shim =
		start_shim("60", "exec /bin/sh -c 'ls /dev/fd/ | sort -n | tr \"\\n\" \" \"; echo;"
				 " echo \"$RONZAL_TEST\"; ps -o sid=,pgid= -p $$ | tr -s \" \";"
				 " grep -E \"^Sig(Blk|Ign)\" /proc/self/status; sleep 60'");
	struct proc engine = attach_and_greet(&a);
	char expected[64];

	await(&a, SHIM_LOG);
	CHECK_MSG(span_is(a.m.text, "0 1 2 3 "), "descriptors: %.*s",
		  SPAN_ARG(a.m.text)); /* 3: ls */
	await_log(&a, "passed on");
	await(&a, SHIM_LOG);
	snprintf(expected, sizeof(expected), " %d %d", (int)engine.pid, (int)engine.pid);
	CHECK_MSG(span_has_suffix(a.m.text, expected) || span_is(a.m.text, expected + 1),
		  "session and group: %.*s", SPAN_ARG(a.m.text));
	await_log(&a, "SigBlk:\t0000000000000000");
	await(&a, SHIM_LOG); /* 32 and 33 are the C library's own and cannot be set through it */
	CHECK_MSG(span_is(a.m.text, "SigIgn:\t0000000000000000") ||
			  span_is(a.m.text, "SigIgn:\t0000000180000000"),
		  "%.*s", SPAN_ARG(a.m.text));
	end_shim(shim);
}

static uint64_t context_switches(pid_t pid)
{
	char path[64];
	uint64_t count = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	char *found = strstr(read_text(path), "\nvoluntary_ctxt_switches:\t");
	CHECK(found != NULL);
	struct span rest = span_of(found + strlen("\nvoluntary_ctxt_switches:\t"));
	CHECK(span_to_u64(span_split(&rest, '\n'), UINT64_MAX, &count) == 0);
	return count;
}

/* How often it wakes in 2 s, once what it had to do before is done. */
static uint64_t wake_ups(pid_t pid)
{
	uint64_t before, now = context_switches(pid);

	do {
		before = now;
		nap(300);
		now = context_switches(pid);
	} while (now != before);
	nap(2000);
	return context_switches(pid) - before;
}

static void it_is_small_and_sleeps(void)
{
	struct agent a;
	pid_t shim =
		start_shim("60", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i "
				 "012345678901234567890123456789012345678901234567890123456789;"
				 " done; echo all said; sleep 60");
	struct proc_usage usage;
	uint64_t woken;

	attach_and_greet(&a);
	await_log(&a, "all said");
	woken = wake_ups(shim);
	CHECK_MSG(woken == 0, "%d wake-ups while idle", (int)woken);
	detach(&a);
	woken = wake_ups(shim);
	CHECK_MSG(woken == 0, "%d wake-ups without an agent", (int)woken);
	CHECK(proc_usage(shim, &usage) == 0);
	CHECK_MSG(usage.memory_bytes < 2u << 20, "%d KiB resident",
		  (int)(usage.memory_bytes >> 10));
	end_shim(shim);
}

static void the_socket_is_private(void)
{
	struct stat st;
	pid_t shim = start_shim("60", "umask; sleep 60");
	struct agent a;
	char *path = shim_path(run_folder, PORT, "sock");

	CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
	attach_and_greet(&a);
	await_log(&a, "0022"); /* the engine's is the caller's */
	end_shim(shim);
}

static int connect_to(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static void await_log_part(struct agent *a, const char *text)
{
	do {
		await(a, SHIM_LOG);
	} while (span_find(a->m.text, text) == a->m.text.len);
}

static void a_real_llama_server_outlives_agents_and_ends_in_mid_stream(void)
{
	static const char body[] =
		"{\"prompt\":\"once\",\"stream\":true,\"n_predict\":-1,\"ignore_eos\":true}";
	char port[8], request[512], answer[4096];
	const char *engine[] = { getenv("RONZAL_TEST_ENGINE"),
				 "--model",
				 getenv("RONZAL_TEST_MODEL"),
				 "--host",
				 "127.0.0.1",
				 "--port",
				 port,
				 "--ctx-size",
				 "512",
				 "--n-gpu-layers",
				 "0",
				 "-lv",
				 "4",
				 NULL };
	struct agent a;

	snprintf(port, sizeof(port), "%d", ENGINE_PORT);
	struct started s = start_shim_with("60", "1000000", engine);
	CHECK_MSG(strcmp(s.line, "ok") == 0, "%s", s.line);
	struct proc first = attach_and_greet(&a);
	await_log_part(&a, "listening on");
	detach(&a);
	CHECK(attach_and_greet(&a).started == first.started);
	await_log_part(&a, "listening on"); /* from the ring */
	int fd = connect_to(ENGINE_PORT);
	int len = snprintf(request, sizeof(request),
			   "POST /completion HTTP/1.1\r\nHost: 127.0.0.1\r\n"
			   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			   sizeof(body) - 1, body);
	CHECK(write(fd, request, (size_t)len) == len);
	ssize_t got = read(fd, answer, sizeof(answer) - 1);
	CHECK(got > 0);
	answer[got] = '\0';
	CHECK_MSG(strncmp(answer, "HTTP/1.1 200 OK", 15) == 0, "%.80s", answer);
	kill(s.pid, SIGTERM);
	await(&a, SHIM_EXIT); /* in WAIT_MS: left alone it would stream for 30 s more */
	CHECK(wait_exit(s.pid) == 0);
	check_all_gone(first);
}

/* NULL, or why a case cannot be run here. */
static const char *lacks_engine(void)
{
	return getenv("RONZAL_TEST_ENGINE") == NULL ? "no llama-server is installed" : NULL;
}

static const char *lacks_proc(void)
{
	return access("/proc/self/status", R_OK) != 0 ? "it needs Linux' /proc and setsid(1)"
						      : NULL;
}

static const struct test_case cases[] = {
	CASE(release_does_nothing_while_the_engine_runs, NULL),
	CASE(a_failed_exec_is_no_started_engine, NULL),
	CASE(bad_arguments_are_named, NULL),
	CASE(a_port_is_kept_by_one_shim, NULL),
	CASE(the_next_shim_waits_for_one_whose_engine_is_gone, NULL),
	CASE(sigterm_ends_engine_and_shim, NULL),
	CASE(an_engine_that_ignores_term_is_killed_after_the_grace, NULL),
	CASE(a_stopped_engine_is_killed_after_the_grace, NULL),
	CASE(a_grandchild_that_holds_stdout_keeps_nothing, NULL),
	CASE(a_grandchild_outlives_the_leader_by_nothing, NULL),
	CASE(a_daemon_that_left_the_group_does_not_hold_the_shim, lacks_proc),
	CASE(a_lost_agent_is_waited_for_then_the_engine_ends, NULL),
	CASE(nobody_ever_connects, NULL),
	CASE(sleep_of_the_machine_starts_the_lease_anew, NULL),
	CASE(sigkill_of_the_shim_leaves_nothing_for_long, NULL),
	CASE(the_next_shim_ends_what_a_dead_one_left, NULL),
	CASE(an_engine_inherits_nothing, lacks_proc),
	CASE(it_is_small_and_sleeps, lacks_proc),
	CASE(the_socket_is_private, NULL),
	CASE(a_real_llama_server_outlives_agents_and_ends_in_mid_stream, lacks_engine),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, ARRAY_LEN(cases));
}
