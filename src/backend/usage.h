/* SPDX-License-Identifier: MIT */
/*
 * What was used: the last requests, sums per minute, hour and day, and the starts of each model, in
 * SQLite.
 *
 * Nothing waits for the disk: accounts and starts go into a bounded queue that a thread empties in
 * batches (what does not fit is dropped, and said), questions are answered from that thread too.
 * A database that cannot be used says so once and answers with its error from then on.
 */
#ifndef BACKEND_USAGE_H
#define BACKEND_USAGE_H

#include "backend/account.h"
#include "base/err.h"
#include "io/loop.h"

#define USAGE_REQUESTS_KEPT 10000
#define USAGE_STARTS_KEPT 50 /* per model */
#define USAGE_QUEUE_MAX 4096
#define USAGE_BUCKETS_MAX 1000

struct usage;

/* Opens or makes the file. Never fails: see usage_error. */
struct usage *usage_open(struct loop *loop, const char *path);
void usage_close(struct usage *u);		      /* writes what waits; NULL is fine */
const struct err *usage_error(const struct usage *u); /* code 0: it works */
uint64_t usage_next_id(const struct usage *u);	      /* for accounts: above all that are kept */

/* Keeps those that are DONE; false: there was no room, and it is not kept. */
bool usage_account(struct usage *u, const struct account *a);
void usage_server(struct usage *u, const struct server *s); /* at each change: keeps starts */

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
