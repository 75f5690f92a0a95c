/* SPDX-License-Identifier: MIT */
/*
 * The fleet: all models that there are and where each can be reached now. It joins the registry
 * (names, aliases, settings) with the servers that a link reports, and holds each running engine's
 * address and key. Everybody in the backend asks the fleet; nobody else talks to a link.
 *
 * Mode decides the links: native and "false" have one to the agent of this machine, "true" has one
 * to the Host API, "auto" has both, and choose.h (a pure function) decides which of them routes.
 * Losing a link is not losing its engines: their servers become UNKNOWN and keep their endpoints.
 */
#ifndef BACKEND_FLEET_H
#define BACKEND_FLEET_H

#include "base/list.h"
#include "http/feed.h"
#include "link/link.h"
#include "model/registry.h"

enum fleet_mode { FLEET_NATIVE, FLEET_CPU, FLEET_HOST, FLEET_AUTO };

/* All text is borrowed for the fleet's life. */
struct fleet_options {
	enum fleet_mode mode;
	const char *registry_path;
	uint16_t port_min, port_max;
	const char *agent_socket;    /* NATIVE, CPU, AUTO */
	const char *host_api_url;    /* HOST, AUTO */
	const char *host_api_secret; /* ... */
	const char *engine_host;     /* HOST, AUTO: name under which engines are reached */
	uint32_t lease_ms;	     /* AUTO: the host keeps our servers that long without us */
	uint32_t drain_ms, stop_ms;
};

struct fleet;

/*
 * One model. `server.phase` is STOPPED while nobody reported it, and DRAINING from the moment that
 * a stop was asked for. Owned by the fleet; a removed one is gone from fleet_find at once, and
 * freed when active and queued are 0.
 */
struct fleet_model {
	struct list link;     /* in the fleet's order: the registry's */
	struct server server; /* as last reported */
	bool has_endpoint;    /* address, port and key are those of the running start */
	char address[64];     /* host name or numeric */
	uint16_t port;
	char key[WIRE_KEY_MAX_BYTES];
	bool restart_needed; /* settings changed since the start */
	bool is_draining;    /* a stop was asked for: take it out of the routes */
	uint32_t active;     /* requests running on it: the gateway counts */
	uint32_t queued;     /* requests that wait for it: the queue counts */
	struct topic topic;  /* of the events that tell of it */
	double tokens;	     /* in this second: events counts */
	bool was_busy;	     /* in the last one: events notes it */
};

/* Told of every change; any number may listen. Each may be NULL. */
struct fleet_listener {
	struct list link;
	void (*on_model)(struct fleet_listener *l, struct fleet_model *m);
	void (*on_removed)(struct fleet_listener *l, const char *id);
	void (*on_progress)(struct fleet_listener *l, const char *id, float fraction,
			    int32_t eta_ms);
	void (*on_registry)(struct fleet_listener *l); /* the file changed */
	void (*on_host)(struct fleet_listener *l);     /* host, link or fallback changed */
	void (*on_log)(struct fleet_listener *l, const char *id, struct span line,
		       uint64_t dropped);
};

struct fleet *fleet_create(struct loop *loop, const struct fleet_options *options, struct err *err);
void fleet_close(struct fleet *f);
void fleet_listen(struct fleet *f, struct fleet_listener *l);

const struct list *fleet_models(const struct fleet *f); /* struct fleet_model by .link */
#define FLEET_EACH(m, f) LIST_EACH (struct fleet_model, m, link, fleet_models(f))
struct fleet_model *fleet_find(const struct fleet *f, struct span id_or_alias);
const struct registry *fleet_registry(const struct fleet *f);
/* Why the registry's file as a whole cannot be used (the last good one is kept); code 0: it can. */
const struct err *fleet_registry_error(const struct fleet *f);
const struct host_info *
fleet_host(const struct fleet *f); /* of the link that routes; zeroed first */

bool fleet_is_on_host(const struct fleet *f); /* engines run there, not on this machine */

enum fleet_link { FLEET_CONNECTING, FLEET_UP, FLEET_DOWN, FLEET_BUSY };
struct fleet_state {
	enum fleet_link link; /* AUTO: the host's */
	int64_t since_unix_ms;
	bool is_fallback;      /* AUTO: the CPU answers in place of the host */
	const struct err *why; /* code 0: it is up */
};
struct fleet_state fleet_state(const struct fleet *f);

/* Code 0 when servers can be started and stopped; else why not, with what to check. */
const struct err *fleet_link_error(const struct fleet *f);

/*
 * Start, stop or restart of one model (or none: all enabled, or all that run). A stop first takes
 * it out of the routes (is_draining), waits until `active` is 0 or drain_ms is over, and then asks
 * the agent. on_reply exactly once. Logs as link_follow_logs.
 */
void fleet_ask(struct fleet *f, const struct wire_request *request, link_reply_fn *on_reply,
	       void *user);
void fleet_follow_logs(struct fleet *f, const char *const *ids, size_t count, uint32_t tail);

/* The gateway, when a request has left a model: lets a drain notice. */
void fleet_request_ended(struct fleet *f, struct fleet_model *m);

/*
 * Changes the registry's file, one change at a time: change(user, registry) runs on another thread
 * under the file's lock and touches nothing that the loop may; on_done from the loop, once, when
 * the fleet has the change, or with what was wrong.
 */
typedef int fleet_edit_fn(void *user, struct registry *r, struct err *err);
typedef void fleet_edited_fn(void *user, const struct err *err);
void fleet_edit(struct fleet *f, fleet_edit_fn *change, fleet_edited_fn *on_done, void *user);

#endif
