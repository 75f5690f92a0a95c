/* SPDX-License-Identifier: MIT */
/*
 * The readers of GET /api/servers/events. Each gets the whole state first and then every change;
 * one that is slow gets states joined, progress left out and log lines dropped and counted, never
 * more than its connection keeps (SERVER_SEND_MAX_BYTES).
 */
#ifndef HOSTAPI_STREAM_H
#define HOSTAPI_STREAM_H

#include "hostapi/mirror.h"
#include "http/sse.h"
#include "wire/messages.h"

#define STREAM_HEARTBEAT_MS 5000
#define STREAMS_MAX 64

/* What all readers are shown. The owner changes it, then calls streams_pump. */
struct streams {
	struct loop *loop;
	struct mirror mirror;
	uint64_t epoch;		 /* grows when the link comes up or goes down */
	struct wire_event hello; /* said when the link is up */
	struct err down;	 /* why it is not; code 0: it is up */
	bool synced;		 /* the mirror is complete */
	struct list items;	 /* struct stream */
	size_t count;
	struct buf scratch;
};

void streams_init(struct streams *s, struct loop *loop);
void streams_finish(struct streams *s); /* ends all */

/* Takes over the exchange; ERR_RATE and the exchange untouched when there are STREAMS_MAX. */
int streams_add(struct streams *s, struct exchange *x, struct err *err);
/* Tells every reader what it has not seen. */
void streams_pump(struct streams *s);
/* Something that is not state: told now, or never. */
void streams_tell(struct streams *s, const struct wire_event *e);

#endif
