/* SPDX-License-Identifier: MIT */
/*
 * The messages of the control channel: one JSON object a line, `{"type":"start","seq":7,...}`.
 * A controller sends requests, the agent sends events. Encoding adds the newline; decoding takes a
 * line without it. Unknown members are ignored and missing ones have a neutral value, so that
 * versions N and N±1 understand each other; an unknown type is ERR_VERSION.
 */
#ifndef WIRE_MESSAGES_H
#define WIRE_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "wire/constants.h"
#include "wire/pull.h"
#include "wire/server.h"

#define WIRE_CONTROLLER_MAX_BYTES 64
#define WIRE_KEY_MAX_BYTES 64
#define WIRE_ADDRESS_MAX_BYTES 64

/* Requests: X(name, type, its members in messages.c, allowed on control.sock) */
#define VERB_TABLE(X) \
	X(HELLO, "hello", ROWS(hello_members), true) \
	X(START, "start", ROWS(request_members), true) \
	X(STOP, "stop", ROWS(stop_members), true) \
	X(RESTART, "restart", ROWS(stop_members), true) \
	X(CREDENTIALS, "credentials", ROWS(request_members), true) \
	X(SUBSCRIBE, "subscribe", ROWS(subscribe_members), true) \
	X(PING, "ping", ROWS(request_members), true) \
	X(RELOAD, "reload", ROWS(request_members), true) \
	X(PULL, "pull", ROWS(pull_members), true) \
	X(SHUTDOWN, "shutdown", ROWS(request_members), false)

#define VERB_ENUM(name, type, rows, restricted) VERB_##name,
enum verb { VERB_TABLE(VERB_ENUM) };
#undef VERB_ENUM

const char *verb_name(enum verb verb);
bool verb_is_restricted(enum verb verb); /* true: control.sock accepts it */

#define WIRE_ONCE_MAX_BYTES 8
#define WIRE_ONCE_START "start"
#define WIRE_ONCE_STOP "stop"

/*
 * ids: models by id, borrowed from the caller (encoding) or owned by doc (decoding); none means all
 * that are enabled (start), run (stop, restart, credentials) or exist (subscribe).
 */
struct wire_request {
	enum verb verb;
	uint64_t seq;				    /* the reply carries it; 0: no reply wanted */
	uint32_t version, version_min;		    /* hello */
	char controller[WIRE_CONTROLLER_MAX_BYTES]; /* hello; "": a visitor, who holds no lease */
	char who[WIRE_CONTROLLER_MAX_BYTES];	    /* hello: shown to people ("backend") */
	/*
	 * hello: WIRE_ONCE_START or WIRE_ONCE_STOP: no dialogue; do this with every model, report,
	 * and say bye with the exit code. "": a dialogue.
	 */
	char once[WIRE_ONCE_MAX_BYTES];
	const char *const *ids;
	size_t id_count;
	bool none;  /* subscribe: to no model from now on; pull: cancel it */
	bool begin; /* pull: download it, if it does not run; else the reply only tells of it */
	char source[PULL_SOURCE_MAX_BYTES]; /* pull: ORG/REPO or ORG/REPO:NAME, nothing else */
	uint32_t drain_ms;		    /* stop, restart */
	uint32_t deadline_ms;		    /* ... the whole stop; 0: the agent's default */
	uint32_t tail;			    /* subscribe: last lines that come first */
	struct json *doc;		    /* private: of a decoded one */
};

/* 0 or ERR_FULL: the line would exceed WIRE_LINE_MAX_BYTES; `out` is as before then. */
int wire_request_encode(const struct wire_request *r, struct buf *out);
/* 0, ERR_INVALID naming the member, or ERR_VERSION; on success wire_request_finish it. */
int wire_request_decode(struct span line, struct wire_request *ret_request, struct err *err);
/* The same of an HTTP body, whose verb the path has said: any type in it is not looked at. */
int wire_request_decode_as(enum verb verb, struct span text, struct wire_request *ret_request,
			   struct err *err);
void wire_request_finish(struct wire_request *r);

/* Events: X(name, type, its members outside nested objects) */
#define EVENT_TABLE(X) \
	X(HELLO, "hello", ROWS(agent_hello_members)) \
	X(HOST, "host", NO_ROWS) \
	X(SERVER, "server", NO_ROWS) \
	X(REMOVED, "removed", ROWS(removed_members)) \
	X(SYNCED, "synced", NO_ROWS) \
	X(PROGRESS, "progress", ROWS(progress_members)) \
	X(LOG, "log", ROWS(log_members)) \
	X(REPLY, "reply", ROWS(reply_members)) \
	X(BYE, "bye", ROWS(bye_members))

#define EVENT_ENUM(name, type, rows) EVENT_##name,
enum wire_event_type { EVENT_TABLE(EVENT_ENUM) };
#undef EVENT_ENUM

const char *event_name(enum wire_event_type type);

/* What a request came to for one model. */
struct wire_result {
	char id[SERVER_ID_MAX_BYTES];
	struct err err;			      /* code 0: done */
	char key[WIRE_KEY_MAX_BYTES];	      /* credentials: the engine's key of this start */
	char address[WIRE_ADDRESS_MAX_BYTES]; /* ... where it listens, numeric */
	uint16_t port;
};

/* What it came to as a whole; a start, stop or restart: once the last model got there or failed. */
struct wire_reply {
	uint64_t seq;
	struct err err; /* code 0: all done; else what is wrong, in one sentence */
	const struct wire_result *results; /* failures first; at most WIRE_IDS_MAX */
	size_t count;
	const struct pull *pull; /* pull: as it is now; NULL: none */
};

struct wire_event {
	enum wire_event_type type;
	union {
		struct { /* the first line that the agent says */
			uint32_t version, version_min;
			char agent[64];	 /* the agent's version, for people */
			bool restricted; /* this is control.sock */
		} hello;
		struct host_info host;
		struct server server;
		struct {
			char id[SERVER_ID_MAX_BYTES];
		} removed;
		struct { /* of a load, between two server events */
			char id[SERVER_ID_MAX_BYTES];
			float fraction; /* 0..1; negative: not known */
			int32_t eta_ms; /* negative: not known */
		} progress;
		struct {
			char id[SERVER_ID_MAX_BYTES];
			struct span line; /* borrowed (encoding), owned by doc (decoding) */
			uint64_t dropped; /* lines lost before this one */
		} log;
		struct wire_reply reply;
		struct {	  /* the last line */
			int exit; /* for the one-shot form: the process's exit code */
			struct err err;
		} bye;
	};
	struct json *doc;	     /* private: of a decoded one */
	struct wire_result *results; /* private */
	struct pull *pull;	     /* private */
};

/* 0 or ERR_FULL, `out` as before. A reply that is too long loses results from its end instead. */
int wire_event_encode(const struct wire_event *e, struct buf *out);
int wire_event_decode(struct span line, struct wire_event *ret_event, struct err *err);
void wire_event_finish(struct wire_event *e);

/*
 * Whether two sides understand each other; else ERR_VERSION and one sentence that says which one to
 * upgrade. `other` names the peer ("the agent on the host").
 */
int wire_versions_agree(uint32_t version, uint32_t version_min, const char *other, struct err *err);

#endif
