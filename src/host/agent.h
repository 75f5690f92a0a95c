/* SPDX-License-Identifier: MIT */
/*
 * The agent: the supervisor of one user's engines on one machine. It owns the sockets, the
 * controllers and their leases, the registry as last read, and one server (host/supervisor.h) per
 * model. It runs in the user's login session; engines are its shims' children and outlive it.
 *
 * Leaving: agent_leave(AGENT_KEEP) (SIGTERM: an upgrade, a logout) goes at once and leaves the
 * engines to their shims, which keep them for shim_lease_s and hand them to the next agent.
 * agent_leave(AGENT_STOP) (`shutdown`, Ctrl-C of `ronzal up`) stops every engine first.
 */
#ifndef HOST_AGENT_H
#define HOST_AGENT_H

#include "base/err.h"
#include "fetch/desk.h"
#include "host/fsm.h"
#include "io/loop.h"
#include "os/paths.h"

/* All text is borrowed for the agent's life. */
struct agent_options {
	const struct paths *paths;	 /* sockets and locks in run, history and copies in state */
	const char *version;		 /* of this program, for hello */
	const char *host_name;		 /* in every server's `host` */
	const char *registry_path;	 /* model_registry.json: hostile input */
	const char *const *model_roots;	 /* NULL-terminated; models must lie inside one of them */
	uint16_t port_min, port_max;	 /* engines' ports: the seed's 8080.. */
	const char *const *addresses;	 /* NULL-terminated, numeric: the first is advertised */
	const char *engine_path;	 /* llama-server; NULL: looked up in PATH */
	const char *const *engine_flags; /* NULL-terminated extra flags of host.conf, or NULL */
	const char *engine_library_path; /* LD_LIBRARY_PATH for engines; NULL: unset */
	const char *shim_path;		 /* ronzal-shim */
	uint64_t memory_budget_bytes; /* all engines together; 0: what the machine has available */
	uint32_t cache_ram_mib;	      /* prompt cache of an engine whose model does not say */
	uint32_t controller_lease_s;  /* after a controller is gone, what it started is stopped */
	uint32_t shim_lease_s;	      /* after the agent is gone */
	struct fsm_limits limits;
	struct puller_place downloads;
	bool allow_pull; /* to controllers; people on this machine need no leave */
};

/* The limits that no option of the command line sets. */
extern const struct agent_options agent_defaults;

struct agent;

/*
 * Takes the lock, adopts engines that still run, listens. NULL and ERR_BUSY naming the pid when
 * another agent runs; other errors say what to do. A broken registry or a missing engine is no
 * error: it becomes a state that everybody sees. on_end comes once, after agent_leave or
 * `shutdown` have done their work; then agent_close it.
 */
struct agent *agent_start(struct loop *loop, const struct agent_options *options,
			  void (*on_end)(void *user), void *user, struct err *err);

enum agent_leaving { AGENT_KEEP, AGENT_STOP };
void agent_leave(struct agent *a, enum agent_leaving how); /* STOP may follow KEEP, not undo it */

void agent_close(struct agent *a); /* NULL is fine; frees later; engines are left alone */

#endif
