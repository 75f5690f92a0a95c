/* SPDX-License-Identifier: MIT */
/*
 * GET /api/models/servers/ID/logs: the end of an engine's log, then its lines as they come. Readers
 * of one model share one following of its log and its last LOGS_TAIL_MAX_BYTES.
 */
#ifndef BACKEND_LOGS_H
#define BACKEND_LOGS_H

#include "backend/fleet.h"
#include "http/server.h"

#define LOGS_READERS_MAX 64
#define LOGS_TAIL_MAX_BYTES 32768 /* what an agent keeps as well */
#define LOGS_TAIL_MAX_LINES 10000
#define LOGS_SETTLE_MS 300 /* what comes within that time of a first following is the tail */
#define LOGS_HEARTBEAT_MS 15000

struct logs;

struct logs *logs_create(struct loop *loop, struct fleet *fleet);
void logs_end(struct logs *l); /* ends all streams */
void logs_close(struct logs *l);

/*
 * Takes over the exchange: an event stream, or with follow false the tail alone as text. ERR_RATE
 * and the exchange untouched when there are too many readers.
 */
int logs_add(struct logs *l, struct exchange *x, const char *id, uint32_t tail, bool follow,
	     struct err *err);

#endif
