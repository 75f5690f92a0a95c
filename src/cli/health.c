/* SPDX-License-Identifier: MIT */
/*
 * `ronzal health backend|frontend|hostapi`: whether that part answers on this machine; for the
 * health checks of containers, which have neither shell nor curl.
 */

#include "cli/health.h"
#include "base/mem.h"
#include "cli/cli.h"

#define HEALTH_MS 3000

struct health {
	struct loop *loop;
	struct client *client;
	const struct client_address *to;
	struct buf *body; /* NULL: not wanted */
	struct err err;
};

static void on_reply(void *user, const struct client_reply *reply)
{
	struct health *h = user;

	if (reply->err.code != 0) {
		h->err = reply->err;
	} else if (reply->status != 200) {
		err_set(&h->err, ERR_UNAVAILABLE, "/health on port %u answered %d", h->to->port,
			reply->status);
	} else if (h->body != NULL) {
		buf_add_span(h->body, reply->body);
	}
	loop_stop(h->loop);
}

static int part_port(const struct config *c, const char *part, uint16_t *ret_port, struct err *err)
{
	const struct {
		const char *name;
		uint32_t port;
	} parts[] = { { "backend", c->backend_port },
		      { "frontend", c->frontend_port },
		      { "hostapi", c->hostapi_port } };

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (strcmp(part, parts[i].name) == 0) {
			*ret_port = (uint16_t)parts[i].port;
			return 0;
		}
	}
	return err_set(err, ERR_NOT_FOUND, "'%s' is not backend, frontend or hostapi", part);
}

int health_ask(const struct client_address *to, struct buf *body, struct err *err)
{
	struct health h = { .loop = loop_create(), .to = to, .body = body };

	h.client = client_create(h.loop);
	client_fetch(h.client,
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
	client_close(h.client);
	loop_destroy(h.loop);
	return h.err.code == 0 ? 0 : err_set(err, h.err.code, "%s", h.err.text);
}

int command_health(struct cli *cli, struct args *args, struct err *err)
{
	struct client_address to = { .host = "127.0.0.1" };
	int status = part_port(&cli->config, args->items[0], &to.port, err);

	return status != 0 ? status : health_ask(&to, NULL, err);
}
