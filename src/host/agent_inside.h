/* SPDX-License-Identifier: MIT */
/*
 * What agent.c (life, servers, engine) and agent_requests.c (controllers and what they ask for)
 * share. Nobody else includes this.
 */
#ifndef HOST_AGENT_INSIDE_H
#define HOST_AGENT_INSIDE_H

#include "host/agent.h"
#include "host/catalog.h"
#include "host/orders.h"
#include "host/scout.h"
#include "host/session.h"
#include "host/supervisor.h"
#include "host/vigil.h"
#include "io/timer.h"
#include "os/awake.h"

#define AGENT_RESERVE_PART 20 /* of main memory, 1/20 is never given to engines */

#define AGENT_STOP_DRAIN_MS 3000 /* one-shot stop, end of a lease, agent_leave(AGENT_STOP) */

struct lease {
	char controller[WIRE_CONTROLLER_MAX_BYTES]; /* "": free */
	struct session *session;		    /* NULL: orphaned */
	struct timer timer;
};

struct agent {
	struct loop *loop;
	struct agent_options options;
	struct supervisor_shared shared;
	char **engine_env;
	int lock_fd;
	struct listener *listeners[2]; /* the user's, the restricted one */
	struct list sessions, orders;
	struct supervisor **servers;
	size_t server_count;
	struct catalog *catalog;
	char *copy_path, *history_path;
	struct scout *scout;
	char engine_path[FS_PATH_MAX_BYTES];
	struct engine_stamp scouted;
	uint64_t scouted_claims_bytes; /* of devices, by engines that ran when it was asked */
	struct lease lease;
	struct desk *desk; /* downloads */
	uint64_t generation;
	struct awake_tool awake;
	struct vigil vigil;
	struct timer sweep, measure, history_timer, adopt_timer;
	bool is_open;		       /* sessions are served */
	bool leaving, stopping, ended; /* stopping: engines go first */
	void (*on_end)(void *user);
	void *user;
};

struct supervisor *agent_find_server(const struct agent *a, const char *id); /* NULL: none */

/* The registry was read: orders with that ticket or an older one are granted. */
void agent_grant(struct agent *a, uint64_t ticket);

void agent_lease_init(struct agent *a);
/* The controller is away: its lease begins to run. */
void agent_orphan_lease(struct agent *a, const char *controller);

extern const struct session_callbacks agent_session_callbacks;

#endif
