/* SPDX-License-Identifier: MIT */
/*
 * `ronzal hostapi`: fills the Host API's options from ours and runs it until SIGTERM or SIGINT,
 * which stop the host's servers first; a second one leaves at once.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret_file.h"
#include "cli/cli.h"
#include "hostapi/hostapi.h"

#define CONTROLLER_MAX_BYTES 40

struct hostapi_run {
	struct loop *loop;
	struct hostapi *hostapi;
	struct loop_signal *signals[2];
	bool leaving;
};

static void on_end(void *user)
{
	struct hostapi_run *run = user;

	hostapi_close(run->hostapi);
	for (size_t i = 0; i < ARRAY_LEN(run->signals); i++) {
		loop_signal_close(run->signals[i]);
	}
}

static void on_signal(void *user)
{
	struct hostapi_run *run = user;

	if (run->leaving) {
		on_end(run);
		return;
	}
	run->leaving = true;
	log_info("stopping the host's servers");
	hostapi_leave(run->hostapi, on_end, run);
}

static int run_hostapi(const struct hostapi_options *options, struct err *err)
{
	struct hostapi_run run = { .loop = loop_create() };
	int status = 0;

	run.hostapi = hostapi_start(run.loop, options, err);
	if (run.hostapi == NULL) {
		status = err->code;
	} else {
		log_info("listening on %s:%u", options->address, hostapi_port(run.hostapi));
		run.signals[0] = loop_signal_start(run.loop, SIGTERM, on_signal, &run);
		run.signals[1] = loop_signal_start(run.loop, SIGINT, on_signal, &run);
	}
	loop_run(run.loop);
	loop_destroy(run.loop);
	return status;
}

/*
 * The same for every life of this Host API, so that it finds its servers again; it lives where the
 * secret does, which is its own.
 */
static void name_controller(const char *secret, char name[CONTROLLER_MAX_BYTES])
{
	char hex[DIGEST_HEX_BYTES];

	digest_hex_of(span_of(secret), hex);
	snprintf(name, CONTROLLER_MAX_BYTES, "host-api-%.16s", hex);
}

int command_hostapi(struct cli *cli, struct args *args, struct err *err)
{
	const struct config *c = &cli->config;
	char secret[SECRET_TEXT_BYTES], controller[CONTROLLER_MAX_BYTES];
	char *secret_path = c->host_api_secret_file[0] != '\0'
				    ? mem_strdup(c->host_api_secret_file)
				    : fs_join(cli->paths.state, "host-api.secret");
	char *ssh_config = c->ssh_config[0] != '\0' ? mem_strdup(c->ssh_config)
						    : fs_join(cli->paths.config, "ssh/config");
	char **hosts = cli_allowed_hosts(cli);
	int status = args_check(args, 0, 0, err);

	if (status == 0) {
		status = secret_file_load(secret_path, secret, err);
	}
	if (status == 0) {
		name_controller(secret, controller);
		status = run_hostapi(
			&(struct hostapi_options){
				.address = c->listen,
				.port = (uint16_t)c->hostapi_port,
				.hosts = (const char *const *)hosts,
				.secret = secret,
				.drain_ms = c->drain_s * 1000,
				.ssh = { .program = "ssh",
					 .config = ssh_config,
					 .host = c->ssh_host,
					 .controller = controller,
					 .who = "host-api" },
			},
			err);
	}
	cli_list_free(hosts);
	free(ssh_config);
	free(secret_path);
	return status;
}
