/* SPDX-License-Identifier: MIT */
/*
 * What an installed llama-server can do, from what it says of itself: `--version` (stderr),
 * `--help` and `--list-devices` (stdout). Builds drift monthly, so an ability is what the help text
 * offers, never a guess from the build number.
 */
#ifndef ENGINE_PROBE_H
#define ENGINE_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "model/memory.h"
#include "wire/server.h"

#define PROBE_TEXT_MAX_BYTES (256u << 10) /* of a help text, no more than this is looked at */

/*
 * X(name, flag, words that the flag's help must contain or NULL, whether ronzal needs it)
 * LOG_TRACE: level 4 exists and is below debug, which prints prompts. Builds without it print what
 * the receipt needs by default, and number their levels otherwise.
 */
#define ABILITY_TABLE(X) \
	X(MODEL, "--model", NULL, true) \
	X(HOST, "--host", NULL, true) \
	X(HOST_LIST, "--host", "comma-separated", false) \
	X(PORT, "--port", NULL, true) \
	X(ALIAS, "--alias", NULL, true) \
	X(API_KEY_FILE, "--api-key-file", NULL, true) \
	X(CTX_SIZE, "--ctx-size", NULL, true) \
	X(GPU_LAYERS, "--n-gpu-layers", NULL, true) \
	X(GPU_LAYERS_AUTO, "--n-gpu-layers", "'auto'", false) \
	X(FIT, "--fit", NULL, false) \
	X(PARALLEL, "--parallel", NULL, true) \
	X(THREADS, "--threads", NULL, true) \
	X(BATCH_SIZE, "--batch-size", NULL, true) \
	X(FLASH_ATTN, "--flash-attn", NULL, false) \
	X(FLASH_ATTN_VALUE, "--flash-attn", "'auto'", false) \
	X(CACHE_TYPE_K, "--cache-type-k", NULL, false) \
	X(CACHE_TYPE_V, "--cache-type-v", NULL, false) \
	X(CACHE_RAM, "--cache-ram", NULL, false) \
	X(LOAD_MODE, "--load-mode", NULL, false) \
	X(LOAD_MODE_BOTH, "--load-mode", "mmap+mlock", false) \
	X(MMAP, "--mmap", NULL, false) \
	X(NO_MMAP, "--no-mmap", NULL, false) \
	X(MLOCK, "--mlock", NULL, false) \
	X(MMPROJ, "--mmproj", NULL, false) \
	X(EMBEDDING, "--embedding", NULL, false) \
	X(RERANKING, "--reranking", NULL, false) \
	X(JINJA, "--jinja", NULL, false) \
	X(METRICS, "--metrics", NULL, false) \
	X(SLOTS, "--slots", NULL, false) \
	X(NO_UI, "--no-ui", NULL, false) \
	X(NO_WEBUI, "--no-webui", NULL, false) \
	X(LOG_TRACE, "--verbosity", "4: trace", false)

#define ABILITY_ENUM(name, flag, words, needed) ABILITY_##name,
enum ability { ABILITY_TABLE(ABILITY_ENUM) ABILITY_COUNT };
#undef ABILITY_ENUM

struct engine_abilities {
	char version[96]; /* "llama-server 0.7.0 (build 11669)"; "" when it does not say */
	bool has[ABILITY_COUNT];
	int device_count; /* GPUs; processors and BLAS are left out */
	struct host_device devices[HOST_DEVICES_MAX];
};

/* "--host", for ABILITY_HOST. */
const char *ability_flag(enum ability ability);

/*
 * 0; or ERR_NO_ENGINE when the texts are not llama-server's, or when it is too old: the sentence
 * says what it lacks and what to install. ret_abilities is filled as far as possible in any case.
 */
int probe_read(struct span version_text, struct span help_text, struct span devices_text,
	       struct engine_abilities *ret_abilities, struct err *err);

/*
 * `llama-fit-params --fit-print on`: a line "DEVICE WEIGHTS CONTEXT COMPUTE" in MiB for each device
 * and for main memory. False when there is none.
 */
bool probe_fit_read(struct span text, struct memory_said *ret_said);

#endif
