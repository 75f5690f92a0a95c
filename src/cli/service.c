/* SPDX-License-Identifier: MIT */
/*
 * `ronzal service install|uninstall|status`: keeps the agent running for this user, by what the
 * system has for that: a systemd user unit, a LaunchAgent, or just a background process. Installing
 * again replaces the program under running models: the old agent goes, the new one adopts them.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/daemon.h"
#include "cli/service_text.h"
#include "cli/term.h"
#include "cli/visit.h"
#include "io/errand.h"
#include "os/peer.h"
#include "os/proc.h"
#include "os/service.h"

#define WAIT_STEP_MS 50
#define WATCHED_STEP_MS 5 /* it ends right now */
#define WAIT_STEPS 200	  /* 10 s for an agent to come or to go */
#define BOOTSTRAP_TRIES 8
#define BOOTSTRAP_PAUSE_MS 500
#define TOOL_MAX_MS 60000
#define TEXT_MAX_BYTES 65536

static const struct {
	const char *name;
	void (*write)(const struct service_place *p, struct buf *out); /* its file */
} managers[] = {
	[SERVICE_NONE] = { "a background process", NULL },
	[SERVICE_SYSTEMD] = { "the systemd user unit " SERVICE_UNIT, service_systemd_unit },
	[SERVICE_LAUNCHD] = { "the LaunchAgent " SERVICE_LABEL, service_launchd_plist },
};

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

/* The process that answers at the agent's socket, or pid 0. */
struct proc service_agent(const struct cli *cli)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct proc agent = { .pid = 0 };
	struct peer peer;

	span_copy(span_of(cli->places.agent_socket), address.sun_path, sizeof(address.sun_path));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    peer_of(fd, &peer) == 0 && peer.pid > 0) {
		proc_identify(peer.pid, &agent);
	}
	if (fd >= 0) {
		close(fd);
	}
	return agent;
}

int service_await_end(const struct cli *cli, struct proc agent, struct err *err)
{
	struct pollfd end = { .fd = proc_watch(agent), .events = POLLIN }; /* none: just the naps */

	for (int i = 0; i < WAIT_STEPS && proc_is_alive(agent); i++) {
		if (poll(&end, 1, WAIT_STEP_MS) > 0) {
			nap(WATCHED_STEP_MS);
		}
	}
	if (end.fd >= 0) {
		close(end.fd);
	}
	return proc_is_alive(agent)
		       ? err_set(err, ERR_TIMEOUT, "the agent (pid %ld) does not end: see %s",
				 (long)agent.pid, cli->places.agent_log)
		       : 0;
}

/* Ends the agent; its models live on with their shims. */
static int end_agent(const struct cli *cli, struct proc agent, struct err *err)
{
	return agent.pid == 0 || proc_signal(agent, SIGTERM) != 0
		       ? 0
		       : service_await_end(cli, agent, err);
}

int service_await_agent(const struct cli *cli, struct proc *ret_agent, struct err *err)
{
	for (int i = 0; i < WAIT_STEPS; i++) {
		*ret_agent = service_agent(cli);
		if (ret_agent->pid != 0) {
			return 0;
		}
		nap(WAIT_STEP_MS);
	}
	return err_set(err, ERR_NO_AGENT, "the agent did not come up. Why: %s",
		       cli->places.agent_log);
}

/* Runs a tool of the system: its exit status, with what it said in err; or a negative code. */
static int run_tool(const char *const *argv, struct err *err)
{
	struct buf text;
	int status = errand_run(&(struct errand_options){ .argv = argv,
							  .with_stderr = true,
							  .text_max_bytes = ERR_TEXT_MAX_BYTES / 2,
							  .limit_ms = TOOL_MAX_MS },
				&text, err);

	if (status > 0) {
		err_set(err, ERR_IO, "%s %s failed (%d): %.*s", argv[0], argv[1], status,
			SPAN_ARG(span_trim(buf_span(&text))));
	}
	buf_finish(&text);
	return status;
}

static int spawn_agent(const struct cli *cli, struct err *err)
{
	const char *const argv[] = { cli->places.program, "agent", NULL };
	struct child_options options = { .argv = argv, .stdio = { CHILD_NULL } };
	struct loop *loop = loop_create();
	struct child *child = daemon_start(loop, &options, cli->places.agent_log, err);
	int status = child != NULL ? 0 : err->code;

	child_close(child);
	loop_destroy(loop);
	return status;
}

/* NULL for a background process. */
static const char *manager_file(const struct cli *cli, enum service_manager manager)
{
	return manager == SERVICE_SYSTEMD   ? cli->places.systemd_unit
	       : manager == SERVICE_LAUNCHD ? cli->places.launch_agent
					    : NULL;
}

static enum service_manager installed_manager(const struct cli *cli)
{
	enum service_manager manager = service_manager();
	const char *file = manager_file(cli, manager);

	return file != NULL && fs_is_file(file) ? manager : SERVICE_NONE;
}

static int write_file(const struct cli *cli, enum service_manager manager, const char *path,
		      struct err *err)
{
	struct service_place place = { .program = cli->places.program,
				       .log = cli->places.agent_log,
				       .ronzal_home = getenv("RONZAL_HOME") };
	char *folder = mem_spandup((struct span){ path, (size_t)(strrchr(path, '/') - path) });
	struct buf text;
	int status = fs_mkdirs(folder, 0700, err);

	buf_init(&text, TEXT_MAX_BYTES);
	managers[manager].write(&place, &text);
	status = status != 0 ? status : fs_replace(path, buf_span(&text), 0644, err);
	buf_finish(&text);
	free(folder);
	return status;
}

static int systemctl(const char *verb, const char *unit, struct err *err)
{
	const char *const argv[] = { "systemctl", "--user", verb, unit, NULL };
	int status = run_tool(argv, err);

	return status > 0 ? ERR_IO : status;
}

static int launchctl(const char *verb, const char *target, const char *file, struct err *err)
{
	const char *const argv[] = { "launchctl", verb, target, file, NULL };

	return run_tool(argv, err);
}

static struct words launchd_target(void)
{
	return term_words("gui/%ld/" SERVICE_LABEL, (long)getuid());
}

/* A job that was just taken out may still be on its way out: bootstrap is refused until then. */
static int bootstrap(const char *file, struct err *err)
{
	struct words domain = term_words("gui/%ld", (long)getuid());
	int status = launchctl("enable", launchd_target().text, NULL, err);

	for (int i = 0; status >= 0 && i < BOOTSTRAP_TRIES; i++) {
		status = launchctl("bootstrap", domain.text, file, err);
		if (!service_launchd_is_passing(status)) {
			break;
		}
		nap(BOOTSTRAP_PAUSE_MS);
	}
	return status > 0 ? service_launchd_explain(status, service_has_session(), err) : status;
}

static int start_managed(enum service_manager manager, const char *file, struct err *err)
{
	if (manager == SERVICE_LAUNCHD) {
		return bootstrap(file, err);
	}
	int status = systemctl("daemon-reload", NULL, err);

	status = status != 0 ? status : systemctl("enable", SERVICE_UNIT, err);
	return status != 0 ? status : systemctl("restart", SERVICE_UNIT, err);
}

/* Takes it out of the manager's hands, which ends the agent that it started. */
static void stop_managed(enum service_manager manager)
{
	if (manager == SERVICE_SYSTEMD) {
		systemctl("stop", SERVICE_UNIT, NULL);
		systemctl("disable", SERVICE_UNIT, NULL);
	} else if (manager == SERVICE_LAUNCHD) {
		launchctl("bootout", launchd_target().text, NULL, NULL); /* it may not be loaded */
	}
}

/* An agent that runs already is ended only for one that can take its place. */
static int make_way(const struct cli *cli, struct err *err)
{
	if (!service_has_session() && service_agent(cli).pid != 0) {
		return service_launchd_explain(SERVICE_LAUNCHD_NO_DOMAIN, false, err);
	}
	stop_managed(SERVICE_LAUNCHD);
	return 0;
}

static int install(const struct cli *cli, bool background, struct err *err)
{
	enum service_manager manager = background ? SERVICE_NONE : service_manager();
	const char *file = manager_file(cli, manager);
	struct proc agent;
	int status = file != NULL ? write_file(cli, manager, file, err) : 0;

	if (status == 0 && file != NULL && manager == SERVICE_LAUNCHD) {
		status = make_way(cli, err);
	}
	status = status != 0 ? status : end_agent(cli, service_agent(cli), err);
	if (status == 0) {
		status = file != NULL ? start_managed(manager, file, err) : spawn_agent(cli, err);
	}
	status = status != 0 ? status : service_await_agent(cli, &agent, err);
	if (status == 0) {
		printf("agent      runs (pid %ld) as %s\n", (long)agent.pid,
		       managers[manager].name);
		if (manager == SERVICE_NONE) {
			puts("           nothing starts it again after a restart of this machine");
		}
	}
	return status;
}

/* Stops all models and the agent, and takes the agent out of the manager's hands. */
static int uninstall(const struct cli *cli, struct err *err)
{
	enum service_manager manager = installed_manager(cli);
	const char *file = manager_file(cli, manager);
	struct proc agent = service_agent(cli);
	struct visit visit;
	int status = visit_open(&visit, cli, err);

	if (status == 0) {
		visit_ask(&visit, &(struct wire_request){ .verb = VERB_SHUTDOWN }, err);
		visit_close(&visit);
		service_await_end(cli, agent, err);
	}
	if (file != NULL) {
		stop_managed(manager);
		unlink(file);
		printf("removed    %s\n", file);
	}
	if (agent.pid == 0) {
		puts("agent      does not run");
		return 0;
	}
	status = end_agent(cli, agent, err);
	if (status == 0) {
		puts("agent      stopped, and all models with it");
	}
	return status;
}

static int print_status(const struct cli *cli, struct err *err)
{
	struct proc agent = service_agent(cli);
	enum service_manager manager = installed_manager(cli);

	if (agent.pid == 0 && manager == SERVICE_LAUNCHD && !service_has_session()) {
		return service_launchd_explain(SERVICE_LAUNCHD_NO_DOMAIN, false, err);
	}
	if (agent.pid == 0) {
		return err_set(err, ERR_NO_AGENT,
			       "the agent does not run. Start it: ronzal service install");
	}
	printf("runs (pid %ld) as %s; log: %s\n", (long)agent.pid, managers[manager].name,
	       cli->places.agent_log);
	return 0;
}

int command_service(struct cli *cli, struct args *args, struct err *err)
{
	bool background = args_flag(args, "--background") != NULL;

	/* Where systemctl finds the user's manager; a login by key may not have it. */
	setenv("XDG_RUNTIME_DIR", term_words("/run/user/%ld", (long)getuid()).text, 0);
	if (strcmp(args->items[0], "install") == 0) {
		return install(cli, background, err);
	}
	if (strcmp(args->items[0], "uninstall") == 0) {
		return uninstall(cli, err);
	}
	if (strcmp(args->items[0], "status") == 0) {
		return print_status(cli, err);
	}
	return err_set(err, ERR_NOT_FOUND, "'%s' is not install, uninstall or status",
		       args->items[0]);
}
