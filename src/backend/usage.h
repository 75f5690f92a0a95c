/* SPDX-License-Identifier: MIT */
/*
 * What was used: the last requests, sums per minute, hour and day, and the starts of each model, in
 * SQLite.
 *
 * Nothing waits for the disk: accounts and starts go into a bounded queue that a thread empties in
 * batches, questions are answered from that thread too. What does not fit or cannot be written is
 * dropped and counted. While a database cannot be used, its error is the answer; that is logged
 * once.
 */
#ifndef BACKEND_USAGE_H
#define BACKEND_USAGE_H

#include "backend/account.h"
#include "base/err.h"
#include "io/loop.h"

#define USAGE_REQUESTS_KEPT 10000 /* at least, by whole batches */
#define USAGE_STARTS_KEPT 50	  /* per model */
#define USAGE_QUEUE_MAX 4096
#define USAGE_BUCKETS_MAX 1000

struct usage;

/* Opens or makes the file. Never fails: what cannot be kept is counted. */
struct usage *usage_open(struct loop *loop, const char *path);
void usage_close(struct usage *u);		/* writes what waits; NULL is fine */
uint64_t usage_next_id(const struct usage *u);	/* for accounts: above all that are kept */
uint64_t usage_not_kept(const struct usage *u); /* so many requests were dropped */

void usage_account(struct usage *u, const struct account *a); /* keeps those that are DONE */
void usage_server(struct usage *u, const struct server *s);   /* at each change: keeps starts */

enum usage_what { USAGE_REQUESTS, USAGE_BUCKETS, USAGE_STARTS };

struct usage_question {
	enum usage_what what;
	char model[SERVER_ID_MAX_BYTES]; /* "": all */
	char key[ACCOUNT_KEY_MAX_BYTES]; /* REQUESTS; "": all */
	bool failed;			 /* REQUESTS: only those with an error */
	int64_t before;			 /* REQUESTS: ids below; 0: the newest */
	int64_t limit;			 /* REQUESTS */
	int64_t step_ms, since_unix_ms;	 /* BUCKETS: 60000, 3600000 or 86400000 */
};

/*
 * Answers from the loop, once: err->code 0 and an object of JSON ({"requests":[...]},
 * {"step_ms":...,"buckets":[...]}, {"starts":[...]}), borrowed; or why not.
 */
typedef void usage_answer_fn(void *user, const struct err *err, struct span json);
void usage_ask(struct usage *u, const struct usage_question *q, usage_answer_fn *on_answer,
	       void *user);

#endif
