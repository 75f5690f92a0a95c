/* SPDX-License-Identifier: MIT */
/*
 * One model server as everybody sees it: the agent says it, links carry it, the backend, the page
 * and the command line show it. A value of fixed size without pointers: copy it freely.
 *
 * The JSON form (server_write / server_read) is the `server` event of the control channel and, with
 * what the backend adds, an element of GET /api/models/servers.
 */
#ifndef WIRE_SERVER_H
#define WIRE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

#define SERVER_ID_MAX_BYTES 129 /* model id: 128 characters and the terminator */
#define SERVER_NAME_MAX_BYTES 160
#define SERVER_HOST_MAX_BYTES 64
#define SERVER_TEXT_MAX_BYTES 512
#define RECEIPT_EVIDENCE_MAX 6
#define RECEIPT_LINE_MAX_BYTES 200

/* X(name, text, is running, accepts requests) */
#define SERVER_PHASE_TABLE(X) \
	X(STOPPED, "stopped", false, false) \
	X(STARTING, "starting", true, false) \
	X(LOADING, "loading", true, false) \
	X(READY, "ready", true, true) \
	X(DRAINING, "draining", true, false) \
	X(STOPPING, "stopping", true, false) \
	X(BACKOFF, "backoff", false, false) \
	X(FAILED, "failed", false, false) \
	X(UNKNOWN, "unknown", true, true)

#define SERVER_PHASE_ENUM(name, text, running, accepting) SERVER_##name,
enum server_phase { SERVER_PHASE_TABLE(SERVER_PHASE_ENUM) };
#undef SERVER_PHASE_ENUM

const char *server_phase_name(enum server_phase phase);
int server_phase_from_name(struct span name, enum server_phase *ret_phase); /* 0 or ERR_INVALID */
bool server_phase_is_running(enum server_phase phase);
bool server_phase_is_accepting(enum server_phase phase);

/* Where a model's layers really are. Never a guess: without evidence it is RECEIPT_UNKNOWN. */
#define RECEIPT_VERDICT_TABLE(X) \
	X(UNKNOWN, "unknown") \
	X(CPU, "cpu") \
	X(PARTIAL, "partial") \
	X(GPU, "gpu")

#define RECEIPT_VERDICT_ENUM(name, text) RECEIPT_##name,
enum receipt_verdict { RECEIPT_VERDICT_TABLE(RECEIPT_VERDICT_ENUM) };
#undef RECEIPT_VERDICT_ENUM

const char *receipt_verdict_name(enum receipt_verdict verdict);
int receipt_verdict_from_name(struct span name, enum receipt_verdict *ret_verdict);

/* What the engine really did with this start (design: "GPU receipt"). */
struct receipt {
	enum receipt_verdict verdict;
	bool wanted;		 /* the verdict is what the settings asked for */
	char engine[96];	 /* "llama-server 0.7.0 (build 11669)" */
	char device[16];	 /* "MTL0", "CUDA0", "Vulkan0"; "" on the CPU */
	char device_name[96];	 /* "Apple M4 Pro" */
	int layers_offloaded;	 /* -1: not said */
	int layers_total;	 /* -1: not said */
	uint64_t device_bytes;	 /* weights + KV + compute buffers on devices */
	uint64_t host_bytes;	 /* ... and in main memory */
	uint32_t context_tokens; /* really granted to one slot; 0: not known yet */
	uint32_t slots;
	char why[160]; /* one sentence when the verdict is not what was wanted */
	int evidence_count;
	char evidence[RECEIPT_EVIDENCE_MAX][RECEIPT_LINE_MAX_BYTES]; /* the log lines it rests on */
};

struct server {
	char id[SERVER_ID_MAX_BYTES];
	char name[SERVER_NAME_MAX_BYTES]; /* for display */
	char host[SERVER_HOST_MAX_BYTES]; /* the machine it runs on */
	enum server_phase phase;
	bool enabled;
	bool by_controller; /* started by a controller: its lease ends it */
	uint16_t port;
	int pid;		 /* of the engine; 0: none */
	uint32_t starts;	 /* how often this agent's registry entry was started */
	uint32_t restarts;	 /* ... of these by itself, after a crash */
	int64_t phase_unix_ms;	 /* when the phase began */
	int64_t ready_unix_ms;	 /* when it became ready; 0: not ready */
	uint32_t load_ms;	 /* from spawn to ready, of the last start that came so far */
	float progress;		 /* of loading, 0..1; negative: not known */
	int32_t eta_ms;		 /* until ready; negative: not known */
	int32_t retry_ms;	 /* BACKOFF: until the next try, when this was said */
	uint64_t estimate_bytes; /* memory ledger, before the start; 0: no estimate */
	uint64_t memory_bytes;	 /* in use now, by the system's own count; 0: not running */
	uint32_t busy_slots;	 /* of receipt.slots, that work now */
	float tokens_per_second; /* of the last answer's generation; 0: none since the start */
	struct receipt receipt;
	int error_code;			       /* enum err_code or 0 */
	char error[SERVER_TEXT_MAX_BYTES];     /* what went wrong, one sentence; "" when nothing */
	char next_step[SERVER_TEXT_MAX_BYTES]; /* what to do about it */
};

/* Writes one object. Unknown members are ignored when read, so that versions N and N±1 agree. */
void server_write(struct json_writer *w, const struct server *s);
void server_write_members(struct json_writer *w, const struct server *s); /* into an open object */
/* 0 or ERR_INVALID naming the member. */
int server_read(const struct json_value *v, struct server *ret_server, struct err *err);

void receipt_read(const struct json_value *v, struct receipt *ret_receipt); /* absent: UNKNOWN */

/* A machine that runs engines: the `host` event, GET /api/host. */
#define HOST_DEVICES_MAX 8

struct host_device {
	char id[16];   /* "MTL0" */
	char name[96]; /* "Apple M4 Pro" */
	uint64_t total_bytes, free_bytes;
};

struct host_info {
	char name[SERVER_HOST_MAX_BYTES];
	char engine[96]; /* "llama-server 0.7.0 (build 11669)"; "" when there is none */
	char engine_path[256];
	char engine_error[SERVER_TEXT_MAX_BYTES];   /* why there is none and what to do */
	char registry_error[SERVER_TEXT_MAX_BYTES]; /* what is wrong with model_registry.json */
	char channel[16];			    /* "local", "ssh" */
	int device_count;
	struct host_device devices[HOST_DEVICES_MAX];
	uint64_t memory_total_bytes, memory_available_bytes, memory_budget_bytes;
};

void host_info_write(struct json_writer *w, const struct host_info *h);
void host_info_write_members(struct json_writer *w, const struct host_info *h);
void host_info_read(const struct json_value *v, struct host_info *ret_host);

#endif
