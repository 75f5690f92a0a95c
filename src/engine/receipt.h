/* SPDX-License-Identifier: MIT */
/*
 * The GPU receipt: what llama-server's log says about where a model's layers are.
 *
 * The parser is fed the log line by line from the start of the engine and can be asked at any time.
 * Its rule is that memory decides: builds print "offloaded 9/9 layers to GPU" also when every
 * weight lies in main memory (--device none, tensor overrides; seen on build 11669), so the count
 * alone proves nothing where the sizes of the weights' buffers are printed.
 *
 *   weights on a device   layers      verdict
 *   yes                   N of N      gpu, or partial when main memory holds over twice as much
 *   yes                   some of N   partial
 *   yes                   not said    gpu or partial by where the KV cache is, else unknown
 *   no                    any         cpu
 *   sizes not printed     N of N      gpu if a device is in use, else unknown
 *   anything contradictory, or nothing at all: unknown
 *
 * Weights on a device count only with a second line that says so: the device's, or the KV cache's.
 *
 * Once the load is over the receipt no longer changes: lines after that may carry clients' text.
 */
#ifndef ENGINE_RECEIPT_H
#define ENGINE_RECEIPT_H

#include "model/settings.h"
#include "wire/server.h"

/* Kinds of lines, each of which the evidence shows once: the first, or for sizes the largest. */
enum evidence_kind {
	EVIDENCE_DEVICE,
	EVIDENCE_LAYERS,
	EVIDENCE_WEIGHTS_DEVICE,
	EVIDENCE_WEIGHTS_HOST,
	EVIDENCE_KV,
	EVIDENCE_NO_GPU,
	EVIDENCE_KIND_COUNT
};

/* Bytes of buffers by what they hold and where. */
struct buffer_sizes {
	uint64_t device_bytes, host_bytes;
};

/* A value of fixed size; nothing to finish. */
struct receipt_parser {
	bool is_settled; /* the load is over */
	bool has_no_gpu_warning;
	bool has_strange_weights; /* on something that is neither main memory nor a known device */
	float progress;		  /* of the load, by the steps that the log has reached: 0..1 */
	int devices_used;	  /* GPUs that the model was given */
	char device[16];	  /* the first of them */
	char device_name[96];
	char bare_name[96]; /* a name that stands without an id */
	int listed_count;
	struct host_device listed[HOST_DEVICES_MAX];
	int64_t layers_offloaded, layers_total; /* -1: not said */
	struct buffer_sizes weights, kv, other;
	uint64_t evidence_weight[EVIDENCE_KIND_COUNT]; /* 0: there is none */
	char evidence[EVIDENCE_KIND_COUNT][RECEIPT_LINE_MAX_BYTES];
};

/* What the model's settings ask of this machine. */
struct receipt_wish {
	int32_t n_gpu_layers; /* of the settings: SETTING_UNSET or the number */
	bool has_device;      /* the engine listed a GPU */
	bool require_gpu;
};

void receipt_parser_init(struct receipt_parser *p);

/* One line, with or without its newline; of a longer one the first DIALECT_LINE_MAX_BYTES. */
void receipt_parser_feed(struct receipt_parser *p, struct span line);

/*
 * Fills all but engine, context_tokens and slots, which the log does not settle and which are left
 * as they are. `why` is a sentence when the verdict is not what was wished for.
 */
void receipt_parser_read(const struct receipt_parser *p, const struct receipt_wish *wish,
			 struct receipt *receipt);

/*
 * Our own line for the server's log: "ronzal: GPU name: Apple M4 Pro (MTL0), 33/33 layers on the
 * GPU". Only lines of receipts that prove a GPU contain "GPU name:".
 */
void receipt_print(const struct receipt *receipt, char *text, size_t room);

#endif
