/* SPDX-License-Identifier: MIT */
/*
 * `ronzal backend`: fills the backend's options from ours and runs it until SIGTERM or SIGINT. With
 * --native it belongs to `ronzal up` and uses this user's agent; else USE_EXTERNAL_SERVERS decides,
 * and where engines run in this container the agent is its child.
 */
#include "backend/backend.h"

#include <signal.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret_file.h"
#include "cli/cli.h"
#include "cli/demo.h"
#include "io/child.h"
#include "io/timer.h"
#include "version.h"

#define AGENT_AGAIN_MS 1000
#define AGENT_TAKEN_MS 30000 /* another agent runs here: ours waits for it to go away */

struct backend_run {
	const struct cli *cli;
	struct loop *loop;
	struct backend *backend;
	struct loop_signal *signals[2];
	struct child *agent; /* of a container */
	struct timer again;
	bool leaving;
};

/* The container's own agent */

static void on_agent_exit(void *user, int exit_code)
{
	struct backend_run *run = user;

	child_close(run->agent);
	run->agent = NULL;
	if (!run->leaving) {
		bool is_taken = exit_code == err_exit_code(ERR_BUSY);

		log_error("the agent ended (%d); it will be started again", exit_code);
		timer_start(&run->again, is_taken ? AGENT_TAKEN_MS : AGENT_AGAIN_MS);
	}
}

static void start_agent(struct backend_run *run)
{
	const char *argv[] = { run->cli->layout.program, "agent", "--stop-on-exit", NULL };
	struct child_options options = { .argv = argv,
					 .stdio = { CHILD_NULL, CHILD_INHERIT, CHILD_INHERIT },
					 .on_exit = on_agent_exit,
					 .user = run };
	struct err err;

	run->agent = child_start(run->loop, &options, &err);
	if (run->agent == NULL) {
		log_error("%s", err.text);
		timer_start(&run->again, AGENT_AGAIN_MS);
	}
}

static void on_again(struct timer *t)
{
	start_agent(CONTAINER_OF(t, struct backend_run, again));
}

/* Leaving */

static void on_left(void *user)
{
	struct backend_run *run = user;

	timer_stop(&run->again);
	backend_close(run->backend);
	run->backend = NULL;
	for (size_t i = 0; i < ARRAY_LEN(run->signals); i++) {
		loop_signal_close(run->signals[i]);
	}
	if (run->agent != NULL) {
		child_kill(run->agent, SIGTERM); /* the loop runs until it has ended */
	}
}

static void on_signal(void *user)
{
	struct backend_run *run = user;

	if (!run->leaving) {
		run->leaving = true;
		backend_leave(run->backend, on_left, run);
	}
}

static int run_backend(const struct cli *cli, const struct backend_options *options, bool own_agent,
		       struct err *err)
{
	struct backend_run run = { .cli = cli, .loop = loop_create() };
	int status = 0;

	timer_init(&run.again, run.loop, on_again);
	run.backend = backend_start(run.loop, options, err);
	if (run.backend == NULL) {
		status = err->code;
	} else {
		log_info("listening on %s:%u", options->address, backend_port(run.backend));
		run.signals[0] = loop_signal_start(run.loop, SIGTERM, on_signal, &run);
		run.signals[1] = loop_signal_start(run.loop, SIGINT, on_signal, &run);
		if (own_agent) {
			start_agent(&run);
		}
	}
	loop_run(run.loop);
	loop_destroy(run.loop);
	return status;
}

static int read_mode(const struct config *c, bool native, enum fleet_mode *ret_mode,
		     struct err *err)
{
	const char *text = c->use_external_servers;

	if (native) {
		*ret_mode = FLEET_NATIVE;
	} else if (strcmp(text, "true") == 0) {
		*ret_mode = FLEET_HOST;
	} else if (strcmp(text, "auto") == 0) {
		*ret_mode = FLEET_AUTO;
	} else if (strcmp(text, "false") == 0 || text[0] == '\0') {
		*ret_mode = FLEET_CPU;
	} else {
		return err_set(err, ERR_INVALID,
			       "USE_EXTERNAL_SERVERS is \"%s\": it takes true, false or auto",
			       text);
	}
	return 0;
}

/* The secret of the Host API; made here when the backend is the first to need it. */
static int load_secret(const struct cli *cli, char secret[SECRET_TEXT_BYTES], struct err *err)
{
	char *path = cli->config.host_api_secret_file[0] != '\0'
			     ? mem_strdup(cli->config.host_api_secret_file)
			     : fs_join(cli->paths.state, "host-api.secret");
	int status = secret_file_load(path, secret, err);

	free(path);
	return status;
}

static struct backend_options make_options(const struct config *c, enum fleet_mode mode)
{
	return (struct backend_options){
		.fleet = { .mode = mode,
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
		.keys_always = strcmp(c->require_keys, "on") == 0,
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
	bool native = args_take_flag(args, NULL, "--native");
	char secret[SECRET_TEXT_BYTES] = "";
	enum fleet_mode mode = FLEET_CPU;
	int status = args_check(args, 0, 0, err);

	if (status == 0) {
		status = read_mode(&cli->config, native, &mode, err);
	}
	if (status == 0 && (mode == FLEET_HOST || mode == FLEET_AUTO)) {
		status = load_secret(cli, secret, err);
	}
	if (status != 0) {
		return status;
	}
	struct backend_options options = make_options(&cli->config, mode);
	char *registry = cli_registry_path(cli);
	char *socket_path = fs_join(cli->paths.run, WIRE_AGENT_SOCKET);
	char *usage_path = fs_join(cli->paths.state, "usage.db");
	/* As containers reach it: by its service's name, or on the host. */
	char *base_url = mem_printf("http://%s:%u/v1", native ? "host.docker.internal" : "backend",
				    cli->config.backend_port);
	char *local_peer = cli_local_peer(cli);
	char **hosts = cli_allowed_hosts(cli);
	char **origins = cli_list(cli->config.allowed_origins, ',');
	char **roots = cli_model_roots(cli);

	options.base_url = base_url;
	options.local_peer = local_peer;
	options.fleet.registry_path = registry;
	options.fleet.agent_socket = socket_path;
	options.fleet.host_api_secret = secret;
	options.keys_folder = cli->paths.state;
	options.usage_path = usage_path;
	options.hosts = (const char *const *)hosts;
	options.origins = (const char *const *)origins;
	options.model_roots = (const char *const *)roots;
	if (!native) {
		status = demo_register(cli, err); /* a fresh container answers at once */
	}
	if (status == 0) {
		status = run_backend(cli, &options, mode == FLEET_CPU || mode == FLEET_AUTO, err);
	}
	cli_list_free(roots);
	cli_list_free(origins);
	cli_list_free(hosts);
	free(local_peer);
	free(base_url);
	free(usage_path);
	free(socket_path);
	free(registry);
	return status;
}
