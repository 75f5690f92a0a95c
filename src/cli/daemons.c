/* SPDX-License-Identifier: MIT */
/*
 * agent, backend, frontend and hostapi: each fills the options of its module from ours and runs it
 * until it is told to leave (daemon.h).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret_file.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/demo.h"
#include "cli/term.h"
#include "frontend/frontend.h"
#include "host/agent.h"
#include "hostapi/hostapi.h"
#include "link/link.h"
#include "version.h"

#define HOST_NAME_MAX_BYTES 64
#define CONTROLLER_MAX_BYTES 40
#define AGENT_AGAIN_MS 1000
#define AGENT_TAKEN_MS 30000 /* another agent runs here: ours waits for it to go away */

/* The agent */

static void on_agent_left(void *user)
{
	struct daemon *d = user;

	agent_close(d->what);
	daemon_left(d);
}

static void leave_agent(struct daemon *d)
{
	agent_leave(d->what, d->is_orphan ? AGENT_STOP : AGENT_KEEP);
}

static void leave_agent_and_models(struct daemon *d)
{
	agent_leave(d->what, AGENT_STOP);
}

int command_agent(struct cli *cli, struct args *args, struct err *err)
{
	const struct config *c = &cli->config;
	const struct places *p = &cli->places;
	struct agent_options options = agent_defaults;
	bool stop_on_exit = args_flag(args, "--stop-on-exit") != NULL;
	struct daemon daemon;
	char host_name[HOST_NAME_MAX_BYTES] = "localhost";

	gethostname(host_name, sizeof(host_name) - 1);
	options.paths = &cli->paths;
	options.version = RONZAL_VERSION;
	options.host_name = host_name;
	options.registry_path = p->registry;
	options.model_roots = p->model_roots;
	options.port_min = (uint16_t)c->engine_port_min;
	options.port_max = (uint16_t)c->engine_port_max;
	options.addresses = p->bind;
	options.engine_path = p->engine;
	options.engine_flags = p->engine_flags;
	options.engine_library_path =
		c->engine_library_path[0] != '\0' ? c->engine_library_path : NULL;
	options.shim_path = p->shim;
	options.memory_budget_bytes = (uint64_t)c->memory_budget_mib << 20;
	options.cache_ram_mib = c->cache_ram_mib;
	options.controller_lease_s = c->controller_lease_s;
	options.shim_lease_s = c->shim_lease_s;
	options.downloads = p->downloads;
	options.allow_pull = c->allow_pull;
	options.limits.load_ms = c->load_timeout_s * 1000;
	options.limits.hang_ms = c->hang_s * 1000;
	options.limits.stop_ms = c->stop_timeout_s * 1000;
	daemon_init(&daemon, args, stop_on_exit ? leave_agent_and_models : leave_agent);
	daemon.what = agent_start(daemon.loop, &options, on_agent_left, &daemon, err);
	return daemon_run(&daemon, err);
}

/*
 * The backend. With --native it belongs to `ronzal up` and uses this user's agent; else
 * use_external_servers decides, and where engines run in this container the agent is its child.
 */

struct backend_run {
	struct daemon daemon; /* of a struct backend */
	struct kept agent;    /* of a container */
};

static uint32_t on_agent_end(struct kept *k, int exit_code)
{
	if (!k->is_stopped) {
		log_error("the agent ended (%d); it will be started again", exit_code);
	}
	return exit_code == err_exit_code(ERR_BUSY) ? AGENT_TAKEN_MS : AGENT_AGAIN_MS;
}

static void on_backend_left(void *user)
{
	struct backend_run *run = user;

	backend_close(run->daemon.what);
	kept_stop(&run->agent, SIGTERM); /* the loop runs until it has ended */
	daemon_left(&run->daemon);
}

static void leave_backend(struct daemon *d)
{
	if (d->told == 1) {
		backend_leave(d->what, on_backend_left,
			      CONTAINER_OF(d, struct backend_run, daemon));
	}
}

static int run_backend(const struct cli *cli, const struct args *args,
		       const struct backend_options *options, bool own_agent, struct err *err)
{
	struct backend_run run;

	daemon_init(&run.daemon, args, leave_backend);
	run.agent =
		(struct kept){ .loop = run.daemon.loop,
			       .argv = { cli->places.program, "agent", "--stop-on-exit", "--kept" },
			       .on_end = on_agent_end };
	run.daemon.what = backend_start(run.daemon.loop, options, err);
	if (run.daemon.what != NULL) {
		log_info("listening on %s:%u", options->http.listener.address,
			 options->http.listener.port);
	}
	if (run.daemon.what != NULL && own_agent) {
		kept_start(&run.agent);
	}
	return daemon_run(&run.daemon, err);
}

static struct backend_options make_options(const struct cli *cli, enum fleet_mode mode)
{
	const struct config *c = &cli->config;
	const struct places *p = &cli->places;

	return (struct backend_options){
		.fleet = { .mode = mode,
			   .registry_path = p->registry,
			   .agent_socket = p->agent_socket,
			   .port_min = (uint16_t)c->engine_port_min,
			   .port_max = (uint16_t)c->engine_port_max,
			   .host_api_url = c->host_api_url,
			   .engine_host = c->engine_host,
			   .lease_ms = c->controller_lease_s * 1000,
			   .drain_ms = c->drain_s * 1000,
			   .stop_ms = c->stop_timeout_s * 1000 },
		.gateway = { .keys_always = c->require_keys == KEYS_ON,
			     .body_max_bytes = (size_t)c->body_max_mib << 20,
			     .queue_max = c->queue_max,
			     .queue_ms = c->queue_timeout_s * 1000,
			     .first_token_ms = c->first_token_timeout_s * 1000 },
		.http = { .listener = { .address = c->listen,
					.port = (uint16_t)c->backend_port,
					.conns_max = (int)c->conns_max },
			  .hosts = p->hosts,
			  .origins = p->origins,
			  .local_peer = p->local_peer },
		.version = RONZAL_VERSION,
		.model_roots = p->model_roots,
		.keys_folder = cli->paths.state,
		.usage_path = p->usage,
		.bench_path = p->bench,
		.downloads = p->downloads,
		.cache_ram_mib = c->cache_ram_mib,
	};
}

int command_backend(struct cli *cli, struct args *args, struct err *err)
{
	bool native = args_flag(args, "--native") != NULL;
	char secret[SECRET_TEXT_BYTES] = "";
	static const enum fleet_mode modes[] = { [EXTERNAL_TRUE] = FLEET_HOST,
						 [EXTERNAL_FALSE] = FLEET_CPU,
						 [EXTERNAL_AUTO] = FLEET_AUTO };
	enum fleet_mode mode = native ? FLEET_NATIVE : modes[cli->config.use_external_servers];
	int status = 0;

	/* Made here when the backend is the first to need it. */
	if (mode == FLEET_HOST || mode == FLEET_AUTO) {
		status = secret_file_load(cli->places.secret, secret, err);
	}
	if (status == 0 && !native) {
		status = demo_register(cli, err); /* a fresh container answers at once */
	}
	if (status != 0) {
		return status;
	}
	struct backend_options options = make_options(cli, mode);
	/* As containers reach it: by its service's name, or on the host. */
	char *base_url = mem_printf("http://%s:%u/v1", native ? "host.docker.internal" : "backend",
				    cli->config.backend_port);

	options.base_url = base_url;
	options.fleet.host_api_secret = secret;
	status = run_backend(cli, args, &options, mode == FLEET_CPU || mode == FLEET_AUTO, err);
	free(base_url);
	return status;
}

/* The page */

static void leave_frontend(struct daemon *d)
{
	frontend_close(d->what);
	daemon_left(d);
}

/* Where the backend is: backend_url, else this machine. */
static int find_backend(const struct config *c, char **ret_host, uint16_t *ret_port,
			struct err *err)
{
	const struct words here = term_words("http://127.0.0.1:%u", c->backend_port);
	const char *url = c->backend_url[0] != '\0' ? c->backend_url : here.text;

	return hostapi_url_parse(url, ret_host, ret_port, err) == 0
		       ? 0
		       : err_prefix(err, "backend_url");
}

int command_frontend(struct cli *cli, struct args *args, struct err *err)
{
	const struct config *c = &cli->config;
	const struct places *p = &cli->places;
	char token[SECRET_TEXT_BYTES];
	struct frontend_options options = {
		.address = c->listen,
		.port = (uint16_t)c->frontend_port,
		.hosts = p->hosts,
		.origins = p->origins,
		.web_root = p->web,
		.token = token,
		.first_byte_ms = c->first_token_timeout_s * 1000,
		.body_max_bytes = (uint64_t)c->body_max_mib << 20,
		.conns_max = (int)c->conns_max,
	};
	struct daemon daemon;
	char *backend_host = NULL;
	int status = find_backend(c, &backend_host, &options.backend_port, err);

	options.backend_host = backend_host;
	status = status != 0 ? status : secret_file_load(p->token, token, err);
	if (status == 0) {
		daemon_init(&daemon, args, leave_frontend);
		daemon.what = frontend_start(daemon.loop, &options, err);
		if (daemon.what != NULL) {
			log_info("the page is at http://%s:%u", options.address, options.port);
		}
		status = daemon_run(&daemon, err);
	}
	free(backend_host);
	return status;
}

/* The Host API: a signal stops the host's servers first, a second one leaves at once. */

static void on_hostapi_left(void *user)
{
	struct daemon *d = user;

	hostapi_close(d->what);
	daemon_left(d);
}

static void leave_hostapi(struct daemon *d)
{
	if (d->told > 1) {
		on_hostapi_left(d);
		return;
	}
	log_info("stopping the host's servers");
	hostapi_leave(d->what, on_hostapi_left, d);
}

int command_hostapi(struct cli *cli, struct args *args, struct err *err)
{
	const struct config *c = &cli->config;
	char secret[SECRET_TEXT_BYTES], hex[DIGEST_HEX_BYTES], controller[CONTROLLER_MAX_BYTES];
	int status = secret_file_load(cli->places.secret, secret, err);

	if (status != 0) {
		return status;
	}
	/*
	 * The same for every life of this Host API, so that it finds its servers again; it lives
	 * where the secret does, which is its own.
	 */
	digest_hex_of(span_of(secret), hex);
	snprintf(controller, sizeof(controller), "host-api-%.16s", hex);
	struct hostapi_options options = {
		.address = c->listen,
		.port = (uint16_t)c->hostapi_port,
		.hosts = cli->places.hosts,
		.secret = secret,
		.drain_ms = c->drain_s * 1000,
		.ssh = { .program = "ssh",
			 .config = cli->places.ssh_config,
			 .host = c->ssh_host,
			 .controller = controller,
			 .who = "host-api" },
	};
	struct daemon daemon;

	daemon_init(&daemon, args, leave_hostapi);
	daemon.what = hostapi_start(daemon.loop, &options, err);
	if (daemon.what != NULL) {
		log_info("listening on %s:%u", options.address, options.port);
	}
	return daemon_run(&daemon, err);
}
