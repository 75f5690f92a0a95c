/* SPDX-License-Identifier: MIT */
/*
 * One job at a time is with the thread: a batch of rows to write, or a question. The database is
 * touched there only (and before the loop runs). Jobs own copies of all that they need.
 */
#include "backend/usage.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/timer.h"

#define USAGE_FLUSH_MS 500
#define USAGE_ANSWER_MAX_BYTES (4u << 20)
#define USAGE_QUESTIONS_MAX 64
#define MINUTE_MS 60000
#define HOUR_MS 3600000
#define DAY_MS 86400000

static const char schema[] =
	"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
	"DROP TABLE IF EXISTS request;" /* of an older form */
	"CREATE TABLE IF NOT EXISTS recent(place INTEGER PRIMARY KEY, id INTEGER, at INTEGER,"
	" model TEXT, key TEXT, path TEXT, stream INTEGER, status INTEGER, prompt INTEGER,"
	" cached INTEGER, generated INTEGER, queue_ms INTEGER, first_ms INTEGER, speed REAL,"
	" total_ms INTEGER, error TEXT);"
	"CREATE TABLE IF NOT EXISTS bucket(step INTEGER, start INTEGER, model TEXT,"
	" requests INTEGER, errors INTEGER, prompt INTEGER, generated INTEGER,"
	" generating_ms INTEGER, first_ms INTEGER, firsts INTEGER,"
	" PRIMARY KEY(step, start, model)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS start(model TEXT, started INTEGER, ready INTEGER,"
	" ended INTEGER, load_ms INTEGER, exit TEXT, verdict TEXT, device TEXT, context INTEGER,"
	" PRIMARY KEY(model, started)) WITHOUT ROWID;";

struct start_row {
	char model[SERVER_ID_MAX_BYTES];
	int64_t started, ready, ended;
	uint32_t load_ms, context;
	enum receipt_verdict verdict;
	char exit[160], device[96];
};

struct question {
	struct usage_question asked;
	usage_answer_fn *on_answer;
	void *user;
};

/* What the thread works on. */
struct job {
	struct account *accounts;
	size_t account_count;
	struct start_row *starts;
	size_t start_count;
	struct question question;
	bool is_question;
	struct err err;
	struct buf answer;
};

struct usage {
	struct loop *loop;
	sqlite3 *db;
	struct err err;
	uint64_t next_id;
	struct account *accounts; /* waiting to be written */
	size_t account_count, account_room;
	struct start_row *starts;
	size_t start_count;
	struct start_row *running; /* one per model: its last start as known so far */
	size_t running_count;
	struct question questions[USAGE_QUESTIONS_MAX];
	size_t question_count;
	struct timer flush;
	struct job job;
	bool is_busy, closing;
};

static int say(sqlite3 *db, const char *what, struct err *err)
{
	return err_set(err, ERR_IO, "usage database: %s: %s", what, sqlite3_errmsg(db));
}

/* Statements */

/* The statement of this text, kept by the database once it was prepared. */
static int prepared(sqlite3 *db, const char *sql, sqlite3_stmt **ret_statement)
{
	for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(db, s)) != NULL;) {
		if (strcmp(sqlite3_sql(s), sql) == 0) {
			*ret_statement = s;
			return SQLITE_OK;
		}
	}
	return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);
}

/* One letter a parameter: i int64_t, t text, d double, n int64_t or null when negative. */
static int run(sqlite3 *db, const char *sql, struct err *err, const char *kinds, ...)
{
	sqlite3_stmt *statement = NULL;
	int status = prepared(db, sql, &statement);
	va_list args;

	va_start(args, kinds);
	for (int i = 1; status == SQLITE_OK && kinds[i - 1] != '\0'; i++) {
		if (kinds[i - 1] == 't') {
			status = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1,
						   SQLITE_STATIC);
		} else if (kinds[i - 1] == 'd') {
			status = sqlite3_bind_double(statement, i, va_arg(args, double));
		} else {
			int64_t value = va_arg(args, int64_t);

			status = kinds[i - 1] == 'n' && value < 0
					 ? sqlite3_bind_null(statement, i)
					 : sqlite3_bind_int64(statement, i, value);
		}
	}
	va_end(args);
	if (status == SQLITE_OK) {
		status = sqlite3_step(statement);
	}
	sqlite3_reset(statement);
	return status == SQLITE_DONE || status == SQLITE_ROW ? 0 : say(db, "writing", err);
}

static int64_t ms_between(uint64_t from_us, uint64_t to_us)
{
	return from_us == 0 || to_us < from_us ? -1 : (int64_t)((to_us - from_us) / 1000);
}

/* What one batch adds to one bucket. */
struct sum {
	int64_t step, start;
	const char *model;
	int64_t requests, errors, prompt, generated, generating_ms, first_ms, firsts;
};

static struct sum *sum_of(struct sum **sums, size_t *count, int64_t step, const struct account *a)
{
	int64_t start = a->at_unix_ms - a->at_unix_ms % step;
	struct sum *fresh;

	for (size_t i = 0; i < *count; i++) {
		struct sum *s = &(*sums)[i];

		if (s->step == step && s->start == start && strcmp(s->model, a->model) == 0) {
			return s;
		}
	}
	*sums = mem_resize(*sums, *count + 1, sizeof(**sums));
	fresh = &(*sums)[(*count)++];
	*fresh = (struct sum){ .step = step, .start = start, .model = a->model };
	return fresh;
}

static int64_t at_least_0(int64_t value)
{
	return value > 0 ? value : 0;
}

static void add_account(struct sum *s, const struct account *a)
{
	int64_t first_ms = ms_between(a->begin_us, a->first_us);

	s->requests++;
	s->errors += a->status >= 400;
	s->prompt += at_least_0(a->prompt_tokens);
	s->generated += at_least_0(a->generated_tokens);
	s->generating_ms += at_least_0(ms_between(a->first_us, a->end_us));
	s->first_ms += at_least_0(first_ms);
	s->firsts += first_ms >= 0;
}

static int write_sums(sqlite3 *db, const struct job *j, struct err *err)
{
	static const int64_t steps[] = { MINUTE_MS, HOUR_MS, DAY_MS };
	struct sum *sums = NULL;
	size_t count = 0;
	int status = 0;

	for (size_t i = 0; i < j->account_count; i++) {
		const struct account *a = &j->accounts[i];

		for (size_t k = 0; a->model[0] != '\0' && k < ARRAY_LEN(steps); k++) {
			add_account(sum_of(&sums, &count, steps[k], a), a);
		}
	}
	for (size_t i = 0; status == 0 && i < count; i++) {
		const struct sum *s = &sums[i];

		status = run(db,
			     "INSERT INTO bucket VALUES(?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE "
			     "SET requests=requests+excluded.requests,"
			     " errors=errors+excluded.errors, prompt=prompt+excluded.prompt,"
			     " generated=generated+excluded.generated,"
			     " generating_ms=generating_ms+excluded.generating_ms,"
			     " first_ms=first_ms+excluded.first_ms, firsts=firsts+excluded.firsts",
			     err, "iitiiiiiii", s->step, s->start, s->model, s->requests, s->errors,
			     s->prompt, s->generated, s->generating_ms, s->first_ms, s->firsts);
	}
	free(sums);
	return status;
}

static int write_account(sqlite3 *db, const struct account *a, struct err *err)
{
	/* One request takes the place of another that is USAGE_REQUESTS_KEPT older. */
	int64_t id = (int64_t)a->id, place = id % USAGE_REQUESTS_KEPT;

	return run(db, "INSERT OR REPLACE INTO recent VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", err,
		   "iiitttiinnnnndit", place, id, a->at_unix_ms, a->model, a->key, a->path,
		   (int64_t)a->stream, (int64_t)a->status, a->prompt_tokens, a->cached_tokens,
		   a->generated_tokens,
		   ms_between(a->begin_us, a->routed_us != 0 ? a->routed_us : a->end_us),
		   ms_between(a->begin_us, a->first_us), a->tokens_per_second,
		   ms_between(a->begin_us, a->end_us), a->error);
}

static int write_start(sqlite3 *db, const struct start_row *s, struct err *err)
{
	int status = run(db, "INSERT OR REPLACE INTO start VALUES(?,?,?,?,?,?,?,?,?)", err,
			 "tiiiittti", s->model, s->started, s->ready, s->ended, (int64_t)s->load_ms,
			 s->exit, receipt_verdict_name(s->verdict), s->device, (int64_t)s->context);

	if (status == 0) {
		status = run(db,
			     "DELETE FROM start WHERE model=?1 AND started NOT IN (SELECT started "
			     "FROM start WHERE model=?1 ORDER BY started DESC LIMIT ?2)",
			     err, "ti", s->model, (int64_t)USAGE_STARTS_KEPT);
	}
	return status;
}

/* Forgets what is older than it is worth. */
static int prune(sqlite3 *db, struct err *err)
{
	int status = run(db, "DELETE FROM bucket WHERE step=? AND start<?", err, "ii",
			 (int64_t)MINUTE_MS, loop_unix_ms() - DAY_MS);

	if (status == 0) {
		status = run(db, "DELETE FROM bucket WHERE step=? AND start<?", err, "ii",
			     (int64_t)HOUR_MS, loop_unix_ms() - 31 * (int64_t)DAY_MS);
	}
	return status;
}

static void work_write(struct usage *u, struct job *j)
{
	int status = run(u->db, "BEGIN", &j->err, "");

	for (size_t i = 0; status == 0 && i < j->account_count; i++) {
		status = write_account(u->db, &j->accounts[i], &j->err);
	}
	if (status == 0) {
		status = write_sums(u->db, j, &j->err);
	}
	for (size_t i = 0; status == 0 && i < j->start_count; i++) {
		status = write_start(u->db, &j->starts[i], &j->err);
	}
	if (status == 0) {
		status = prune(u->db, &j->err);
	}
	run(u->db, status == 0 ? "COMMIT" : "ROLLBACK", status == 0 ? &j->err : NULL, "");
}

/* Answers */

static const char *column_text(sqlite3_stmt *s, int column)
{
	const unsigned char *text = sqlite3_column_text(s, column);

	return text != NULL ? (const char *)text : "";
}

/*
 * The columns of a row as members: names in order, a letter each as in run, plus b for a boolean.
 */
static void write_row(struct json_writer *w, sqlite3_stmt *s, const char *const *names,
		      const char *kinds)
{
	jsonw_object(w);
	for (int i = 0; names[i] != NULL; i++) {
		jsonw_key(w, names[i]);
		if (sqlite3_column_type(s, i) == SQLITE_NULL) {
			jsonw_null(w);
		} else if (kinds[i] == 't') {
			jsonw_text(w, column_text(s, i));
		} else if (kinds[i] == 'd') {
			jsonw_double(w, sqlite3_column_double(s, i), 2);
		} else if (kinds[i] == 'b') {
			jsonw_bool(w, sqlite3_column_int(s, i) != 0);
		} else {
			jsonw_i64(w, sqlite3_column_int64(s, i));
		}
	}
	jsonw_end(w);
}

struct view {
	const char *list; /* name of the member that holds the rows */
	const char *sql;
	const char *kinds;
	const char *names[17]; /* NULL-terminated */
};

static const struct view views[] = {
	[USAGE_REQUESTS] = { "requests",
			     "SELECT id,at,model,key,path,stream,'done',status,prompt,cached,"
			     "generated,queue_ms,first_ms,nullif(speed,0),total_ms,error FROM "
			     "recent WHERE (?1='' OR model=?1) AND (?2='' OR key=?2) AND (?3=0 OR "
			     "status>=400) AND (?4=0 OR id<?4) ORDER BY id DESC LIMIT ?5",
			     "iitttbtiiiiiidit",
			     { "id", "at_unix_ms", "model_id", "key_name", "path", "stream",
			       "phase", "status", "prompt_tokens", "cached_tokens",
			       "generated_tokens", "queue_ms", "first_token_ms",
			       "tokens_per_second", "total_ms", "error" } },
	[USAGE_BUCKETS] = { "buckets",
			    "SELECT start,model,requests,errors,prompt,generated,generating_ms,"
			    "CASE WHEN firsts>0 THEN first_ms*1.0/firsts END FROM bucket WHERE "
			    "(?1='' OR model=?1) AND step=?2 AND start>=?3 ORDER BY start LIMIT ?4",
			    "itiiiiid",
			    { "start_unix_ms", "model_id", "requests", "errors", "prompt_tokens",
			      "generated_tokens", "generating_ms", "first_token_ms_mean" } },
	[USAGE_STARTS] = { "starts",
			   "SELECT started,ready,ended,load_ms,exit,verdict,device,context FROM "
			   "start WHERE model=?1 ORDER BY started DESC LIMIT ?2",
			   "iiiittti",
			   { "started_unix_ms", "ready_unix_ms", "ended_unix_ms", "load_ms", "exit",
			     "verdict", "device_name", "context_tokens" } },
};

static void bind(sqlite3_stmt *s, const struct usage_question *q)
{
	sqlite3_bind_text(s, 1, q->model, -1, SQLITE_STATIC);
	switch (q->what) {
	case USAGE_REQUESTS:
		sqlite3_bind_text(s, 2, q->key, -1, SQLITE_STATIC);
		sqlite3_bind_int(s, 3, q->failed);
		sqlite3_bind_int64(s, 4, q->before);
		sqlite3_bind_int64(s, 5, q->limit);
		break;
	case USAGE_BUCKETS:
		sqlite3_bind_int64(s, 2, q->step_ms);
		sqlite3_bind_int64(s, 3, q->since_unix_ms);
		sqlite3_bind_int64(s, 4, USAGE_BUCKETS_MAX);
		break;
	case USAGE_STARTS:
		sqlite3_bind_int64(s, 2, USAGE_STARTS_KEPT);
		break;
	}
}

static void work_answer(struct usage *u, struct job *j)
{
	const struct usage_question *q = &j->question.asked;
	const struct view *view = &views[q->what];
	sqlite3_stmt *statement = NULL;
	struct json_writer w;

	if (sqlite3_prepare_v2(u->db, view->sql, -1, &statement, NULL) != SQLITE_OK) {
		say(u->db, "asking", &j->err);
		return;
	}
	bind(statement, q);
	jsonw_init(&w, &j->answer);
	jsonw_object(&w);
	if (q->what == USAGE_BUCKETS) {
		jsonw_member_i64(&w, "step_ms", q->step_ms);
	}
	jsonw_key(&w, view->list);
	jsonw_array(&w);
	while (sqlite3_step(statement) == SQLITE_ROW) {
		write_row(&w, statement, view->names, view->kinds);
	}
	jsonw_end_all(&w);
	sqlite3_finalize(statement);
}

/* The thread and the loop */

static void next_job(struct usage *u);

static void work(void *arg)
{
	struct usage *u = arg;

	if (u->job.is_question) {
		work_answer(u, &u->job);
	} else {
		work_write(u, &u->job);
	}
}

static void destroy(struct usage *u)
{
	for (sqlite3_stmt *s; (s = sqlite3_next_stmt(u->db, NULL)) != NULL;) {
		sqlite3_finalize(s);
	}
	sqlite3_close(u->db);
	free(u->accounts);
	free(u->starts);
	free(u->running);
	free(u);
}

static void on_worked(void *arg)
{
	struct usage *u = arg;
	struct job j = u->job;

	u->is_busy = false;
	u->job = (struct job){ .is_question = false };
	free(j.accounts);
	free(j.starts);
	if (j.err.code != 0 && !j.is_question && u->err.code == 0) {
		u->err = j.err;
		log_error("%s: requests and usage are no longer kept", j.err.text);
	}
	if (j.is_question) {
		j.question.on_answer(j.question.user, &j.err, buf_span(&j.answer));
	}
	buf_finish(&j.answer);
	next_job(u);
}

static void next_job(struct usage *u)
{
	if (u->is_busy) {
		return;
	}
	if (u->question_count > 0) {
		u->job.is_question = true;
		u->job.question = u->questions[0];
		buf_init(&u->job.answer, USAGE_ANSWER_MAX_BYTES);
		u->question_count--;
		memmove(u->questions, u->questions + 1,
			u->question_count * sizeof(u->questions[0]));
	} else if (u->err.code == 0 && u->account_count + u->start_count > 0 &&
		   (u->closing || !timer_is_on(&u->flush))) {
		u->job.accounts = u->accounts;
		u->job.account_count = u->account_count;
		u->job.starts = u->starts;
		u->job.start_count = u->start_count;
		u->accounts = NULL;
		u->starts = NULL;
		u->account_count = u->account_room = u->start_count = 0;
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
	if (u->err.code != 0 || u->account_count + u->start_count >= USAGE_QUEUE_MAX) {
		return false;
	}
	if (!timer_is_on(&u->flush)) {
		timer_start(&u->flush, USAGE_FLUSH_MS);
	}
	return true;
}

bool usage_account(struct usage *u, const struct account *a)
{
	bool is_done = a->phase == ACCOUNT_DONE;
	bool is_kept = is_done && has_room(u);

	if (is_kept) {
		if (u->account_count == u->account_room) {
			u->account_room = u->account_room * 2 + 16;
			u->accounts = mem_resize(u->accounts, u->account_room, sizeof(*a));
		}
		u->accounts[u->account_count++] = *a;
	}
	return is_kept || !is_done;
}

/* Starts */

static struct start_row *last_start(struct usage *u, const char *model)
{
	for (size_t i = 0; i < u->running_count; i++) {
		if (strcmp(u->running[i].model, model) == 0) {
			return &u->running[i];
		}
	}
	u->running = mem_resize(u->running, u->running_count + 1, sizeof(*u->running));
	struct start_row *fresh = &u->running[u->running_count++];

	memset(fresh, 0, sizeof(*fresh));
	span_copy(span_of(model), fresh->model, sizeof(fresh->model));
	return fresh;
}

/* Whether this report changes the row; the row then says what is known now. */
static bool follow(struct start_row *row, const struct server *s)
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
	struct start_row *row = last_start(u, s->id);

	if (s->phase != SERVER_UNKNOWN && follow(row, s) && has_room(u)) {
		u->starts = mem_resize(u->starts, u->start_count + 1, sizeof(*u->starts));
		u->starts[u->start_count++] = *row;
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

static uint64_t read_next_id(sqlite3 *db)
{
	sqlite3_stmt *statement = NULL;
	uint64_t id = 1;

	if (sqlite3_prepare_v2(db, "SELECT max(id) FROM recent", -1, &statement, NULL) ==
		    SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW) {
		id = (uint64_t)sqlite3_column_int64(statement, 0) + 1;
	}
	sqlite3_finalize(statement);
	return id;
}

struct usage *usage_open(struct loop *loop, const char *path)
{
	struct usage *u = mem_alloc(sizeof(*u));

	u->loop = loop;
	u->next_id = 1;
	timer_init(&u->flush, loop, on_flush);
	/* One thread at a time has the database: no locks and no counts of memory are needed. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	if (sqlite3_open_v2(path, &u->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK ||
	    sqlite3_exec(u->db, schema, NULL, NULL, NULL) != SQLITE_OK) {
		err_set(&u->err, ERR_IO, "usage database %s: %s", path, sqlite3_errmsg(u->db));
		log_error("%s: requests and usage are not kept", u->err.text);
	} else {
		u->next_id = read_next_id(u->db);
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

const struct err *usage_error(const struct usage *u)
{
	return &u->err;
}

uint64_t usage_next_id(const struct usage *u)
{
	return u->next_id;
}

static void member_ms(struct json_writer *w, const char *key, uint64_t from_us, uint64_t to_us)
{
	jsonw_key(w, key);
	if (ms_between(from_us, to_us) < 0) {
		jsonw_null(w);
	} else {
		jsonw_i64(w, ms_between(from_us, to_us));
	}
}

static void member_tokens(struct json_writer *w, const char *key, int64_t tokens)
{
	jsonw_key(w, key);
	if (tokens < 0) {
		jsonw_null(w);
	} else {
		jsonw_i64(w, tokens);
	}
}

void account_write(struct json_writer *w, const struct account *a)
{
	static const char *const phases[] = { "queued", "prompt", "generating", "done" };
	uint64_t routed_us = a->routed_us != 0 ? a->routed_us : loop_now_us();

	jsonw_object(w);
	jsonw_member_u64(w, "id", a->id);
	jsonw_member_i64(w, "at_unix_ms", a->at_unix_ms);
	jsonw_member_text(w, "model_id", a->model);
	jsonw_member_text(w, "key_name", a->key);
	jsonw_member_text(w, "path", a->path);
	jsonw_member_bool(w, "stream", a->stream);
	jsonw_member_text(w, "phase", phases[a->phase]);
	jsonw_member_i64(w, "status", a->status);
	member_tokens(w, "prompt_tokens", a->prompt_tokens);
	member_tokens(w, "cached_tokens", a->cached_tokens);
	member_tokens(w, "generated_tokens", a->generated_tokens);
	jsonw_member_i64(w, "queue_ms", ms_between(a->begin_us, routed_us));
	member_ms(w, "first_token_ms", a->begin_us, a->first_us);
	jsonw_key(w, "tokens_per_second");
	if (a->tokens_per_second > 0) {
		jsonw_double(w, a->tokens_per_second, 2);
	} else {
		jsonw_null(w);
	}
	jsonw_member_i64(w, "total_ms",
			 a->end_us != 0 ? ms_between(a->begin_us, a->end_us) : INT64_C(0));
	jsonw_member_text(w, "error", a->error);
	jsonw_end(w);
}
