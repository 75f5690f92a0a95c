/* SPDX-License-Identifier: MIT */
#include "backend/backend_core.h"

#include <stdlib.h>

#include "backend/events.h"
#include "backend/manage.h"
#include "backend/metrics.h"
#include "backend/pulls.h"
#include "backend/usage.h"
#include "base/mem.h"

#define BACKEND_LEAVE_TICK_MS 50

static void on_account(void *user, const struct account *a)
{
	struct backend *b = user;

	metrics_account(b->metrics, a);
	usage_account(b->usage, a);
	events_account(b->events, a);
}

static void on_gap(void *user, const char *model, uint64_t gap_us)
{
	struct backend *b = user;

	metrics_gap(b->metrics, model, gap_us);
	events_gap(b->events, model);
}

static void on_model(struct fleet_listener *l, struct fleet_model *m)
{
	usage_server(CONTAINER_OF(l, struct backend, starts)->usage, &m->server);
}

static void on_request(void *user, struct exchange *x)
{
	struct backend *b = user;

	if (manage_has_path(exchange_request(x)->path)) {
		manage_handle(b->manage, x);
	} else {
		gateway_handle(b->gateway, x);
	}
}

static void write_error(void *user, const struct request *request, const struct err *why,
			struct buf *out)
{
	(void)user;
	if (request != NULL && manage_has_path(request->path)) {
		manage_write_error(why, out);
	} else {
		gateway_write_error(request, why, out);
	}
}

/* Leaving */

static void on_leave_tick(struct timer *t)
{
	struct backend *b = CONTAINER_OF(t, struct backend, leaving);

	if (gateway_active(b->gateway) > 0 && loop_now_ms(b->loop) >= b->leave_by_ms) {
		gateway_stop(b->gateway,
			     &(struct err){ ERR_UNAVAILABLE, "the gateway is stopping" });
	}
	if (gateway_active(b->gateway) > 0) {
		timer_start(&b->leaving, BACKEND_LEAVE_TICK_MS);
		return;
	}
	b->on_end(b->user);
}

void backend_leave(struct backend *b, void (*on_end)(void *user), void *user)
{
	b->on_end = on_end;
	b->user = user;
	b->leave_by_ms = loop_now_ms(b->loop) + b->options.fleet.drain_ms;
	events_end(b->events);
	manage_end(b->manage);
	http_server_drain(b->server);
	timer_start(&b->leaving, 0);
}

/* Life */

static struct gateway *make_gateway(struct backend *b)
{
	struct gateway_options o = b->options.gateway;

	b->sink = (struct account_sink){ on_account, on_gap, b };
	o.loop = b->loop;
	o.fleet = b->fleet;
	o.keys = &b->keys;
	o.sink = &b->sink;
	o.first_id = usage_next_id(b->usage);
	return gateway_create(&o);
}

static struct http_server *make_server(struct backend *b, struct err *err)
{
	struct http_server_options o = b->options.http;

	o.on_request = on_request;
	o.write_error = write_error;
	o.user = b;
	return http_server_start(b->loop, &o, err);
}

struct backend *backend_start(struct loop *loop, const struct backend_options *options,
			      struct err *err)
{
	struct backend *b = mem_alloc(sizeof(*b));

	b->loop = loop;
	b->options = *options;
	timer_init(&b->leaving, loop, on_leave_tick);
	if (keys_open(&b->keys, options->keys_folder, err) != 0) {
		free(b);
		return NULL;
	}
	b->fleet = fleet_create(loop, &b->options.fleet, err);
	if (b->fleet == NULL) {
		backend_close(b);
		return NULL;
	}
	b->usage = usage_open(loop, options->usage_path);
	b->metrics = metrics_create(loop, b->fleet, b->usage);
	b->starts.on_model = on_model;
	fleet_listen(b->fleet, &b->starts);
	b->pulls = pulls_create(b);
	b->events = events_create(b);
	b->gateway = make_gateway(b);
	b->manage = manage_create(b);
	b->server = make_server(b, err);
	if (b->server == NULL) {
		backend_close(b);
		return NULL;
	}
	return b;
}

void backend_close(struct backend *b)
{
	if (b == NULL) {
		return;
	}
	timer_stop(&b->leaving);
	events_end(b->events);
	manage_end(b->manage);
	http_server_close(b->server);
	gateway_close(b->gateway);
	manage_close(b->manage);
	pulls_close(b->pulls);
	events_close(b->events);
	metrics_close(b->metrics);
	usage_close(b->usage);
	fleet_close(b->fleet);
	keys_close(&b->keys);
	free(b);
}
