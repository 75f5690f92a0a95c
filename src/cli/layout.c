/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "os/net.h"
#include "os/proc.h"
#include "wire/constants.h"

#define ADDRESS_BYTES 64

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return mem_spandup((struct span){ path, slash > path ? (size_t)(slash - path) : 1 });
}

/* build/ronzal beside build/ronzal-shim; PREFIX/bin/ronzal beside PREFIX/libexec/ronzal. */
int layout_init(struct layout *l, struct err *err)
{
	char program[FS_PATH_MAX_BYTES];
	int status = proc_self_path(program, sizeof(program));

	*l = (struct layout){ 0 };
	if (status != 0) {
		return err_set_os(err, status, "asking the system where this program lies");
	}
	char *folder = folder_of(program);
	char *above = folder_of(folder);
	char *libexec = fs_join(above, "libexec/ronzal");
	bool is_installed = fs_is_folder(libexec);

	l->program = mem_strdup(program);
	l->libexec = mem_strdup(is_installed ? libexec : folder);
	l->web = fs_join(above, is_installed ? "share/ronzal/web" : "web/dist");
	l->demo = fs_join(above, is_installed ? "share/ronzal/demo" : "demo");
	l->scripts = is_installed ? mem_strdup(libexec) : fs_join(above, "scripts");
	free(libexec);
	free(above);
	free(folder);
	return 0;
}

void layout_finish(struct layout *l)
{
	free(l->program);
	free(l->libexec);
	free(l->web);
	free(l->demo);
	free(l->scripts);
	*l = (struct layout){ 0 };
}

char **cli_list(const char *text, char sep)
{
	struct span rest = span_of(text);
	char **list = mem_alloc(sizeof(*list));
	size_t count = 0;

	while (rest.ptr != NULL) {
		struct span word = span_trim(span_split(&rest, sep));

		if (word.len > 0) {
			list = mem_resize(list, count + 2, sizeof(*list));
			list[count++] = mem_spandup(word);
			list[count] = NULL;
		}
	}
	return list;
}

void cli_list_free(char **list)
{
	for (char **word = list; list != NULL && *word != NULL; word++) {
		free(*word);
	}
	free(list);
}

/* What an option says, else the file of that name in the folder. */
static char *option_or(const char *option, const char *folder, const char *name)
{
	return option[0] != '\0' ? mem_strdup(option) : fs_join(folder, name);
}

/* The hub's cache as its own tools find it; NULL for a user without a home. */
static char *hub_cache(void)
{
	static const struct {
		const char *variable, *below;
	} rows[] = { { "HF_HUB_CACHE", "" },
		     { "HF_HOME", "/hub" },
		     { "XDG_CACHE_HOME", "/huggingface/hub" },
		     { "HOME", "/.cache/huggingface/hub" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *folder = getenv(rows[i].variable);

		if (folder != NULL && folder[0] == '/') {
			return mem_printf("%s%s", folder, rows[i].below);
		}
	}
	return NULL;
}

bool cli_is_below(const char *path, char *const *folders)
{
	for (; *folders != NULL; folders++) {
		size_t len = strlen(*folders);

		if (strncmp(path, *folders, len) == 0 && (path[len] == '/' || path[len] == '\0')) {
			return true;
		}
	}
	return false;
}

/* The hub's cache where models may lie in it, else the first folder where they may. */
static char *download_folder(char *const *roots)
{
	char *cache = hub_cache();

	if (cache == NULL || (roots[0] != NULL && !cli_is_below(cache, roots))) {
		free(cache);
		cache = mem_strdup(roots[0] != NULL ? roots[0] : "");
	}
	return cache;
}

/* What nobody configured: the smoke model and the places where other tools keep models. */
static char *default_roots(const struct cli *cli)
{
	static const char *const below_home[] = { "models", ".cache/llama.cpp", ".lmstudio/models",
						  ".ollama/models" };
	const char *home = getenv("HOME");
	char *cache = hub_cache();
	struct buf roots;

	buf_init(&roots, 16 * FS_PATH_MAX_BYTES);
	for (size_t i = 0; home != NULL && i < ARRAY_LEN(below_home); i++) {
		buf_printf(&roots, "%s/%s:", home, below_home[i]);
	}
	if (cache != NULL) {
		buf_printf(&roots, "%s:", cache);
	}
	buf_add_text(&roots, cli->layout.demo);
	free(cache);
	return buf_detach(&roots);
}

static char **list_of(char *text, char sep)
{
	char **list = cli_list(text, sep);

	free(text);
	return list;
}

static char **bind_addresses(const char *bind)
{
	char bridge[ADDRESS_BYTES];

	if (strcmp(bind, "auto") != 0) {
		return cli_list(bind, ',');
	}
	return net_docker_bridge(bridge, sizeof(bridge)) == 0
		       ? list_of(mem_printf("127.0.0.1,%s", bridge), ',')
		       : cli_list("127.0.0.1", ',');
}

/* The one that scripts/engine.sh installs, if it did. */
static char *own_engine(void)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	bool has_data = data != NULL && data[0] != '\0';
	char *path = mem_printf("%s%s/ronzal/engine/bin/llama-server",
				has_data       ? data
				: home != NULL ? home
					       : "",
				has_data ? "" : "/.local/share");

	if (access(path, X_OK) != 0) {
		free(path);
		path = NULL;
	}
	return path;
}

void places_init(struct places *p, const struct cli *cli)
{
	const struct config *c = &cli->config;
	const struct paths *in = &cli->paths;
	char address[ADDRESS_BYTES];

	*p = (struct places){
		.registry = option_or(c->registry, in->state, "model_registry.json"),
		.model_roots = c->model_roots[0] != '\0' ? cli_list(c->model_roots, ':')
							 : list_of(default_roots(cli), ':'),
		.stores = list_of(default_roots(cli), ':'),
		.engine = c->engine[0] != '\0' ? mem_strdup(c->engine) : own_engine(),
		.engine_flags = cli_list(c->engine_flags, ' '),
		.bind = bind_addresses(c->bind),
		.hosts = list_of(mem_printf("localhost,127.0.0.1,[::1],host.docker.internal,"
					    "frontend,backend,host-api,%s",
					    c->allowed_hosts),
				 ','),
		.origins = cli_list(c->allowed_origins, ','),
		.agent_socket = fs_join(in->run, WIRE_AGENT_SOCKET),
		.control_socket = fs_join(in->run, WIRE_CONTROL_SOCKET),
		.token = fs_join(in->state, "management.token"),
		.secret = option_or(c->host_api_secret_file, in->state, "host-api.secret"),
		.ssh_config = option_or(c->ssh_config, in->config, "ssh/config"),
		.usage = fs_join(in->state, "usage.db"),
		.fetch = fs_join(cli->layout.libexec, "ronzal-fetch"),
		.web = mem_strdup(c->web_root[0] != '\0' ? c->web_root : cli->layout.web),
	};
	const char *slash = strrchr(p->registry, '/');

	p->bench = mem_printf("%.*sbench.json", slash != NULL ? (int)(slash + 1 - p->registry) : 0,
			      p->registry);
	p->hub_cache = download_folder(p->model_roots);
	if (c->published_on_loopback && net_default_gateway(address, sizeof(address)) == 0) {
		p->local_peer = mem_strdup(address);
	}
}

void places_finish(struct places *p)
{
	char *const texts[] = { p->registry, p->engine, p->local_peer, p->agent_socket,
				p->token,    p->secret, p->ssh_config, p->control_socket,
				p->usage,    p->web,	p->hub_cache,  p->fetch,
				p->bench };
	char **const lists[] = { p->model_roots, p->stores, p->engine_flags,
				 p->bind,	 p->hosts,  p->origins };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		free(texts[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		cli_list_free(lists[i]);
	}
	*p = (struct places){ 0 };
}

struct puller_place cli_downloads(const struct cli *cli)
{
	const struct places *p = &cli->places;

	return (struct puller_place){ p->fetch, p->hub_cache,
				      p->model_roots[0] != NULL ? p->model_roots[0]
								: p->hub_cache };
}
