/* SPDX-License-Identifier: MIT */
#include "backend/show.h"

#include "base/mem.h"

static const char *next_step(int code)
{
	switch (code) {
	case ERR_UNAUTHENTICATED:
		return "send 'Authorization: Bearer TOKEN' with the management token: ronzal keys "
		       "token";
	case ERR_NO_AGENT:
		return "ronzal service install";
	case ERR_NO_ENGINE:
		return "install llama.cpp, or name llama-server by engine = PATH in host.conf";
	default:
		return "";
	}
}

void show_error(struct json_writer *w, const char *error_key, const struct err *why)
{
	struct span step = span_of(why->code != 0 ? why->text : "");
	struct span sentence = span_split(&step, '\n');

	jsonw_member_span(w, error_key, sentence);
	jsonw_member_span(w, "next_step", step.ptr != NULL ? step : span_of(next_step(why->code)));
}

void show_server(struct json_writer *w, const struct fleet_model *m)
{
	const struct server *s = &m->server;
	int64_t up_ms = s->ready_unix_ms > 0 && server_phase_is_running(s->phase)
				? loop_unix_ms() - s->ready_unix_ms
				: 0;

	jsonw_object(w);
	server_write_members(w, s);
	jsonw_member_text(w, "model_id", s->id);
	jsonw_member_text(w, "display_name", s->name);
	jsonw_member_bool(w, "is_ready", s->phase == SERVER_READY);
	jsonw_member_bool(w, "is_running", server_phase_is_running(s->phase));
	jsonw_member_double(w, "uptime_seconds", (double)up_ms / 1000, 1);
	jsonw_member_bool(w, "restart_needed", m->restart_needed);
	jsonw_member_i64(w, "active_requests", m->active);
	jsonw_member_i64(w, "queued_requests", m->queued);
	jsonw_end(w);
}

/* What to do for a GPU, when it is known that something can be done. */
static void show_gpu_help(struct json_writer *w, enum fleet_mode mode, struct fleet_state state)
{
	const char *message = NULL, *command = "./scripts/setup-ssh-automation.sh --check";

	if (mode == FLEET_CPU) {
		message = "Engines run on the CPU of this container. For the host's GPU set up its "
			  "ssh "
			  "key, then set USE_EXTERNAL_SERVERS=true in docker-compose.yml.";
		command = "./scripts/setup-ssh-automation.sh";
	} else if (state.is_fallback || (mode == FLEET_HOST && state.link == FLEET_DOWN)) {
		message = "The host with the GPU cannot be reached.";
	}
	jsonw_key(w, "gpu_help");
	if (message == NULL) {
		jsonw_null(w);
		return;
	}
	jsonw_object(w);
	jsonw_member_text(w, "message", message);
	jsonw_member_text(w, "command", command);
	jsonw_end(w);
}

void show_host(struct json_writer *w, const struct backend *b)
{
	static const char *const modes[] = { "native", "false", "true", "auto" };
	static const char *const links[] = { "connecting", "up", "down", "busy" };
	const struct fleet_options *o = &b->options.fleet;
	bool has_lease = o->mode == FLEET_HOST || o->mode == FLEET_AUTO;
	struct fleet_state state = fleet_state(b->fleet);

	jsonw_object(w);
	host_info_write_members(w, fleet_host(b->fleet));
	jsonw_member_text(w, "mode", modes[o->mode]);
	jsonw_member_object(w, "link");
	jsonw_member_text(w, "state", links[state.link]);
	jsonw_member_i64(w, "since_unix_ms", state.since_unix_ms);
	show_error(w, "error", state.why);
	jsonw_end(w);
	jsonw_member_bool(w, "fallback", state.is_fallback);
	jsonw_member_i64(w, "lease_s", has_lease ? o->lease_ms / 1000 : 0);
	show_gpu_help(w, o->mode, state);
	jsonw_member_text(w, "base_url", b->options.base_url);
	jsonw_end(w);
}
