/* SPDX-License-Identifier: MIT */
/*
 * `ronzal agent`: fills the agent's options from ours and runs it until it is told to leave.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "host/agent.h"
#include "os/net.h"
#include "version.h"

#define HOST_NAME_MAX_BYTES 64

struct agent_run {
	struct loop *loop;
	struct agent *agent;
	struct loop_signal *signals[2];
	bool stop_on_exit;
};

char **cli_bind_addresses(const struct config *c)
{
	char bridge[64];

	if (strcmp(c->bind, "auto") != 0) {
		return cli_list(c->bind, ',');
	}
	if (net_docker_bridge(bridge, sizeof(bridge)) != 0) {
		return cli_list("127.0.0.1", ',');
	}
	char *both = mem_printf("127.0.0.1,%s", bridge);
	char **list = cli_list(both, ',');

	free(both);
	return list;
}

char *cli_engine_path(const struct config *c)
{
	const char *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	char *path;

	if (c->engine[0] != '\0') {
		return mem_strdup(c->engine);
	}
	if (data != NULL && data[0] != '\0') {
		path = mem_printf("%s/ronzal/engine/bin/llama-server", data);
	} else {
		path = mem_printf("%s/.local/share/ronzal/engine/bin/llama-server",
				  home != NULL ? home : "");
	}
	if (access(path, X_OK) != 0) {
		free(path);
		path = NULL;
	}
	return path;
}

static void on_end(void *user)
{
	struct agent_run *run = user;

	agent_close(run->agent);
	for (size_t i = 0; i < ARRAY_LEN(run->signals); i++) {
		loop_signal_close(run->signals[i]);
	}
}

static void on_signal(void *user)
{
	struct agent_run *run = user;

	agent_leave(run->agent, run->stop_on_exit ? AGENT_STOP : AGENT_KEEP);
}

static int run_agent(const struct agent_options *options, bool stop_on_exit, struct err *err)
{
	struct agent_run run = { .loop = loop_create(), .stop_on_exit = stop_on_exit };
	int status = 0;

	run.agent = agent_start(run.loop, options, on_end, &run, err);
	if (run.agent == NULL) {
		status = err->code;
	} else {
		run.signals[0] = loop_signal_start(run.loop, SIGTERM, on_signal, &run);
		run.signals[1] = loop_signal_start(run.loop, SIGINT, on_signal, &run);
	}
	loop_run(run.loop);
	loop_destroy(run.loop);
	return status;
}

int command_agent(struct cli *cli, struct args *args, struct err *err)
{
	const struct config *c = &cli->config;
	struct agent_options options = agent_defaults;
	char host_name[HOST_NAME_MAX_BYTES] = "localhost";
	bool stop_on_exit = args_take_flag(args, NULL, "--stop-on-exit");
	int status = args_check(args, 0, 0, err);

	if (status != 0) {
		return status;
	}
	gethostname(host_name, sizeof(host_name) - 1);
	char *registry = cli_registry_path(cli);
	char *engine = cli_engine_path(c);
	char *shim = fs_join(cli->layout.libexec, "ronzal-shim");
	char **roots = cli_model_roots(cli);
	char **addresses = cli_bind_addresses(c);
	char **flags = cli_list(c->engine_flags, ' ');

	options.paths = &cli->paths;
	options.version = RONZAL_VERSION;
	options.host_name = host_name;
	options.registry_path = registry;
	options.model_roots = (const char *const *)roots;
	options.port_min = (uint16_t)c->engine_port_min;
	options.port_max = (uint16_t)c->engine_port_max;
	options.addresses = (const char *const *)addresses;
	options.engine_path = engine;
	options.engine_flags = (const char *const *)flags;
	options.engine_library_path =
		c->engine_library_path[0] != '\0' ? c->engine_library_path : NULL;
	options.shim_path = shim;
	options.memory_budget_bytes = (uint64_t)c->memory_budget_mib << 20;
	options.cache_ram_mib = c->cache_ram_mib;
	options.controller_lease_s = c->controller_lease_s;
	options.shim_lease_s = c->shim_lease_s;
	options.limits.load_ms = c->load_timeout_s * 1000;
	options.limits.stop_ms = c->stop_timeout_s * 1000;
	status = run_agent(&options, stop_on_exit, err);

	cli_list_free(flags);
	cli_list_free(addresses);
	cli_list_free(roots);
	free(shim);
	free(engine);
	free(registry);
	return status;
}
