/* SPDX-License-Identifier: MIT */
/*
 * What the agent's parts share: agent.c (life, servers, engine), agent_requests.c (controllers and
 * what they ask for), orders.c, session.c, catalog.c, and supervisor.c with plan.c, keeper.c and
 * prober.c. Nobody else includes this.
 */
#ifndef HOST_AGENT_INSIDE_H
#define HOST_AGENT_INSIDE_H

#include "engine/probe.h"
#include "host/agent.h"
#include "host/catalog.h"
#include "host/orders.h"
#include "host/scout.h"
#include "host/session.h"
#include "host/supervisor.h"
#include "host/vigil.h"
#include "http/client.h"
#include "io/timer.h"
#include "os/awake.h"

#define AGENT_RESERVE_PART 20 /* of main memory, 1/20 is never given to engines */

#define AGENT_STOP_DRAIN_MS 3000 /* one-shot stop, end of a lease, agent_leave(AGENT_STOP) */

struct lease {
	char controller[WIRE_CONTROLLER_MAX_BYTES]; /* "": free */
	struct session *session;		    /* NULL: orphaned */
	struct timer timer;
};

struct door {
	struct agent *agent;
	struct listener *listener;
	bool is_restricted;
};

/* What is known of llama-server, as last asked. */
struct engine {
	bool is_known; /* false while it is being asked */
	struct fs_stamp stamp;
	struct engine_abilities abilities;
	struct err err;
	char path[FS_PATH_MAX_BYTES];
	struct scout *scout; /* asks it, and then: */
	struct fs_stamp scouted;
	uint64_t claims_bytes; /* of devices, by engines that ran when it was asked */
};

struct agent {
	struct loop *loop;
	struct agent_options options;
	char **engine_env;
	struct client *http;
	int lock_fd;
	struct door doors[2]; /* the user's, the restricted one */
	struct list sessions, orders;
	struct supervisor **servers;
	size_t server_count;
	struct catalog *catalog;
	struct json *history; /* of each model, as the agent before left it */
	struct engine engine;
	struct lease lease;
	struct desk *desk; /* downloads */
	struct awake_tool awake;
	struct vigil vigil;
	struct timer sweep, measure, history_timer, adopt_timer;
	bool is_open;		       /* sessions are served */
	bool leaving, stopping, ended; /* stopping: engines go first */
	void (*on_end)(void *user);
	void *user;
};

/* The servers that a request names, each maybe NULL; without ids all. */
size_t agent_meant_count(const struct agent *a, const struct wire_request *r);
struct supervisor *agent_meant(const struct agent *a, const struct wire_request *r, size_t i);

/*
 * From the catalog: the read with that ticket, and all before it, is done. The former registry is
 * freed after this returns: point to the new one.
 */
void agent_on_registry(struct agent *a, uint64_t ticket);

/* From supervisors */
void agent_on_change(struct agent *a, struct supervisor *server);
void agent_on_log(struct agent *a, struct supervisor *server, struct span line, uint64_t dropped);
void agent_on_history(struct agent *a);
/* The program there is not the one that is known: ask it, then call supervisor_engine_known. */
void agent_ask_engine(struct agent *a, const char *path, const struct fs_stamp *stamp);
/* Whether the model fits beside what runs, `who` left out. */
void agent_admit(const struct agent *a, const struct supervisor *who,
		 const struct memory_model *model, const struct memory *now,
		 struct memory_decision *ret_decision);

/* From sessions */
/* What it keeps of the request it takes over by emptying it. */
void agent_on_request(struct agent *a, struct session *s, struct wire_request *r);
/* The peer is gone, silent, or broke the protocol: closes the session. */
void agent_on_session_end(struct agent *a, struct session *s);
void agent_fill_host(const struct agent *a, struct host_info *h);

void agent_lease_init(struct agent *a);
/* The controller is away: its lease begins to run. */
void agent_orphan_lease(struct agent *a, const char *controller);

#endif
