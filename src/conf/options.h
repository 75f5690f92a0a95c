/* SPDX-License-Identifier: MIT */
/*
 * Every option of every ronzal process, in one table. From it come the fields of struct config, the
 * parser of flags (`--backend-port 8000`), environment (`RONZAL_BACKEND_PORT`) and file
 * (`backend_port = 8000`), `ronzal help options` and docs/options.md.
 *
 * Later sources win: default, file (host.conf), environment, flag. A few options also listen to the
 * seed's own names (USE_EXTERNAL_SERVERS). Only cli/ includes this; it hands structs down.
 */
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * N(field, default, minimum, maximum, group, help): a number
 * T(field, default, group, help): text; "" counts as not set
 * B(field, default, group, help): on or off, without quotes
 * W(field, default, words, group, help): one of some words, as its place among them; "" counts as
 *   not set
 * Lists are text separated by ':' (folders) or ',' (all else), as their help says.
 */
#define OPTION_TABLE(N, T, B, W) \
	N(backend_port, 8000, 1, 65535, "ports", "management API and OpenAI gateway") \
	N(frontend_port, 5173, 1, 65535, "ports", "the page") \
	N(hostapi_port, 9090, 1, 65535, "ports", "Host API") \
	N(engine_port_min, 8080, 1024, 65535, "ports", "first port that engines may get") \
	N(engine_port_max, 8099, 1024, 65535, "ports", "last port that engines may get") \
	T(listen, "127.0.0.1", "ports", \
	  "numeric address of our HTTP listeners; any other than loopback needs keys") \
	B(published_on_loopback, off, "ports", \
	  "in a container whose ports are published on the host's loopback address only: what " \
	  "comes " \
	  "from its gateway comes from this machine") \
	T(allowed_hosts, "", "ports", \
	  "names, besides localhost and the compose services, by which clients may call us; ','") \
	T(allowed_origins, "", "ports", "origins of web pages that may call us; ','") \
\
	T(registry, "", "models", "model_registry.json; default: in the state folder") \
	T(model_roots, "", "models", \
	  "folders that models may lie in; ':'; the first one stands for /models") \
	N(memory_budget_mib, 0, 0, 16777216, "models", \
	  "memory for all engines together; 0: what the machine has available") \
	N(cache_ram_mib, 256, 0, 1048576, "models", \
	  "prompt cache of an engine whose model does not say, in MiB") \
	B(allow_pull, off, "models", "controllers may ask this host to download models") \
\
	T(engine, "", "engine", "path of llama-server; default: looked up") \
	T(engine_flags, "", "engine", "extra flags for every llama-server, separated by blanks") \
	T(engine_library_path, "", "engine", "LD_LIBRARY_PATH for engines") \
	T(bind, "auto", "engine", \
	  "numeric addresses that engines listen on; ','; auto: loopback and the Docker bridge") \
\
	N(controller_lease_s, 60, 1, 86400, "times", \
	  "after a controller is gone, what it started is stopped") \
	N(shim_lease_s, 300, 1, 86400, "times", "after the agent is gone, engines are stopped") \
	N(load_timeout_s, 900, 1, 86400, "times", "from an engine's start to ready") \
	N(hang_s, 300, 0, 86400, "times", \
	  "a ready engine that neither answers, logs nor works is started again; 0: never") \
	N(stop_timeout_s, 7, 1, 3600, "times", "a stop that names no deadline of its own") \
	N(drain_s, 3, 0, 3600, "times", "how long running answers may go on before a stop") \
	N(first_token_timeout_s, 900, 1, 86400, "times", \
	  "an engine may be silent that long before an answer") \
	N(queue_timeout_s, 300, 1, 86400, "times", "a request waits that long for its model") \
\
	N(queue_max, 64, 1, 10000, "gateway", "requests that may wait for one model") \
	N(body_max_mib, 64, 1, 1024, "gateway", "largest request body") \
	N(conns_max, 9000, 8, 100000, "gateway", "client connections at once") \
	W(require_keys, "auto", "auto, on", "gateway", \
	  "on: every request needs a key; auto: only those not from this machine") \
\
	W(use_external_servers, "false", "true, false, auto", "host", \
	  "true: engines run on the host; false: here on the CPU; auto: host, else CPU") \
	T(host_api_url, "http://host-api:9090", "host", "where the Host API is") \
	T(engine_host, "host.docker.internal", "host", \
	  "name by which a container reaches the host's engines") \
	T(host_api_secret_file, "", "host", "shared secret of backend and Host API") \
	T(ssh_config, "", "host", "configuration of the ssh client of the Host API") \
	T(ssh_host, "ronzal-host", "host", "Host entry of it that leads to the agent") \
\
	T(web_root, "", "page", "folder of the built page; default: beside the program") \
	T(backend_url, "", "page", "backend of the page; default: this machine's backend_port") \
	W(log_level, "info", "error, warn, info, debug", "logs", "error, warn, info or debug")

/* The places of words. */
enum { KEYS_AUTO, KEYS_ON };
enum { EXTERNAL_TRUE, EXTERNAL_FALSE, EXTERNAL_AUTO };

#define OPTION_N(field, fallback, min, max, group, help) uint32_t field;
#define OPTION_T(field, fallback, group, help) char *field;
#define OPTION_B(field, fallback, group, help) bool field;
#define OPTION_W(field, fallback, words, group, help) uint32_t field;
struct config {
	OPTION_TABLE(OPTION_N, OPTION_T, OPTION_B, OPTION_W)
};
#undef OPTION_N
#undef OPTION_T
#undef OPTION_B
#undef OPTION_W

#define CONFIG_FILE_MAX_BYTES 65536

void config_init(struct config *c); /* the defaults */
void config_finish(struct config *c);

/*
 * `key = value` lines, '#' comments. All or nothing: on ERR_INVALID, which names `where`, the line,
 * the value and the bounds or the nearest key, c is as before.
 */
int config_read_text(struct config *c, struct span text, const char *where, struct err *err);
/* The file as a whole; one that is not there is fine. */
int config_read_file(struct config *c, const char *path, struct err *err);
/*
 * RONZAL_<OPTION>, and the seed's USE_EXTERNAL_SERVERS and HOST_API_URL. Others are not ours. A bad
 * one does not keep the others from counting; err tells of the first.
 */
int config_read_environment(struct config *c, const char *const *environment, struct err *err);
/*
 * argv[*at] is "--name=value", "--name value", "--flag" or "--no-flag" of the table: takes it and
 * moves *at behind it. ERR_NOT_FOUND, without words, when it is no option of the table.
 */
int config_read_flag(struct config *c, const char *const *argv, int *at, struct err *err);

/* All names, as what a mistyped one may mean. */
void config_try_names(struct nearest *n);

/* For `ronzal help options`, docs/options.md and a commented host.conf. */
void config_print_help(struct buf *out);
void config_print_markdown(struct buf *out);
void config_print_file(struct buf *out, const struct config *c);

#endif
