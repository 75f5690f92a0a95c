/* SPDX-License-Identifier: MIT */
/*
 * GET /api/servers/events: what the agent says, to any number of readers. What is state is kept,
 * its last word only: one event of each type and, of servers, of each id, in the order in which
 * they changed. Each has the number of its change; a reader has seen all up to a number and is told
 * what lies behind it, so a fresh one gets the whole state, and a slow one each server's last
 * state, no progress, and of log lines how many it missed.
 */
#ifndef HOSTAPI_FEED_H
#define HOSTAPI_FEED_H

#include "base/list.h"
#include "http/sse.h"
#include "wire/messages.h"

#define FEED_HEARTBEAT_MS 5000
#define FEED_READERS_MAX 64

struct feed_entry {
	struct list link;
	uint64_t change;
	struct wire_event event;
};

struct feed {
	struct loop *loop;
	struct list entries; /* struct feed_entry, the oldest change first */
	uint64_t change;     /* the last number given */
	struct list readers;
	size_t reader_count;
	struct buf scratch;
};

void feed_init(struct feed *f, struct loop *loop);
void feed_finish(struct feed *f); /* ends all readers */

/* Takes over the exchange; ERR_RATE and the exchange untouched when there are too many. */
int feed_add(struct feed *f, struct exchange *x, struct err *err);

/* State: tells it to all, now or when they have room. */
void feed_put(struct feed *f, const struct wire_event *e);
/* id: of servers, else "". NULL: none is kept. Change its event in place if nobody need know. */
struct feed_entry *feed_find(const struct feed *f, enum wire_event_type type, const char *id);
void feed_drop(struct feed_entry *entry); /* NULL is fine */
void feed_clear(struct feed *f);	  /* numbers go on */

/* No state: told now or, of a log line, counted. Who misses that a server is gone is hung up on. */
void feed_tell(struct feed *f, const struct wire_event *e);

#endif
