/* SPDX-License-Identifier: MIT */
/*
 * agent-peer-test BUILD_FOLDER DEMO_MODEL [CASE...]: controllers and other peers of a real
 * `ronzal agent`: leases, the one-shot form, bad input, slow readers, logs.
 */
#define _XOPEN_SOURCE 700 /* realpath: glibc hides it from POSIX.1-2008 alone */

#include "agent-harness.h"

static bool is_down(struct world *w)
{
	return w->down.code != 0;
}

static bool a_is_stopped(struct world *w)
{
	return server(w, "a")->phase == SERVER_STOPPED;
}

static void a_lost_controllers_servers_stop_after_its_lease(struct world *w)
{
	struct link *controller;
	double lost_ms;

	setenv("RONZAL_CONTROLLER_LEASE_S", "4", 1);
	add_model(w, "a", "", "");
	add_model(w, "b", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "b") == 0); /* a person's: it stays */
	link_close(w->link);
	w->is_synced = false;
	attach(w, "controller-1");
	EXPECT(w, get(w, VERB_START, "a") == 0);
	EXPECT(w, server(w, "a")->by_controller && !server(w, "b")->by_controller);
	link_close(w->link);
	w->is_synced = false;
	watch(w, 1000);
	attach(w, "controller-1"); /* back in time */
	watch(w, 4500);
	EXPECT(w, all_ready(w));
	controller = w->link;
	w->down = (struct err){ 0 };
	w->link = dial(w, "agent.sock", "controller-2");
	EXPECT(w, wait_for(w, is_down, WAIT_MS) && w->down.code == ERR_BUSY);
	link_close(w->link);
	link_close(controller);
	lost_ms = now_ms();
	w->is_synced = false;
	attach(w, "");
	EXPECT(w, wait_for(w, a_is_stopped, WAIT_MS));
	EXPECT(w, now_ms() - lost_ms > 3900);
	EXPECT(w, server(w, "b")->phase == SERVER_READY);
	shut_down(w);
}

/* SIGSTOP stands for the sleep: the loop does not turn, the clock runs on. */
static void time_slept_does_not_count_against_a_lease(struct world *w)
{
	double woken_ms;

	setenv("RONZAL_CONTROLLER_LEASE_S", "3", 1);
	add_model(w, "m", "", "");
	start_agent(w);
	attach(w, "controller-1");
	EXPECT(w, get(w, VERB_START, "m") == 0);
	link_close(w->link);
	watch(w, 300);
	kill(w->agent, SIGSTOP);
	watch(w, 9000);
	woken_ms = now_ms();
	kill(w->agent, SIGCONT);
	w->is_synced = false;
	attach(w, "");
	EXPECT(w, wait_for(w, all_stopped, WAIT_MS));
	EXPECT(w, now_ms() - woken_ms > 2900); /* and not at once */
	shut_down(w);
}

static void a_second_agent_says_so_and_leaves(struct world *w)
{
	const char *const argv[] = { "ronzal", "agent", NULL };

	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, run_piped(w, argv) == err_exit_code(ERR_BUSY));
	EXPECT(w, get(w, VERB_START, "m") == 0);
	shut_down(w);
}

static void the_one_shot_form_exits_by_what_came_of_it(struct world *w)
{
	const char *const start[] = { "ronzal", "start", "--stdio", NULL };
	const char *const stop[] = { "ronzal", "stop", "--stdio", NULL };

	add_model(w, "m", "health_delay_ms 100\n", "");
	begin(w);
	EXPECT(w, run_piped(w, start) == 0);
	EXPECT(w, wait_for(w, all_ready, WAIT_MS) && !server(w, "m")->by_controller);
	EXPECT(w, run_piped(w, stop) == 0);
	EXPECT(w, wait_for(w, all_stopped, WAIT_MS));
	write_text(w, "models/m.gguf.fake", "refuse_key 1\n");
	EXPECT(w, run_piped(w, start) == err_exit_code(ERR_ENGINE_FAILED));
	shut_down(w);
}

static void bad_input_ends_that_session_and_no_other(struct world *w)
{
	static const char *const bad[] = {
		"\n",
		"GET / HTTP/1.1\r\n\r\n",
		"{\"type\":\"start\"}\n",
		"{\"type\":\"hello\",\"version\":99,\"version_min\":99}\n",
		RAW_HELLO "{\"type\":\"start\",\"models\":[7]}\n",
		RAW_HELLO "{}\n"
	};
	char *flood = mem_alloc(200001);

	add_model(w, "m", "", "");
	begin(w);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int fd = dial_raw(w, "control.sock");

		say_raw(w, fd, bad[i]);
		EXPECT(w, answers(fd, "\"bye\"", WAIT_MS));
		close(fd);
	}
	memset(flood, 'x', 200000);
	int fd = dial_raw(w, "control.sock");

	EXPECT(w, write(fd, flood, 200000) > 0);
	EXPECT(w, answers(fd, "\"bye\"", WAIT_MS));
	close(fd);
	fd = dial_raw(w, "control.sock");
	say_raw(w, fd, RAW_HELLO "{\"type\":\"shutdown\",\"seq\":1}\n");
	EXPECT(w, answers(fd, "DENIED", WAIT_MS));
	close(fd);
	free(flood);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	shut_down(w);
}

static void a_peer_that_never_reads_harms_nobody(struct world *w)
{
	long before_kib;
	int fds[8];

	add_model(w, "m", "log_count 200000\n", "");
	begin(w);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial_raw(w, "control.sock");
		say_raw(w, fds[i], RAW_HELLO "{\"type\":\"subscribe\"}\n");
	}
	watch(w, 100);
	before_kib = status_number(w->agent, "VmRSS");
	link_follow_logs(w->link, NULL, 0, 0);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	watch(w, 1500);
	EXPECT(w, get(w, VERB_STOP, "m") == 0);
	printf("# agent with %zu peers that never read: %ld KiB, before %ld KiB\n", ARRAY_LEN(fds),
	       status_number(w->agent, "VmRSS"), before_kib);
	EXPECT(w,
	       !MEASURES_MEMORY || status_number(w->agent, "VmRSS") < before_kib + 8 * 512 + 1024);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		close(fds[i]);
	}
	shut_down(w);
}

static bool has_logs(struct world *w)
{
	return w->log_lines > 0;
}

static bool has_all_logs(struct world *w)
{
	return w->log_lines + w->log_dropped > 1000;
}

static void logs_come_with_their_tail_and_live(struct world *w)
{
	const char *id = "m";

	add_model(w, "m", "log_count 1000\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	watch(w, 2000); /* the lines come once it is ready */
	link_follow_logs(w->link, &id, 1, 10);
	EXPECT(w, wait_for(w, has_logs, WAIT_MS));
	watch(w, 200);
	EXPECT(w, w->log_lines == 10);
	EXPECT(w, get(w, VERB_RESTART, "m") == 0);
	EXPECT(w, wait_for(w, has_all_logs, WAIT_MS));
	shut_down(w);
}

static const struct test_case cases[] = {
	CASE(a_lost_controllers_servers_stop_after_its_lease),
	CASE(time_slept_does_not_count_against_a_lease),
	CASE(a_second_agent_says_so_and_leaves),
	CASE(the_one_shot_form_exits_by_what_came_of_it),
	CASE(bad_input_ends_that_session_and_no_other),
	CASE(a_peer_that_never_reads_harms_nobody),
	CASE(logs_come_with_their_tail_and_live),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, ARRAY_LEN(cases));
}
