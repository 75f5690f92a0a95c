/* SPDX-License-Identifier: MIT */
/*
 * One job at a time is with a thread: a batch of rows to write, or a question. The database is
 * touched there only (and before the loop runs). Jobs own copies of all that they need.
 */
#include "backend/usage.h"

#include <stdlib.h>

#include "backend/usage_db.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/timer.h"

#define USAGE_FLUSH_MS 500
#define USAGE_FLUSH_COUNT (USAGE_QUEUE_MAX / 2) /* so many are written at once */
#define USAGE_QUESTIONS_MAX 64

struct question {
	struct usage_question asked;
	usage_answer_fn *on_answer;
	void *user;
};

/* What the thread works on. */
struct job {
	struct usage_batch batch;
	struct question question;
	bool is_question;
	struct err err;
	struct buf answer;
};

struct usage {
	struct loop *loop;
	struct usage_db *db; /* NULL: see err */
	struct err err;	     /* of the opening, or of the last writing */
	uint64_t not_kept;
	struct usage_batch waiting;
	struct usage_start *running; /* one per model: its last start as known so far */
	size_t running_count;
	struct question questions[USAGE_QUESTIONS_MAX];
	size_t question_count;
	struct timer flush;
	struct job job;
	bool is_busy, closing;
};

/* The thread and the loop */

static void next_job(struct usage *u);

static void work(void *arg)
{
	struct usage *u = arg;
	struct job *j = &u->job;

	if (j->is_question) {
		usage_db_answer(u->db, &j->question.asked, &j->answer, &j->err);
	} else {
		usage_db_write(u->db, &j->batch, &j->err);
	}
}

static void destroy(struct usage *u)
{
	usage_db_close(u->db);
	usage_batch_finish(&u->waiting);
	usage_batch_finish(&u->job.batch);
	free(u->running);
	free(u);
}

/* A disk may be full for a while, a database locked: the next batch is tried again. */
static void note_written(struct usage *u, const struct job *j)
{
	u->not_kept += j->err.code != 0 ? j->batch.request_count : 0;
	if (j->err.code != 0 && u->err.code == 0) {
		log_error("%s: requests and usage are not kept", j->err.text);
	} else if (j->err.code == 0 && u->err.code != 0) {
		log_info("usage database: requests and usage are kept again");
	}
	u->err = j->err;
}

/* Still busy while it answers: whoever asks again from there waits for its turn. */
static void on_worked(void *arg)
{
	struct usage *u = arg;
	struct job *j = &u->job;

	if (j->is_question) {
		j->question.on_answer(j->question.user, &j->err, buf_span(&j->answer));
		buf_finish(&j->answer);
	} else {
		note_written(u, j);
	}
	u->is_busy = false;
	next_job(u);
}

static size_t waiting_count(const struct usage *u)
{
	return u->waiting.request_count + u->waiting.start_count;
}

static void take_question(struct usage *u)
{
	u->job.question = u->questions[0];
	buf_init(&u->job.answer, USAGE_ANSWER_MAX_BYTES);
	u->question_count--;
	memmove(u->questions, u->questions + 1, u->question_count * sizeof(u->questions[0]));
}

/* The two batches take turns: the memory of one that was written is filled again. */
static void take_batch(struct usage *u)
{
	struct usage_batch written = u->job.batch;

	usage_batch_clear(&written);
	u->job.batch = u->waiting;
	u->waiting = written;
}

static bool is_flush_due(const struct usage *u)
{
	size_t count = waiting_count(u);

	return count > 0 && (u->closing || count >= USAGE_FLUSH_COUNT || !timer_is_on(&u->flush));
}

static void next_job(struct usage *u)
{
	if (u->is_busy) {
		return;
	}
	u->job.err = (struct err){ .code = 0 };
	u->job.is_question = u->question_count > 0;
	if (u->job.is_question) {
		take_question(u);
	} else if (is_flush_due(u)) {
		take_batch(u);
	} else {
		if (u->closing) {
			destroy(u);
		}
		return;
	}
	u->is_busy = true;
	loop_work(u->loop, work, on_worked, u);
}

static void on_flush(struct timer *t)
{
	next_job(CONTAINER_OF(t, struct usage, flush));
}

static bool has_room(struct usage *u)
{
	if (u->db == NULL || waiting_count(u) >= USAGE_QUEUE_MAX) {
		return false;
	}
	if (!timer_is_on(&u->flush)) {
		timer_start(&u->flush, USAGE_FLUSH_MS);
	}
	return true;
}

void usage_account(struct usage *u, const struct account *a)
{
	if (a->phase != ACCOUNT_DONE) {
		return;
	}
	if (!has_room(u)) {
		u->not_kept++;
		return;
	}
	usage_batch_add(&u->waiting, a);
	if (u->waiting.request_count == USAGE_FLUSH_COUNT) {
		next_job(u);
	}
}

/* Starts */

static struct usage_start *last_start(struct usage *u, const char *model)
{
	for (size_t i = 0; i < u->running_count; i++) {
		if (strcmp(u->running[i].model, model) == 0) {
			return &u->running[i];
		}
	}
	u->running = mem_resize(u->running, u->running_count + 1, sizeof(*u->running));
	struct usage_start *fresh = &u->running[u->running_count++];

	memset(fresh, 0, sizeof(*fresh));
	span_copy(span_of(model), fresh->model, sizeof(fresh->model));
	return fresh;
}

/* Whether this report changes the row; the row then says what is known now. */
static bool follow(struct usage_start *row, const struct server *s)
{
	bool runs = s->pid != 0;
	bool is_new = row->started == 0 || row->ended != 0;

	if (runs && is_new) {
		row->started = s->ready_unix_ms != 0 ? s->ready_unix_ms - (int64_t)s->load_ms
						     : s->phase_unix_ms;
		row->ready = row->ended = 0;
		row->exit[0] = '\0';
	}
	if (runs && s->ready_unix_ms != 0 && row->ready != s->ready_unix_ms) {
		row->ready = s->ready_unix_ms;
		row->load_ms = s->load_ms;
		row->verdict = s->receipt.verdict;
		row->context = s->receipt.context_tokens;
		span_copy(span_of(s->receipt.device_name), row->device, sizeof(row->device));
		return true;
	}
	if (!runs && !is_new) {
		row->ended = loop_unix_ms();
		span_copy(span_of(s->error[0] != '\0' ? s->error : "stopped"), row->exit,
			  sizeof(row->exit));
		return true;
	}
	return runs && is_new;
}

void usage_server(struct usage *u, const struct server *s)
{
	struct usage_start *row = last_start(u, s->id);

	if (s->phase != SERVER_UNKNOWN && follow(row, s) && has_room(u)) {
		usage_batch_add_start(&u->waiting, row);
	}
}

void usage_ask(struct usage *u, const struct usage_question *q, usage_answer_fn *on_answer,
	       void *user)
{
	struct err err = u->err;

	if (err.code == 0 && u->question_count == USAGE_QUESTIONS_MAX) {
		err_set(&err, ERR_BUSY, "%d questions about usage wait already",
			USAGE_QUESTIONS_MAX);
	}
	if (err.code != 0) {
		on_answer(user, &err, (struct span){ NULL, 0 });
		return;
	}
	u->questions[u->question_count++] = (struct question){ *q, on_answer, user };
	next_job(u);
}

struct usage *usage_open(struct loop *loop, const char *path)
{
	struct usage *u = mem_alloc(sizeof(*u));

	u->loop = loop;
	timer_init(&u->flush, loop, on_flush);
	u->db = usage_db_open(path, &u->err);
	if (u->db == NULL) {
		log_error("%s: requests and usage are not kept", u->err.text);
	}
	return u;
}

void usage_close(struct usage *u)
{
	struct err why = { ERR_UNAVAILABLE, "the backend is being stopped" };

	if (u == NULL) {
		return;
	}
	u->closing = true;
	timer_stop(&u->flush);
	for (size_t i = 0; i < u->question_count; i++) {
		u->questions[i].on_answer(u->questions[i].user, &why, (struct span){ NULL, 0 });
	}
	u->question_count = 0;
	next_job(u);
}

uint64_t usage_next_id(const struct usage *u)
{
	return u->db != NULL ? usage_db_next_id(u->db) : 1;
}

uint64_t usage_not_kept(const struct usage *u)
{
	return u->not_kept;
}
