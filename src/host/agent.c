/* SPDX-License-Identifier: MIT */
/*
 * The agent owns everything on this page: the lock, two listeners, the sessions, one supervisor a
 * model, the orders that sessions gave, the catalog, the lease of the one controller, and the
 * scout.
 *
 * Start: lock -> scan for shims and adopt them -> read the registry -> open the sessions.
 *
 * Nothing is destroyed inside a supervisor's or a session's callback: `sweep` does that from the
 * loop.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/launch.h"
#include "host/agent_inside.h"
#include "host/shim.h"
#include "os/memory.h"
#include "os/peer.h"

extern char **environ;

#define AGENT_SESSIONS_MAX 64 /* on each socket */
#define AGENT_MEASURE_MS 5000 /* engines' memory, slots and speed, while somebody looks */
#define AGENT_MEASURE_FIRST_MS 500
#define AGENT_HISTORY_MS 1000 /* changes within that time are written once */
#define AGENT_HISTORY_MAX_BYTES (1u << 20)
#define AGENT_ADOPT_MS 5000 /* sessions wait no longer for adoptions to be decided */

const struct agent_options agent_defaults = {
	.limits = { .preflight_ms = 60000,
		    .spawn_ms = 15000,
		    .backoff_min_ms = 1000,
		    .backoff_max_ms = 60000,
		    .stable_ms = 60000,
		    .quick_deaths_max = 5 },
};

/* How long earlier loads took */

static char *history_path(const struct agent *a)
{
	return fs_join(a->options.paths->state, "history.json");
}

static void load_history(struct agent *a)
{
	char *path = history_path(a);
	struct buf text;

	buf_init(&text, AGENT_HISTORY_MAX_BYTES);
	if (fs_read(path, &text, NULL) == 0) {
		a->history = json_parse(buf_span(&text), NULL);
	}
	buf_finish(&text);
	free(path);
}

struct history_job {
	char *path;
	struct buf text;
};

static void history_work(void *arg)
{
	struct history_job *job = arg;
	struct err err = { 0 };

	if (fs_replace(job->path, buf_span(&job->text), 0600, &err) != 0) {
		log_warn("history: %s", err.text);
	}
}

static void history_done(void *arg)
{
	struct history_job *job = arg;

	buf_finish(&job->text);
	free(job->path);
	free(job);
}

static void on_history_timer(struct timer *timer)
{
	struct agent *a = CONTAINER_OF(timer, struct agent, history_timer);
	struct history_job *job = mem_alloc(sizeof(*job));
	struct json_writer w;

	buf_init(&job->text, AGENT_HISTORY_MAX_BYTES);
	jsonw_init(&w, &job->text);
	jsonw_object(&w);
	for (size_t i = 0; i < a->server_count; i++) {
		if (a->servers[i]->history.count > 0) {
			jsonw_key(&w, a->servers[i]->server.id);
			history_write(&w, &a->servers[i]->history);
		}
	}
	jsonw_end_all(&w);
	job->path = history_path(a);
	loop_work(a->loop, history_work, history_done, job);
}

/* Servers */

static struct supervisor *find_server(const struct agent *a, const char *id)
{
	for (size_t i = 0; i < a->server_count; i++) {
		if (strcmp(a->servers[i]->server.id, id) == 0) {
			return a->servers[i];
		}
	}
	return NULL;
}

size_t agent_meant_count(const struct agent *a, const struct wire_request *r)
{
	return r->id_count > 0 ? r->id_count : a->server_count;
}

struct supervisor *agent_meant(const struct agent *a, const struct wire_request *r, size_t i)
{
	return r->id_count > 0 ? find_server(a, r->ids[i]) : a->servers[i];
}

static struct supervisor *add_server(struct agent *a, const char *id)
{
	struct supervisor *s = supervisor_create(a, id);

	history_read(json_get(json_root(a->history), id), &s->history);
	a->servers = mem_resize(a->servers, a->server_count + 1, sizeof(*a->servers));
	a->servers[a->server_count++] = s;
	return s;
}

static void remove_server(struct agent *a, size_t index)
{
	struct supervisor *s = a->servers[index];

	sessions_tell_removed(a, s);
	orders_forget_server(a, s);
	supervisor_destroy(s);
	a->server_count--;
	memmove(a->servers + index, a->servers + index + 1,
		(a->server_count - index) * sizeof(*a->servers));
}

/* Into the registry's order. */
static void move_server(struct agent *a, struct supervisor *s, size_t to)
{
	size_t from = to;

	while (a->servers[from] != s) {
		from++;
	}
	memmove(a->servers + to + 1, a->servers + to, (from - to) * sizeof(*a->servers));
	a->servers[to] = s;
}

/* Reading the registry */

static void adopt_registry(struct agent *a)
{
	const struct registry *r = catalog_registry(a->catalog);

	for (size_t i = 0; i < a->server_count; i++) {
		const char *id = a->servers[i]->server.id;
		const struct model *model = registry_find(r, span_of(id));

		if (model != NULL && strcmp(model->id, id) != 0) {
			model = NULL; /* found by an alias, or spelled otherwise: another entry */
		}
		if (supervisor_set_model(a->servers[i], model)) {
			sessions_tell(a, a->servers[i]);
		}
	}
	for (size_t i = 0; i < r->count; i++) {
		struct supervisor *s = find_server(a, r->models[i].id);

		if (s == NULL) {
			s = add_server(a, r->models[i].id);
			supervisor_set_model(s, &r->models[i]);
			sessions_tell(a, s);
		}
		move_server(a, s, i);
	}
	timer_start(&a->sweep, 0);
}

void agent_on_registry(struct agent *a, uint64_t ticket)
{
	adopt_registry(a);
	sessions_tell_host(a);
	orders_grant(a, ticket);
}

/* Sockets */

static void on_conn(void *user, struct conn *c)
{
	const struct door *door = user;
	struct agent *a = door->agent;
	struct peer peer;
	struct session *s;

	if (a->leaving || peer_of(conn_fd(c), &peer) != 0 || peer.uid != geteuid()) {
		log_warn("a connection of another user was refused");
		conn_close(c);
		return;
	}
	s = session_start(a, c, door->is_restricted);
	if (a->is_open) {
		session_open(s);
	}
}

static int open_door(struct agent *a, bool is_restricted, const char *name, struct err *err)
{
	struct door *door = &a->doors[is_restricted];
	char *path = fs_join(a->options.paths->run, name);

	*door = (struct door){ .agent = a, .is_restricted = is_restricted };
	door->listener = listener_start(a->loop,
					&(struct listener_options){ .unix_path = path,
								    .unix_mode = 0600,
								    .conns_max = AGENT_SESSIONS_MAX,
								    .on_conn = on_conn,
								    .user = door },
					err);
	free(path);
	return door->listener != NULL ? 0 : err->code;
}

/* Sessions are served once it is decided which engines run already. */
static void open_sessions(struct agent *a)
{
	a->is_open = true;
	timer_stop(&a->adopt_timer);
	LIST_EACH (struct session, s, link, &a->sessions) {
		session_open(s);
	}
}

static void on_adopt_timer(struct timer *timer)
{
	struct agent *a = CONTAINER_OF(timer, struct agent, adopt_timer);

	log_warn("adopting engines takes longer than %d s", AGENT_ADOPT_MS / 1000);
	open_sessions(a);
}

/* What supervisors say */

/* The machine stays awake as long as an engine generates. */
static void keep_awake(struct agent *a)
{
	bool is_working = false;

	for (size_t i = 0; i < a->server_count; i++) {
		is_working = is_working || (a->servers[i]->log.busy_slots > 0 &&
					    server_phase_is_running(a->servers[i]->server.phase));
	}
	vigil_set(&a->vigil, is_working);
}

void agent_on_change(struct agent *a, struct supervisor *server)
{
	if (!a->is_open && server->controller[0] != '\0' && !a->leaving) {
		agent_orphan_lease(a, server->controller); /* from before this agent's time */
	}
	sessions_tell(a, server);
	keep_awake(a);
	orders_judge(a);
	timer_start(&a->sweep, 0);
}

void agent_on_log(struct agent *a, struct supervisor *server, struct span line, uint64_t dropped)
{
	keep_awake(a);
	sessions_tell_log(a, server, line, dropped);
}

void agent_on_history(struct agent *a)
{
	if (!timer_is_on(&a->history_timer)) {
		timer_start(&a->history_timer, AGENT_HISTORY_MS);
	}
}

/* What the machine has for one more engine, next to those that run */

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/*
 * Weights that are mapped count as available although they are in use, so main memory is bounded
 * twice: by what is available, and by the total less what all engines claim.
 */
void agent_admit(const struct agent *a, const struct supervisor *who,
		 const struct memory_model *model, const struct memory *now,
		 struct memory_decision *ret_decision)
{
	struct memory_running running[MEMORY_RUNNING_MAX];
	uint64_t host = 0, device = 0, device_free = 0, pending = 0, sum_pending = 0;
	struct memory_machine m = { .running = running,
				    .is_unified = now->gpu_wired_limit_bytes > 0,
				    .budget_free_bytes = UINT64_MAX };

	for (size_t i = 0; i < a->server_count && m.running_count < MEMORY_RUNNING_MAX; i++) {
		struct memory_running *claim = &running[m.running_count];

		if (a->servers[i] != who && supervisor_claim(a->servers[i], claim, &pending)) {
			m.running_count++;
			host += claim->host_bytes;
			device += claim->device_bytes;
			sum_pending += pending;
		}
	}
	for (int i = 0; i < a->engine.abilities.device_count; i++) {
		device_free += a->engine.abilities.devices[i].free_bytes;
	}
	m.device_free_bytes = less(device_free + a->engine.claims_bytes, device);
	m.host_free_bytes = less(now->total_bytes - now->total_bytes / AGENT_RESERVE_PART, host);
	if (m.host_free_bytes > less(now->available_bytes, sum_pending)) {
		m.host_free_bytes = less(now->available_bytes, sum_pending);
	}
	if (a->options.memory_budget_bytes > 0) {
		m.budget_free_bytes = less(a->options.memory_budget_bytes, host + device);
	}
	memory_decide(model, &m, ret_decision);
}

static uint64_t claimed_device_bytes(const struct agent *a)
{
	struct memory_running claim;
	uint64_t sum = 0, pending;

	for (size_t i = 0; i < a->server_count; i++) {
		if (supervisor_claim(a->servers[i], &claim, &pending)) {
			sum += claim.device_bytes;
		}
	}
	return sum;
}

/* The engine's abilities */

static void on_scouted(void *user, const struct engine_abilities *abilities, const struct err *err)
{
	struct agent *a = user;
	struct engine *engine = &a->engine;

	engine->abilities = *abilities;
	engine->err = *err;
	engine->stamp = engine->scouted;
	engine->is_known = true;
	engine->claims_bytes = claimed_device_bytes(a);
	scout_close(engine->scout);
	engine->scout = NULL;
	if (err->code != 0) {
		log_error("engine %s: %s", engine->path, err->text);
	} else {
		log_info("engine %s: %s, %d devices", engine->path, abilities->version,
			 abilities->device_count);
	}
	sessions_tell_host(a);
	for (size_t i = 0; i < a->server_count; i++) {
		supervisor_engine_known(a->servers[i]);
	}
	if (err->code != 0) {
		engine->stamp = (struct fs_stamp){ 0 }; /* the next start asks again */
	}
}

void agent_ask_engine(struct agent *a, const char *path, const struct fs_stamp *stamp)
{
	if (a->engine.scout == NULL) {
		memmove(a->engine.path, path, strlen(path) + 1);
		a->engine.scouted = *stamp;
		a->engine.is_known = false;
		a->engine.scout = scout_start(a->loop, path, (const char *const *)a->engine_env,
					      on_scouted, a);
	}
}

/* Sweeping: what must not be done inside a callback */

static bool all_idle(const struct agent *a)
{
	for (size_t i = 0; i < a->server_count; i++) {
		if (!supervisor_is_idle(a->servers[i])) {
			return false;
		}
	}
	return true;
}

static void on_sweep(struct timer *timer)
{
	struct agent *a = CONTAINER_OF(timer, struct agent, sweep);
	bool is_adopting = false;

	for (size_t i = a->server_count; i > 0; i--) {
		struct supervisor *s = a->servers[i - 1];

		is_adopting = is_adopting || s->adopting;
		if (s->model == NULL && supervisor_is_idle(s) && a->is_open) {
			remove_server(a, i - 1);
		}
	}
	if (!a->is_open && !is_adopting) {
		open_sessions(a);
	}
	if (!list_is_empty(&a->sessions) && !all_idle(a) && !timer_is_on(&a->measure)) {
		timer_start(&a->measure, AGENT_MEASURE_FIRST_MS);
	}
	if (a->leaving && all_idle(a) && !a->ended) {
		a->ended = true;
		a->on_end(a->user);
	}
}

static void on_measure(struct timer *timer)
{
	struct agent *a = CONTAINER_OF(timer, struct agent, measure);

	if (list_is_empty(&a->sessions) || all_idle(a)) {
		return; /* begins again with the next session or start */
	}
	for (size_t i = 0; i < a->server_count; i++) {
		supervisor_measure(a->servers[i]);
	}
	timer_start(timer, AGENT_MEASURE_MS);
}

static void on_gap(void *arg, uint64_t gap_ms)
{
	struct agent *a = arg;

	log_warn("the machine slept or the agent was stopped for %llu s: leases begin anew",
		 (unsigned long long)(gap_ms / 1000));
	if (timer_is_on(&a->lease.timer)) {
		timer_start(&a->lease.timer, (uint64_t)a->options.controller_lease_s * 1000);
	}
	LIST_EACH (struct session, s, link, &a->sessions) {
		session_woke(s);
	}
	for (size_t i = 0; i < a->server_count; i++) {
		supervisor_tell(a->servers[i], FSM_WOKE);
	}
}

/* Life cycle */

static int take_lock(struct agent *a, struct err *err)
{
	char *path = fs_join(a->options.paths->run, "agent.lock");
	char text[32] = "";
	int status = 0;

	a->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (a->lock_fd < 0) {
		status = err_set_os(err, -errno, "opening %s", path);
	} else if (flock(a->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		ssize_t got = pread(a->lock_fd, text, sizeof(text) - 1, 0);

		status = err_set(err, ERR_BUSY, "another agent runs already (pid %s): %s",
				 got > 0 ? text : "unknown", path);
	} else {
		int len = snprintf(text, sizeof(text), "%d", (int)getpid());

		if (ftruncate(a->lock_fd, 0) != 0 ||
		    pwrite(a->lock_fd, text, (size_t)len, 0) != len) {
			status = err_set_os(err, -errno, "writing %s", path);
		}
	}
	free(path);
	return status;
}

static void adopt_shim(struct agent *a, uint16_t port)
{
	struct shim_identity id;
	struct supervisor *s;

	if (shim_identity_read(a->options.paths->run, port, &id) != 0) {
		log_warn("the shim's file for port %u says nothing useful and is left alone", port);
		return;
	}
	s = find_server(a, id.model);
	supervisor_adopt(s != NULL ? s : add_server(a, id.model), port);
}

static void adopt_shims(struct agent *a)
{
	DIR *folder = opendir(a->options.paths->run);
	struct dirent *entry;
	uint16_t port;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		if (shim_port_of(entry->d_name, "id", &port)) {
			adopt_shim(a, port);
		}
	}
	if (folder != NULL) {
		closedir(folder);
	}
}

static int prepare(struct agent *a, struct err *err)
{
	a->engine_env = launch_environment((const char *const *)environ,
					   a->options.engine_library_path, err);
	if (a->engine_env == NULL) {
		return err->code;
	}
	a->http = client_create(a->loop);
	load_history(a);
	a->catalog = catalog_create(a);
	return 0;
}

struct agent *agent_start(struct loop *loop, const struct agent_options *options,
			  void (*on_end)(void *user), void *user, struct err *err)
{
	struct agent *a = mem_alloc(sizeof(*a));
	struct fs_stamp stamp;
	char path[FS_PATH_MAX_BYTES];

	a->loop = loop;
	a->options = *options;
	a->on_end = on_end;
	a->user = user;
	list_init(&a->sessions);
	list_init(&a->orders);
	awake_tool_init(&a->awake, getpid());
	vigil_init(&a->vigil, loop, a->awake.argv, VIGIL_LINGER_MS);
	timer_init(&a->sweep, loop, on_sweep);
	timer_init(&a->measure, loop, on_measure);
	timer_init(&a->history_timer, loop, on_history_timer);
	timer_init(&a->adopt_timer, loop, on_adopt_timer);
	agent_lease_init(a);
	a->desk = desk_create(loop, &a->options.downloads, a->options.cache_ram_mib);
	if (take_lock(a, err) != 0 || prepare(a, err) != 0 ||
	    open_door(a, false, WIRE_AGENT_SOCKET, err) != 0 ||
	    open_door(a, true, WIRE_CONTROL_SOCKET, err) != 0) {
		agent_close(a);
		return NULL;
	}
	loop_on_gap(loop, on_gap, a);
	adopt_shims(a);
	timer_start(&a->adopt_timer, AGENT_ADOPT_MS);
	catalog_reload(a->catalog);
	if (preflight_find_engine(options->engine_path, path, &stamp, &a->engine.err) == 0) {
		agent_ask_engine(a, path, &stamp);
	} else {
		a->engine.is_known = true;
	}
	return a;
}

void agent_leave(struct agent *a, enum agent_leaving how)
{
	a->leaving = true;
	if (how == AGENT_STOP) {
		a->stopping = true;
		for (size_t i = 0; i < a->server_count; i++) {
			supervisor_end(a->servers[i], FSM_STOP, AGENT_STOP_DRAIN_MS, 0);
		}
		timer_start(&a->sweep, 0);
	} else if (!a->ended && !a->stopping) {
		a->ended = true;
		loop_defer(a->loop, a->on_end, a->user);
	}
}

static void agent_free(void *arg)
{
	struct agent *a = arg;

	free(a->engine_env);
	json_destroy(a->history);
	free(a->servers);
	free(a);
}

void agent_close(struct agent *a)
{
	if (a == NULL) {
		return;
	}
	loop_on_gap(a->loop, NULL, NULL);
	vigil_finish(&a->vigil);
	timer_stop(&a->sweep);
	timer_stop(&a->measure);
	timer_stop(&a->adopt_timer);
	timer_stop(&a->lease.timer);
	if (timer_is_on(&a->history_timer)) {
		timer_stop(&a->history_timer);
		on_history_timer(&a->history_timer);
	}
	LIST_EACH (struct session, s, link, &a->sessions) {
		session_bye(s, &(struct err){ 0 });
		session_close(s);
	}
	orders_destroy(a);
	scout_close(a->engine.scout);
	for (size_t i = 0; i < a->server_count; i++) {
		supervisor_destroy(a->servers[i]);
	}
	listener_close(a->doors[0].listener);
	listener_close(a->doors[1].listener);
	desk_close(a->desk);
	catalog_close(a->catalog);
	client_close(a->http);
	if (a->lock_fd >= 0) {
		close(a->lock_fd);
	}
	loop_defer(a->loop, agent_free, a);
}
