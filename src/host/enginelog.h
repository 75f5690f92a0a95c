/* SPDX-License-Identifier: MIT */
/*
 * What the agent keeps of one start's log: the last lines for those who begin to follow it, and
 * what engine/receipt and engine/obituary make of it.
 */
#ifndef HOST_ENGINELOG_H
#define HOST_ENGINELOG_H

#include "base/buf.h"
#include "engine/obituary.h"
#include "engine/receipt.h"

#define ENGINELOG_TAIL_MAX_BYTES 32768u

struct enginelog {
	struct buf tail;
	struct receipt_parser receipt;
	struct obituary_parser obituary;
	uint32_t busy_slots;	 /* that were given a task and have not ended it */
	float tokens_per_second; /* of the last answer; 0: none yet */
};

void enginelog_init(struct enginelog *l);
void enginelog_finish(struct enginelog *l);
void enginelog_restart(struct enginelog *l); /* another start: all is forgotten */
void enginelog_feed(struct enginelog *l, struct span line);
/* At most the last `count` lines, each with its newline; borrowed until it is fed. */
struct span enginelog_tail(const struct enginelog *l, uint32_t count);

#endif
