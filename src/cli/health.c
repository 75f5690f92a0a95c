/* SPDX-License-Identifier: MIT */
/*
 * `ronzal health backend|frontend|hostapi`: whether that part answers on this machine; for the
 * health checks of containers, which have neither shell nor curl.
 */
#include "cli/health.h"

#include "cli/cli.h"

#define HEALTH_MS 3000

struct health {
	struct loop *loop;
	struct buf *body; /* NULL: not wanted */
	int status;
	struct err err;
};

static void on_reply(void *user, const struct client_reply *reply)
{
	struct health *h = user;

	h->err = reply->err;
	h->status = reply->status;
	if (h->status == 200 && h->body != NULL) {
		buf_add_span(h->body, reply->body);
	}
	loop_stop(h->loop);
}

int health_ask(const struct client_address *to, struct buf *body, struct err *err)
{
	struct health h = { .loop = loop_create(), .body = body };
	struct client *client = client_create(h.loop);

	client_fetch(client,
		     &(struct client_options){
			     .to = *to,
			     .method = H1_GET,
			     .target = SPAN_LIT("/health"),
			     .connect_ms = HEALTH_MS,
			     .first_byte_ms = HEALTH_MS,
			     .idle_ms = HEALTH_MS,
		     },
		     HEALTH_BODY_MAX_BYTES, on_reply, &h);
	loop_run(h.loop);
	client_close(client);
	loop_destroy(h.loop);
	return h.err.code != 0	 ? err_set(err, h.err.code, "%s", h.err.text)
	       : h.status != 200 ? err_set(err, ERR_UNAVAILABLE, "/health on port %u answered %d",
					   to->port, h.status)
				 : 0;
}

int command_health(struct cli *cli, struct args *args, struct err *err)
{
	const struct config *c = &cli->config;
	const char *part = args->items[0];
	uint32_t port = strcmp(part, "backend") == 0	? c->backend_port
			: strcmp(part, "frontend") == 0 ? c->frontend_port
			: strcmp(part, "hostapi") == 0	? c->hostapi_port
							: 0;
	struct client_address to = { .host = "127.0.0.1", .port = (uint16_t)port };

	if (port == 0) {
		return err_set(err, ERR_NOT_FOUND, "'%s' is not backend, frontend or hostapi",
			       part);
	}
	return health_ask(&to, NULL, err);
}
