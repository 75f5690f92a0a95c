/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events to any number of readers, each of which may be slow.
 *
 * What is state is told by topics. A topic is written when a reader has room for it, so that a slow
 * one gets its last word only. Each change has a number; a reader has seen all of a rank up to a
 * number, a fresh one nothing: it gets the full picture first, rank by rank and in each the oldest
 * change first.
 *
 * What is no state is sent to those who have room. A reader that missed some of it is told so
 * (`lagged`) when it has room, and then gets the full picture again.
 */
#ifndef HTTP_FEED_H
#define HTTP_FEED_H

#include "base/json.h"
#include "base/list.h"
#include "http/server.h"
#include "io/timer.h"

#define FEED_RANKS 6

/* In what it is about; zeroed: in no feed. */
struct topic {
	struct list link;
	int rank;
	uint64_t change;
};

struct feed;

struct feed_kind {
	const char *of;		/* "64 readers of events are connected already" */
	size_t readers_max;	/* 0: others count them */
	uint64_t heartbeat_ms;	/* a comment goes out when nothing else did for so long */
	size_t event_max_bytes; /* what is longer is not told: nobody could read it */
	const char *lagged;	/* type of the event {"dropped":N}; NULL: it is not told */
	/* Writes what a topic is about, returns the event's type. NULL where there are none. */
	const char *(*write)(struct feed *f, struct topic *t, struct json_writer *w);
	void (*on_leave)(struct feed *f); /* a reader is gone; may free the feed; may be NULL */
};

struct feed {
	struct loop *loop;
	const struct feed_kind *kind;
	struct list ranks[FEED_RANKS]; /* topics, the oldest change first */
	struct list readers;
	size_t reader_count;
	uint64_t change;	 /* the last number given */
	struct buf text;	 /* private: the event at hand */
	struct json_writer json; /* private: into text */
};

struct feed_reader {
	struct list link;
	struct feed *feed;
	struct exchange *x;
	struct timer heartbeat;
	uint64_t seen[FEED_RANKS];
	uint64_t dropped; /* events that it missed and was not told of */
	bool is_whole;	  /* it has the full picture */
};

void feed_init(struct feed *f, struct loop *loop, const struct feed_kind *kind);
void feed_end(struct feed *f);	  /* ends all streams; readers may come again */
void feed_finish(struct feed *f); /* and forgets all topics */

/* Takes over the exchange; NULL, ERR_RATE and the exchange untouched when there are too many. */
struct feed_reader *feed_add(struct feed *f, struct exchange *x, struct err *err);
void feed_hang_up(struct feed_reader *r);

/* The topic has changed: all are told, now or when they have room. `lagged` repeats no rank 0. */
void feed_put(struct feed *f, int rank, struct topic *t);
void feed_drop(struct topic *t); /* it is no more; nobody is told */

/* Begins the text of an event; the calls below send it and close what is open in it. */
struct json_writer *feed_begin(struct feed *f);
int feed_send(struct feed_reader *r, const char *type); /* 0, or ERR_FULL and it is not counted */
/*
 * No state: to a reader or to all, where there is room. One whose full picture is under way misses
 * it, which counts only if it changes what that may have told already.
 */
void feed_tell_one(struct feed_reader *r, const char *type, bool changes_picture);
void feed_tell(struct feed *f, const char *type, bool changes_picture);
void feed_miss(struct feed *f, uint64_t count); /* so many never came to us: all are told so */

#endif
