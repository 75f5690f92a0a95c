/* SPDX-License-Identifier: MIT */
/*
 * agent-test BUILD_FOLDER DEMO_MODEL [CASE...]: the lives of engines under a real `ronzal agent`.
 * Engines are the scripted fake-engine; one case wants a real one in RONZAL_TEST_ENGINE.
 * RONZAL_TEST_FULL=1 runs the long forms.
 */
#define _XOPEN_SOURCE 700 /* realpath: glibc hides it from POSIX.1-2008 alone */

#include "agent-harness.h"

static void starts_all_enabled_models_together(struct world *w)
{
	add_model(w, "a", "health_delay_ms 2000\n", "");
	add_model(w, "b", "health_delay_ms 2000\n", "");
	add_model(w, "c", "health_delay_ms 2000\n", "");
	begin(w);
	ask(w, VERB_START, NULL, 0, 0);
	EXPECT(w, wait_for(w, all_loading, WAIT_MS)); /* none waits for another to be ready */
	EXPECT(w, wait_for(w, replied, WAIT_MS) && w->reply.code == 0);
	EXPECT(w, all_ready(w));
	EXPECT(w, server(w, "a")->receipt.verdict == RECEIPT_CPU);
	EXPECT(w, server(w, "b")->receipt.context_tokens == 4096);
	EXPECT(w, server(w, "c")->load_ms >= 2000);
	EXPECT(w, get(w, VERB_STOP, NULL) == 0);
	EXPECT(w, all_stopped(w));
	shut_down(w);
}

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* From the engine's first 200, which it notes itself, to the link's READY. */
static void readiness_is_noticed_at_once(struct world *w)
{
	enum { SAMPLES_MAX = 100 };
	double late_ms[SAMPLES_MAX];
	int count = rounds(15, SAMPLES_MAX);

	add_model(w, "m", "", "");
	begin(w);
	for (int i = 0; i < count; i++) {
		char script[64];

		snprintf(script, sizeof(script), "note_ready 1\nhealth_delay_ms %d\n",
			 150 + i * 37 % 211);
		write_text(w, "models/m.gguf.fake", script);
		EXPECT(w, get(w, VERB_RESTART, "m") == 0);
		late_ms[i] = w->noticed_ms - (double)number_of(w, "models/m.gguf.ready");
	}
	qsort(late_ms, (size_t)count, sizeof(late_ms[0]), compare_doubles);
	printf("# noticed after %.0f ms median, %.0f ms p99 of %d\n", late_ms[count / 2],
	       late_ms[count - 1 - count / 100], count);
	EXPECT(w, late_ms[count / 2] <= rounds(500, 20));
	EXPECT(w, late_ms[count - 1 - count / 100] <= rounds(5000, 60));
	shut_down(w);
}

static void a_killed_agent_is_replaced_without_a_reload(struct world *w)
{
	pid_t a, b;

	add_model(w, "a", "", "");
	add_model(w, "b", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	a = server(w, "a")->pid;
	b = server(w, "b")->pid;
	for (int i = 0; i < 50; i++) {
		end_agent(w, i % 2 == 0 ? SIGKILL : SIGTERM);
		w->is_synced = false;
		start_agent(w);
		EXPECT(w, wait_for(w, synced, WAIT_MS));
		EXPECT(w, all_ready(w));
		EXPECT(w, server(w, "a")->pid == a && server(w, "b")->pid == b);
		EXPECT(w, server(w, "a")->receipt.verdict == RECEIPT_CPU);
		EXPECT(w, server(w, "a")->starts == 1);
	}
	EXPECT(w, get(w, VERB_CREDENTIALS, "a") == 0 && w->result.key[0] != '\0');
	shut_down(w);
	EXPECT(w, !is_running(a) && !is_running(b));
}

static bool restarted(struct world *w)
{
	return all_ready(w) && w->servers[0].restarts > 0 && w->servers[0].error[0] == '\0';
}

static void a_killed_engine_is_started_again_and_the_reason_told(struct world *w)
{
	double killed_ms;
	pid_t pid;

	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	pid = server(w, "m")->pid;
	killed_ms = now_ms();
	kill(pid, SIGKILL);
	EXPECT(w, wait_for(w, restarted, WAIT_MS));
	EXPECT(w, strstr(w->backoff_error, "SIGKILL") != NULL);
	printf("# the death was told after %.0f ms\n", w->backoff_ms - killed_ms);
	EXPECT(w, w->backoff_ms - killed_ms <= rounds(5000, 50));
	EXPECT(w, server(w, "m")->pid != pid);
	shut_down(w);
}

static int descriptors_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	return count_entries(path);
}

static bool all_came_back(struct world *w)
{
	uint32_t restarts = 0;

	for (int i = 0; i < w->server_count; i++) {
		restarts += w->servers[i].restarts;
	}
	return all_ready(w) && restarts == w->kills;
}

/* The agent opens a file for a moment now and then: what it has leaked stays. */
static bool no_descriptor_was_leaked(struct world *w)
{
	return descriptors_of(w->agent) <= w->descriptors;
}

static void engines_killed_at_random_times_all_come_back_and_leave_nothing(struct world *w)
{
	int killed[4] = { 0 };

	for (int i = 0; i < 4; i++) {
		add_model(w, (const char *[]){ "a", "b", "c", "d" }[i], "health_delay_ms 200\n",
			  "");
	}
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	w->descriptors = descriptors_of(w->agent);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < w->server_count; i++) {
			int pid = w->servers[i].pid;

			if (pid != 0 && pid != killed[i] && kill(pid, SIGKILL) == 0) {
				killed[i] = pid;
				w->kills++;
			}
			watch(w, rand() % 300);
		}
	}
	EXPECT(w, wait_for(w, all_came_back, 2 * WAIT_MS));
	EXPECT(w, strstr(w->backoff_error, "SIGKILL") != NULL);
	EXPECT(w, processes_with("fake-engine") >= w->server_count);
	EXPECT(w, wait_for(w, no_descriptor_was_leaked, WAIT_MS));
	shut_down(w);
}

static void a_killed_shim_takes_its_engine_along_and_both_come_back(struct world *w)
{
	char path[256];
	struct shim_identity id;
	pid_t pid;

	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	pid = server(w, "m")->pid;
	snprintf(path, sizeof(path), "%s/home/run", w->home);
	EXPECT(w, shim_identity_read(path, PORT_MIN, &id) == 0);
	kill(id.shim.pid, SIGKILL);
	EXPECT(w, wait_for(w, restarted, WAIT_MS));
	EXPECT(w, !is_running(pid));
	shut_down(w);
}

static void a_crash_loop_backs_off_and_fails_with_the_reason(struct world *w)
{
	struct rusage before, after;
	double begun_ms;
	long cpu_ms;

	add_model(w, "m", "exit_after_ms 50\nhealth_delay_ms 1000\n", "");
	begin(w);
	getrusage(RUSAGE_CHILDREN, &before);
	begun_ms = now_ms();
	EXPECT(w, get(w, VERB_START, NULL) == ERR_ENGINE_FAILED);
	EXPECT(w, all_failed(w));
	EXPECT(w, server(w, "m")->starts == 5);
	EXPECT(w, now_ms() - begun_ms > 9000);
	EXPECT(w, strstr(server(w, "m")->error, "exit code 1") != NULL);
	EXPECT(w, server(w, "m")->next_step[0] != '\0');
	shut_down(w);
	getrusage(RUSAGE_CHILDREN, &after);
	cpu_ms = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000 +
		 (after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1000;
	printf("# agent's CPU over %.0f s of crashes: %ld ms\n", (now_ms() - begun_ms) / 1000,
	       cpu_ms);
	EXPECT(w, !MEASURES_MEMORY || (double)cpu_ms < (now_ms() - begun_ms) / 100);
}

static void a_hopeless_engine_is_not_tried_again(struct world *w)
{
	char text[256];

	snprintf(text, sizeof(text), "log %s/death.log\nexit_after_ms 50\nhealth_delay_ms 1000\n",
		 w->home);
	write_text(w, "death.log",
		   "llama_model_load: error loading model: unknown model architecture: 'x'\n");
	add_model(w, "m", text, "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == ERR_NO_ENGINE);
	EXPECT(w, server(w, "m")->phase == SERVER_FAILED && server(w, "m")->starts == 1);
	shut_down(w);
}

static void an_engine_that_ignores_term_is_killed_in_time(struct world *w)
{
	double begun_ms;

	add_model(w, "deaf", "ignore_term 1\n", "");
	add_model(w, "frozen", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	kill(server(w, "frozen")->pid, SIGSTOP);
	begun_ms = now_ms();
	EXPECT(w, get(w, VERB_STOP, NULL) == 0);
	EXPECT(w, now_ms() - begun_ms < 10000);
	EXPECT(w, all_stopped(w));
	shut_down(w);
}

static void a_grandchild_that_holds_stdout_is_gone_after_the_stop(struct world *w)
{
	pid_t pid;

	add_model(w, "m", "grandchild 1\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	pid = (pid_t)number_of(w, "models/m.gguf.grandchild");
	EXPECT(w, is_running(pid));
	EXPECT(w, get(w, VERB_STOP, NULL) == 0);
	for (int i = 0; i < 1000 && is_running(pid); i++) {
		watch(w, 10); /* it was killed, not waited for: it is not the shim's child */
	}
	EXPECT(w, !is_running(pid));
	shut_down(w);
}

static void another_program_on_the_port_is_named_and_left_alone(struct world *w)
{
	struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(PORT_MIN) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	add_model(w, "m", "", "");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
	EXPECT(w, bind(fd, (struct sockaddr *)&where, sizeof(where)) == 0 && listen(fd, 1) == 0);
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == ERR_BUSY);
	EXPECT(w, strstr(server(w, "m")->error, "agent-test") != NULL);
	EXPECT(w, strstr(server(w, "m")->error, "19300") != NULL);
	close(fd);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	shut_down(w);
}

static void a_port_that_proves_nothing_is_not_ready(struct world *w)
{
	add_model(w, "open", "any_key 1\n", "");
	add_model(w, "shut", "refuse_key 1\n", "");
	add_model(w, "odd", "health_status 404\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == ERR_ENGINE_FAILED);
	EXPECT(w, all_failed(w));
	EXPECT(w, strstr(server(w, "open")->error, "wrong key") != NULL);
	EXPECT(w, strstr(server(w, "shut")->error, "refuses the key") != NULL);
	EXPECT(w, server(w, "odd")->pid == 0);
	shut_down(w);
}

static void stops_and_starts_that_cross_are_idempotent(struct world *w)
{
	add_model(w, "m", "health_delay_ms 3000\n", "");
	begin(w);
	ask(w, VERB_START, "m", 0, 0);
	EXPECT(w, wait_for(w, all_loading, WAIT_MS));
	EXPECT(w, get(w, VERB_STOP, "m") == 0);
	EXPECT(w, all_stopped(w));
	EXPECT(w, get(w, VERB_STOP, "m") == 0);
	write_text(w, "models/m.gguf.fake", "ignore_term 1\n");
	EXPECT(w, get(w, VERB_START, "m") == 0);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	EXPECT(w, server(w, "m")->starts == 2);
	ask(w, VERB_STOP, "m", 0, 0);
	ask(w, VERB_STOP, "m", 0, 0);
	watch(w, 200);
	EXPECT(w, server(w, "m")->phase == SERVER_STOPPING);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	EXPECT(w, server(w, "m")->phase == SERVER_READY && server(w, "m")->starts == 3);
	shut_down(w);
}

/* Each takes the place of the one before, which may be checking its files still. */
static void restarts_that_overtake_each_other_end_ready(struct world *w)
{
	add_model(w, "m", "", "");
	begin(w);
	for (int i = 0; i < rounds(20, 200); i++) {
		for (int k = 0; k < 8; k++) {
			ask(w, VERB_RESTART, "m", 0, 0);
		}
		EXPECT(w, wait_for(w, replied, WAIT_MS) && w->reply.code == 0);
		EXPECT(w, all_ready(w));
	}
	shut_down(w);
}

static void stops_in_mid_stream_keep_their_deadline(struct world *w)
{
	char key[WIRE_KEY_MAX_BYTES];
	double worst_ms = 0;

	add_model(w, "m", "events 1000000\nevent_delay_ms 5\n", "");
	begin(w);
	for (int i = 0; i < rounds(5, 100); i++) {
		double begun_ms;
		int fd;

		EXPECT(w, get(w, VERB_START, "m") == 0);
		take_key(w, "m", key);
		fd = open_stream(w, server(w, "m"), key);
		begun_ms = now_ms();
		ask(w, VERB_STOP, "m", 1000, 7000);
		EXPECT(w, wait_for(w, replied, WAIT_MS) && w->reply.code == 0);
		EXPECT(w, all_stopped(w));
		worst_ms = now_ms() - begun_ms > worst_ms ? now_ms() - begun_ms : worst_ms;
		close(fd);
	}
	printf("# slowest stop in mid-stream: %.0f ms\n", worst_ms);
	EXPECT(w, worst_ms < 7000);
	shut_down(w);
}

static void a_drain_ends_when_the_last_stream_does(struct world *w)
{
	char key[WIRE_KEY_MAX_BYTES];
	int fd;

	add_model(w, "m", "events 60\nevent_delay_ms 25\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	take_key(w, "m", key);
	fd = open_stream(w, server(w, "m"), key);
	ask(w, VERB_STOP, "m", 10 * WAIT_MS, 20 * WAIT_MS);
	EXPECT(w, wait_for(w, replied, WAIT_MS) && w->reply.code == 0);
	EXPECT(w, answers(fd, "[DONE]", 1000)); /* all of it had come before the engine ended */
	close(fd);
	shut_down(w);
}

static void require_gpu_fails_a_start_on_the_cpu(struct world *w)
{
	add_model(w, "m", "", ",\"require_gpu\":true");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == ERR_ENGINE_FAILED);
	EXPECT(w, server(w, "m")->phase == SERVER_FAILED);
	EXPECT(w, strstr(server(w, "m")->error, "require_gpu") != NULL);
	EXPECT(w, server(w, "m")->pid == 0);
	shut_down(w);
}

static void a_model_that_does_not_fit_is_refused_with_the_sum(struct world *w)
{
	setenv("RONZAL_MEMORY_BUDGET_MIB", "1", 1);
	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == ERR_NO_MEMORY);
	EXPECT(w, server(w, "m")->starts == 0 && server(w, "m")->estimate_bytes > 0);
	shut_down(w);
}

static void a_key_that_cannot_be_kept_fails_the_start_and_leaves_no_litter(struct world *w)
{
	char path[256];

	add_model(w, "m", "", "");
	snprintf(path, sizeof(path), "%s/home/run/key-%d", w->home, PORT_MIN);
	begin(w);
	EXPECT(w, mkdir(path, 0700) == 0);
	EXPECT(w, get(w, VERB_START, "m") != 0);
	EXPECT(w, strstr(server(w, "m")->error, path) != NULL && server(w, "m")->starts == 0);
	EXPECT(w, rmdir(path) == 0);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	shut_down(w);
	snprintf(path, sizeof(path), "%s/home/run", w->home);
	EXPECT(w, count_entries(path) == 1); /* agent.lock */
}

static void an_engine_that_is_missing_or_none_is_named_with_what_to_do(struct world *w)
{
	static const char *const engines[] = { "/nowhere/llama-server", "/bin/echo" };
	static const char *const advice[] = { "correct it in host.conf",
					      "set engine in host.conf" };

	add_model(w, "m", "", "");
	for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
		setenv("RONZAL_ENGINE", engines[i], 1);
		w->is_synced = false;
		begin(w);
		EXPECT(w, get(w, VERB_START, "m") == ERR_NO_ENGINE);
		EXPECT(w, strstr(server(w, "m")->error, advice[i]) != NULL);
		EXPECT(w, server(w, "m")->next_step[0] != '\0' && server(w, "m")->starts == 0);
		shut_down(w);
	}
}

static void a_model_that_is_no_gguf_fails_alone(struct world *w)
{
	add_model(w, "text", "", "");
	add_model(w, "m", "", "");
	write_text(w, "models/text.gguf", "once upon a time there was a file that was no model\n");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) != 0);
	EXPECT(w, server(w, "text")->phase == SERVER_FAILED && server(w, "text")->starts == 0);
	EXPECT(w, strstr(server(w, "text")->error, "text.gguf") != NULL);
	EXPECT(w, server(w, "m")->phase == SERVER_READY);
	shut_down(w);
}

static void models_outside_the_roots_are_refused(struct world *w)
{
	char link_path[256], target[256];

	add_model(w, "linked", "", "");
	add_model(w, "fifo", "", "");
	add_model(w, "gone", "", "");
	snprintf(link_path, sizeof(link_path), "%s/models/linked.gguf", w->home);
	snprintf(target, sizeof(target), "%s/outside.gguf", w->home);
	rename(link_path, target);
	EXPECT(w, symlink(target, link_path) == 0);
	snprintf(link_path, sizeof(link_path), "%s/models/fifo.gguf", w->home);
	unlink(link_path);
	EXPECT(w, mkfifo(link_path, 0600) == 0);
	snprintf(link_path, sizeof(link_path), "%s/models/gone.gguf", w->home);
	unlink(link_path);
	begin(w);
	EXPECT(w, get(w, VERB_START, "linked") == ERR_DENIED);
	EXPECT(w, get(w, VERB_START, "fifo") != 0);
	EXPECT(w, get(w, VERB_START, "gone") == ERR_NOT_FOUND);
	EXPECT(w, all_failed(w));
	shut_down(w);
}

static bool registry_is_fine(struct world *w)
{
	return w->host.registry_error[0] == '\0';
}

static void a_broken_registry_leaves_the_last_good_one_in_force(struct world *w)
{
	static const char *const broken[] = { "", "{\"models\":{\"m\":", "[]", "\xff\xfe" };

	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		write_text(w, "registry.json", broken[i]);
		EXPECT(w, get(w, VERB_RELOAD, NULL) == 0);
		EXPECT(w, w->host.registry_error[0] != '\0');
		EXPECT(w, server(w, "m")->phase == SERVER_READY);
		EXPECT(w, get(w, VERB_RESTART, "m") == 0);
	}
	end_agent(w, SIGKILL);
	w->is_synced = false;
	start_agent(w);
	EXPECT(w, wait_for(w, synced, WAIT_MS));
	watch(w, 300);
	EXPECT(w, get(w, VERB_RESTART, "m") == 0);
	save_registry(w);
	EXPECT(w, get(w, VERB_RELOAD, NULL) == 0);
	EXPECT(w, wait_for(w, registry_is_fine, WAIT_MS));
	shut_down(w);
}

static bool gone_from_list(struct world *w)
{
	return find(w, "m") == NULL;
}

static void a_model_taken_from_the_registry_leaves_once_it_is_stopped(struct world *w)
{
	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	write_text(w, "registry.json", "{\"models\":{}}");
	EXPECT(w, get(w, VERB_RELOAD, NULL) == 0);
	EXPECT(w, get(w, VERB_RELOAD, "m") == 0); /* stops nothing, whatever it names */
	watch(w, 100);
	EXPECT(w, server(w, "m")->phase == SERVER_READY);
	EXPECT(w, get(w, VERB_STOP, "m") == 0);
	EXPECT(w, wait_for(w, gone_from_list, WAIT_MS));
	EXPECT(w, get(w, VERB_START, "m") == ERR_NOT_FOUND);
	shut_down(w);
}

static void an_idle_agent_rests(struct world *w)
{
	long switches, kib;

	add_model(w, "a", "", "");
	add_model(w, "b", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, NULL) == 0);
	link_close(w->link);
	watch(w, 2000);
	switches = status_number(w->agent, "voluntary_ctxt_switches");
	watch(w, 5000);
	switches = status_number(w->agent, "voluntary_ctxt_switches") - switches;
	kib = status_number(w->agent, "VmRSS");
	printf("# idle agent with two engines: %ld KiB, %ld wake-ups in 5 s\n", kib, switches);
	EXPECT(w, switches <= 5);
	EXPECT(w, !MEASURES_MEMORY || kib < 8192);
	w->is_synced = false;
	attach(w, "");
	shut_down(w);
}

static void an_engine_that_computes_and_says_nothing_is_left_alone(struct world *w)
{
	setenv("RONZAL_HANG_S", "2", 1);
	add_model(w, "m", "busy_at_ms 1500\n", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	watch(w, 9000);
	EXPECT(w, server(w, "m")->phase == SERVER_READY && server(w, "m")->starts == 1);
	shut_down(w);
}

static void the_real_engine_that_hangs_while_ready_is_started_again(struct world *w)
{
	pid_t pid;

	setenv("RONZAL_ENGINE", getenv("RONZAL_TEST_ENGINE"), 1);
	setenv("RONZAL_HANG_S", "6", 1);
	add_model(w, "m", "", "");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	pid = server(w, "m")->pid;
	watch(w, 9000);
	EXPECT(w, server(w, "m")->pid == pid && server(w, "m")->phase == SERVER_READY);
	kill(pid, SIGSTOP);
	EXPECT(w, wait_for(w, restarted, 2 * WAIT_MS));
	EXPECT(w, strstr(w->backoff_error, "hang_s") != NULL);
	EXPECT(w, server(w, "m")->pid != pid && !is_running(pid));
	shut_down(w);
}

static void the_real_engine_is_proved_stopped_and_adopted(struct world *w)
{
	char key[WIRE_KEY_MAX_BYTES];
	double begun_ms;
	pid_t pid;
	int fd;

	setenv("RONZAL_ENGINE", getenv("RONZAL_TEST_ENGINE"), 1);
	add_model(w, "m", "", ",\"ctx_size\":2048");
	begin(w);
	EXPECT(w, get(w, VERB_START, "m") == 0);
	EXPECT(w, server(w, "m")->receipt.verdict != RECEIPT_UNKNOWN);
	EXPECT(w, server(w, "m")->receipt.context_tokens > 0);
	pid = server(w, "m")->pid;
	end_agent(w, SIGKILL);
	w->is_synced = false;
	start_agent(w);
	EXPECT(w, wait_for(w, synced, WAIT_MS));
	EXPECT(w, server(w, "m")->phase == SERVER_READY && server(w, "m")->pid == pid);
	take_key(w, "m", key);
	fd = open_stream(w, server(w, "m"), key);
	begun_ms = now_ms();
	ask(w, VERB_STOP, "m", 1000, 7000);
	EXPECT(w, wait_for(w, replied, WAIT_MS) && w->reply.code == 0);
	printf("# a real engine in mid-stream stopped after %.0f ms\n", now_ms() - begun_ms);
	EXPECT(w, !is_running(pid));
	close(fd);
	shut_down(w);
}

static const struct test_case cases[] = {
	CASE(starts_all_enabled_models_together),
	CASE(readiness_is_noticed_at_once),
	CASE(a_killed_agent_is_replaced_without_a_reload),
	CASE(a_killed_engine_is_started_again_and_the_reason_told),
	CASE(engines_killed_at_random_times_all_come_back_and_leave_nothing),
	CASE(a_killed_shim_takes_its_engine_along_and_both_come_back),
	CASE(a_crash_loop_backs_off_and_fails_with_the_reason),
	CASE(a_hopeless_engine_is_not_tried_again),
	CASE(an_engine_that_ignores_term_is_killed_in_time),
	CASE(a_grandchild_that_holds_stdout_is_gone_after_the_stop),
	CASE(another_program_on_the_port_is_named_and_left_alone),
	CASE(a_port_that_proves_nothing_is_not_ready),
	CASE(stops_and_starts_that_cross_are_idempotent),
	CASE(restarts_that_overtake_each_other_end_ready),
	CASE(stops_in_mid_stream_keep_their_deadline),
	CASE(a_drain_ends_when_the_last_stream_does),
	CASE(require_gpu_fails_a_start_on_the_cpu),
	CASE(a_model_that_does_not_fit_is_refused_with_the_sum),
	CASE(a_key_that_cannot_be_kept_fails_the_start_and_leaves_no_litter),
	CASE(an_engine_that_is_missing_or_none_is_named_with_what_to_do),
	CASE(a_model_that_is_no_gguf_fails_alone),
	CASE(models_outside_the_roots_are_refused),
	CASE(a_broken_registry_leaves_the_last_good_one_in_force),
	CASE(a_model_taken_from_the_registry_leaves_once_it_is_stopped),
	CASE(an_idle_agent_rests),
	CASE(an_engine_that_computes_and_says_nothing_is_left_alone),
	CASE(the_real_engine_that_hangs_while_ready_is_started_again),
	CASE(the_real_engine_is_proved_stopped_and_adopted),
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, ARRAY_LEN(cases));
}
