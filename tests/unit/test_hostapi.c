/* SPDX-License-Identifier: MIT */
/*
 * Host API and the backend's link to it, together on one loop over loopback. In place of ssh a
 * shell script plays the agent's side of the channel as it would arrive through ssh; its behaviour
 * is chosen by a file, so that the next life of the "ssh" can be another.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "base/fs.h"
#include "base/mem.h"
#include "hostapi/hostapi.h"
#include "http/client.h"
#include "io/timer.h"
#include "link/link.h"

#define SECRET "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
#define WAIT_MS 8000
#define TEXT_BYTES 1024

/* Speaks for the agent. $0.mode: serve, away (no agent), noisy. Each request gets a reply. */
static const char script[] =
	"#!/bin/sh\n"
	"mode=$(cat \"$0.mode\")\n"
	"case $mode in\n"
	"away) echo 'ronzal: the agent is not running on this machine' >&2; exit 10 ;;\n"
	"denied) echo 'ann@host: Permission denied (publickey).' >&2; exit 255 ;;\n"
	"noisy) echo 'Welcome to this machine'; printf '$ ' ;;\n"
	"esac\n"
	"echo "
	"'{\"type\":\"hello\",\"version\":1,\"version_min\":1,\"agent\":\"t\"}'\n"
	"echo '{\"type\":\"host\",\"host\":{\"name\":\"mini\",\"engine\":\"llama-server 1\"}}'\n"
	"for id in one two; do\n"
	"  echo "
	"'{\"type\":\"server\",\"server\":{\"id\":\"'$id'\",\"phase\":\"ready\",\"port\":8080,"
	"\"pid\":7}}'\n"
	"done\n"
	"echo '{\"type\":\"synced\"}'\n"
	"while read -r line; do\n"
	"  echo \"$line\" >>\"$0.heard\"\n"
	"  seq=$(echo \"$line\" | sed -n 's/.*\"seq\":\\([0-9]*\\).*/\\1/p')\n"
	"  case $line in\n"
	"  *'\"hello\"'*) continue ;;\n"
	"  *'\"start\"'*) echo "
	"'{\"type\":\"progress\",\"id\":\"one\",\"fraction\":0.5,\"eta_ms\":900}'\n"
	"    echo '{\"type\":\"reply\",\"seq\":'$seq',\"code\":\"ENGINE_FAILED\",\"text\":\"one "
	"failed\",\"models\":[{\"id\":\"one\",\"code\":\"ENGINE_FAILED\",\"text\":\"no file\"},"
	"{\"id\":\"two\"}]}' ;;\n"
	"  *'\"credentials\"'*) echo "
	"'{\"type\":\"reply\",\"seq\":'$seq',\"models\":[{\"id\":\"one\","
	"\"key\":\"k-1\",\"address\":\"127.0.0.1\",\"port\":8080}]}' ;;\n"
	"  *'\"subscribe\"'*) echo '{\"type\":\"log\",\"id\":\"one\",\"line\":\"a line\"}' ;;\n"
	"  *'\"restart\"'*) exit 14 ;;\n"
	"  *'\"reload\"'*) echo '{\"type\":\"removed\",\"id\":\"two\"}'\n"
	"    echo '{\"type\":\"reply\",\"seq\":'$seq'}' ;;\n"
	"  *) [ -z \"$seq\" ] || echo '{\"type\":\"reply\",\"seq\":'$seq'}' ;;\n"
	"  esac\n"
	"done\n";

struct scene {
	char folder[64];
	char program[96];
	struct loop *loop;
	struct hostapi *hostapi;
	struct link *link;
	struct timer deadline;
	bool is_late;
	/* what the backend's link said */
	int ups, servers, removed, synced, progress;
	char down[TEXT_BYTES], log[TEXT_BYTES], host[TEXT_BYTES];
	struct server last;
	/* the reply to the last request */
	bool replied;
	struct err reply_err;
	size_t result_count;
	struct wire_result results[4];
	bool ended;
	struct client *client;
	int status;
	char body[4096];
};

static struct scene *now; /* the test's, for its callbacks */

static void set_mode(const char *mode)
{
	char *path = mem_printf("%s.mode", now->program);

	assert_int_equal(fs_replace(path, span_of(mode), 0600, NULL), 0);
	free(path);
}

static bool was_heard(const char *text)
{
	char *path = mem_printf("%s.heard", now->program);
	struct buf heard;
	bool found = false;

	buf_init(&heard, 1 << 20);
	if (fs_read(path, &heard, NULL) == 0) {
		found = span_find(buf_span(&heard), text) < heard.len;
	}
	buf_finish(&heard);
	free(path);
	return found;
}

static void on_up(void *user)
{
	(void)user;
	now->ups++;
	now->servers = 0;
	loop_stop(now->loop);
}

static void on_event(void *user, const struct wire_event *e)
{
	(void)user;
	switch (e->type) {
	case EVENT_HOST:
		span_copy(span_of(e->host.name), now->host, sizeof(now->host));
		return;
	case EVENT_SERVER:
		now->servers++;
		now->last = e->server;
		break;
	case EVENT_PROGRESS:
		assert_string_equal(e->progress.id, "one");
		assert_true(e->progress.fraction > 0.49f && e->progress.fraction < 0.51f);
		assert_int_equal(e->progress.eta_ms, 900);
		now->progress++;
		return;
	case EVENT_REMOVED:
		assert_string_equal(e->removed.id, "two");
		now->removed++;
		return;
	case EVENT_SYNCED:
		now->synced++;
		break;
	case EVENT_LOG:
		assert_int_equal(e->log.dropped, 0);
		snprintf(now->log, sizeof(now->log), "%s: %.*s", e->log.id, SPAN_ARG(e->log.line));
		break;
	case EVENT_HELLO:
	case EVENT_REPLY:
	case EVENT_BYE:
		fail();
	}
	loop_stop(now->loop);
}

static void on_down(void *user, const struct err *why)
{
	(void)user;
	span_copy(span_of(why->text), now->down, sizeof(now->down));
	loop_stop(now->loop);
}

static const struct link_callbacks calls = { on_up, on_event, on_down };

static void on_reply(void *user, const struct wire_reply *reply)
{
	(void)user;
	now->replied = true;
	now->reply_err = reply->err;
	now->result_count = reply->count;
	for (size_t i = 0; i < reply->count && i < ARRAY_LEN(now->results); i++) {
		now->results[i] = reply->results[i];
	}
	loop_stop(now->loop);
}

static void on_deadline(struct timer *t)
{
	(void)t;
	now->is_late = true;
	loop_stop(now->loop);
}

#define RUN_UNTIL(condition) \
	do { \
		timer_start(&now->deadline, WAIT_MS); \
		while (!(condition) && !now->is_late) { \
			loop_run(now->loop); \
		} \
		timer_stop(&now->deadline); \
		if (now->is_late) { \
			fail_msg("waited in vain for " #condition " (down: %s)", now->down); \
		} \
	} while (0)

static void open_link(const char *secret)
{
	char *url = mem_printf("http://127.0.0.1:%u", hostapi_port(now->hostapi));
	struct link_hostapi_options options = { url, secret, &calls, NULL };

	now->link = link_hostapi_create(now->loop, &options, NULL);
	assert_non_null(now->link);
	free(url);
}

static int open_scene(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", NULL };
	struct scene *s = mem_alloc(sizeof(*s));
	struct err err = { 0 };

	now = s;
	*state = s;
	snprintf(s->folder, sizeof(s->folder), "/tmp/hostapi.XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->program, sizeof(s->program), "%s/ssh", s->folder);
	assert_int_equal(fs_replace(s->program, SPAN_LIT(script), 0700, NULL), 0);
	set_mode("serve");
	s->loop = loop_create();
	timer_init(&s->deadline, s->loop, on_deadline);
	s->client = client_create(s->loop);
	s->hostapi = hostapi_start(s->loop,
				   &(struct hostapi_options){
					   .address = "127.0.0.1",
					   .hosts = hosts,
					   .secret = SECRET,
					   .drain_ms = 100,
					   .ssh = { .program = s->program,
						    .config = "/nonexistent",
						    .host = "ronzal-host",
						    .controller = "host-api-test",
						    .who = "host-api" },
				   },
				   &err);
	if (s->hostapi == NULL) {
		print_error("%s\n", err.text);
	}
	return s->hostapi != NULL ? 0 : -1;
}

static int close_scene(void **state)
{
	struct scene *s = *state;
	static const char *const files[] = { "ssh", "ssh.mode", "ssh.heard" };

	link_close(s->link);
	hostapi_close(s->hostapi);
	client_close(s->client);
	timer_stop(&s->deadline);
	loop_run(s->loop);
	loop_destroy(s->loop);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = fs_join(s->folder, files[i]);

		unlink(path);
		free(path);
	}
	rmdir(s->folder);
	free(s);
	return 0;
}

static void ask(enum verb verb, const char *const *ids, size_t count)
{
	now->replied = false;
	link_send(now->link,
		  &(struct wire_request){ .verb = verb,
					  .ids = ids,
					  .id_count = count,
					  .drain_ms = 250,
					  .deadline_ms = 4000 },
		  on_reply, NULL);
	RUN_UNTIL(now->replied);
}

static void on_fetched(void *user, const struct client_reply *reply)
{
	(void)user;
	now->status = reply->err.code != 0 ? reply->err.code : reply->status;
	span_copy(reply->err.code != 0 ? span_of(reply->err.text) : reply->body, now->body,
		  sizeof(now->body));
	now->replied = true;
	loop_stop(now->loop);
}

static int fetch(enum h1_method method, const char *path, const char *bearer, const char *body)
{
	struct h1_field field = { SPAN_LIT("Authorization"), span_of(bearer) };

	now->replied = false;
	client_fetch(now->client,
		     &(struct client_options){
			     .to = { .host = "127.0.0.1", .port = hostapi_port(now->hostapi) },
			     .method = method,
			     .target = span_of(path),
			     .fields = &field,
			     .field_count = bearer != NULL ? 1 : 0,
			     .body = span_of(body),
		     },
		     65536, on_fetched, NULL);
	RUN_UNTIL(now->replied);
	return now->status;
}

static void the_backend_sees_what_the_agent_says(void **state)
{
	(void)state;
	set_mode("noisy");
	open_link(SECRET);
	RUN_UNTIL(now->synced > 0);
	assert_int_equal(now->ups, 1);
	assert_int_equal(now->servers, 2);
	assert_string_equal(now->host, "mini");
	assert_string_equal(now->last.id, "two");
	assert_int_equal(now->last.phase, SERVER_READY);
	assert_true(link_is_up(now->link));
	ask(VERB_STOP, NULL, 0); /* what came before it was read */
	assert_true(was_heard("\"controller\":\"host-api-test\""));
}

static void requests_and_replies_are_carried(void **state)
{
	static const char *const ids[] = { "one" };

	(void)state;
	open_link(SECRET);
	RUN_UNTIL(now->synced > 0);
	ask(VERB_START, NULL, 0);
	assert_int_equal(now->reply_err.code, ERR_ENGINE_FAILED);
	assert_string_equal(now->reply_err.text, "one failed");
	assert_int_equal(now->result_count, 2);
	assert_string_equal(now->results[0].err.text, "no file");
	assert_int_equal(now->results[1].err.code, 0);
	assert_int_equal(now->progress, 1);
	ask(VERB_CREDENTIALS, ids, 1);
	assert_int_equal(now->reply_err.code, 0);
	assert_string_equal(now->results[0].key, "k-1");
	assert_true(was_heard("\"models\":[\"one\"]"));
	ask(VERB_STOP, ids, 1);
	assert_int_equal(now->reply_err.code, 0);
	assert_true(was_heard("\"drain_ms\":250"));
	ask(VERB_RELOAD, NULL, 0);
	assert_int_equal(now->removed, 1);
}

static void logs_are_followed_also_after_a_loss(void **state)
{
	static const char *const ids[] = { "one" };

	(void)state;
	open_link(SECRET);
	link_follow_logs(now->link, ids, 1, 50);
	RUN_UNTIL(now->log[0] != '\0');
	assert_string_equal(now->log, "one: a line");
	now->log[0] = '\0';
	ask(VERB_RESTART, NULL, 0); /* the script dies of it */
	assert_int_not_equal(now->reply_err.code, 0);
	RUN_UNTIL(now->log[0] != '\0');
	assert_int_equal(now->ups, 2);
}

static void the_reason_of_a_loss_reaches_the_backend(void **state)
{
	(void)state;
	set_mode("away");
	open_link(SECRET);
	RUN_UNTIL(strstr(now->down, "agent is not running on the host") != NULL);
	assert_false(link_is_up(now->link));
	ask(VERB_START, NULL, 0);
	assert_non_null(strstr(now->reply_err.text, "ronzal service install"));
	assert_int_equal(fetch(H1_GET, "/ready", NULL, NULL), 503);
	assert_non_null(strstr(now->body, "ronzal service install"));
	assert_int_equal(fetch(H1_GET, "/health", NULL, NULL), 200);
	assert_non_null(strstr(now->body, "ronzal service install"));
	set_mode("denied");
	RUN_UNTIL(strstr(now->down, "does not accept ronzal's key") != NULL);
	assert_int_equal(fetch(H1_POST, "/api/servers/start", "Bearer " SECRET, "{}"), 503);
	assert_non_null(strstr(now->body, "does not accept ronzal's key"));
	set_mode("serve");
	RUN_UNTIL(now->synced > 0);
	assert_int_equal(fetch(H1_GET, "/ready", NULL, NULL), 200);
}

static void only_the_secret_opens(void **state)
{
	static const char *const wrong[] = { NULL,
					     "Bearer ",
					     "Bearer " SECRET "x",
					     "Bearer 0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
					     "Bearer 1123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
					     "bearer " SECRET,
					     "Basic " SECRET };
	char first[4096] = "";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(fetch(H1_GET, "/api/servers/status", wrong[i], NULL), 401);
		assert_true(i == 0 || strcmp(first, now->body) == 0);
		memcpy(first, now->body, sizeof(first));
		assert_int_equal(fetch(H1_POST, "/api/servers/start", wrong[i], "{}"), 401);
		assert_int_equal(fetch(H1_GET, "/nowhere", wrong[i], NULL), 401);
	}
	assert_false(was_heard("\"start\""));
	assert_int_equal(fetch(H1_GET, "/healthz", NULL, NULL), 200);
	open_link("another secret");
	RUN_UNTIL(strstr(now->down, "does not accept the backend's secret") != NULL);
}

static void people_get_real_states_and_plain_errors(void **state)
{
	static const char bearer[] = "Bearer " SECRET;

	(void)state;
	open_link(SECRET);
	RUN_UNTIL(now->synced > 0);
	assert_int_equal(fetch(H1_GET, "/api/servers/status", bearer, NULL), 200);
	assert_non_null(strstr(now->body, "\"agent\":\"connected\""));
	assert_non_null(strstr(now->body, "\"phase\":\"ready\""));
	assert_int_equal(fetch(H1_POST, "/api/servers/stop", bearer, ""), 200);
	assert_int_equal(fetch(H1_POST, "/api/servers/start", bearer, "{\"models\":[\"one\"]}"),
			 502);
	assert_non_null(strstr(now->body, "no file"));
	assert_int_equal(fetch(H1_POST, "/api/servers/start", bearer, "{\"models\":\"one\"}"), 400);
	assert_int_equal(fetch(H1_POST, "/api/servers/start", bearer, "[]"), 400);
	assert_int_equal(fetch(H1_POST, "/api/servers/start", bearer, "{\"models\":"), 400);
	assert_int_equal(fetch(H1_GET, "/api/servers/start", bearer, NULL), 405);
	assert_int_equal(fetch(H1_POST, "/api/servers/status", bearer, "{}"), 405);
	assert_int_equal(fetch(H1_POST, "/api/servers/shutdown", bearer, "{}"), 404);
	assert_int_equal(fetch(H1_POST, "/api/servers/hello", bearer, "{}"), 404);
	set_mode("away");
	ask(VERB_RESTART, NULL, 0);
	RUN_UNTIL(strstr(now->down, "not running on the host") != NULL);
	assert_int_equal(fetch(H1_GET, "/api/servers/status", bearer, NULL), 200);
	assert_non_null(strstr(now->body, "\"phase\":\"unknown\""));
	assert_null(strstr(now->body, "\"phase\":\"ready\""));
}

static void on_end(void *user)
{
	(void)user;
	now->ended = true;
	loop_stop(now->loop);
}

static void leaving_stops_all_servers_first(void **state)
{
	(void)state;
	open_link(SECRET);
	RUN_UNTIL(now->synced > 0);
	hostapi_leave(now->hostapi, on_end, NULL);
	RUN_UNTIL(now->ended);
	assert_true(was_heard("\"type\":\"stop\""));
	assert_true(was_heard("\"deadline_ms\":6500"));
}

static void leaving_without_an_agent_does_not_wait(void **state)
{
	uint64_t before_us;

	(void)state;
	set_mode("away");
	open_link(SECRET);
	RUN_UNTIL(strstr(now->down, "not running on the host") != NULL);
	before_us = loop_now_us();
	hostapi_leave(now->hostapi, on_end, NULL);
	RUN_UNTIL(now->ended);
	assert_true(loop_now_us() - before_us < 1000000);
}

static void a_missing_host_api_is_named_with_its_address(void **state)
{
	(void)state;
	open_link(SECRET);
	RUN_UNTIL(now->synced > 0);
	hostapi_close(now->hostapi);
	now->hostapi = NULL;
	RUN_UNTIL(strstr(now->down, "does not answer") != NULL);
	assert_non_null(strstr(now->down, "http://127.0.0.1:"));
}

static void urls_are_read_strictly(void **state)
{
	static const char *const bad[] = { "",
					   "host-api:9090",
					   "https://host-api:9090",
					   "http://",
					   "http://:9090",
					   "http://host-api:0",
					   "http://host-api:70000",
					   "http://host-api:x",
					   "http://host-api/path",
					   "http://host-api:9090/path" };
	char *host = NULL;
	uint16_t port = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(hostapi_url_parse(bad[i], &host, &port, NULL), ERR_INVALID);
		assert_null(host);
	}
	assert_int_equal(hostapi_url_parse("http://host-api:9090/", &host, &port, NULL), 0);
	assert_string_equal(host, "host-api");
	assert_int_equal(port, 9090);
	free(host);
	assert_int_equal(hostapi_url_parse("http://localhost", &host, &port, NULL), 0);
	assert_int_equal(port, 80);
	free(host);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, open_scene, close_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(the_backend_sees_what_the_agent_says),
		SCENE(requests_and_replies_are_carried),
		SCENE(logs_are_followed_also_after_a_loss),
		SCENE(the_reason_of_a_loss_reaches_the_backend),
		SCENE(only_the_secret_opens),
		SCENE(people_get_real_states_and_plain_errors),
		SCENE(leaving_stops_all_servers_first),
		SCENE(leaving_without_an_agent_does_not_wait),
		SCENE(a_missing_host_api_is_named_with_its_address),
		cmocka_unit_test(urls_are_read_strictly),
	};

	return cmocka_run_group_tests_name("hostapi", tests, NULL, NULL);
}
