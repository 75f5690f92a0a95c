/* SPDX-License-Identifier: MIT */
/*
 * The database behind usage: rows in batches, and questions. This is the only user of sqlite3.h.
 * A database is used by one thread at a time.
 */
#ifndef BACKEND_USAGE_DB_H
#define BACKEND_USAGE_DB_H

#include "backend/usage.h"

#define USAGE_ANSWER_MAX_BYTES (4u << 20)

/* One start of a model, as known so far; times are unix ms, 0: not yet. */
struct usage_start {
	char model[SERVER_ID_MAX_BYTES];
	int64_t started, ready, ended;
	uint32_t load_ms, context;
	enum receipt_verdict verdict;
	char exit[160], device[96];
};

/* What is to be written together: copies, in memory that is used again. A zeroed one is empty. */
struct usage_batch {
	int32_t *values; /* private, as what follows: those of all requests */
	size_t request_count, request_room;
	int64_t first_id, first_at; /* those of the requests are counted from here */
	struct buf texts;
	struct usage_start *starts;
	size_t start_count;
};

void usage_batch_add(struct usage_batch *b, const struct account *a);
void usage_batch_add_start(struct usage_batch *b, const struct usage_start *start);
void usage_batch_clear(struct usage_batch *b);	/* keeps the memory */
void usage_batch_finish(struct usage_batch *b); /* frees it */

struct usage_db;

/* Opens or makes the file; NULL and why not. */
struct usage_db *usage_db_open(const char *path, struct err *err);
void usage_db_close(struct usage_db *db);	      /* NULL is fine */
uint64_t usage_db_next_id(const struct usage_db *db); /* above all requests that are kept */
/* All of the batch or nothing: 0 or ERR_IO. */
int usage_db_write(struct usage_db *db, const struct usage_batch *b, struct err *err);
/* The answer of struct usage_question as JSON, into an empty buf: 0 or ERR_IO. */
int usage_db_answer(struct usage_db *db, const struct usage_question *q, struct buf *out,
		    struct err *err);

#endif
