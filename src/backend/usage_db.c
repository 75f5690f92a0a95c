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
 * The columns of a request, and the letter of each: f a number above that of the batch's first
 * request, n one that is null when negative, t a text that is null when empty. Speed in hundredths.
 */
#define REQUEST_TABLE(X) \
	X(ID, "id INTEGER", 'f') \
	X(AT, "at INTEGER", 'f') \
	X(MODEL, "model TEXT", 't') \
	X(KEY, "key TEXT", 't') \
	X(PATH, "path TEXT", 't') \
	X(STREAM, "stream INTEGER", 'n') \
	X(STATUS, "status INTEGER", 'n') \
	X(PROMPT, "prompt INTEGER", 'n') \
	X(CACHED, "cached INTEGER", 'n') \
	X(GENERATED, "generated INTEGER", 'n') \
	X(QUEUE_MS, "queue_ms INTEGER", 'n') \
	X(FIRST_MS, "first_ms INTEGER", 'n') \
	X(SPEED, "speed INTEGER", 'n') \
	X(TOTAL_MS, "total_ms INTEGER", 'n') \
	X(ERROR, "error TEXT", 't')

#define COLUMN_PLACE(name, declaration, kind) name,
#define COLUMN_DECLARATION(name, declaration, kind) declaration ", "
#define COLUMN_KIND(name, declaration, kind) kind,
enum column { REQUEST_TABLE(COLUMN_PLACE) COLUMN_COUNT };
static const char column_kinds[] = { REQUEST_TABLE(COLUMN_KIND) };
#define REQUEST_COLUMNS "(" REQUEST_TABLE(COLUMN_DECLARATION) "PRIMARY KEY(id))"
#define REQUEST_BYTES (COLUMN_COUNT * sizeof(int32_t))

/* A batch's requests are one row, as they lay in memory: all cost hardly more than one would. */
static const char schema[] =
	"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
	"DROP TABLE IF EXISTS request; DROP TABLE IF EXISTS recent;" /* of older forms */
	"CREATE TABLE IF NOT EXISTS batch(upto INTEGER PRIMARY KEY," /* requests ever, with these */
	" id INTEGER, at INTEGER, requests BLOB, texts BLOB);"
	"CREATE TABLE IF NOT EXISTS bucket(step INTEGER, start INTEGER, model TEXT,"
	" requests INTEGER, errors INTEGER, prompt INTEGER, generated INTEGER,"
	" generating_ms INTEGER, first_ms INTEGER, firsts INTEGER,"
	" PRIMARY KEY(step, start, model)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS start(model TEXT, started INTEGER, ready INTEGER,"
	" ended INTEGER, load_ms INTEGER, exit TEXT, verdict TEXT, device TEXT, context INTEGER,"
	" PRIMARY KEY(model, started)) WITHOUT ROWID;";

struct usage_db {
	sqlite3 *sqlite;
	sqlite3_vtab table; /* "kept", and its only cursor */
	sqlite3_vtab_cursor cursor;
	sqlite3_stmt *batches;	     /* that it goes through; of the one at hand: */
	struct span requests, texts; /* those not yet told, and all */
};

/* Batches */

static int32_t clip(int64_t value)
{
	return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
}

/* Where the text is in the batch's texts. Most are those of the request before. */
static void set_text(struct usage_batch *b, int32_t *request, enum column c, const char *text)
{
	const int32_t *before = request - COLUMN_COUNT;

	if (b->request_count > 0 && strcmp(b->texts.data + before[c], text) == 0) {
		request[c] = before[c];
	} else {
		request[c] = (int32_t)b->texts.len;
		ENSURE(buf_add(&b->texts, text, strlen(text) + 1) == 0);
	}
}

void usage_batch_add(struct usage_batch *b, const struct account *a)
{
	if (b->request_count == b->request_room) {
		b->request_room = b->request_room * 2 + 16;
		b->values = mem_resize(b->values, b->request_room, REQUEST_BYTES);
		b->texts.max_bytes = INT32_MAX;
	}
	if (b->request_count == 0) {
		b->first_id = (int64_t)a->id;
		b->first_at = a->at_unix_ms;
	}
	int32_t *v = b->values + b->request_count * COLUMN_COUNT;

	v[ID] = clip((int64_t)a->id - b->first_id);
	v[AT] = clip(a->at_unix_ms - b->first_at);
	set_text(b, v, MODEL, a->model);
	set_text(b, v, KEY, a->key);
	set_text(b, v, PATH, a->path);
	v[STREAM] = a->stream;
	v[STATUS] = a->status;
	v[PROMPT] = clip(a->prompt_tokens);
	v[CACHED] = clip(a->cached_tokens);
	v[GENERATED] = clip(a->generated_tokens);
	v[QUEUE_MS] = clip(account_ms(a->begin_us, a->routed_us != 0 ? a->routed_us : a->end_us));
	v[FIRST_MS] = clip(account_ms(a->begin_us, a->first_us));
	v[SPEED] = clip((int64_t)(a->tokens_per_second * 100 + 0.5));
	v[TOTAL_MS] = clip(account_ms(a->begin_us, a->end_us));
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

/* One letter a parameter: i int64_t, t text, b struct span. */
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
		} else if (kinds[i - 1] == 'b') {
			struct span b = va_arg(args, struct span);

			status = sqlite3_bind_blob(statement, i, b.ptr, (int)b.len, SQLITE_STATIC);
		} else {
			status = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
		}
	}
	va_end(args);
	status = status == SQLITE_OK ? sqlite3_step(statement) : status;
	sqlite3_reset(statement);
	return status == SQLITE_DONE || status == SQLITE_ROW ? 0 : say(db, "writing", err);
}

/* The requests of all batches as a virtual table of SQLite's, "kept". */
static int kept_connect(sqlite3 *sqlite, void *arg, int argc, const char *const *argv,
			sqlite3_vtab **ret_table, char **ret_error)
{
	struct usage_db *db = arg;

	(void)argc;
	(void)argv;
	(void)ret_error;
	*ret_table = &db->table;
	return sqlite3_declare_vtab(sqlite, "CREATE TABLE kept" REQUEST_COLUMNS "WITHOUT ROWID");
}

static int kept_disconnect(sqlite3_vtab *table)
{
	(void)table;
	return SQLITE_OK;
}

/* There is one way to read it: all of it. */
static int kept_plan(sqlite3_vtab *table, sqlite3_index_info *info)
{
	(void)table;
	(void)info;
	return SQLITE_OK;
}

static int kept_open(sqlite3_vtab *table, sqlite3_vtab_cursor **ret_cursor)
{
	*ret_cursor = &CONTAINER_OF(table, struct usage_db, table)->cursor;
	return SQLITE_OK;
}

static int kept_close(sqlite3_vtab_cursor *cursor)
{
	sqlite3_reset(CONTAINER_OF(cursor, struct usage_db, cursor)->batches);
	return SQLITE_OK;
}

static int kept_next(sqlite3_vtab_cursor *cursor)
{
	struct usage_db *db = CONTAINER_OF(cursor, struct usage_db, cursor);
	int status = SQLITE_ROW;

	db->requests = span_from(db->requests, REQUEST_BYTES);
	while (db->requests.len < REQUEST_BYTES &&
	       (status = sqlite3_step(db->batches)) == SQLITE_ROW) {
		db->requests.ptr = sqlite3_column_blob(db->batches, 2);
		db->requests.len = (size_t)sqlite3_column_bytes(db->batches, 2);
		db->texts.ptr = sqlite3_column_blob(db->batches, 3);
		db->texts.len = (size_t)sqlite3_column_bytes(db->batches, 3);
	}
	return status == SQLITE_ROW || status == SQLITE_DONE ? SQLITE_OK : status;
}

static int kept_rewind(sqlite3_vtab_cursor *cursor, int plan, const char *plan_text, int argc,
		       sqlite3_value **argv)
{
	struct usage_db *db = CONTAINER_OF(cursor, struct usage_db, cursor);
	int status =
		prepared(db->sqlite, "SELECT id, at, requests, texts FROM batch", &db->batches);

	(void)plan;
	(void)plan_text;
	(void)argc;
	(void)argv;
	db->requests = SPAN_LIT("");
	return status == SQLITE_OK ? kept_next(cursor) : status;
}

static int kept_is_over(sqlite3_vtab_cursor *cursor)
{
	return CONTAINER_OF(cursor, struct usage_db, cursor)->requests.len < REQUEST_BYTES;
}

static int kept_value(sqlite3_vtab_cursor *cursor, sqlite3_context *out, int column)
{
	const struct usage_db *db = CONTAINER_OF(cursor, struct usage_db, cursor);
	int32_t v;

	memcpy(&v, db->requests.ptr + (size_t)column * sizeof(v), sizeof(v));
	if (column_kinds[column] == 'f') {
		sqlite3_result_int64(out, sqlite3_column_int64(db->batches, column) + v);
	} else if (column_kinds[column] == 't') {
		struct span text = span_from(db->texts, (uint32_t)v);

		text.len = span_find_char(text, '\0');
		if (text.len > 0) {
			sqlite3_result_text(out, text.ptr, (int)text.len, SQLITE_TRANSIENT);
		}
	} else if (v >= 0) {
		sqlite3_result_int64(out, v);
	}
	return SQLITE_OK; /* what was not given is null */
}

static const sqlite3_module kept_module = {
	.xConnect = kept_connect,
	.xBestIndex = kept_plan,
	.xDisconnect = kept_disconnect,
	.xOpen = kept_open,
	.xClose = kept_close,
	.xFilter = kept_rewind,
	.xNext = kept_next,
	.xEof = kept_is_over,
	.xColumn = kept_value,
};

/* Writing */

/* What one batch adds to a minute of a model. */
struct sum {
	int64_t start;
	const char *model;
	int64_t requests, errors, prompt, generated, generating_ms, first_ms, firsts;
};

static struct sum *sum_of(struct sum **sums, size_t *count, int64_t at, const char *model)
{
	int64_t start = at - at % MINUTE_MS;
	size_t i = 0;

	while (i < *count && ((*sums)[i].start != start || strcmp((*sums)[i].model, model) != 0)) {
		i++;
	}
	if (i == *count) {
		*sums = mem_resize(*sums, ++*count, sizeof(**sums));
		(*sums)[i] = (struct sum){ .start = start, .model = model };
	}
	return &(*sums)[i];
}

static int64_t at_least_0(int64_t value)
{
	return value > 0 ? value : 0;
}

static void add_request(struct sum *s, const int32_t *v)
{
	s->requests++;
	s->errors += v[STATUS] >= 400;
	s->prompt += at_least_0(v[PROMPT]);
	if (v[GENERATED] > 0) { /* without a first token's time all of it is counted */
		int32_t from_ms = v[FIRST_MS] >= 0 ? v[FIRST_MS] : v[QUEUE_MS];

		s->generated += v[GENERATED];
		s->generating_ms += at_least_0((int64_t)v[TOTAL_MS] - from_ms);
	}
	if (v[FIRST_MS] >= 0) {
		s->first_ms += v[FIRST_MS];
		s->firsts++;
	}
}

/* Each sum goes into its minute's bucket, its hour's and its day's. */
static int write_sums(struct usage_db *db, const struct usage_batch *b, struct err *err)
{
	static const int64_t steps[] = { MINUTE_MS, HOUR_MS, DAY_MS };
	struct sum *sums = NULL;
	size_t count = 0;
	int status = 0;

	for (size_t i = 0; i < b->request_count; i++) {
		const int32_t *v = b->values + i * COLUMN_COUNT;
		const char *model = b->texts.data + v[MODEL];

		if (model[0] != '\0') {
			add_request(sum_of(&sums, &count, b->first_at + v[AT], model), v);
		}
	}
	for (size_t i = 0; status == 0 && i < count * ARRAY_LEN(steps); i++) {
		const struct sum *s = &sums[i / ARRAY_LEN(steps)];
		int64_t step = steps[i % ARRAY_LEN(steps)];

		status = run(db,
			     "INSERT INTO bucket VALUES(?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE "
			     "SET requests=requests+excluded.requests,"
			     " errors=errors+excluded.errors, prompt=prompt+excluded.prompt,"
			     " generated=generated+excluded.generated,"
			     " generating_ms=generating_ms+excluded.generating_ms,"
			     " first_ms=first_ms+excluded.first_ms, firsts=firsts+excluded.firsts",
			     err, "iitiiiiiii", step, s->start - s->start % step, s->model,
			     s->requests, s->errors, s->prompt, s->generated, s->generating_ms,
			     s->first_ms, s->firsts);
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

/* Before a batch is written: it takes the pages of an old one, once enough is kept without that. */
static int prune(struct usage_db *db, int64_t coming, struct err *err)
{
	static const char sql[] = "DELETE FROM bucket WHERE step=? AND start<?";
	int64_t day_ago = loop_unix_ms() - DAY_MS, month_ago = day_ago - 30 * (int64_t)DAY_MS;
	int status = run(db, sql, err, "ii", (int64_t)MINUTE_MS, day_ago);

	status = status != 0 ? status : run(db, sql, err, "ii", (int64_t)HOUR_MS, month_ago);
	return status != 0
		       ? status
		       : run(db, "DELETE FROM batch WHERE upto<=(SELECT max(upto) FROM batch)+?",
			     err, "i", coming - USAGE_REQUESTS_KEPT);
}

int usage_db_write(struct usage_db *db, const struct usage_batch *b, struct err *err)
{
	struct span requests = { (const char *)b->values, b->request_count * REQUEST_BYTES };
	int64_t count = (int64_t)b->request_count;
	int status = run(db, "BEGIN", err, "");

	status = status != 0 ? status : prune(db, count, err);
	if (status == 0 && count > 0) {
		status = run(db,
			     "INSERT INTO batch VALUES("
			     "?+(SELECT coalesce(max(upto), 0) FROM batch), ?, ?, ?, ?)",
			     err, "iiibb", count, b->first_id, b->first_at, requests,
			     buf_span(&b->texts));
	}
	status = status != 0 ? status : write_sums(db, b, err);
	for (size_t i = 0; status == 0 && i < b->start_count; i++) {
		status = write_start(db, &b->starts[i], err);
	}
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
			     " first_ms AS first_token_ms, nullif(speed, 0)/100.0 AS"
			     " tokens_per_second, total_ms, error FROM kept WHERE (?1='' OR"
			     " model=?1) AND (?2='' OR key=?2) AND (?3=0 OR status>=400) AND"
			     " (?4=0 OR id<?4) ORDER BY id DESC LIMIT ?5",
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

	if (prepared(db->sqlite, "SELECT max(id) FROM kept", &statement) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW) {
		id = (uint64_t)sqlite3_column_int64(statement, 0) + 1;
	}
	sqlite3_reset(statement);
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
	    sqlite3_create_module(db->sqlite, "kept", &kept_module, db) != SQLITE_OK ||
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
