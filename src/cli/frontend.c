/* SPDX-License-Identifier: MIT */
/*
 * `ronzal frontend`: fills the page server's options from ours and runs it until SIGTERM or SIGINT.
 */
#include "frontend/frontend.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret_file.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "link/hostapi.h"

struct frontend_run {
	struct daemon daemon;
	struct frontend *frontend;
};

static void leave(struct daemon *d)
{
	frontend_close(CONTAINER_OF(d, struct frontend_run, daemon)->frontend);
	daemon_left(d);
}

/* Where the backend is: backend_url, else this machine. */
static int find_backend(const struct config *c, char **ret_host, uint16_t *ret_port,
			struct err *err)
{
	if (c->backend_url[0] == '\0') {
		*ret_host = mem_strdup("127.0.0.1");
		*ret_port = (uint16_t)c->backend_port;
		return 0;
	}
	if (hostapi_url_parse(c->backend_url, ret_host, ret_port, NULL) != 0) {
		return err_set(err, ERR_INVALID,
			       "backend_url is '%s': not of the form "
			       "http://NAME:PORT",
			       c->backend_url);
	}
	return 0;
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
	struct frontend_run run = { .frontend = NULL };
	char *backend_host = NULL;
	int status = find_backend(c, &backend_host, &options.backend_port, err);

	options.backend_host = backend_host;
	if (status == 0) {
		status = secret_file_load(p->token, token, err);
	}
	if (status == 0) {
		daemon_init(&run.daemon, args, leave);
		run.frontend = frontend_start(run.daemon.loop, &options, err);
		if (run.frontend != NULL) {
			log_info("the page is at http://%s:%u", options.address, options.port);
		}
		status = daemon_run(&run.daemon, run.frontend != NULL ? 0 : err->code);
	}
	free(backend_host);
	return status;
}
