/* SPDX-License-Identifier: MIT */
/*
 * How much memory a model will take with its settings, and whether that may be started. Pure: the
 * caller reads the machine.
 *
 * The formula was fitted to the load logs of llama-server 0.7.0 (build 11669) and is held to them
 * by tests/unit/test_memory.c: weights and KV cache within 2 %, compute buffers within 25 % of
 * what the engine says.
 */
#ifndef MODEL_MEMORY_H
#define MODEL_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/gguf.h"
#include "model/settings.h"

#define MEMORY_DOUBT 0.25 /* how far the formula may be off */
#define MEMORY_SENTENCE_MAX_BYTES 384
#define MEMORY_SUGGESTIONS_MAX 3
#define MEMORY_RUNNING_MAX 64

/*
 * What the engine's own tool (llama-fit-params) says of a load, all devices together, in bytes. It
 * knows caches of architectures that the formula does not, but takes one slot where llama-server
 * takes four: a lower bound. It computes with the logits of a whole batch, where llama-server keeps
 * one token's a slot: an upper bound. It leaves out weights that the CPU repacks, and so tells that
 * it does. (All seen on build 11669.)
 */
struct memory_said {
	uint64_t weights, kv, compute;
};

struct memory_model {
	const char *id;
	const struct gguf *gguf;
	struct settings settings;
	uint64_t projector_bytes; /* of the mmproj file; 0: none */
	uint32_t cache_ram_mib;	  /* when the settings say none: what the engine is started with */
	struct memory_correction {
		double kv, compute; /* the formula's result by this; 0: as it is */
		bool repacks;	    /* the CPU keeps weights in a form of its own */
	} correction;
};

/* Main memory and devices (all of them together) side by side. */
struct memory_share {
	uint64_t weights, kv, compute,
		other; /* bytes; other: projector, prompt cache, the engine */
};

struct memory_estimate {
	struct memory_share host, device;
	uint32_t context;	   /* tokens of all slots together */
	uint32_t layers_offloaded; /* of gguf.layer_count + 1, the output layer */
};

uint64_t memory_share_bytes(const struct memory_share *share);
/* Of host and device together. */
uint64_t memory_estimate_bytes(const struct memory_estimate *e);

/* With the settings as they are; unset: the model's own context, all layers on a device. */
void memory_estimate_make(const struct memory_model *m, bool has_device,
			  struct memory_estimate *ret_estimate);

/* From here on m's estimates take into account what was said of it with its present settings. */
void memory_correct(struct memory_model *m, bool has_device, const struct memory_said *said);

struct memory_running {
	char id[129];
	uint64_t host_bytes, device_bytes; /* what its stop would give back */
};

struct memory_machine {
	uint64_t host_free_bytes;   /* available now, less what running servers will still take */
	uint64_t device_free_bytes; /* likewise; 0: there is no device */
	bool is_unified;	    /* the device's memory is main memory (Apple) */
	uint64_t budget_free_bytes; /* what host.conf's budget leaves; UINT64_MAX: no budget */
	const struct memory_running *running;
	size_t running_count;
};

struct memory_decision {
	bool fits;
	bool is_shrunk;			 /* fits with less than the model could use */
	bool is_doubtful;		 /* MEMORY_DOUBT more or less would decide otherwise */
	struct memory_estimate estimate; /* of what is to be started, or of what was asked for */
	char sentence[MEMORY_SENTENCE_MAX_BYTES]; /* the sum; why it does not fit */
	int suggestion_count;
	char suggestions[MEMORY_SUGGESTIONS_MAX][256]; /* commands, the gentlest first */
};

/*
 * Whether it may be started. What the settings leave open (context, layers on the device) is shrunk
 * to fit, down to 4096 tokens and no layer on the device: then start it with estimate.context and
 * estimate.layers_offloaded said outright. The engine's own --fit looks at the total of main
 * memory, not at what is available of it.
 */
void memory_decide(const struct memory_model *m, const struct memory_machine *machine,
		   struct memory_decision *ret_decision);

#endif
