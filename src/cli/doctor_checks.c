/* SPDX-License-Identifier: MIT */
/*
 * The checks of `ronzal doctor`, in the order in which they are said: programs and settings first,
 * then files, then what runs, then the ways between containers and host.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/doctor.h"
#include "cli/health.h"
#include "cli/models.h"
#include "cli/scouting.h"
#include "cli/term.h"
#include "engine/receipt.h"
#include "link/link.h"
#include "model/gguf.h"
#include "model/memory.h"
#include "os/memory.h"
#include "os/net.h"
#include "os/port.h"

#define DISK_FAIL_BYTES (64ull << 20)
#define DISK_WARN_BYTES (1ull << 30)
#define CLOCK_SLACK_S 120

static bool is_running(const struct server *s)
{
	return s != NULL && server_phase_is_running(s->phase);
}

/* Whether somebody wants the model to run, and it does not. */
static bool is_waiting(const struct doctor *d, const struct model *m)
{
	return m->enabled && !(d->agent_err.code == 0 && is_running(visit_find(&d->visit, m->id)));
}

static void look_at_options(struct doctor *d)
{
	const struct config *c = &d->cli->config;

	if (d->cli->conf_err.code != 0) {
		doctor_say(d, LEVEL_FAIL,
			   "%s" FIX "mend that line; all options: ronzal help options",
			   d->cli->conf_err.text);
	} else if (c->engine_port_min > c->engine_port_max) {
		doctor_say(d, LEVEL_FAIL,
			   "no port lies in %u..%u" FIX
			   "swap engine_port_min and engine_port_max in host.conf",
			   c->engine_port_min, c->engine_port_max);
	}
	doctor_well(d, "%s/host.conf, environment and flags are valid", d->cli->paths.config);
}

/* Images for containers have neither the gate nor what downloads. */
static void look_at_programs(struct doctor *d)
{
	const struct places *p = &d->cli->places;
	const char *const programs[] = { p->shim, p->downloads.program };
	char *gate = fs_join(p->libexec, "ronzal-gate");
	size_t count = access(gate, X_OK) == 0 ? 2 : 1;

	for (size_t i = 0; i < count; i++) {
		if (access(programs[i], X_OK) != 0) {
			doctor_say(d, LEVEL_FAIL,
				   "%s is missing or cannot be run" FIX
				   "make build, or install again",
				   programs[i]);
		}
	}
	free(gate);
	doctor_well(d, "%s", p->libexec);
}

static void look_at_engine(struct doctor *d)
{
	if (d->engine_err.code != 0) {
		doctor_say(d, LEVEL_FAIL,
			   "%s" FIX "scripts/engine.sh, or engine = PATH in host.conf",
			   d->engine_err.text);
	}
	doctor_well(d, "%s at %s", d->engine.version, d->engine_path);
}

static void look_at_devices(struct doctor *d)
{
	static const char *const drivers[] = { "/dev/nvidiactl", "/dev/kfd" };
	const char *driver = NULL;

	for (int i = 0; i < d->engine.device_count; i++) {
		const struct host_device *v = &d->engine.devices[i];

		doctor_well(d, "%s: %s, %s free", v->id, v->name, term_bytes(v->free_bytes).text);
	}
	if (d->engine_err.code != 0 || d->engine.device_count > 0) {
		return;
	}
	for (size_t i = 0; driver == NULL && i < ARRAY_LEN(drivers); i++) {
		driver = access(drivers[i], F_OK) == 0 ? drivers[i] : NULL;
	}
	if (driver != NULL) {
		doctor_say(d, LEVEL_WARN,
			   "%s is there, but llama-server lists no GPU" FIX
			   "install llama.cpp with a GPU back end (Debian: "
			   "libggml0-backend-vulkan)",
			   driver);
	}
	doctor_well(d, "no GPU: models run on the CPU");
}

static void look_at_agent(struct doctor *d)
{
	const struct host_info *h = &d->visit.host;
	bool knows_engine = d->engine_err.code == 0;

	if (d->agent_err.code != 0) {
		doctor_say(d, LEVEL_FAIL, "%s" FIX "ronzal service install", d->agent_err.text);
	} else if (h->engine_error[0] != '\0') {
		doctor_say(d, LEVEL_FAIL, "%s" FIX "mend the engine, then: ronzal service install",
			   h->engine_error);
	} else if (knows_engine && d->engine.device_count > 0 && h->engine[0] != '\0' &&
		   h->device_count == 0) {
		doctor_say(d, LEVEL_FAIL,
			   "sees no GPU, although llama-server lists %s here: it runs in a session "
			   "without one" FIX
			   "ronzal service install   (starts it in your login session)",
			   d->engine.devices[0].id);
	} else if (knows_engine && h->engine_path[0] != '\0' &&
		   strcmp(h->engine_path, d->engine_path) != 0) {
		doctor_say(d, LEVEL_WARN,
			   "uses %s, which is not what is set here: %s" FIX
			   "engine = PATH in host.conf, then: ronzal service install",
			   h->engine_path, d->engine_path);
	}
	doctor_well(d, "answers, %zu models known", d->visit.count);
}

static void look_at_registry(struct doctor *d)
{
	const char *path = d->cli->places.registry;

	if (d->registry_err.code == -ENOENT) {
		doctor_say(d, LEVEL_WARN, "there is none yet: %s" FIX "ronzal models scan", path);
	} else if (d->registry_err.code != 0) {
		doctor_say(d, LEVEL_FAIL,
			   "%s" FIX "put the last good copy back, or: ronzal models scan",
			   d->registry_err.text);
	}
	for (size_t i = 0; i < d->registry.problem_count && i < REGISTRY_PROBLEMS_MAX; i++) {
		doctor_say(d, LEVEL_FAIL, "%s" FIX "mend it there, or: ronzal set MODEL KEY=VALUE",
			   d->registry.problems[i].text);
	}
	doctor_well(d, "%s, %zu models", path, d->registry.count);
}

static void look_at_models(struct doctor *d)
{
	struct preflight found;

	for (size_t i = 0; i < d->registry.count; i++) {
		const struct model *m = &d->registry.models[i];

		if (models_check_files(d->cli, m, &found) != 0) {
			bool is_fatal = m->enabled && d->place == AT_HOST;

			doctor_say(d, is_fatal ? LEVEL_FAIL : LEVEL_WARN, "%s: %s" FIX "%s", m->id,
				   found.err.text, found.next_step);
		}
		gguf_finish(&found.gguf);
	}
	if (d->registry.count > 0) {
		doctor_well(d, "all files are there and are GGUF");
	}
}

/* Whether the program is one of ours, or Docker on behalf of us. */
static bool is_ours(const char *program)
{
	static const char *const ours[] = { "ronzal", "docker", "com.docker", "rootlessport", "?" };

	size_t i = 0;

	while (i < ARRAY_LEN(ours) && !span_has_prefix(span_of(program), ours[i])) {
		i++;
	}
	return i < ARRAY_LEN(ours);
}

#define TAKEN "%u (%s) is taken by %s (pid %d)" FIX "free the port, or"

static void look_at_ports(struct doctor *d)
{
	const struct config *c = &d->cli->config;
	const struct {
		uint32_t port;
		const char *name;
	} ports[] = { { c->backend_port, "backend_port" },
		      { c->frontend_port, "frontend_port" },
		      { c->hostapi_port, "hostapi_port" } };
	struct port_holder h;

	for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
		if (port_holder_of((uint16_t)ports[i].port, &h) == 0 && !is_ours(h.name)) {
			doctor_say(d, LEVEL_FAIL, TAKEN " choose another %s", ports[i].port,
				   ports[i].name, h.name, (int)h.pid, ports[i].name);
		}
	}
	for (size_t i = 0; i < d->registry.count; i++) {
		const struct model *m = &d->registry.models[i];

		if (is_waiting(d, m) && port_holder_of(m->port, &h) == 0) {
			doctor_say(d, LEVEL_FAIL, TAKEN ": ronzal set %s port=NUMBER", m->port,
				   m->id, h.name, (int)h.pid, m->id);
		}
	}
	doctor_well(d, "free, or held by what belongs there");
}

/* Whether a model that does not run would fit now. */
static void look_at_fit(struct doctor *d, const struct model *m, const struct memory_machine *free)
{
	struct memory_decision decision;
	struct preflight found;

	if (models_check_files(d->cli, m, &found) == 0) {
		memory_decide(&(struct memory_model){ .id = m->id,
						      .gguf = &found.gguf,
						      .settings = m->settings,
						      .cache_ram_mib =
							      d->cli->config.cache_ram_mib },
			      free, &decision);
		if (!decision.fits) {
			doctor_say(d, LEVEL_FAIL, "%s: %s" FIX "%s", m->id, decision.sentence,
				   decision.suggestion_count > 0
					   ? decision.suggestions[0]
					   : "ronzal models disable it, or get a smaller one");
		}
	}
	gguf_finish(&found.gguf);
}

static void look_at_memory(struct doctor *d)
{
	const struct memory_machine machine = scouting_machine(d->cli, &d->engine);
	struct memory memory;

	if (memory_read(&memory) != 0) {
		doctor_say(d, LEVEL_WARN, "the system does not tell");
		return;
	}
	if (memory.pressure != MEMORY_NORMAL) {
		doctor_say(d, memory.pressure == MEMORY_CRITICAL ? LEVEL_FAIL : LEVEL_WARN,
			   "the system says that memory is short" FIX
			   "stop a model, or close other programs");
	}
	for (size_t i = 0; i < d->registry.count; i++) {
		if (is_waiting(d, &d->registry.models[i])) {
			look_at_fit(d, &d->registry.models[i], &machine);
		}
	}
	doctor_well(d, "%s of %s available", term_bytes(memory.available_bytes).text,
		    term_bytes(memory.total_bytes).text);
}

static void look_at_disk(struct doctor *d)
{
	const char *const folders[] = { d->cli->paths.state, d->cli->paths.logs };
	uint64_t least = UINT64_MAX;
	const char *where = folders[0];

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		struct statvfs s;

		if (statvfs(folders[i], &s) == 0 && (uint64_t)s.f_bavail * s.f_frsize < least) {
			least = (uint64_t)s.f_bavail * s.f_frsize;
			where = folders[i];
		}
	}
	if (least < DISK_WARN_BYTES) {
		doctor_say(d, least < DISK_FAIL_BYTES ? LEVEL_FAIL : LEVEL_WARN,
			   "%s free at %s" FIX "make room: logs and the registry are written there",
			   term_bytes(least).text, where);
	}
	doctor_well(d, "%s free at %s", term_bytes(least).text, where);
}

static void look_at_secrets(struct doctor *d)
{
	static const char *const names[] = { "management.token", "host-api.secret", "keys.json" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = fs_join(d->cli->paths.state, names[i]);
		struct stat st;

		if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
			doctor_say(d, LEVEL_FAIL,
				   "%s is open to others (mode %o)" FIX "chmod 600 %s", path,
				   (unsigned)st.st_mode & 0777, path);
		}
		free(path);
	}
	doctor_well(d, "only their owner can read them");
}

/* What a part of ours says of itself at its /health; NULL with err. */
static struct json *ask_url(const char *url, struct err *err)
{
	struct json *json = NULL;
	struct client_address to = { .port = 0 };
	char *host = NULL;
	struct buf body;

	buf_init(&body, HEALTH_BODY_MAX_BYTES);
	if (hostapi_url_parse(url, &host, &to.port, err) == 0) {
		to.host = host;
		json = health_ask(&to, &body, err) == 0 ? json_parse(buf_span(&body), err) : NULL;
	}
	buf_finish(&body);
	free(host);
	return json;
}

static struct words own_host_api(const struct doctor *d)
{
	return term_words("http://127.0.0.1:%u", d->cli->config.hostapi_port);
}

static bool has_setup(const struct doctor *d)
{
	char *folder = fs_join(d->cli->paths.config, "ssh");
	bool is_there = fs_is_folder(folder);

	free(folder);
	return is_there;
}

static void look_at_clock(struct doctor *d)
{
	const char *const files[] = { d->cli->places.program, d->cli->places.registry };
	time_t now = time(NULL);
	struct json *json = NULL;
	struct err ignored;

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct stat st;

		if (stat(files[i], &st) == 0 && st.st_mtime > now + CLOCK_SLACK_S) {
			doctor_say(d, LEVEL_WARN,
				   "the clock is %lld s behind the last change of %s" FIX
				   "set this machine's clock",
				   (long long)(st.st_mtime - now), files[i]);
		}
	}
	if (d->place == AT_HOST && has_setup(d)) { /* Docker's machine may have slept */
		json = ask_url(own_host_api(d).text, &ignored);
	}
	int64_t there = json_i64_at(json_root(json), "unix_ms", now * INT64_C(1000)) / 1000;

	if (there > now + CLOCK_SLACK_S || there < now - CLOCK_SLACK_S) {
		doctor_say(d, LEVEL_WARN,
			   "the containers' clock is %lld s %s this machine's" FIX
			   "restart Docker, or set its machine's clock",
			   (long long)llabs(there - now), there > now ? "ahead of" : "behind");
	}
	json_destroy(json);
	doctor_well(d, "not behind our own files, nor off the containers'");
}

static void look_at_bind(struct doctor *d)
{
	char bridge[64];
	bool reaches = net_docker_bridge(bridge, sizeof(bridge)) != 0 || !has_setup(d);
	uint16_t ignored;
	struct err err;

	for (const char *const *a = d->cli->places.bind; *a != NULL; a++) {
		bool is_any = strcmp(*a, "0.0.0.0") == 0 || strcmp(*a, "::") == 0;

		reaches = reaches || is_any || strcmp(*a, bridge) == 0;
		if (scouting_listen(*a, &ignored, &err) != 0) {
			doctor_say(d, LEVEL_FAIL,
				   "engines cannot listen on %s: %s" FIX "bind = auto in host.conf",
				   *a, err_sentence(err.code));
		} else if (is_any) {
			doctor_say(d, LEVEL_WARN,
				   "engines listen on %s: the whole network reaches them, only "
				   "their keys protect them" FIX "bind = auto in host.conf",
				   *a);
		}
	}
	if (!reaches) {
		doctor_say(d, LEVEL_WARN,
			   "engines listen on %s; containers reach %s" FIX
			   "bind = auto in host.conf",
			   d->cli->config.bind, bridge);
	}
	doctor_well(d, "engines may listen on what bind = %s says", d->cli->config.bind);
}

/* What runs */

static void look_at_servers(struct doctor *d)
{
	size_t running = 0;

	for (size_t i = 0; i < d->visit.count; i++) {
		const struct server *s = &d->visit.servers[i];
		bool says_more =
			s->next_step[0] != '\0' && strcmp(s->next_step, "ronzal doctor") != 0;

		running += is_running(s);
		if (s->phase == SERVER_FAILED || s->phase == SERVER_BACKOFF) {
			doctor_say(d, LEVEL_FAIL, "%s: %s" FIX "%s%s", s->id, s->error,
				   says_more ? s->next_step : "ronzal logs ",
				   says_more ? "" : s->id);
		}
	}
	if (d->agent_err.code == 0) {
		doctor_well(d, "%zu running, none failed", running);
	}
}

static void look_at_receipts(struct doctor *d)
{
	char text[256];

	for (size_t i = 0; i < d->visit.count; i++) {
		const struct server *s = &d->visit.servers[i];

		if (s->phase != SERVER_READY) {
			continue;
		}
		receipt_print(&s->receipt, text, sizeof(text));
		const char *said = span_has_prefix(span_of(text), "ronzal: ") ? text + 8 : text;

		if (s->receipt.wanted) {
			doctor_say(d, LEVEL_OK, "%s: %s", s->id, said);
		} else {
			doctor_say(d, s->receipt.verdict == RECEIPT_CPU ? LEVEL_FAIL : LEVEL_WARN,
				   "%s: %s" FIX "ronzal show %s   (the evidence); see device above",
				   s->id, said, s->id);
		}
	}
}

static void look_at_reach(struct doctor *d)
{
	size_t asked = 0;
	struct err err;

	for (size_t i = 0; i < d->visit.count; i++) {
		const struct server *s = &d->visit.servers[i];
		struct client_address to = { .host = "127.0.0.1", .port = s->port };
		bool is_asked = s->phase == SERVER_READY;

		asked += is_asked;
		if (is_asked && health_ask(&to, NULL, &err) != 0) {
			doctor_say(d, LEVEL_FAIL, "%s does not answer: %s" FIX "ronzal restart %s",
				   s->id, err.text, s->id);
		}
	}
	if (asked > 0) {
		doctor_well(d, "every ready server answers");
	}
}

/* Between containers and host */

static void look_at_setup(struct doctor *d)
{
	char *script = fs_join(d->cli->places.scripts, "setup-ssh-automation.sh");

	if (!has_setup(d)) {
		doctor_well(d, "no key for containers was set up");
	} else if (fs_is_file(script)) {
		doctor_run_setup(d, script);
	} else {
		doctor_say(d, LEVEL_WARN,
			   "set-up's script is not beside this program: the key is not "
			   "checked" FIX
			   "in the checkout: ./scripts/setup-ssh-automation.sh --check");
	}
	free(script);
}

/* Whether the host's engines are, or may be, used from here. */
static bool wants_host(const struct doctor *d)
{
	return d->cli->config.use_external_servers != EXTERNAL_FALSE;
}

/* From its own container (it has the ssh client), and from those that use it. */
static void look_at_host_api(struct doctor *d)
{
	const struct config *c = &d->cli->config;
	struct err err = { 0 };
	const struct words own = own_host_api(d);
	const char *url = d->place == AT_HOSTAPI ? own.text : c->host_api_url;

	if (d->place != AT_HOSTAPI && !wants_host(d)) {
		return;
	}
	struct json *json = ask_url(url, &err);
	const char *agent = json_text_at(json_root(json), "agent", "?");

	if (err.code != 0) {
		doctor_say(d, LEVEL_FAIL,
			   "External server not running: %s: %s" FIX
			   "docker-compose ps; docker-compose logs host-api",
			   url, err.text);
	} else if (strcmp(agent, "connected") != 0) {
		doctor_say(d, LEVEL_FAIL, "%s answers, but: %s" FIX "on the host: ronzal doctor",
			   url, agent);
	}
	doctor_well(d, "%s answers and has the host's agent", url);
	json_destroy(json);
}

static void look_at_backend(struct doctor *d)
{
	const char *url = d->cli->config.backend_url;
	struct err err = { 0 };

	json_destroy(ask_url(url, &err));
	if (err.code != 0) {
		doctor_say(d, LEVEL_FAIL,
			   "the page's backend does not answer: %s" FIX
			   "docker-compose ps; docker-compose logs backend",
			   err.text);
	}
	doctor_well(d, "%s answers", url);
}

/* The files that ssh goes by, as this container's user sees them. */
static void look_at_key(struct doctor *d)
{
	static const struct {
		const char *name;
		mode_t open; /* bits that must not be set */
	} files[] = { { "id_ed25519", 077 }, { "known_hosts", 022 }, { "config", 022 } };
	const char *config = d->cli->config.ssh_config, *slash = strrchr(config, '/');
	int folder_len = slash != NULL ? (int)(slash + 1 - config) : 0;

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = mem_printf("%.*s%s", folder_len, config, files[i].name);
		struct stat st;

		if (stat(path, &st) != 0 || access(path, R_OK) != 0) {
			doctor_say(d, LEVEL_FAIL,
				   "%s cannot be read: %s" FIX
				   "on the host: ./scripts/setup-ssh-automation.sh, which also "
				   "says whom containers run as",
				   path, strerror(errno));
		} else if ((st.st_mode & files[i].open) != 0) {
			doctor_say(d, LEVEL_FAIL,
				   "%s is open to others (mode %o): ssh refuses it" FIX
				   "on the host: ./scripts/setup-ssh-automation.sh",
				   path, (unsigned)st.st_mode & 0777);
		}
		free(path);
	}
	doctor_well(d, "key, host key and configuration are there and not open to others");
}

static void look_at_engine_host(struct doctor *d)
{
	const char *host = d->cli->config.engine_host;
	struct addrinfo *found = NULL;
	size_t reached = 0, asked = 0;
	struct err err = { 0 };

	if (!wants_host(d)) {
		return;
	}
	if (getaddrinfo(host, NULL, &(struct addrinfo){ .ai_socktype = SOCK_STREAM }, &found) !=
	    0) {
		doctor_say(d, LEVEL_FAIL,
			   "the name %s is not known here" FIX
			   "extra_hosts: host.docker.internal:host-gateway in docker-compose.yml",
			   host);
		return;
	}
	freeaddrinfo(found);
	for (size_t i = 0; i < d->registry.count; i++) {
		const struct model *m = &d->registry.models[i];
		struct client_address to = { .host = host, .port = m->port };

		if (m->enabled) {
			asked++;
			reached += health_ask(&to, NULL, &err) == 0;
		}
	}
	if (reached < asked) {
		doctor_say(d, LEVEL_WARN,
			   "%zu of %zu enabled engines do not answer at %s: %s" FIX
			   "start them; on the host: bind = auto, and ronzal doctor",
			   asked - reached, asked, host, err.text);
	}
	doctor_well(d, "%s is known, %zu engines answer there", host, reached);
}

const struct check doctor_checks[] = {
	{ "options", ANYWHERE, look_at_options },
	{ "programs", AT_HOST, look_at_programs },
	{ "engine", AT_HOST, look_at_engine },
	{ "device", AT_HOST, look_at_devices },
	{ "agent", AT_HOST, look_at_agent },
	{ "registry", AT_HOST | AT_BACKEND, look_at_registry },
	{ "models", AT_HOST | AT_BACKEND, look_at_models },
	{ "ports", AT_HOST, look_at_ports },
	{ "memory", AT_HOST, look_at_memory },
	{ "disk", ANYWHERE, look_at_disk },
	{ "secrets", ANYWHERE, look_at_secrets },
	{ "clock", ANYWHERE, look_at_clock },
	{ "bind", AT_HOST, look_at_bind },
	{ "servers", AT_HOST, look_at_servers },
	{ "gpu use", AT_HOST, look_at_receipts },
	{ "reach", AT_HOST, look_at_reach },
	{ "ssh", AT_HOST, look_at_setup },
	{ "key", AT_HOSTAPI, look_at_key },
	{ "backend", AT_PAGE, look_at_backend },
	{ "host api", AT_HOST | AT_BACKEND | AT_HOSTAPI, look_at_host_api },
	{ "engine host", AT_HOST | AT_BACKEND, look_at_engine_host },
	{ NULL, 0, NULL },
};
