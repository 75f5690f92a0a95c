/* SPDX-License-Identifier: MIT */
#include "backend/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define METRICS_FETCH_MS 1000
#define METRICS_FRESH_MS 1000
#define METRICS_ENGINE_MAX_BYTES 65536
#define BUCKETS_MAX 16

/* Upper bounds in seconds; +Inf follows. */
static const double wide_s[] = { 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300 };
static const double fine_s[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5 };
static const double speed[] = { 1, 2, 5, 10, 20, 40, 60, 100, 200, 500, 1000 };

/* X(field, series, bounds, help) */
#define HISTOGRAM_TABLE(X) \
	X(queue, "ronzal_queue_wait_seconds", wide_s, "from a request to its dispatch") \
	X(first, "ronzal_time_to_first_token_seconds", wide_s, \
	  "from a request to its first token") \
	X(gap, "ronzal_inter_token_seconds", fine_s, "between two events of a stream") \
	X(total, "ronzal_request_seconds", wide_s, "from a request to its end") \
	X(speed, "ronzal_generation_tokens_per_second", speed, "of generation, per request")

/* X(field, help): the counter ronzal_FIELD_total */
#define COUNTER_TABLE(X) \
	X(requests, "requests that ended") \
	X(prompt_tokens, "tokens of prompts") \
	X(cached_tokens, "of these, taken from a cache") \
	X(generated_tokens, "tokens generated")

/* X(class, status from, status to): errors by class */
#define ERROR_TABLE(X) \
	X(client, 400, 498) \
	X(left, 499, 499) \
	X(server, 500, 599)

struct histogram {
	uint64_t buckets[BUCKETS_MAX]; /* not cumulative */
	uint64_t count;
	double sum;
};

struct model_metrics {
	struct list link;
	struct metrics *metrics;
	char id[SERVER_ID_MAX_BYTES];
#define FIELD(field, series, bounds, help) struct histogram field;
	HISTOGRAM_TABLE(FIELD)
#undef FIELD
#define FIELD(field, help) uint64_t field;
	COUNTER_TABLE(FIELD)
#undef FIELD
#define FIELD(class, from, to) uint64_t errors_##class;
	ERROR_TABLE(FIELD)
#undef FIELD
	struct buf engine;	      /* the engine's own figures, as last fetched */
	struct client_fetch *request; /* for them; NULL: none runs */
};

struct metrics {
	struct loop *loop;
	struct fleet *fleet;
	const struct usage *usage;
	struct client *client;
	struct list models;
	size_t count;
	uint64_t fetched_ms;
	size_t fetching; /* engines that have not answered yet */
	struct waiter {
		metrics_text_fn *fn;
		void *user;
	} * waiters;
	size_t waiter_count;
};

#define MODEL_EACH(mm, m) LIST_EACH (struct model_metrics, mm, link, &(m)->models)

static struct model_metrics *metrics_of(struct metrics *m, const char *id)
{
	MODEL_EACH (mm, m) {
		if (strcmp(mm->id, id) == 0) {
			return mm;
		}
	}
	if (m->count == METRICS_MODELS_MAX || id[0] == '\0') {
		return NULL;
	}
	struct model_metrics *fresh = mem_alloc(sizeof(*fresh));

	fresh->metrics = m;
	list_append(&m->models, &fresh->link);
	m->count++;
	span_copy(span_of(id), fresh->id, sizeof(fresh->id));
	buf_init(&fresh->engine, METRICS_ENGINE_MAX_BYTES);
	return fresh;
}

static void observe(struct histogram *h, const double *bounds, size_t count, double value)
{
	size_t i = 0;

	while (i < count && value > bounds[i]) {
		i++;
	}
	h->buckets[i]++;
	h->count++;
	h->sum += value;
}

#define OBSERVE(h, bounds, value) observe(&(h), bounds, ARRAY_LEN(bounds), value)

static double seconds(uint64_t from_us, uint64_t to_us)
{
	return to_us > from_us ? (double)(to_us - from_us) / 1e6 : 0;
}

void metrics_account(struct metrics *m, const struct account *a)
{
	struct model_metrics *mm = a->phase == ACCOUNT_DONE ? metrics_of(m, a->model) : NULL;

	if (mm == NULL) {
		return;
	}
	mm->requests++;
	OBSERVE(mm->total, wide_s, seconds(a->begin_us, a->end_us));
	if (a->routed_us != 0) {
		OBSERVE(mm->queue, wide_s, seconds(a->begin_us, a->routed_us));
	}
	if (a->first_us != 0) {
		OBSERVE(mm->first, wide_s, seconds(a->begin_us, a->first_us));
	}
	if (a->tokens_per_second > 0) {
		OBSERVE(mm->speed, speed, a->tokens_per_second);
	}
	mm->prompt_tokens += a->prompt_tokens > 0 ? (uint64_t)a->prompt_tokens : 0;
	mm->cached_tokens += a->cached_tokens > 0 ? (uint64_t)a->cached_tokens : 0;
	mm->generated_tokens += a->generated_tokens > 0 ? (uint64_t)a->generated_tokens : 0;
#define COUNT(class, from, to) mm->errors_##class += a->status >= (from) && a->status <= (to);
	ERROR_TABLE(COUNT)
#undef COUNT
}

void metrics_gap(struct metrics *m, const char *model, uint64_t gap_us)
{
	struct model_metrics *mm = metrics_of(m, model);

	if (mm != NULL) {
		OBSERVE(mm->gap, fine_s, (double)gap_us / 1e6);
	}
}

/* Text */

static void head(struct buf *out, const char *series, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", series, help, series, type);
}

static void write_histogram(struct buf *out, const char *series, const char *id,
			    const struct histogram *h, const double *bounds, size_t count)
{
	uint64_t below = 0;

	for (size_t i = 0; i < count; i++) {
		below += h->buckets[i];
		buf_printf(out, "%s_bucket{model=\"%s\",le=\"%g\"} %llu\n", series, id, bounds[i],
			   (unsigned long long)below);
	}
	buf_printf(out, "%s_bucket{model=\"%s\",le=\"+Inf\"} %llu\n", series, id,
		   (unsigned long long)h->count);
	buf_printf(out, "%s_sum{model=\"%s\"} %.9g\n%s_count{model=\"%s\"} %llu\n", series, id,
		   h->sum, series, id, (unsigned long long)h->count);
}

static void write_requests(const struct metrics *m, struct buf *out)
{
#define WRITE(field, series, bounds, help) \
	head(out, series, "histogram", help); \
	MODEL_EACH (mm, m) { \
		write_histogram(out, series, mm->id, &mm->field, bounds, ARRAY_LEN(bounds)); \
	}
	HISTOGRAM_TABLE(WRITE)
#undef WRITE
#define WRITE(field, help) \
	head(out, "ronzal_" #field "_total", "counter", help); \
	MODEL_EACH (mm, m) { \
		buf_printf(out, "ronzal_" #field "_total{model=\"%s\"} %llu\n", mm->id, \
			   (unsigned long long)mm->field); \
	}
	COUNTER_TABLE(WRITE)
#undef WRITE
	head(out, "ronzal_requests_not_kept_total", "counter",
	     "requests that are not in the usage database, which was full, locked or broken");
	buf_printf(out, "ronzal_requests_not_kept_total %llu\n",
		   (unsigned long long)usage_not_kept(m->usage));
	head(out, "ronzal_errors_total", "counter", "requests that failed, by class");
	MODEL_EACH (mm, m) {
#define WRITE(class, from, to) \
	buf_printf(out, "ronzal_errors_total{model=\"%s\",class=\"" #class "\"} %llu\n", mm->id, \
		   (unsigned long long)mm->errors_##class);
		ERROR_TABLE(WRITE)
#undef WRITE
	}
}

/* X(series, help, printf form and value of `s` (struct fleet_model)) */
#define GAUGE_TABLE(X) \
	X("ronzal_model_ready", "1 while the model answers", \
	  (double)(f->server.phase == SERVER_READY)) \
	X("ronzal_active_requests", "requests that run on the model", (double)f->active) \
	X("ronzal_queued_requests", "requests that wait for it", (double)f->queued) \
	X("ronzal_model_memory_bytes", "memory of its engine", (double)f->server.memory_bytes) \
	X("ronzal_model_starts", "starts since the agent began", (double)f->server.starts) \
	X("ronzal_model_restarts", "of these, after a crash", (double)f->server.restarts)

static void write_gauges(const struct metrics *m, struct buf *out)
{
#define WRITE(series, help, value) \
	head(out, series, "gauge", help); \
	FLEET_EACH (f, m->fleet) { \
		buf_printf(out, series "{model=\"%s\"} %.17g\n", f->server.id, value); \
	}
	GAUGE_TABLE(WRITE)
#undef WRITE
	head(out, "ronzal_receipt", "gauge", "1 for the verdict that the receipt gives");
	FLEET_EACH (f, m->fleet) {
		buf_printf(out, "ronzal_receipt{model=\"%s\",verdict=\"%s\"} 1\n", f->server.id,
			   receipt_verdict_name(f->server.receipt.verdict));
	}
}

/* What is passed on of an engine's text, in the order in which it must stand. */
enum line_kind { LINE_HELP, LINE_TYPE, LINE_SAMPLE };

struct line {
	enum line_kind kind;
	struct span series, text;
	const char *id; /* of the model: the label of a sample */
};

/* False: it is not passed on, as a sample that has labels already. */
static bool read_line(struct span text, const char *id, struct line *ret)
{
	bool is_help = span_has_prefix(text, "# HELP ");
	bool is_type = span_has_prefix(text, "# TYPE ") &&
		       (span_has_suffix(text, " counter") || span_has_suffix(text, " gauge"));
	struct span series = span_from(text, is_help || is_type ? strlen("# HELP ") : 0);

	series.len = span_find_char(series, ' ');
	*ret = (struct line){ is_help	? LINE_HELP
			      : is_type ? LINE_TYPE
					: LINE_SAMPLE,
			      series, text, id };
	return is_help || is_type ||
	       (series.len > 0 && series.len < text.len && text.ptr[0] != '#' &&
		span_find_char(series, '{') == series.len);
}

static int compare(struct span a, struct span b)
{
	int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Lines about one series must stand together: by series, then by kind, then by model. */
static int by_series(const void *a, const void *b)
{
	const struct line *left = a, *right = b;
	int order = compare(left->series, right->series);

	order = order != 0 ? order : (left->kind > right->kind) - (left->kind < right->kind);
	if (order == 0 && left->kind == LINE_SAMPLE) {
		order = strcmp(left->id, right->id);
	}
	return order != 0 ? order : compare(left->text, right->text);
}

static void write_engines(const struct metrics *m, struct buf *out)
{
	struct line *lines = NULL;
	size_t count = 0;

	MODEL_EACH (mm, m) {
		struct span rest = buf_span(&mm->engine);

		while (rest.len > 0) {
			lines = mem_resize(lines, count + 1, sizeof(*lines));
			count += read_line(span_split(&rest, '\n'), mm->id, &lines[count]);
		}
	}
	if (count > 0) {
		qsort(lines, count, sizeof(*lines), by_series);
	}
	for (size_t i = 0; i < count; i++) {
		const struct line *line = &lines[i];
		bool is_new = i == 0 || !span_equal(line->series, line[-1].series);

		if (line->kind == LINE_SAMPLE && (is_new || line[-1].kind == LINE_HELP)) {
			buf_printf(out, "# TYPE %.*s untyped\n", SPAN_ARG(line->series));
		}
		/* Engines say the same about a series: once is enough. */
		if (line->kind == LINE_SAMPLE) {
			buf_printf(out, "%.*s{model=\"%s\"}%.*s\n", SPAN_ARG(line->series),
				   line->id, SPAN_ARG(span_from(line->text, line->series.len)));
		} else if (is_new || line[-1].kind != line->kind) {
			buf_printf(out, "%.*s\n", SPAN_ARG(line->text));
		}
	}
	free(lines);
}

static void answer_all(struct metrics *m)
{
	struct waiter *waiters = m->waiters;
	size_t count = m->waiter_count;
	struct buf out;

	m->waiters = NULL;
	m->waiter_count = 0;
	buf_init(&out, METRICS_TEXT_MAX_BYTES);
	write_requests(m, &out);
	write_gauges(m, &out);
	write_engines(m, &out);
	for (size_t i = 0; i < count; i++) {
		waiters[i].fn(waiters[i].user, buf_span(&out));
	}
	free(waiters);
	buf_finish(&out);
}

/* The engines' own */

static void on_engine(void *user, const struct client_reply *reply)
{
	struct model_metrics *mm = user;
	struct metrics *m = mm->metrics;

	mm->request = NULL;
	if (reply->err.code == 0 && reply->status == 200) {
		buf_add_span(&mm->engine, reply->body);
	}
	if (--m->fetching == 0) {
		m->fetched_ms = loop_now_ms(m->loop);
		answer_all(m);
	}
}

static void fetch_engine(struct model_metrics *mm, const struct fleet_model *model)
{
	char authorization[WIRE_KEY_MAX_BYTES + 16];

	snprintf(authorization, sizeof(authorization), "Bearer %s", model->key);
	struct h1_field field = { SPAN_LIT("Authorization"), span_of(authorization) };
	struct client_options options = { .to = { .host = model->address, .port = model->port },
					  .method = H1_GET,
					  .target = SPAN_LIT("/metrics"),
					  .fields = &field,
					  .field_count = 1,
					  .connect_ms = METRICS_FETCH_MS,
					  .first_byte_ms = METRICS_FETCH_MS,
					  .idle_ms = METRICS_FETCH_MS };

	mm->metrics->fetching++;
	mm->request = client_fetch(mm->metrics->client, &options, METRICS_ENGINE_MAX_BYTES,
				   on_engine, mm);
}

void metrics_collect(struct metrics *m, metrics_text_fn *on_text, void *user)
{
	m->waiters = mem_resize(m->waiters, m->waiter_count + 1, sizeof(*m->waiters));
	m->waiters[m->waiter_count++] = (struct waiter){ on_text, user };
	if (m->fetching > 0) {
		return;
	}
	if (m->fetched_ms == 0 || loop_now_ms(m->loop) - m->fetched_ms >= METRICS_FRESH_MS) {
		FLEET_EACH (model, m->fleet) {
			struct model_metrics *mm = metrics_of(m, model->server.id);

			if (mm == NULL) {
				continue;
			}
			buf_clear(&mm->engine);
			if (model->server.phase == SERVER_READY && model->has_endpoint) {
				fetch_engine(mm, model);
			}
		}
	}
	if (m->fetching == 0) {
		answer_all(m);
	}
}

struct metrics *metrics_create(struct loop *loop, struct fleet *fleet, const struct usage *usage)
{
	struct metrics *m = mem_alloc(sizeof(*m));

	m->loop = loop;
	m->fleet = fleet;
	m->usage = usage;
	m->client = client_create(loop);
	list_init(&m->models);
	return m;
}

void metrics_close(struct metrics *m)
{
	if (m == NULL) {
		return;
	}
	answer_all(m);
	MODEL_EACH (mm, m) {
		client_fetch_cancel(mm->request);
		buf_finish(&mm->engine);
		free(mm);
	}
	client_close(m->client);
	free(m->waiters);
	free(m);
}
