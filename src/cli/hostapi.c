/* SPDX-License-Identifier: MIT */
/*
 * `ronzal hostapi`: fills the Host API's options from ours and runs it until SIGTERM or SIGINT,
 * which stop the host's servers first; a second one leaves at once.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret_file.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "hostapi/hostapi.h"

#define CONTROLLER_MAX_BYTES 40

struct hostapi_run {
	struct daemon daemon;
	struct hostapi *hostapi;
	bool is_leaving;
};

static void on_end(void *user)
{
	struct hostapi_run *run = user;

	hostapi_close(run->hostapi);
	daemon_left(&run->daemon);
}

static void leave(struct daemon *d)
{
	struct hostapi_run *run = CONTAINER_OF(d, struct hostapi_run, daemon);

	if (run->is_leaving) {
		on_end(run);
		return;
	}
	run->is_leaving = true;
	log_info("stopping the host's servers");
	hostapi_leave(run->hostapi, on_end, run);
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
	struct hostapi_run run = { .is_leaving = false };

	daemon_init(&run.daemon, args, leave);
	run.hostapi = hostapi_start(run.daemon.loop, &options, err);
	if (run.hostapi != NULL) {
		log_info("listening on %s:%u", options.address, options.port);
	}
	return daemon_run(&run.daemon, run.hostapi != NULL ? 0 : err->code);
}
