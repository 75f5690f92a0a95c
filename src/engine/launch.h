/* SPDX-License-Identifier: MIT */
/*
 * From a model's settings and an engine's abilities to the argument vector and the environment of
 * llama-server. Every setting is a number; the texts that reach the vector are the model's id and
 * paths that were resolved on the host, each behind its own flag. Only host.conf adds free flags.
 *
 * Where the registry leaves a setting open, the engine decides by what is free: layers and context
 * are fitted to the device's memory (--fit; the context that was granted is read from /props).
 * Builds without --fit get all layers and LAUNCH_CTX_WITHOUT_FIT tokens.
 */
#ifndef ENGINE_LAUNCH_H
#define ENGINE_LAUNCH_H

#include "engine/probe.h"
#include "model/registry.h"

#define LAUNCH_TEXT_MAX_BYTES 65536 /* all arguments together; the environment likewise */
#define LAUNCH_CTX_WITHOUT_FIT 4096 /* what those builds take by default */

struct launch_options {
	const struct engine_abilities *abilities;
	const struct model *model;
	const char *engine_path;
	const char *model_path;	 /* absolute, resolved */
	const char *mmproj_path; /* absolute, resolved; NULL: none */
	const char *hosts;	 /* addresses to listen on, with commas between them */
	uint16_t port;
	const char *api_key_file;	    /* absolute */
	int32_t cache_ram_mib;		    /* for models that set none */
	const char *const *extra_arguments; /* of host.conf, NULL-terminated; NULL: none */
};

/*
 * A NULL-terminated vector in one block (free() it). NULL with ERR_NO_ENGINE when the model asks
 * for what this engine cannot do, ERR_INVALID for an id or a path that must not get there.
 */
char **launch_argv(const struct launch_options *o, struct err *err);

/*
 * The same model asked of llama-fit-params: what its load would take. NULL when this engine cannot
 * be asked so.
 */
char **launch_fit_argv(const struct launch_options *o, const char *fit_path);

/*
 * The environment of an engine, in one block: of `from` ("NAME=value", NULL-terminated) only what
 * is on the list in launch.c, and GGML_NO_BACKTRACE=1. LLAMA_ARG_* and LD_* never pass;
 * library_path (of host.conf, may be NULL) becomes LD_LIBRARY_PATH.
 */
char **launch_environment(const char *const *from, const char *library_path, struct err *err);

#endif
