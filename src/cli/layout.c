/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "os/net.h"
#include "os/proc.h"

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

char *cli_registry_path(const struct cli *cli)
{
	return cli->config.registry[0] != '\0' ? mem_strdup(cli->config.registry)
					       : fs_join(cli->paths.state, "model_registry.json");
}

/* What nobody configured: the smoke model and the places where other tools keep models. */
static char *default_roots(const struct cli *cli)
{
	static const char *const below_home[] = { "models", ".cache/huggingface/hub",
						  ".cache/llama.cpp", ".lmstudio/models",
						  ".ollama/models" };
	const char *home = getenv("HOME");
	const char *cache = getenv("HF_HUB_CACHE");
	struct buf roots;

	buf_init(&roots, 16 * FS_PATH_MAX_BYTES);
	for (size_t i = 0; home != NULL && i < ARRAY_LEN(below_home); i++) {
		buf_printf(&roots, "%s/%s:", home, below_home[i]);
	}
	if (cache != NULL) {
		buf_printf(&roots, "%s:", cache);
	}
	buf_add_text(&roots, cli->layout.demo);
	return buf_detach(&roots);
}

char **cli_model_roots(const struct cli *cli)
{
	bool is_set = cli->config.model_roots[0] != '\0';
	char *text = is_set ? mem_strdup(cli->config.model_roots) : default_roots(cli);
	char **roots = cli_list(text, ':');

	free(text);
	return roots;
}

char **cli_allowed_hosts(const struct cli *cli)
{
	char *text = mem_printf("localhost,127.0.0.1,[::1],host.docker.internal,frontend,backend,"
				"host-api,%s",
				cli->config.allowed_hosts);
	char **list = cli_list(text, ',');

	free(text);
	return list;
}

const char *cli_web_root(const struct cli *cli)
{
	return cli->config.web_root[0] != '\0' ? cli->config.web_root : cli->layout.web;
}

char *cli_token_path(const struct cli *cli)
{
	return fs_join(cli->paths.state, "management.token");
}

char *cli_local_peer(const struct cli *cli)
{
	char address[ADDRESS_BYTES];

	return cli->config.published_on_loopback &&
			       net_default_gateway(address, sizeof(address)) == 0
		       ? mem_strdup(address)
		       : NULL;
}
