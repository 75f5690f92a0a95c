/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/service_text.h"
#include "os/net.h"
#include "os/proc.h"
#include "wire/constants.h"

#define ADDRESS_BYTES 64

/* The places own the block from now on; NULL stays NULL. */
static void *keep(struct places *p, void *block)
{
	p->kept = mem_resize(p->kept, p->kept_count + 1, sizeof(*p->kept));
	p->kept[p->kept_count++] = block;
	return block;
}

static const char *join(struct places *p, const char *folder, const char *name)
{
	return keep(p, fs_join(folder, name));
}

static const char *folder_of(struct places *p, const char *path)
{
	const char *slash = strrchr(path, '/');

	return keep(p, mem_spandup((struct span){ path, slash > path ? slash - path : 1 }));
}

/* Cuts text at `sep` into words, empty ones left out. One block: the list, then the words. */
static const char *const *list(struct places *p, const char *text, char sep)
{
	size_t len = strlen(text), count = 0, most = len / 2 + 2;
	const char **words = mem_alloc(most * sizeof(*words) + len + 1);
	char *copy = (char *)(words + most);
	struct span rest = { memcpy(copy, text, len), len };

	while (rest.ptr != NULL) {
		struct span word = span_trim(span_split(&rest, sep));

		if (word.len > 0) {
			copy[word.ptr + word.len - copy] = '\0';
			words[count++] = word.ptr;
		}
	}
	return keep(p, words);
}

/* What an option says, else the file of that name in the folder. */
static const char *option_or(struct places *p, const char *option, const char *folder,
			     const char *name)
{
	return option[0] != '\0' ? option : join(p, folder, name);
}

/* build/ronzal beside build/ronzal-shim; PREFIX/bin/ronzal beside PREFIX/libexec/ronzal. */
static int find_program(struct places *p, struct err *err)
{
	char program[FS_PATH_MAX_BYTES];
	int status = proc_self_path(program, sizeof(program));

	if (status != 0) {
		return err_set_os(err, status, "asking the system where this program lies");
	}
	const char *folder = folder_of(p, program), *above = folder_of(p, folder);
	const char *libexec = join(p, above, "libexec/ronzal");
	bool is_installed = fs_is_folder(libexec);

	p->program = keep(p, mem_strdup(program));
	p->libexec = is_installed ? libexec : folder;
	p->shim = join(p, p->libexec, "ronzal-shim");
	p->scripts = is_installed ? libexec : join(p, above, "scripts");
	p->demo = join(p, above, is_installed ? "share/ronzal/demo" : "demo");
	p->web = join(p, above, is_installed ? "share/ronzal/web" : "web/dist");
	return 0;
}

/* Places below folders that variables name: as the hub's own tools find their cache; */
static const char hub_cache[] = "HF_HUB_CACHE HF_HOME/hub XDG_CACHE_HOME/huggingface/hub "
				"HOME/.cache/huggingface/hub";
/* the engine that scripts/engine.sh installs; */
static const char own_engine[] = "XDG_DATA_HOME/ronzal/engine/bin/llama-server "
				 "HOME/.local/share/ronzal/engine/bin/llama-server";
static const char systemd_unit[] =
	"XDG_CONFIG_HOME/systemd/user/" SERVICE_UNIT " HOME/.config/systemd/user/" SERVICE_UNIT;
static const char launch_agent[] = "HOME/Library/LaunchAgents/" SERVICE_LABEL ".plist";

/* By the first variable that holds a path; NULL: none does. */
static const char *below_first(struct places *p, const char *rows)
{
	for (const char *const *row = list(p, rows, ' '); *row != NULL; row++) {
		size_t len = strcspn(*row, "/");
		const char *folder = getenv(keep(p, mem_spandup((struct span){ *row, len })));

		if (folder != NULL && folder[0] == '/') {
			return keep(p, mem_printf("%s%s", folder, *row + len));
		}
	}
	return NULL;
}

bool cli_is_below(const char *path, const char *const *folders)
{
	for (; *folders != NULL; folders++) {
		size_t len = strlen(*folders);

		if (strncmp(path, *folders, len) == 0 && (path[len] == '/' || path[len] == '\0')) {
			return true;
		}
	}
	return false;
}

/* What nobody configured: the smoke model and the places where other tools keep models. */
static const char *const *default_roots(struct places *p, const char *cache)
{
	static const char *const below_home[] = { "models", ".cache/llama.cpp", ".lmstudio/models",
						  ".ollama/models" };
	const char *home = getenv("HOME");
	struct buf roots;

	buf_init(&roots, 16 * FS_PATH_MAX_BYTES);
	for (size_t i = 0; home != NULL && i < ARRAY_LEN(below_home); i++) {
		buf_printf(&roots, "%s/%s:", home, below_home[i]);
	}
	buf_printf(&roots, "%s:%s", cache != NULL ? cache : "", p->demo);
	return list(p, keep(p, buf_detach(&roots)), ':');
}

/* The hub's cache where models may lie in it, else the first folder where they may. */
static struct puller_place downloads(struct places *p, const char *cache)
{
	const char *root = p->model_roots[0];
	bool is_in_cache = cache != NULL && (root == NULL || cli_is_below(cache, p->model_roots));
	const char *folder = is_in_cache ? cache : root != NULL ? root : "";

	return (struct puller_place){ .program = join(p, p->libexec, "ronzal-fetch"),
				      .cache = folder,
				      .folder = root != NULL ? root : folder };
}

static const char *const *bind_addresses(struct places *p, const char *bind)
{
	char bridge[ADDRESS_BYTES] = "";

	if (strcmp(bind, "auto") != 0) {
		return list(p, bind, ',');
	}
	net_docker_bridge(bridge, sizeof(bridge));
	return list(p, keep(p, mem_printf("127.0.0.1,%s", bridge)), ',');
}

static const char *find_engine(struct places *p, const char *option)
{
	const char *own = below_first(p, own_engine);

	return option[0] != '\0' ? option : own != NULL && access(own, X_OK) == 0 ? own : NULL;
}

int places_init(struct places *p, const struct cli *cli, struct err *err)
{
	const struct config *c = &cli->config;
	const struct paths *in = &cli->paths;
	char gateway[ADDRESS_BYTES];
	int status = find_program(p, err);

	if (status != 0) {
		return status;
	}
	const char *cache = below_first(p, hub_cache);

	p->registry = option_or(p, c->registry, in->state, "model_registry.json");
	p->stores = default_roots(p, cache);
	p->model_roots = c->model_roots[0] != '\0' ? list(p, c->model_roots, ':') : p->stores;
	p->downloads = downloads(p, cache);
	p->engine = find_engine(p, c->engine);
	p->engine_flags = list(p, c->engine_flags, ' ');
	p->bind = bind_addresses(p, c->bind);
	p->hosts = list(p,
			keep(p, mem_printf("localhost,127.0.0.1,[::1],host.docker.internal,"
					   "frontend,backend,host-api,%s",
					   c->allowed_hosts)),
			',');
	p->origins = list(p, c->allowed_origins, ',');
	p->agent_socket = join(p, in->run, WIRE_AGENT_SOCKET);
	p->control_socket = join(p, in->run, WIRE_CONTROL_SOCKET);
	p->token = join(p, in->state, "management.token");
	p->secret = option_or(p, c->host_api_secret_file, in->state, "host-api.secret");
	p->ssh_config = option_or(p, c->ssh_config, in->config, "ssh/config");
	p->usage = join(p, in->state, "usage.db");
	p->agent_log = join(p, in->logs, "agent.log");
	p->systemd_unit = below_first(p, systemd_unit);
	p->launch_agent = below_first(p, launch_agent);
	p->web = c->web_root[0] != '\0' ? c->web_root : p->web;
	const char *slash = strrchr(p->registry, '/');

	p->bench = keep(p, mem_printf("%.*sbench.json",
				      slash != NULL ? (int)(slash + 1 - p->registry) : 0,
				      p->registry));
	if (c->published_on_loopback && net_default_gateway(gateway, sizeof(gateway)) == 0) {
		p->local_peer = keep(p, mem_strdup(gateway));
	}
	return 0;
}

void places_finish(struct places *p)
{
	for (size_t i = 0; i < p->kept_count; i++) {
		free(p->kept[i]);
	}
	free(p->kept);
	*p = (struct places){ 0 };
}
