/* SPDX-License-Identifier: MIT */
#include "frontend/frontend.h"

#include <stdlib.h>

#include "base/mem.h"
#include "http/files.h"
#include "http/proxy.h"

/* An event stream may rest between two heartbeats; the backend's come every 15 s. */
#define FRONTEND_IDLE_MS 600000

struct frontend {
	struct frontend_options options;
	struct http_server *server;
	struct client *client;
	struct files *files;
	char *authorization;
};

static const struct h1_field page_fields[] = {
	{ SPAN_INIT("Content-Security-Policy"),
	  SPAN_INIT("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
		    "connect-src 'self'; base-uri 'none'; form-action 'none'; "
		    "frame-ancestors 'none'; require-trusted-types-for 'script'; "
		    "trusted-types 'none'") },
	{ SPAN_INIT("X-Content-Type-Options"), SPAN_INIT("nosniff") },
	{ SPAN_INIT("Referrer-Policy"), SPAN_INIT("no-referrer") },
};

static const struct h1_field reply_fields[] = {
	{ SPAN_INIT("X-Content-Type-Options"), SPAN_INIT("nosniff") },
};

static bool is_for_backend(const char *path)
{
	return strncmp(path, "/api/", 5) == 0 || strncmp(path, "/v1/", 4) == 0;
}

static void pass_on(struct frontend *f, struct exchange *x)
{
	static const struct span pass[] = { SPAN_INIT("Accept"), SPAN_INIT("Content-Type"),
					    SPAN_INIT("User-Agent"),
					    SPAN_INIT("anthropic-version") };
	struct h1_field field = { SPAN_LIT("Authorization"), span_of(f->authorization) };
	struct proxy_options options = {
		.client = f->client,
		.request = { .to = { .host = f->options.backend_host,
				     .port = f->options.backend_port },
			     .target = exchange_request(x)->target,
			     .fields = &field,
			     .field_count = 1,
			     .first_byte_ms = f->options.first_byte_ms,
			     .idle_ms = FRONTEND_IDLE_MS },
		.pass = pass,
		.pass_count = ARRAY_LEN(pass),
		.stream_body = true,
		.body_max_bytes = f->options.body_max_bytes,
		.reply_fields = reply_fields,
		.reply_field_count = ARRAY_LEN(reply_fields),
	};

	proxy_start(x, &options);
}

static void on_request(void *user, struct exchange *x)
{
	struct frontend *f = user;
	const char *path = exchange_request(x)->path;

	if (is_for_backend(path)) {
		pass_on(f, x);
	} else if (strcmp(path, "/health") == 0) {
		exchange_reply_json(x, 200, SPAN_LIT("{\"status\":\"ok\"}"));
	} else {
		files_serve(f->files, x);
	}
}

struct frontend *frontend_start(struct loop *loop, const struct frontend_options *options,
				struct err *err)
{
	struct frontend *f = mem_alloc(sizeof(*f));
	struct files_options files = { .folder = options->web_root,
				       .fall_back_to_index = true,
				       .fields = page_fields,
				       .field_count = ARRAY_LEN(page_fields) };
	struct http_server_options server = {
		.listener = { .address = options->address,
			      .port = options->port,
			      .conns_max = options->conns_max },
		.hosts = options->hosts,
		.origins = options->origins,
		.on_request = on_request,
		.user = f,
	};

	f->options = *options;
	f->authorization = mem_printf("Bearer %s", options->token);
	f->client = client_create(loop);
	f->files = files_load(&files, err);
	if (f->files != NULL) {
		f->server = http_server_start(loop, &server, err);
	}
	if (f->server == NULL) {
		frontend_close(f);
		return NULL;
	}
	return f;
}

void frontend_close(struct frontend *f)
{
	if (f == NULL) {
		return;
	}
	http_server_close(f->server);
	client_close(f->client);
	files_destroy(f->files);
	free(f->authorization);
	free(f);
}
