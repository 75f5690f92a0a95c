/* SPDX-License-Identifier: MIT */
/*
 * `ronzal agent`: fills the agent's options from ours and runs it until it is told to leave.
 */
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "host/agent.h"
#include "version.h"

#define HOST_NAME_MAX_BYTES 64

struct agent_run {
	struct daemon daemon;
	struct agent *agent;
	bool stop_on_exit;
};

static void on_end(void *user)
{
	struct agent_run *run = user;

	agent_close(run->agent);
	daemon_left(&run->daemon);
}

static void leave(struct daemon *d)
{
	struct agent_run *run = CONTAINER_OF(d, struct agent_run, daemon);

	agent_leave(run->agent, run->stop_on_exit || d->is_orphan ? AGENT_STOP : AGENT_KEEP);
}

int command_agent(struct cli *cli, struct args *args, struct err *err)
{
	const struct config *c = &cli->config;
	const struct places *p = &cli->places;
	struct agent_options options = agent_defaults;
	struct agent_run run = { .stop_on_exit = args_flag(args, "--stop-on-exit") != NULL };
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
	options.downloads = cli->places.downloads;
	options.allow_pull = c->allow_pull;
	options.limits.load_ms = c->load_timeout_s * 1000;
	options.limits.hang_ms = c->hang_s * 1000;
	options.limits.stop_ms = c->stop_timeout_s * 1000;
	daemon_init(&run.daemon, args, leave);
	run.agent = agent_start(run.daemon.loop, &options, on_end, &run, err);
	return daemon_run(&run.daemon, run.agent != NULL ? 0 : err->code);
}
