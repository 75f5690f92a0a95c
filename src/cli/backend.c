/* SPDX-License-Identifier: MIT */
/*
 * `ronzal backend`: fills the backend's options from ours and runs it until SIGTERM or SIGINT. With
 * --native it belongs to `ronzal up` and uses this user's agent; else USE_EXTERNAL_SERVERS decides,
 * and where engines run in this container the agent is its child.
 */
#include "backend/backend.h"

#include <signal.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret_file.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/demo.h"
#include "version.h"

#define AGENT_AGAIN_MS 1000
#define AGENT_TAKEN_MS 30000 /* another agent runs here: ours waits for it to go away */

struct backend_run {
	struct daemon daemon;
	struct backend *backend;
	struct kept agent; /* of a container */
	bool is_leaving;
};

static uint32_t on_agent_end(struct kept *k, int exit_code)
{
	if (!k->is_stopped) {
		log_error("the agent ended (%d); it will be started again", exit_code);
	}
	return exit_code == err_exit_code(ERR_BUSY) ? AGENT_TAKEN_MS : AGENT_AGAIN_MS;
}

static void on_left(void *user)
{
	struct backend_run *run = user;

	backend_close(run->backend);
	kept_stop(&run->agent, SIGTERM); /* the loop runs until it has ended */
	daemon_left(&run->daemon);
}

static void leave(struct daemon *d)
{
	struct backend_run *run = CONTAINER_OF(d, struct backend_run, daemon);

	if (!run->is_leaving) {
		run->is_leaving = true;
		backend_leave(run->backend, on_left, run);
	}
}

static int run_backend(const struct cli *cli, const struct args *args,
		       const struct backend_options *options, bool own_agent, struct err *err)
{
	struct backend_run run = { .is_leaving = false };

	daemon_init(&run.daemon, args, leave);
	run.agent =
		(struct kept){ .loop = run.daemon.loop,
			       .argv = { cli->places.program, "agent", "--stop-on-exit", "--kept" },
			       .on_end = on_agent_end };
	run.backend = backend_start(run.daemon.loop, options, err);
	if (run.backend != NULL) {
		log_info("listening on %s:%u", options->address, backend_port(run.backend));
	}
	if (run.backend != NULL && own_agent) {
		kept_start(&run.agent);
	}
	return daemon_run(&run.daemon, run.backend != NULL ? 0 : err->code);
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
		.version = RONZAL_VERSION,
		.address = c->listen,
		.port = (uint16_t)c->backend_port,
		.hosts = p->hosts,
		.origins = p->origins,
		.local_peer = p->local_peer,
		.model_roots = p->model_roots,
		.keys_folder = cli->paths.state,
		.usage_path = p->usage,
		.bench_path = p->bench,
		.downloads = cli->places.downloads,
		.keys_always = c->require_keys == KEYS_ON,
		.body_max_bytes = (size_t)c->body_max_mib << 20,
		.queue_max = c->queue_max,
		.queue_ms = c->queue_timeout_s * 1000,
		.first_token_ms = c->first_token_timeout_s * 1000,
		.cache_ram_mib = c->cache_ram_mib,
		.conns_max = (int)c->conns_max,
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
