/* SPDX-License-Identifier: MIT */
/*
 * Keys: a report that is ready and has no endpoint is asked for by on_credentials_due, all such of
 * one side in one request.
 */
#include "backend/fleet_core.h"
#include "link/link.h"

#define CREDENTIALS_AGAIN_MS 2000
#define AUTO_FIRST_MS 10000
#define AUTO_PROBE_MS 5000
#define AUTO_STABLE_MS 30000
#define AUTO_PAUSE_MS 60000
#define PROBE_MS 3000
#define PROBE_BODY_MAX_BYTES 65536

/* Endpoints */

static void on_credentials(void *user, const struct wire_reply *reply)
{
	struct side *s = user;
	struct fleet *f = s->fleet;
	int side = (int)(s - f->sides);

	for (size_t i = 0; !f->is_closed && i < reply->count; i++) {
		const struct wire_result *result = &reply->results[i];
		struct entry *e = fleet_entry(f, result->id);
		struct report *r = e != NULL ? &e->reports[side] : NULL;

		if (r == NULL || r->server.phase != SERVER_READY) {
			continue;
		}
		if (result->err.code != 0) {
			log_warn("credentials of %s: %s", result->id, result->err.text);
			r->asked_pid = 0;
			timer_start(&s->credentials, CREDENTIALS_AGAIN_MS);
			continue;
		}
		r->has_endpoint = true;
		r->key_pid = r->server.pid;
		r->port = result->port;
		memcpy(r->key, result->key, sizeof(r->key));
		span_copy(span_of(side == SIDE_HOST ? f->options.engine_host : result->address),
			  r->address, sizeof(r->address));
		fleet_refresh(f, e);
	}
	fleet_release(f);
}

static void on_credentials_due(struct timer *t)
{
	struct side *s = CONTAINER_OF(t, struct side, credentials);
	struct fleet *f = s->fleet;
	const char *ids[WIRE_IDS_MAX];
	size_t count = 0;

	ENTRY_EACH (e, &f->models) {
		struct report *r = &e->reports[s - f->sides];

		if (r->known && r->server.phase == SERVER_READY && !r->has_endpoint &&
		    r->asked_pid != r->server.pid && count < WIRE_IDS_MAX) {
			r->asked_pid = r->server.pid;
			ids[count++] = r->server.id;
		}
	}
	if (count > 0 && s->state == FLEET_UP) {
		fleet_send(f, (int)(s - f->sides),
			   &(struct wire_request){
				   .verb = VERB_CREDENTIALS, .ids = ids, .id_count = count },
			   on_credentials, s);
	}
}

/* Auto: which side routes */

static void note_link_error(struct fleet *f)
{
	struct side *s = &f->sides[f->route];

	f->link_err = *link_error(s->link);
	if (f->route == SIDE_HOST && f->link_err.code != 0) {
		struct err why = f->link_err;

		err_set(&f->link_err, ERR_UNAVAILABLE,
			"External server not running: %s\nCheck the Host API: lsof -i :9090 and "
			"curl http://localhost:9090/health",
			why.text);
	}
}

static void choose_event(struct fleet *f, enum choose_event event);

static void probe_ended(struct fleet *f)
{
	if (f->probes == 0) {
		choose_event(f, f->has_answer ? CHOOSE_ENGINES_ANSWER : CHOOSE_ENGINES_SILENT);
	}
}

/* Not before the last probe has ended. */
static void close_client(struct fleet *f)
{
	if (f->is_closed && f->probes == 0) {
		client_close(f->client);
	}
}

static void on_probe(void *user, const struct client_reply *reply)
{
	struct fleet *f = user;

	f->probes--;
	f->has_answer = f->has_answer || (reply->err.code == 0 && reply->status == 200);
	if (f->is_closed) {
		close_client(f);
	} else {
		probe_ended(f);
	}
	fleet_release(f);
}

static void probe(struct fleet *f)
{
	f->has_answer = false;
	ENTRY_EACH (e, &f->models) {
		const struct report *r = &e->reports[SIDE_HOST];
		struct client_options options = { .to = { .host = r->address, .port = r->port },
						  .target = SPAN_LIT("/health"),
						  .connect_ms = PROBE_MS,
						  .first_byte_ms = PROBE_MS };

		if (r->has_endpoint) {
			f->probes++;
			f->pending++;
			client_fetch(f->client, &options, PROBE_BODY_MAX_BYTES, on_probe, f);
		}
	}
	probe_ended(f);
}

static void start_same(struct fleet *f, int from, int to, link_reply_fn *on_reply)
{
	struct wire_request start = { .verb = VERB_START };
	const char *ids[WIRE_IDS_MAX];

	ENTRY_EACH (e, &f->models) {
		const struct report *r = &e->reports[from];

		if (r->known && server_phase_is_running(r->server.phase) &&
		    start.id_count < WIRE_IDS_MAX) {
			ids[start.id_count++] = r->server.id;
		}
	}
	start.ids = ids;
	if (start.id_count > 0) {
		fleet_send(f, to, &start, on_reply, f);
	} else {
		f->pending++;
		on_reply(f, &(struct wire_reply){ .count = 0 });
	}
}

static void set_route(struct fleet *f, int side)
{
	f->route = side;
	note_link_error(f);
	log_warn(side == SIDE_HOST ? "the host is back: its engines answer again"
				   : "the host is away: engines run here, on the CPU");
	ENTRY_EACH (e, &f->models) {
		fleet_refresh(f, e);
	}
	TELL(f, on_host, (l_));
}

/* What ran here runs on the host now: the routes change, then ours drain. */
static void on_returned(void *user, const struct wire_reply *reply)
{
	struct fleet *f = user;

	if (!f->is_closed && f->sides[SIDE_HOST].state == FLEET_UP) {
		if (reply->err.code != 0) {
			log_warn("starting on the host again: %s", reply->err.text);
		}
		set_route(f, SIDE_HOST);
		fleet_send(f, SIDE_LOCAL,
			   &(struct wire_request){ .verb = VERB_STOP,
						   .drain_ms = f->options.drain_ms,
						   .deadline_ms = f->options.drain_ms +
								  f->options.stop_ms },
			   fleet_on_ignored, f);
	} else if (!f->is_closed) {
		f->choose.route = CHOOSE_CPU;
		choose_event(f, CHOOSE_TIME);
	}
	fleet_release(f);
}

static void choose_event(struct fleet *f, enum choose_event event)
{
	if (f->options.mode != FLEET_AUTO) {
		return;
	}
	struct choose_step step = choose_next(&f->choose, event, loop_now_ms(f->loop));

	timer_stop(&f->choose_timer);
	if (step.due_ms != 0) {
		timer_start_at(&f->choose_timer, step.due_ms);
	}
	switch (step.action) {
	case CHOOSE_STAY:
		break;
	case CHOOSE_PROBE:
		if (f->probes == 0) {
			probe(f);
		}
		break;
	case CHOOSE_FALL_BACK:
		if (f->route != SIDE_LOCAL) {
			set_route(f, SIDE_LOCAL);
			start_same(f, SIDE_HOST, SIDE_LOCAL, fleet_on_ignored);
		}
		break;
	case CHOOSE_RETURN:
		start_same(f, SIDE_LOCAL, SIDE_HOST, on_returned);
		break;
	}
}

static void on_choose_due(struct timer *t)
{
	choose_event(CONTAINER_OF(t, struct fleet, choose_timer), CHOOSE_TIME);
}

/* From the links */

static void set_state(struct side *s, enum fleet_link state)
{
	struct fleet *f = s->fleet;

	if (s->state != state) {
		s->state = state;
		s->since_unix_ms = loop_unix_ms();
	}
	note_link_error(f);
	TELL(f, on_host, (l_));
}

static void on_up(void *user)
{
	struct side *s = user;

	s->connection++;
	set_state(s, FLEET_UP);
	if (s == &s->fleet->sides[SIDE_HOST]) {
		choose_event(s->fleet, CHOOSE_HOST_UP);
	}
}

static void on_down(void *user, const struct err *why)
{
	struct side *s = user;
	struct fleet *f = s->fleet;

	ENTRY_EACH (e, &f->models) {
		struct report *r = &e->reports[s - f->sides];

		if (r->known && server_phase_is_running(r->server.phase) &&
		    r->server.phase != SERVER_UNKNOWN) {
			r->server.phase = SERVER_UNKNOWN;
			r->server.phase_unix_ms = loop_unix_ms();
			fleet_refresh(f, e);
		}
	}
	set_state(s, why->code == ERR_BUSY ? FLEET_BUSY : FLEET_DOWN);
	if (s == &f->sides[SIDE_HOST]) {
		choose_event(f, CHOOSE_HOST_DOWN);
	}
}

static void on_host(struct side *s, const struct host_info *host)
{
	s->host = *host;
	TELL(s->fleet, on_host, (l_));
}

/* A new process: the settings of now are what it was started with. */
static void note_start(struct fleet *f, struct entry *e, const struct server *server)
{
	const struct report *r = &e->reports[f->route];

	if (server_phase_is_running(server->phase) &&
	    (!e->has_started || r->server.starts != server->starts)) {
		fleet_look(f);
		const struct model *m = registry_find(&f->registry, span_of(server->id));

		e->has_started = m != NULL;
		if (m != NULL) {
			e->started = m->settings;
			e->started_port = m->port;
		}
	} else if (!server_phase_is_running(server->phase)) {
		e->has_started = false;
	}
}

static void on_server(struct side *s, const struct server *server)
{
	struct fleet *f = s->fleet;
	struct entry *e = fleet_entry(f, server->id);

	e = e != NULL ? e : fleet_add_entry(f, server->id);
	struct report *r = &e->reports[s - f->sides];

	if (s == &f->sides[f->route]) {
		note_start(f, e, server);
		if (!server_phase_is_accepting(server->phase)) {
			e->pub.is_draining = false;
		}
	}
	if (!server_phase_is_accepting(server->phase) || r->key_pid != server->pid) {
		r->has_endpoint = false;
		r->key_pid = 0;
	}
	if (server->phase != SERVER_READY || r->connection != s->connection) {
		r->asked_pid = 0;
	}
	r->server = *server;
	r->known = true;
	r->connection = s->connection;
	if (server->phase == SERVER_READY && !r->has_endpoint && !timer_is_on(&s->credentials)) {
		timer_start(&s->credentials, 0);
	}
	fleet_refresh(f, e);
}

static void on_progress(struct side *s, const char *id, float fraction, int32_t eta_ms)
{
	struct entry *e = fleet_entry(s->fleet, id);

	if (e == NULL) {
		return;
	}
	struct server *seen = &e->reports[s - s->fleet->sides].server;

	seen->progress = fraction;
	seen->eta_ms = eta_ms;
	if (s == &s->fleet->sides[s->fleet->route]) {
		e->pub.server.progress = fraction;
		e->pub.server.eta_ms = eta_ms;
		TELL(s->fleet, on_progress, (l_, id, fraction, eta_ms));
	}
}

static void forget_report(struct side *s, struct entry *e)
{
	e->reports[s - s->fleet->sides] = (struct report){ 0 };
	if (!fleet_remove_unknown(s->fleet, e)) {
		fleet_refresh(s->fleet, e);
	}
}

static void on_removed(struct side *s, const char *id)
{
	fleet_look(s->fleet);
	struct entry *e = fleet_entry(s->fleet, id);

	if (e != NULL) {
		forget_report(s, e);
	}
}

/* What an agent did not name this time it no longer has. */
static void on_synced(struct side *s)
{
	struct fleet *f = s->fleet;

	ENTRY_EACH (e, &f->models) {
		const struct report *r = &e->reports[s - f->sides];

		if (r->known && r->connection != s->connection) {
			forget_report(s, e);
		}
	}
}

static void on_log(struct side *s, const char *id, struct span line, uint64_t dropped)
{
	if (s == &s->fleet->sides[s->fleet->route]) {
		TELL(s->fleet, on_log, (l_, id, line, dropped));
	}
}

static void on_event(void *user, const struct wire_event *e)
{
	struct side *s = user;

	switch (e->type) {
	case EVENT_HOST:
		on_host(s, &e->host);
		break;
	case EVENT_SERVER:
		on_server(s, &e->server);
		break;
	case EVENT_PROGRESS:
		on_progress(s, e->progress.id, e->progress.fraction, e->progress.eta_ms);
		break;
	case EVENT_REMOVED:
		on_removed(s, e->removed.id);
		break;
	case EVENT_SYNCED:
		on_synced(s);
		break;
	case EVENT_LOG:
		on_log(s, e->log.id, e->log.line, e->log.dropped);
		break;
	case EVENT_HELLO:
	case EVENT_REPLY:
	case EVENT_BYE:
		break; /* the link's own */
	}
}

static const struct link_callbacks link_calls = { on_up, on_event, on_down };

/* Life */

void fleet_follow_logs(struct fleet *f, const char *const *ids, size_t count, uint32_t tail)
{
	link_follow_logs(f->sides[f->route].link, ids, count, tail);
}

int fleet_open_sides(struct fleet *f, struct err *err)
{
	const struct fleet_options *o = &f->options;
	struct side *host = &f->sides[SIDE_HOST], *local = &f->sides[SIDE_LOCAL];

	f->choose.limits = (struct choose_limits){ o->lease_ms, AUTO_FIRST_MS, AUTO_PROBE_MS,
						   AUTO_STABLE_MS, AUTO_PAUSE_MS };
	f->choose.host_since_ms = loop_now_ms(f->loop);
	timer_init(&f->choose_timer, f->loop, on_choose_due);
	for (int i = 0; i < SIDES; i++) {
		f->sides[i].fleet = f;
		f->sides[i].since_unix_ms = loop_unix_ms();
		timer_init(&f->sides[i].credentials, f->loop, on_credentials_due);
	}
	if (o->mode == FLEET_HOST || o->mode == FLEET_AUTO) {
		host->link = link_hostapi_create(f->loop,
						 &(struct link_hostapi_options){
							 .url = o->host_api_url,
							 .secret = o->host_api_secret,
							 .callbacks = &link_calls,
							 .user = host },
						 err);
		if (host->link == NULL) {
			return err->code;
		}
	}
	if (o->mode != FLEET_HOST) {
		local->link = link_unix_create(f->loop, o->agent_socket, "", "backend", &link_calls,
					       local);
	}
	f->client = o->mode == FLEET_AUTO ? client_create(f->loop) : NULL;
	note_link_error(f);
	choose_event(f, CHOOSE_TIME);
	return 0;
}

void fleet_close_sides(struct fleet *f)
{
	timer_stop(&f->choose_timer);
	for (int i = 0; i < SIDES; i++) {
		timer_stop(&f->sides[i].credentials);
		link_close(f->sides[i].link);
	}
	close_client(f);
}
