/* SPDX-License-Identifier: MIT */
/*
 * The fleet on its UNIX link to a scripted agent, in one loop: real sockets, the real protocol.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/fleet.h"
#include "base/fs.h"
#include "base/lines.h"
#include "base/mem.h"
#include "io/conn.h"
#include "io/timer.h"

#define LATE_MS 8000
#define REGISTRY \
	"{\"models\":{\"one\":{\"file_path\":\"/m/1.gguf\",\"port\":8081,\"enabled\":true}," \
	"\"two\":{\"file_path\":\"/m/2.gguf\",\"port\":8082,\"aliases\":[\"zwei\"]}}}"

struct rig {
	struct loop *loop;
	char folder[64];
	char *registry_path, *socket_path;
	struct fleet *fleet;
	struct fleet_listener listener;
	int registries, removals, replies;
	struct err reply_err, edit_err;
	bool edited;
	/* the agent */
	struct listener *agent;
	struct conn *conn;
	struct lines lines;
	int asked[16]; /* by verb */
	uint64_t stop_seq;
	struct timer late;
	bool (*is_done)(struct rig *r);
	struct timer tick;
};

/* The agent's side */

static void say(struct rig *r, const struct wire_event *e)
{
	struct buf out;

	buf_init(&out, WIRE_LINE_MAX_BYTES);
	assert_int_equal(wire_event_encode(e, &out), 0);
	assert_int_equal(conn_write(r->conn, buf_span(&out)), 0);
	buf_finish(&out);
}

static void say_server(struct rig *r, const char *id, enum server_phase phase, int pid)
{
	struct wire_event *e = mem_alloc(sizeof(*e));

	e->type = EVENT_SERVER;
	e->server = (struct server){ .phase = phase, .pid = pid, .port = 8081, .starts = 1 };
	snprintf(e->server.id, sizeof(e->server.id), "%s", id);
	say(r, e);
	free(e);
}

static void reply(struct rig *r, uint64_t seq, const struct wire_result *results, size_t count)
{
	say(r, &(struct wire_event){ .type = EVENT_REPLY,
				     .reply = { .seq = seq, .results = results, .count = count } });
}

static void on_line(struct rig *r, struct span line)
{
	struct wire_result key = {
		.id = "one", .key = "k-1", .address = "127.0.0.1", .port = 8081
	};
	struct wire_request q;

	assert_int_equal(wire_request_decode(line, &q, NULL), 0);
	r->asked[q.verb]++;
	if (q.verb == VERB_HELLO) {
		say(r, &(struct wire_event){ .type = EVENT_HELLO,
					     .hello = { .version = WIRE_VERSION,
							.version_min = WIRE_VERSION_MIN } });
		say_server(r, "one", SERVER_READY, 7);
		say(r, &(struct wire_event){ .type = EVENT_SYNCED });
	} else if (q.verb == VERB_CREDENTIALS) {
		assert_int_equal(q.id_count, 1);
		assert_string_equal(q.ids[0], "one");
		reply(r, q.seq, &key, 1);
	} else if (q.verb == VERB_STOP) {
		r->stop_seq = q.seq;
	} else if (q.seq != 0) {
		reply(r, q.seq, NULL, 0);
	}
	wire_request_finish(&q);
}

static void on_agent_data(void *user, struct span data)
{
	struct rig *r = user;
	struct span line;

	assert_int_equal(lines_add(&r->lines, data), 0);
	while (lines_next(&r->lines, &line)) {
		on_line(r, line);
	}
}

static void hang_up(struct rig *r)
{
	conn_close(r->conn);
	r->conn = NULL;
	lines_finish(&r->lines);
}

static void on_agent_end(void *user, int status)
{
	(void)status;
	hang_up(user);
}

static void on_agent_conn(void *user, struct conn *c)
{
	static const struct conn_callbacks calls = { .on_data = on_agent_data,
						     .on_end = on_agent_end };
	struct rig *r = user;

	assert_null(r->conn);
	r->conn = c;
	lines_init(&r->lines, WIRE_LINE_MAX_BYTES);
	conn_start(c, &calls, r);
}

/* The test's side */

static void on_registry(struct fleet_listener *l)
{
	CONTAINER_OF(l, struct rig, listener)->registries++;
}

static void on_removed(struct fleet_listener *l, const char *id)
{
	assert_string_equal(id, "two");
	CONTAINER_OF(l, struct rig, listener)->removals++;
}

static void on_reply(void *user, const struct wire_reply *got)
{
	struct rig *r = user;

	r->replies++;
	r->reply_err = got->err;
}

static void on_tick(struct timer *t)
{
	struct rig *r = CONTAINER_OF(t, struct rig, tick);

	if (r->is_done(r)) {
		loop_stop(r->loop);
	} else {
		timer_start(t, 2);
	}
}

static void on_late(struct timer *t)
{
	(void)t;
	fail_msg("it did not happen within %d ms", LATE_MS);
}

static void run_until(struct rig *r, bool (*is_done)(struct rig *r))
{
	r->is_done = is_done;
	timer_start(&r->tick, 0);
	timer_start(&r->late, LATE_MS);
	loop_run(r->loop);
	timer_stop(&r->late);
}

static struct fleet_model *model(struct rig *r, const char *id)
{
	return fleet_find(r->fleet, span_of(id));
}

static bool one_has_an_endpoint(struct rig *r)
{
	return model(r, "one")->has_endpoint;
}

static bool one_is_unknown(struct rig *r)
{
	return model(r, "one")->server.phase == SERVER_UNKNOWN;
}

static bool one_is_ready(struct rig *r)
{
	return model(r, "one")->server.phase == SERVER_READY;
}

static bool is_stop_asked(struct rig *r)
{
	return r->asked[VERB_STOP] > 0;
}

static bool is_reload_asked(struct rig *r)
{
	return r->asked[VERB_RELOAD] > 0;
}

static bool is_replied(struct rig *r)
{
	return r->replies > 0;
}

static bool two_is_removed(struct rig *r)
{
	return r->removals > 0;
}

static int set_up(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));

	snprintf(r->folder, sizeof(r->folder), "/tmp/ronzal-fleet-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	r->registry_path = fs_join(r->folder, "model_registry.json");
	r->socket_path = fs_join(r->folder, "agent.sock");
	assert_int_equal(fs_replace(r->registry_path, SPAN_LIT(REGISTRY), 0600, NULL), 0);
	r->loop = loop_create();
	timer_init(&r->tick, r->loop, on_tick);
	timer_init(&r->late, r->loop, on_late);
	r->agent = listener_start(r->loop,
				  &(struct listener_options){ .unix_path = r->socket_path,
							      .unix_mode = 0600,
							      .conns_max = 4,
							      .on_conn = on_agent_conn,
							      .user = r },
				  NULL);
	assert_non_null(r->agent);
	r->fleet = fleet_create(r->loop,
				&(struct fleet_options){ .mode = FLEET_NATIVE,
							 .registry_path = r->registry_path,
							 .port_min = 8080,
							 .port_max = 8099,
							 .agent_socket = r->socket_path,
							 .drain_ms = 3000,
							 .stop_ms = 7000 },
				NULL);
	assert_non_null(r->fleet);
	r->listener =
		(struct fleet_listener){ .on_removed = on_removed, .on_registry = on_registry };
	fleet_listen(r->fleet, &r->listener);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;
	char *lock = mem_printf("%s.lock", r->registry_path);

	fleet_close(r->fleet);
	conn_close(r->conn);
	lines_finish(&r->lines);
	listener_close(r->agent);
	loop_run(r->loop);
	loop_destroy(r->loop);
	unlink(lock);
	unlink(r->registry_path);
	unlink(r->socket_path);
	rmdir(r->folder);
	free(lock);
	free(r->registry_path);
	free(r->socket_path);
	free(r);
	return 0;
}

static void asks_for_the_key_of_a_server_that_is_ready(void **state)
{
	struct rig *r = *state;

	assert_int_equal(model(r, "one")->server.phase, SERVER_STOPPED);
	assert_int_not_equal(fleet_link_error(r->fleet)->code, 0);
	run_until(r, one_has_an_endpoint);
	assert_string_equal(model(r, "one")->key, "k-1");
	assert_string_equal(model(r, "one")->address, "127.0.0.1");
	assert_int_equal(fleet_link_error(r->fleet)->code, 0);
	assert_ptr_equal(model(r, "zwei"), model(r, "two"));
	assert_false(model(r, "two")->has_endpoint);
	assert_int_equal(r->asked[VERB_CREDENTIALS], 1);
}

static void keeps_endpoints_of_a_lost_link_and_finds_them_again(void **state)
{
	struct rig *r = *state;

	run_until(r, one_has_an_endpoint);
	hang_up(r);
	run_until(r, one_is_unknown);
	assert_true(model(r, "one")->has_endpoint);
	assert_string_equal(model(r, "one")->key, "k-1");
	run_until(r, one_is_ready); /* dialled anew by itself */
	assert_true(model(r, "one")->has_endpoint);
	assert_int_equal(r->asked[VERB_CREDENTIALS], 1);
}

static bool one_has_no_endpoint(struct rig *r)
{
	return !model(r, "one")->has_endpoint;
}

static void asks_anew_for_the_key_of_a_new_process(void **state)
{
	struct rig *r = *state;

	run_until(r, one_has_an_endpoint);
	say_server(r, "one", SERVER_STARTING, 0);
	run_until(r, one_has_no_endpoint);
	say_server(r, "one", SERVER_READY, 8);
	run_until(r, one_has_an_endpoint);
	assert_int_equal(r->asked[VERB_CREDENTIALS], 2);
}

static void stops_only_after_the_last_request_has_left(void **state)
{
	struct rig *r = *state;
	const char *id = "one";
	struct fleet_model *m;

	run_until(r, one_has_an_endpoint);
	m = model(r, "one");
	m->active = 1;
	fleet_ask(r->fleet,
		  &(struct wire_request){
			  .verb = VERB_STOP, .ids = &id, .id_count = 1, .drain_ms = 600000 },
		  on_reply, r);
	assert_true(m->is_draining);
	assert_int_equal(m->server.phase, SERVER_DRAINING);
	assert_int_equal(r->asked[VERB_STOP], 0);
	m->active = 0;
	fleet_request_ended(r->fleet, m);
	run_until(r, is_stop_asked);
	say_server(r, "one", SERVER_STOPPED, 0);
	reply(r, r->stop_seq, NULL, 0);
	run_until(r, is_replied);
	assert_int_equal(r->reply_err.code, 0);
	assert_false(m->is_draining);
	assert_int_equal(m->server.phase, SERVER_STOPPED);
}

static void stops_at_the_end_of_the_drain_whatever_runs(void **state)
{
	struct rig *r = *state;

	run_until(r, one_has_an_endpoint);
	model(r, "one")->active = 1;
	fleet_ask(r->fleet, &(struct wire_request){ .verb = VERB_STOP, .drain_ms = 50 }, on_reply,
		  r);
	run_until(r, is_stop_asked);
	hang_up(r);
	run_until(r, is_replied);
	assert_int_not_equal(r->reply_err.code, 0);
	assert_false(model(r, "one")->is_draining);
}

static int remove_two(void *user, struct registry *registry, struct err *err)
{
	(void)user;
	(void)err;
	return registry_remove(registry, "two");
}

static void on_edited(void *user, const struct err *err)
{
	struct rig *r = user;

	r->edit_err = *err;
	r->edited = true;
}

static bool is_edited(struct rig *r)
{
	return r->edited;
}

static void frees_a_removed_model_only_when_nothing_uses_it(void **state)
{
	struct rig *r = *state;
	struct fleet_model *two;

	run_until(r, one_has_an_endpoint);
	two = model(r, "two");
	two->queued = 1;
	fleet_edit(r->fleet, remove_two, on_edited, r);
	run_until(r, is_edited);
	assert_int_equal(r->edit_err.code, 0);
	assert_int_equal(r->removals, 1);
	assert_null(model(r, "two"));
	assert_string_equal(two->server.id, "two"); /* still there for who waits */
	two->queued = 0;
	fleet_request_ended(r->fleet, two);
	run_until(r, is_reload_asked);
}

static void sees_a_file_that_somebody_else_has_changed(void **state)
{
	struct rig *r = *state;

	run_until(r, one_has_an_endpoint);
	int before = r->registries;

	assert_int_equal(fs_replace(r->registry_path,
				    SPAN_LIT("{\"models\":{\"one\":{\"file_path\":\"/m/1.gguf\","
					     "\"ctx_size\":512}}}"),
				    0600, NULL),
			 0);
	run_until(r, two_is_removed);
	assert_true(r->registries > before);
}

static void keeps_the_last_good_registry(void **state)
{
	struct rig *r = *state;

	assert_int_equal(fs_replace(r->registry_path, SPAN_LIT("{"), 0600, NULL), 0);
	fleet_edit(r->fleet, remove_two, on_edited, r);
	run_until(r, is_edited);
	assert_int_not_equal(r->edit_err.code, 0);
	run_until(r, one_has_an_endpoint);
	assert_non_null(model(r, "two"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(asks_for_the_key_of_a_server_that_is_ready),
		CASE(keeps_endpoints_of_a_lost_link_and_finds_them_again),
		CASE(asks_anew_for_the_key_of_a_new_process),
		CASE(stops_only_after_the_last_request_has_left),
		CASE(stops_at_the_end_of_the_drain_whatever_runs),
		CASE(frees_a_removed_model_only_when_nothing_uses_it),
		CASE(sees_a_file_that_somebody_else_has_changed),
		CASE(keeps_the_last_good_registry),
	};

	return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
