/* SPDX-License-Identifier: MIT */
/*
 * `ronzal frontend`: fills the page server's options from ours and runs it until SIGTERM or SIGINT.
 */
#include "frontend/frontend.h"

#include <signal.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret_file.h"
#include "cli/cli.h"
#include "link/hostapi.h"

struct frontend_run {
	struct frontend *frontend;
	struct loop_signal *signals[2];
};

static void on_signal(void *user)
{
	struct frontend_run *run = user;

	frontend_close(run->frontend);
	for (size_t i = 0; i < ARRAY_LEN(run->signals); i++) {
		loop_signal_close(run->signals[i]);
	}
}

static int run_frontend(const struct frontend_options *options, struct err *err)
{
	struct loop *loop = loop_create();
	struct frontend_run run = { .frontend = frontend_start(loop, options, err) };
	int status = run.frontend != NULL ? 0 : err->code;

	if (status == 0) {
		log_info("the page is at http://%s:%u", options->address,
			 frontend_port(run.frontend));
		run.signals[0] = loop_signal_start(loop, SIGTERM, on_signal, &run);
		run.signals[1] = loop_signal_start(loop, SIGINT, on_signal, &run);
	}
	loop_run(loop);
	loop_destroy(loop);
	return status;
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
	char token[SECRET_TEXT_BYTES];
	char *token_path = cli_token_path(cli);
	char **hosts = cli_allowed_hosts(cli);
	char **origins = cli_list(c->allowed_origins, ',');
	char *backend_host = NULL;
	uint16_t backend_port = 0;
	int status = args_check(args, 0, 0, err);

	if (status == 0) {
		status = find_backend(c, &backend_host, &backend_port, err);
	}
	if (status == 0) {
		status = secret_file_load(token_path, token, err);
	}
	if (status == 0) {
		struct frontend_options options = {
			.address = c->listen,
			.port = (uint16_t)c->frontend_port,
			.hosts = (const char *const *)hosts,
			.origins = (const char *const *)origins,
			.web_root = cli_web_root(cli),
			.backend_host = backend_host,
			.backend_port = backend_port,
			.token = token,
			.first_byte_ms = c->first_token_timeout_s * 1000,
			.body_max_bytes = (uint64_t)c->body_max_mib << 20,
			.conns_max = (int)c->conns_max,
		};

		status = run_frontend(&options, err);
	}
	free(backend_host);
	cli_list_free(origins);
	cli_list_free(hosts);
	free(token_path);
	return status;
}
