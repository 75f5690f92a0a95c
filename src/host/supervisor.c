/* SPDX-License-Identifier: MIT */
/*
 * The shell around host/fsm: feed() gives it an event, performs the actions that come back, sets
 * the one timer and tells the change. Everything that can take time (preflight, keeper, prober)
 * answers later by another event.
 */
#include "host/supervisor.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/api.h"
#include "host/agent_inside.h"
#include "host/keeper.h"
#include "host/prober.h"

#define PROGRESS_STEP 0.02f	     /* smaller ones are not told */
#define MEMORY_STEP_BYTES (8u << 20) /* likewise */
#define HANG_CPU_PART 20	     /* an engine that works takes 1/20 of a core at least */

static void feed(struct supervisor *s, const struct fsm_event *event);

/* Saying what is wrong */

static void set_error(struct supervisor *s, const struct err *err, const char *next_step, ...)
	__attribute__((format(printf, 3, 4)));

static void set_error(struct supervisor *s, const struct err *err, const char *next_step, ...)
{
	va_list args;

	va_start(args, next_step);
	vsnprintf(s->server.next_step, sizeof(s->server.next_step), next_step, args);
	va_end(args);
	s->server.error_code = err->code;
	span_copy(span_of(err->text), s->server.error, sizeof(s->server.error));
	log_warn("%s: %s", s->server.id, err->text);
}

/* The note in the shim: what the next agent has to know */

static void save_note(struct supervisor *s)
{
	struct json_writer w;
	struct buf note;

	if (s->keeper == NULL) {
		return;
	}
	buf_init(&note, SHIM_NOTE_MAX_BYTES);
	jsonw_init(&w, &note);
	jsonw_object(&w);
	jsonw_member_text(&w, "controller", s->controller);
	jsonw_member_text(&w, "key", s->key);
	jsonw_key(&w, "server");
	server_write(&w, &s->server);
	if (jsonw_end_all(&w) == 0) {
		keeper_tell(s->keeper, SHIM_NOTE, buf_span(&note));
	}
	buf_finish(&note);
}

static void read_note(struct supervisor *s, struct span note)
{
	struct err err = { 0 };
	struct json *doc = json_parse(note, &err);
	const struct json_value *root = json_root(doc);
	struct server old;

	if (doc != NULL && server_read(json_get(root, "server"), &old, &err) == 0) {
		span_copy(span_of(json_text_at(root, "controller", "")), s->controller,
			  sizeof(s->controller));
		span_copy(span_of(json_text_at(root, "key", "")), s->key, sizeof(s->key));
		old.pid = s->server.pid;
		old.enabled = s->server.enabled;
		span_copy(span_of(s->server.name), old.name, sizeof(old.name));
		span_copy(span_of(s->server.host), old.host, sizeof(old.host));
		s->server = old;
		s->plan.device_bytes = old.receipt.device_bytes;
		s->plan.host_bytes = old.estimate_bytes > old.receipt.device_bytes
					     ? old.estimate_bytes - old.receipt.device_bytes
					     : 0;
	} else {
		log_warn("%s: what an earlier agent noted cannot be read: %s", s->server.id,
			 err.text);
	}
	json_destroy(doc);
}

/* The engine's log */

/* How much of the load is behind: the log's own steps, or the time that earlier loads took. */
static void update_progress(struct supervisor *s)
{
	uint32_t expected_ms = history_expected_load_ms(&s->history);
	uint64_t spent_ms = (loop_now_us() - s->spawned_us) / 1000;
	float fraction = s->log.receipt.progress;

	if (expected_ms > 0) {
		fraction = spent_ms < expected_ms ? (float)spent_ms / (float)expected_ms : 0.99f;
		s->server.eta_ms = spent_ms < expected_ms ? (int32_t)(expected_ms - spent_ms) : 0;
	}
	if (fraction >= s->server.progress + PROGRESS_STEP) {
		s->server.progress = fraction;
		sessions_tell_progress(s->agent, s);
	}
}

static void read_receipt(struct supervisor *s)
{
	struct receipt_wish wish = { .n_gpu_layers = SETTING_UNSET,
				     .has_device = s->agent->engine.abilities.device_count > 0 };

	if (s->model != NULL) {
		wish.n_gpu_layers = s->model->settings.n_gpu_layers;
		wish.require_gpu = s->model->settings.require_gpu == 1;
	}
	receipt_parser_read(&s->log.receipt, &wish, &s->server.receipt);
}

static void on_log(struct supervisor *s, struct span line)
{
	struct server *server = &s->server;

	enginelog_feed(&s->log, line);
	s->has_logged = true;
	if (server->busy_slots != s->log.busy_slots ||
	    server->tokens_per_second != s->log.tokens_per_second) {
		server->busy_slots = s->log.busy_slots;
		server->tokens_per_second = s->log.tokens_per_second;
		s->has_news = true;
	}
	if (!s->is_live) {
		return;
	}
	if (s->fsm.phase == SERVER_LOADING) {
		prober_nudge(s->prober);
		update_progress(s);
	}
	agent_on_log(s->agent, s, line, 0);
}

/* Being alive, which is more than to answer: a long prompt may keep an engine from that */

void supervisor_on_alive(struct supervisor *s)
{
	struct proc_usage usage = { 0 };

	proc_usage(s->server.pid, &usage);
	s->alive_cpu_ms = usage.cpu_ms;
	s->has_logged = false;
	feed(s, &(struct fsm_event){ .type = FSM_ALIVE });
}

/*
 * Since it was alive last. Waiting for a device that hangs burns CPU too: that is work only where
 * layers run on the CPU.
 */
static bool has_worked(const struct supervisor *s)
{
	uint64_t enough_ms = s->agent->options.limits.hang_ms / HANG_CPU_PART;
	struct proc_usage usage = { 0 };

	proc_usage(s->server.pid, &usage);
	return s->has_logged || (s->server.receipt.verdict != RECEIPT_GPU &&
				 usage.cpu_ms > s->alive_cpu_ms + enough_ms);
}

/* Becoming ready */

/* The engine has read it; from here on the key lives in the agent and in the shim's note. */
static void drop_key_file(const struct supervisor *s)
{
	char *path = mem_printf("%s/key-%u", s->agent->options.paths->run, s->server.port);

	unlink(path);
	free(path);
}

void supervisor_on_proved(struct supervisor *s, struct span props)
{
	struct receipt *r = &s->server.receipt;
	bool require_gpu = s->model != NULL && s->model->settings.require_gpu == 1;
	struct api_props read = { 0 };
	struct err err = { 0 };
	char line[256];

	read_receipt(s);
	if (api_props_read(props, &read, &err) != 0) {
		log_warn("%s: %s", s->server.id, err.text);
	}
	r->context_tokens = read.context_tokens;
	r->slots = read.slots;
	span_copy(span_of(s->agent->engine.abilities.version), r->engine, sizeof(r->engine));
	if (require_gpu && r->verdict != RECEIPT_GPU) {
		err_set(&err, ERR_ENGINE_FAILED, "require_gpu is on and the receipt says %s: %s",
			receipt_verdict_name(r->verdict), r->why);
		set_error(s, &err, "ronzal doctor");
		feed(s, &(struct fsm_event){ .type = FSM_DISPROVED });
		return;
	}
	receipt_print(r, line, sizeof(line));
	keeper_tell(s->keeper, SHIM_LOG, span_of(line));
	s->server.load_ms = (uint32_t)((loop_now_us() - s->spawned_us) / 1000);
	drop_key_file(s);
	bool is_slow = history_is_slow(&s->history, s->server.load_ms, &err);

	history_add(&s->history, s->server.load_ms);
	s->server.ready_unix_ms = loop_unix_ms();
	feed(s, &(struct fsm_event){ .type = FSM_PROVED });
	if (is_slow) { /* no trouble of its own: it serves */
		set_error(s, &err, "ronzal doctor, and: ronzal bench %s", s->server.id);
		s->server.error_code = 0;
	}
	supervisor_measure(s);
	agent_on_history(s->agent);
}

void supervisor_on_disproved(struct supervisor *s, const struct err *why)
{
	set_error(s, why, "ronzal logs %s, or: ronzal set %s port=NUMBER", s->server.id,
		  s->server.id);
	feed(s, &(struct fsm_event){ .type = FSM_DISPROVED });
}

/* The engine comes and goes */

static void on_hello(struct supervisor *s, const struct shim_hello *hello)
{
	s->is_live = s->fsm.phase == SERVER_STARTING; /* else what comes first was told before */
	s->server.pid = (int)hello->engine.pid;
	s->server.port = hello->port;
	if (s->adopting) {
		int64_t age_ms = loop_unix_ms() - hello->started_unix_ms;

		s->spawned_us = loop_now_us() - (age_ms > 0 ? (uint64_t)age_ms * 1000 : 0);
	} else {
		feed(s, &(struct fsm_event){ .type = FSM_SPAWNED });
	}
}

/* All that the shim kept has been told: now an adopted engine can be judged. */
static void on_live(struct supervisor *s)
{
	bool was_ready = s->server.phase == SERVER_READY;
	bool was_ending = s->server.phase == SERVER_DRAINING || s->server.phase == SERVER_STOPPING;

	s->is_live = true;
	if (!s->adopting) {
		return;
	}
	s->adopting = false;
	log_info("%s: adopted, pid %d on port %u", s->server.id, s->server.pid, s->server.port);
	feed(s, &(struct fsm_event){ .type = FSM_ADOPTED, .ready = was_ready });
	if (was_ending || s->key[0] == '\0') {
		supervisor_end(s, FSM_STOP, 0, 0);
	}
}

static void forget_engine(struct supervisor *s)
{
	struct server *server = &s->server;

	server->pid = 0;
	server->ready_unix_ms = 0;
	server->memory_bytes = 0;
	server->busy_slots = 0;
	server->tokens_per_second = 0;
	server->progress = -1;
	server->eta_ms = -1;
	s->key[0] = '\0';
	s->is_live = false;
	s->alive_cpu_ms = 0;
}

/* Says what the engine died of; true when trying again is no use. */
static bool explain_exit(struct supervisor *s, int status)
{
	struct err err = { 0 };
	struct obituary o;

	if (s->fsm.phase == SERVER_DRAINING || s->fsm.phase == SERVER_STOPPING) {
		return false;
	}
	obituary_read(&s->log.obituary, status, &o);
	err_set(&err, o.code, "%s", o.sentence);
	set_error(s, &err, "%s", o.next_step);
	return o.code != ERR_ENGINE_FAILED;
}

static void on_engine_exit(struct supervisor *s, int status)
{
	log_info("%s: engine pid %d ended: %d", s->server.id, s->server.pid, status);
	s->adopting = false;
	bool hopeless = explain_exit(s, status);

	forget_engine(s);
	feed(s, &(struct fsm_event){ .type = FSM_EXITED, .hopeless = hopeless });
}

void supervisor_on_lost(struct supervisor *s, const struct err *why)
{
	keeper_close(s->keeper);
	s->keeper = NULL;
	if (s->adopting) {
		s->adopting = false;
		agent_on_change(s->agent, s);
		return;
	}
	set_error(s, why, "ronzal doctor");
	forget_engine(s);
	feed(s, &(struct fsm_event){ .type = FSM_SPAWN_FAILED });
}

void supervisor_on_shim(struct supervisor *s, const struct shim_message *m)
{
	switch (m->verb) {
	case SHIM_HELLO:
		on_hello(s, &m->hello);
		break;
	case SHIM_NOTE:
		if (s->adopting) {
			read_note(s, m->text);
		}
		break;
	case SHIM_LOG:
		on_log(s, m->text);
		break;
	case SHIM_LIVE:
		on_live(s);
		break;
	case SHIM_DROPPED:
		agent_on_log(s->agent, s, SPAN_LIT(""), (uint64_t)m->number);
		break;
	case SHIM_EXIT:
		on_engine_exit(s, (int)m->number);
		break;
	case SHIM_SIGNAL:
	case SHIM_RELEASE:
		break; /* ours to say */
	}
}

/* Starting */

static void spawn(struct supervisor *s)
{
	const struct preflight *p = s->preflight;

	ENSURE(p != NULL);
	s->server.port = p->port;
	s->server.starts++;
	s->server.receipt = (struct receipt){ .layers_offloaded = -1, .layers_total = -1 };
	s->server.progress = 0;
	memcpy(s->key, p->key, sizeof(s->key));
	enginelog_restart(&s->log);
	s->spawned_us = loop_now_us();
	s->keeper = keeper_spawn(s);
}

static void preflight_failed(struct supervisor *s, const struct err *err, const char *next_step)
{
	set_error(s, err, "%s", next_step);
	feed(s, &(struct fsm_event){ .type = FSM_PREFLIGHT_FAILED });
}

void supervisor_on_planned(struct supervisor *s)
{
	s->server.estimate_bytes = s->plan.host_bytes + s->plan.device_bytes;
	if (s->plan.err.code != 0) {
		preflight_failed(s, &s->plan.err, s->plan.next_step);
	} else {
		feed(s, &(struct fsm_event){ .type = FSM_PREFLIGHT_OK });
	}
}

void supervisor_engine_known(struct supervisor *s)
{
	const struct engine *engine = &s->agent->engine;

	if (!s->awaits_engine) {
		return;
	}
	if (memcmp(&s->preflight->engine, &engine->stamp, sizeof(engine->stamp)) != 0) {
		agent_ask_engine(s->agent, s->preflight->engine_path, &s->preflight->engine);
		return;
	}
	s->awaits_engine = false;
	if (engine->err.code != 0) {
		preflight_failed(s, &engine->err, "ronzal doctor");
		return;
	}
	plan_start(s);
}

static void on_preflight_done(void *user)
{
	struct supervisor *s = user;
	const struct preflight *p = s->preflight;

	if (p->err.code != 0) {
		preflight_failed(s, &p->err, p->next_step);
		return;
	}
	s->awaits_engine = true;
	if (s->agent->engine.is_known) {
		supervisor_engine_known(s);
	}
}

static void start_preflight(struct supervisor *s)
{
	const struct agent_options *o = &s->agent->options;

	if (s->model == NULL) {
		struct err err = { 0 };

		err_set(&err, ERR_NOT_FOUND, "it is no longer in the registry");
		preflight_failed(s, &err, "ronzal models scan");
		return;
	}
	s->preflight = preflight_start(s->agent->loop,
				       &(struct preflight_options){ .engine_path = o->engine_path,
								    .model_roots = o->model_roots,
								    .run_folder = o->paths->run },
				       s->model, on_preflight_done, s);
}

static void drop_preflight(struct supervisor *s)
{
	plan_finish(&s->plan);
	preflight_close(s->preflight);
	s->preflight = NULL;
	s->awaits_engine = false;
}

/* The machine */

static void perform(struct supervisor *s, unsigned actions)
{
	if (actions & FSM_ACT_CANCEL_PREFLIGHT) {
		drop_preflight(s);
	}
	if (actions & FSM_ACT_STOP_PROBING) {
		prober_close(s->prober);
		s->prober = NULL;
	}
	if (actions & FSM_ACT_RELEASE) {
		keeper_close(s->keeper);
		s->keeper = NULL;
	}
	if (actions & FSM_ACT_SAVE) {
		save_note(s);
	}
	if (actions & FSM_ACT_SPAWN) {
		spawn(s);
	}
	if (actions & FSM_ACT_PROBE) {
		s->prober = prober_start(s, PROBE_LOAD);
	}
	if (actions & FSM_ACT_WATCH) {
		s->prober = prober_start(s, PROBE_LIFE);
	}
	if (actions & FSM_ACT_DRAIN) {
		s->prober = prober_start(s, PROBE_DRAIN);
	}
	if (actions & (FSM_ACT_TERM | FSM_ACT_KILL)) {
		keeper_signal(s->keeper, actions & FSM_ACT_KILL ? SIGKILL : SIGTERM);
	}
	if (actions & FSM_ACT_PREFLIGHT) {
		start_preflight(s);
	}
}

static void explain_timeout(struct supervisor *s)
{
	const struct fsm_limits *limits = &s->agent->options.limits;
	bool is_checking = s->fsm.step == FSM_STEP_CHECK;
	struct err err = { 0 };

	if (s->fsm.phase == SERVER_LOADING) {
		err_set(&err, ERR_TIMEOUT, "not ready %u s after its start (load_timeout_s)",
			limits->load_ms / 1000);
	} else if (s->fsm.phase == SERVER_READY) {
		err_set(&err, ERR_TIMEOUT, "hung: no answer, no log and no work for %u s (hang_s)",
			limits->hang_ms / 1000);
	} else if (s->fsm.phase == SERVER_STARTING) {
		err_set(&err, ERR_TIMEOUT, "the %s took too long",
			is_checking ? "check before the start" : "spawn");
	} else {
		return;
	}
	set_error(s, &err, "ronzal logs %s", s->server.id);
}

static void enter_phase(struct supervisor *s, enum server_phase before, enum fsm_event_type why)
{
	struct server *server = &s->server;

	log_info("%s: %s -> %s (%s)", server->id, server_phase_name(before),
		 server_phase_name(s->fsm.phase), fsm_event_name(why));
	server->phase = s->fsm.phase;
	server->phase_unix_ms = loop_unix_ms();
	if (server->phase == SERVER_STOPPED) {
		s->controller[0] = '\0';
		server->by_controller = false;
	}
	if (server->phase == SERVER_STARTING && before == SERVER_BACKOFF) {
		server->restarts++;
	} else if (server->phase == SERVER_STARTING || server->phase == SERVER_READY ||
		   server->phase == SERVER_STOPPED) {
		server->error_code = 0;
		server->error[0] = '\0';
		server->next_step[0] = '\0';
	}
}

static void feed(struct supervisor *s, const struct fsm_event *event)
{
	enum server_phase before = s->fsm.phase;
	struct fsm_event e = *event;
	unsigned actions;

	/* supervisors of one moment differ in their address */
	e.random = (uint32_t)((loop_now_us() ^ (uintptr_t)s) * 0x9E3779B97F4A7C15u >> 32);
	actions = fsm_step(&s->fsm, &e, loop_now_ms(s->agent->loop), &s->agent->options.limits);
	if (s->fsm.deadline_ms != 0) {
		timer_start_at(&s->timer, s->fsm.deadline_ms);
	} else {
		timer_stop(&s->timer);
	}
	if (s->fsm.phase != before) {
		enter_phase(s, before, e.type);
	}
	if (s->fsm.phase != SERVER_STARTING) {
		drop_preflight(s);
	}
	perform(s, actions);
	if (s->fsm.phase != before) {
		agent_on_change(s->agent, s);
	}
}

static void on_timer(struct timer *timer)
{
	struct supervisor *s = CONTAINER_OF(timer, struct supervisor, timer);

	if (s->fsm.phase == SERVER_READY && has_worked(s)) {
		supervisor_on_alive(s);
		return;
	}
	explain_timeout(s);
	feed(s, &(struct fsm_event){ .type = FSM_TIMER });
}

/* The interface */

struct supervisor *supervisor_create(struct agent *agent, const char *id)
{
	struct supervisor *s = mem_alloc(sizeof(*s));

	s->agent = agent;
	span_copy(span_of(id), s->server.id, sizeof(s->server.id));
	span_copy(span_of(id), s->server.name, sizeof(s->server.name));
	span_copy(span_of(agent->options.host_name), s->server.host, sizeof(s->server.host));
	forget_engine(s);
	s->server.retry_ms = -1;
	s->server.phase_unix_ms = loop_unix_ms();
	s->server.receipt = (struct receipt){ .layers_offloaded = -1, .layers_total = -1 };
	enginelog_init(&s->log);
	fsm_init(&s->fsm);
	timer_init(&s->timer, agent->loop, on_timer);
	return s;
}

void supervisor_destroy(struct supervisor *s)
{
	if (s != NULL) {
		timer_stop(&s->timer);
		drop_preflight(s);
		prober_close(s->prober);
		keeper_close(s->keeper);
		enginelog_finish(&s->log);
		free(s);
	}
}

bool supervisor_set_model(struct supervisor *s, const struct model *model)
{
	struct server before = s->server;

	s->model = model;
	s->server.enabled = model != NULL && model->enabled;
	if (model != NULL) {
		span_copy(span_of(model->name), s->server.name, sizeof(s->server.name));
		if (supervisor_is_idle(s)) {
			s->server.port = model->port;
		}
	}
	return before.enabled != s->server.enabled || before.port != s->server.port ||
	       strcmp(before.name, s->server.name) != 0;
}

void supervisor_start(struct supervisor *s, const char *controller)
{
	if (supervisor_is_idle(s) || controller[0] == '\0') {
		span_copy(span_of(controller), s->controller, sizeof(s->controller));
		s->server.by_controller = controller[0] != '\0';
	}
	feed(s, &(struct fsm_event){ .type = FSM_START });
}

void supervisor_end(struct supervisor *s, enum fsm_event_type how, uint32_t drain_ms,
		    uint32_t deadline_ms)
{
	feed(s,
	     &(struct fsm_event){ .type = how, .drain_ms = drain_ms, .deadline_ms = deadline_ms });
}

void supervisor_adopt(struct supervisor *s, uint16_t port)
{
	s->adopting = true;
	enginelog_restart(&s->log);
	s->keeper = keeper_adopt(s, port);
}

void supervisor_tell(struct supervisor *s, enum fsm_event_type what)
{
	feed(s, &(struct fsm_event){ .type = what });
}

void supervisor_measure(struct supervisor *s)
{
	struct proc_usage usage;

	if (s->server.pid > 0 && proc_usage(s->server.pid, &usage) == 0 &&
	    usage.memory_bytes / MEMORY_STEP_BYTES != s->server.memory_bytes / MEMORY_STEP_BYTES) {
		s->server.memory_bytes = usage.memory_bytes;
		s->has_news = true;
	}
	if (s->has_news) {
		s->has_news = false;
		agent_on_change(s->agent, s);
	}
}

bool supervisor_claim(const struct supervisor *s, struct memory_running *ret_claim,
		      uint64_t *ret_pending_bytes)
{
	bool is_loading = s->fsm.phase == SERVER_STARTING || s->fsm.phase == SERVER_LOADING;
	uint64_t taken = s->server.memory_bytes;

	if (!s->fsm.has_engine) {
		return false;
	}
	*ret_claim = (struct memory_running){ .host_bytes = s->plan.host_bytes,
					      .device_bytes = s->plan.device_bytes };
	span_copy(span_of(s->server.id), ret_claim->id, sizeof(ret_claim->id));
	*ret_pending_bytes =
		is_loading && s->plan.host_bytes > taken ? s->plan.host_bytes - taken : 0;
	return true;
}

const struct server *supervisor_server(struct supervisor *s)
{
	uint64_t now_ms = loop_now_ms(s->agent->loop);

	s->server.retry_ms = s->fsm.phase != SERVER_BACKOFF ? -1
			     : s->fsm.deadline_ms <= now_ms
				     ? 0
				     : (int32_t)(s->fsm.deadline_ms - now_ms);
	return &s->server;
}

bool supervisor_is_idle(const struct supervisor *s)
{
	return !s->adopting && (s->fsm.phase == SERVER_STOPPED || s->fsm.phase == SERVER_FAILED);
}

void supervisor_credentials(const struct supervisor *s, struct wire_result *ret_result)
{
	if (s->key[0] == '\0' || s->fsm.phase != SERVER_READY) {
		err_set(&ret_result->err, ERR_UNAVAILABLE, "%s is %s and has no key", s->server.id,
			server_phase_name(s->fsm.phase));
		return;
	}
	span_copy(span_of(s->key), ret_result->key, sizeof(ret_result->key));
	span_copy(span_of(s->agent->options.addresses[0]), ret_result->address,
		  sizeof(ret_result->address));
	ret_result->port = s->server.port;
}
