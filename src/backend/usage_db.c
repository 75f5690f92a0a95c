/* SPDX-License-Identifier: MIT */
#include "backend/usage_db.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"

#define MINUTE_MS 60000
#define HOUR_MS 3600000
#define DAY_MS 86400000
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
#define LOCKED_MAX_MS 1000 /* by another program */

/*
 * The columns of the table of requests, and the letter of each: i a number, n one that is null when
 * negative, t a text, d a real number; these two are null when empty or 0.
 */
#define REQUEST_TABLE(X) \
	X(PLACE, "place INTEGER", 'i') \
	X(ID, "id INTEGER", 'i') \
	X(AT, "at INTEGER", 'i') \
	X(MODEL, "model TEXT", 't') \
	X(KEY, "key TEXT", 't') \
	X(PATH, "path TEXT", 't') \
	X(STREAM, "stream INTEGER", 'i') \
	X(STATUS, "status INTEGER", 'i') \
	X(PROMPT, "prompt INTEGER", 'n') \
	X(CACHED, "cached INTEGER", 'n') \
	X(GENERATED, "generated INTEGER", 'n') \
	X(QUEUE_MS, "queue_ms INTEGER", 'n') \
	X(FIRST_MS, "first_ms INTEGER", 'n') \
	X(SPEED, "speed REAL", 'd') \
	X(TOTAL_MS, "total_ms INTEGER", 'n') \
	X(ERROR, "error TEXT", 't')

#define COLUMN_PLACE(name, declaration, kind) name,
#define COLUMN_DECLARATION(name, declaration, kind) declaration ", "
#define COLUMN_KIND(name, declaration, kind) kind,
enum column { REQUEST_TABLE(COLUMN_PLACE) COLUMN_COUNT };
static const char column_kinds[] = { REQUEST_TABLE(COLUMN_KIND) };
#define REQUEST_COLUMNS "(" REQUEST_TABLE(COLUMN_DECLARATION) "PRIMARY KEY(place))"

static const char schema[] =
	"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
	"DROP TABLE IF EXISTS request;" /* of an older form */
	"CREATE TABLE IF NOT EXISTS recent" REQUEST_COLUMNS ";"
	"CREATE TABLE IF NOT EXISTS bucket(step INTEGER, start INTEGER, model TEXT,"
	" requests INTEGER, errors INTEGER, prompt INTEGER, generated INTEGER,"
	" generating_ms INTEGER, first_ms INTEGER, firsts INTEGER,"
	" PRIMARY KEY(step, start, model)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS start(model TEXT, started INTEGER, ready INTEGER,"
	" ended INTEGER, load_ms INTEGER, exit TEXT, verdict TEXT, device TEXT, context INTEGER,"
	" PRIMARY KEY(model, started)) WITHOUT ROWID;";

union usage_value {
	int64_t number;
	double real;
	size_t text; /* where it begins in the batch's texts */
};

struct usage_db {
	sqlite3 *sqlite;
	sqlite3_vtab table; /* "batch", and its only cursor */
	sqlite3_vtab_cursor cursor;
	const struct usage_batch *batch; /* that is being written */
	size_t at;
};

/* Batches */

static const union usage_value *request_at(const struct usage_batch *b, size_t index)
{
	return b->values + index * COLUMN_COUNT;
}

static const char *text_at(const struct usage_batch *b, const union usage_value *v)
{
	return b->texts.data + v->text;
}

/* Most texts are those of the request before. */
static void set_text(struct usage_batch *b, union usage_value *request, enum column c,
		     const char *text)
{
	const union usage_value *before = request - COLUMN_COUNT;

	if (b->request_count > 0 && strcmp(text_at(b, &before[c]), text) == 0) {
		request[c].text = before[c].text;
	} else {
		request[c].text = b->texts.len;
		ENSURE(buf_add(&b->texts, text, strlen(text) + 1) == 0);
	}
}

void usage_batch_add(struct usage_batch *b, const struct account *a)
{
	if (b->request_count == b->request_room) {
		b->request_room = b->request_room * 2 + 16;
		b->values =
			mem_resize(b->values, b->request_room, COLUMN_COUNT * sizeof(*b->values));
		b->texts.max_bytes = SIZE_MAX;
	}
	union usage_value *v = b->values + b->request_count * COLUMN_COUNT;

	/* One request takes the place of another that is USAGE_REQUESTS_KEPT older. */
	v[PLACE].number = (int64_t)(a->id % USAGE_REQUESTS_KEPT);
	v[ID].number = (int64_t)a->id;
	v[AT].number = a->at_unix_ms;
	set_text(b, v, MODEL, a->model);
	set_text(b, v, KEY, a->key);
	set_text(b, v, PATH, a->path);
	v[STREAM].number = a->stream;
	v[STATUS].number = a->status;
	v[PROMPT].number = a->prompt_tokens;
	v[CACHED].number = a->cached_tokens;
	v[GENERATED].number = a->generated_tokens;
	v[QUEUE_MS].number = account_ms(a->begin_us, a->routed_us != 0 ? a->routed_us : a->end_us);
	v[FIRST_MS].number = account_ms(a->begin_us, a->first_us);
	v[SPEED].real = a->tokens_per_second;
	v[TOTAL_MS].number = account_ms(a->begin_us, a->end_us);
	set_text(b, v, ERROR, a->error);
	b->request_count++;
}

void usage_batch_add_start(struct usage_batch *b, const struct usage_start *start)
{
	b->starts = mem_resize(b->starts, b->start_count + 1, sizeof(*start));
	b->starts[b->start_count++] = *start;
}

void usage_batch_clear(struct usage_batch *b)
{
	b->request_count = b->start_count = 0;
	buf_clear(&b->texts);
}

void usage_batch_finish(struct usage_batch *b)
{
	free(b->values);
	free(b->starts);
	buf_finish(&b->texts);
}

/* Statements */

static int say(struct usage_db *db, const char *what, struct err *err)
{
	return err_set(err, ERR_IO, "usage database: %s: %s", what, sqlite3_errmsg(db->sqlite));
}

/* The statement of this text, kept by the database once it was prepared. */
static int prepared(sqlite3 *sqlite, const char *sql, sqlite3_stmt **ret_statement)
{
	for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(sqlite, s)) != NULL;) {
		if (strcmp(sqlite3_sql(s), sql) == 0) {
			*ret_statement = s;
			return SQLITE_OK;
		}
	}
	return sqlite3_prepare_v3(sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);
}

/* One letter a parameter: i int64_t, t text. */
static int run(struct usage_db *db, const char *sql, struct err *err, const char *kinds, ...)
{
	sqlite3_stmt *statement = NULL;
	int status = prepared(db->sqlite, sql, &statement);
	va_list args;

	va_start(args, kinds);
	for (int i = 1; status == SQLITE_OK && kinds[i - 1] != '\0'; i++) {
		if (kinds[i - 1] == 't') {
			status = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1,
						   SQLITE_STATIC);
		} else {
			status = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
		}
	}
	va_end(args);
	if (status == SQLITE_OK) {
		status = sqlite3_step(statement);
	}
	sqlite3_reset(statement);
	return status == SQLITE_DONE || status == SQLITE_ROW ? 0 : say(db, "writing", err);
}

/*
 * The requests of the batch as a virtual table of SQLite's, "batch": one statement takes them all,
 * which costs less than binding and stepping for each.
 */
static int batch_connect(sqlite3 *sqlite, void *arg, int argc, const char *const *argv,
			 sqlite3_vtab **ret_table, char **ret_error)
{
	struct usage_db *db = arg;

	(void)argc;
	(void)argv;
	(void)ret_error;
	*ret_table = &db->table;
	return sqlite3_declare_vtab(sqlite, "CREATE TABLE batch" REQUEST_COLUMNS "WITHOUT ROWID");
}

static int batch_disconnect(sqlite3_vtab *table)
{
	(void)table;
	return SQLITE_OK;
}

/* There is one way to read it: from the first to the last. */
static int batch_plan(sqlite3_vtab *table, sqlite3_index_info *info)
{
	(void)table;
	(void)info;
	return SQLITE_OK;
}

static int batch_open(sqlite3_vtab *table, sqlite3_vtab_cursor **ret_cursor)
{
	*ret_cursor = &CONTAINER_OF(table, struct usage_db, table)->cursor;
	return SQLITE_OK;
}

static int batch_close(sqlite3_vtab_cursor *cursor)
{
	(void)cursor;
	return SQLITE_OK;
}

static int batch_rewind(sqlite3_vtab_cursor *cursor, int plan, const char *plan_text, int argc,
			sqlite3_value **argv)
{
	(void)plan;
	(void)plan_text;
	(void)argc;
	(void)argv;
	CONTAINER_OF(cursor, struct usage_db, cursor)->at = 0;
	return SQLITE_OK;
}

static int batch_next(sqlite3_vtab_cursor *cursor)
{
	CONTAINER_OF(cursor, struct usage_db, cursor)->at++;
	return SQLITE_OK;
}

static int batch_is_over(sqlite3_vtab_cursor *cursor)
{
	const struct usage_db *db = CONTAINER_OF(cursor, struct usage_db, cursor);

	return db->at == db->batch->request_count;
}

static int batch_value(sqlite3_vtab_cursor *cursor, sqlite3_context *out, int column)
{
	const struct usage_db *db = CONTAINER_OF(cursor, struct usage_db, cursor);
	const union usage_value *v = &request_at(db->batch, db->at)[column];
	char kind = column_kinds[column];

	if (kind == 't' && text_at(db->batch, v)[0] != '\0') {
		sqlite3_result_text(out, text_at(db->batch, v), -1, SQLITE_STATIC);
	} else if (kind == 'd' && v->real > 0) {
		sqlite3_result_double(out, v->real);
	} else if (kind == 'i' || (kind == 'n' && v->number >= 0)) {
		sqlite3_result_int64(out, v->number);
	}
	return SQLITE_OK; /* what was not given is null */
}

static const sqlite3_module batch_module = {
	.xConnect = batch_connect,
	.xBestIndex = batch_plan,
	.xDisconnect = batch_disconnect,
	.xOpen = batch_open,
	.xClose = batch_close,
	.xFilter = batch_rewind,
	.xNext = batch_next,
	.xEof = batch_is_over,
	.xColumn = batch_value,
};

/* Writing */

/* What one batch adds to one bucket. */
struct sum {
	int64_t step, start;
	const char *model;
	int64_t requests, errors, prompt, generated, generating_ms, first_ms, firsts;
};

static struct sum *sum_of(struct sum **sums, size_t *count, int64_t step, int64_t at,
			  const char *model)
{
	int64_t start = at - at % step;
	struct sum *fresh;

	for (size_t i = 0; i < *count; i++) {
		struct sum *s = &(*sums)[i];

		if (s->step == step && s->start == start &&
		    (s->model == model || strcmp(s->model, model) == 0)) {
			return s;
		}
	}
	*sums = mem_resize(*sums, *count + 1, sizeof(**sums));
	fresh = &(*sums)[(*count)++];
	*fresh = (struct sum){ .step = step, .start = start, .model = model };
	return fresh;
}

static int64_t at_least_0(int64_t value)
{
	return value > 0 ? value : 0;
}

static void add_request(struct sum *s, const union usage_value *v)
{
	int64_t first_ms = v[FIRST_MS].number;

	s->requests++;
	s->errors += v[STATUS].number >= 400;
	s->prompt += at_least_0(v[PROMPT].number);
	if (v[GENERATED].number > 0) { /* without a first token's time all of it is counted */
		s->generated += v[GENERATED].number;
		s->generating_ms += at_least_0(v[TOTAL_MS].number -
					       (first_ms >= 0 ? first_ms : v[QUEUE_MS].number));
	}
	if (first_ms >= 0) {
		s->first_ms += first_ms;
		s->firsts++;
	}
}

static int write_sums(struct usage_db *db, const struct usage_batch *b, struct err *err)
{
	static const int64_t steps[] = { MINUTE_MS, HOUR_MS, DAY_MS };
	struct sum *sums = NULL;
	size_t count = 0;
	int status = 0;

	for (size_t i = 0; i < b->request_count; i++) {
		const union usage_value *v = request_at(b, i);
		const char *model = text_at(b, &v[MODEL]);

		for (size_t k = 0; model[0] != '\0' && k < ARRAY_LEN(steps); k++) {
			add_request(sum_of(&sums, &count, steps[k], v[AT].number, model), v);
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

static int write_start(struct usage_db *db, const struct usage_start *s, struct err *err)
{
	int status = run(db, "INSERT OR REPLACE INTO start VALUES(?,?,?,?,?,?,?,?,?)", err,
			 "tiiiittti", s->model, s->started, s->ready, s->ended, (int64_t)s->load_ms,
			 s->exit, receipt_verdict_name(s->verdict), s->device, (int64_t)s->context);

	return status != 0
		       ? status
		       : run(db,
			     "DELETE FROM start WHERE model=?1 AND started NOT IN (SELECT started "
			     "FROM start WHERE model=?1 ORDER BY started DESC LIMIT ?2)",
			     err, "ti", s->model, (int64_t)USAGE_STARTS_KEPT);
}

static int prune(struct usage_db *db, struct err *err)
{
	static const char sql[] = "DELETE FROM bucket WHERE step=? AND start<?";
	int64_t day_ago = loop_unix_ms() - DAY_MS, month_ago = day_ago - 30 * (int64_t)DAY_MS;
	int status = run(db, sql, err, "ii", (int64_t)MINUTE_MS, day_ago);

	return status != 0 ? status : run(db, sql, err, "ii", (int64_t)HOUR_MS, month_ago);
}

int usage_db_write(struct usage_db *db, const struct usage_batch *b, struct err *err)
{
	int status = run(db, "BEGIN", err, "");

	db->batch = b;
	if (status == 0) {
		status = run(db, "INSERT OR REPLACE INTO recent SELECT * FROM batch", err, "");
	}
	status = status != 0 ? status : write_sums(db, b, err);
	for (size_t i = 0; status == 0 && i < b->start_count; i++) {
		status = write_start(db, &b->starts[i], err);
	}
	status = status != 0 ? status : prune(db, err);
	if (status == 0) {
		return run(db, "COMMIT", err, "");
	}
	run(db, "ROLLBACK", NULL, "");
	return status;
}

/* Answers */

static const char *column_text(sqlite3_stmt *s, int column)
{
	const unsigned char *text = sqlite3_column_text(s, column);

	return text != NULL ? (const char *)text : "";
}

/* The columns of a row as members: a letter each as in run, plus b for a boolean. */
static void write_row(struct json_writer *w, sqlite3_stmt *s, const char *kinds)
{
	jsonw_object(w);
	for (int i = 0; kinds[i] != '\0'; i++) {
		jsonw_key(w, sqlite3_column_name(s, i));
		if (kinds[i] == 't') {
			jsonw_text(w, column_text(s, i));
		} else if (sqlite3_column_type(s, i) == SQLITE_NULL) {
			jsonw_null(w);
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
	const char *sql;  /* gives the columns the members' names */
	const char *kinds;
};

static const struct view views[] = {
	[USAGE_REQUESTS] = { "requests",
			     "SELECT id, at AS at_unix_ms, model AS model_id, key AS key_name,"
			     " path, stream, 'done' AS phase, status, prompt AS prompt_tokens,"
			     " cached AS cached_tokens, generated AS generated_tokens, queue_ms,"
			     " first_ms AS first_token_ms, speed AS tokens_per_second, total_ms,"
			     " error FROM "
			     "recent WHERE (?1='' OR model=?1) AND (?2='' OR key=?2) AND (?3=0 OR "
			     "status>=400) AND (?4=0 OR id<?4) ORDER BY id DESC LIMIT ?5",
			     "iitttbtiiiiiidit" },
	[USAGE_BUCKETS] = { "buckets",
			    "SELECT start AS start_unix_ms, model AS model_id, requests, errors,"
			    " prompt AS prompt_tokens, generated AS generated_tokens,"
			    " generating_ms, CASE WHEN firsts>0 THEN first_ms*1.0/firsts END AS"
			    " first_token_ms_mean FROM bucket WHERE (?1='' OR model=?1) AND"
			    " step=?6 AND start>=?7 ORDER BY start LIMIT " TEXT(USAGE_BUCKETS_MAX),
			    "itiiiiid" },
	[USAGE_STARTS] = { "starts",
			   "SELECT started AS started_unix_ms, ready AS ready_unix_ms, ended AS"
			   " ended_unix_ms, load_ms, exit, verdict, device AS device_name,"
			   " context AS context_tokens FROM start WHERE model=?1 ORDER BY started"
			   " DESC",
			   "iiiittti" },
};

/* Each view takes of these what it names; SQLite refuses the others. */
static void bind(sqlite3_stmt *s, const struct usage_question *q)
{
	sqlite3_bind_text(s, 1, q->model, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, q->key, -1, SQLITE_STATIC);
	sqlite3_bind_int(s, 3, q->failed);
	sqlite3_bind_int64(s, 4, q->before);
	sqlite3_bind_int64(s, 5, q->limit);
	sqlite3_bind_int64(s, 6, q->step_ms);
	sqlite3_bind_int64(s, 7, q->since_unix_ms);
}

int usage_db_answer(struct usage_db *db, const struct usage_question *q, struct buf *out,
		    struct err *err)
{
	const struct view *view = &views[q->what];
	sqlite3_stmt *statement = NULL;
	struct json_writer w;

	if (sqlite3_prepare_v2(db->sqlite, view->sql, -1, &statement, NULL) != SQLITE_OK) {
		return say(db, "asking", err);
	}
	bind(statement, q);
	jsonw_init(&w, out);
	jsonw_object(&w);
	if (q->what == USAGE_BUCKETS) {
		jsonw_member_i64(&w, "step_ms", q->step_ms);
	}
	jsonw_key(&w, view->list);
	jsonw_array(&w);
	while (sqlite3_step(statement) == SQLITE_ROW) {
		write_row(&w, statement, view->kinds);
	}
	jsonw_end_all(&w);
	return sqlite3_finalize(statement) == SQLITE_OK ? 0 : say(db, "asking", err);
}

/* Life */

uint64_t usage_db_next_id(const struct usage_db *db)
{
	sqlite3_stmt *statement = NULL;
	uint64_t id = 1;

	if (sqlite3_prepare_v2(db->sqlite, "SELECT max(id) FROM recent", -1, &statement, NULL) ==
		    SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW) {
		id = (uint64_t)sqlite3_column_int64(statement, 0) + 1;
	}
	sqlite3_finalize(statement);
	return id;
}

struct usage_db *usage_db_open(const char *path, struct err *err)
{
	struct usage_db *db = mem_alloc(sizeof(*db));

	/* One thread at a time has the database: no locks and no counts of memory are needed. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	if (sqlite3_open_v2(path, &db->sqlite,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK ||
	    sqlite3_busy_timeout(db->sqlite, LOCKED_MAX_MS) != SQLITE_OK ||
	    sqlite3_create_module(db->sqlite, "batch", &batch_module, db) != SQLITE_OK ||
	    sqlite3_exec(db->sqlite, schema, NULL, NULL, NULL) != SQLITE_OK) {
		err_set(err, ERR_IO, "usage database %s: %s", path, sqlite3_errmsg(db->sqlite));
		usage_db_close(db);
		return NULL;
	}
	return db;
}

void usage_db_close(struct usage_db *db)
{
	if (db == NULL) {
		return;
	}
	for (sqlite3_stmt *s; (s = sqlite3_next_stmt(db->sqlite, NULL)) != NULL;) {
		sqlite3_finalize(s);
	}
	sqlite3_close(db->sqlite);
	free(db);
}
