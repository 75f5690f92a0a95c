/* SPDX-License-Identifier: MIT */
/*
 * `ronzal bench`: which modes of a model are measured, and what came out. The seed's: on the CPU in
 * Docker where the stack is up, on the CPU here, on the GPU here; or any two settings.
 */
#include "cli/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "base/mem.h"
#include "cli/models.h"
#include "cli/scouting.h"
#include "cli/term.h"
#include "io/errand.h"

#define RUNS_DEFAULT 3
#define OUT_MAX_BYTES (1u << 20)
#define KEPT_MAX 50
#define DOCKER_MS 10000
#define DOCKER_TEXT_MAX_BYTES 65536

/* The measures that stand for a mode in the small table, as the seed has it. */
enum { STARTUP_AT = 1, INFERENCE_AT = 5 };

/* What is to be measured */

/* text may be NULL. */
static int read_overrides(struct bench_mode *mode, const char *text, struct err *err)
{
	struct span rest = span_of(text);

	while (rest.ptr != NULL) {
		struct span word = span_trim(span_split(&rest, ',')), value = word;
		const struct setting_row *row = setting_find(span_split(&value, '='));
		int32_t number;

		if (word.len == 0) {
			continue;
		}
		if (row == NULL || value.ptr == NULL) {
			return err_set(
				err, ERR_INVALID,
				"'%.*s' is not SETTING=VALUE. The settings: ronzal set MODEL",
				SPAN_ARG(word));
		}
		if (setting_parse(row, value, &number, err) != 0) {
			return err->code;
		}
		setting_put(&mode->settings, row, number);
	}
	return 0;
}

static struct bench_mode *add_mode(struct bench *b, const char *name, bool no_device)
{
	struct bench_mode *mode = &b->modes[b->mode_count++];

	*mode = (struct bench_mode){ .settings = b->model->settings, .no_device = no_device };
	if (no_device) {
		mode->settings.n_gpu_layers = 0;
	}
	span_copy(span_of(name), mode->name, sizeof(mode->name));
	return mode;
}

/* The image of the backend's container where the stack is up: llama-server is in it. */
static bool find_image(char *image, size_t room)
{
	static const char *const ps[] = { "docker",   "ps",
					  "--filter", "label=com.docker.compose.service=backend",
					  "--format", "{{.Image}}",
					  NULL };
	struct buf text;
	bool is_found = false;

	if (errand_run(&(struct errand_options){ .argv = ps,
						 .text_max_bytes = DOCKER_TEXT_MAX_BYTES,
						 .limit_ms = DOCKER_MS },
		       &text, NULL) == 0) {
		struct span rest = buf_span(&text);

		while (rest.ptr != NULL && !is_found) {
			struct span line = span_split(&rest, '\n');

			is_found = span_has_prefix(line, "ronzal") && line.len < room;
			span_copy(is_found ? line : SPAN_LIT(""), image, room);
		}
	}
	buf_finish(&text);
	return is_found;
}

/* So many slots as there may be streams, each with room for the longest prompt. */
static void make_room(struct settings *s, const struct gguf *g)
{
	int32_t most = INT32_MAX / BENCH_CONTEXT_TOKENS, own = (int32_t)g->context_length;
	int32_t context = own > 0 && own < BENCH_CONTEXT_TOKENS ? own : BENCH_CONTEXT_TOKENS;

	s->parallel = s->parallel > 0 && s->parallel < most ? s->parallel : BENCH_STREAMS_MAX;
	if (s->ctx_size < context * s->parallel) {
		s->ctx_size = context * s->parallel;
	}
}

/* The given one or two, else the seed's. */
static int choose_modes(struct bench *b, const char *a_text, const char *b_text, struct err *err)
{
	char image[sizeof(b->modes[0].image)];
	int status = 0;

	if (a_text != NULL || b_text != NULL) {
		status = read_overrides(add_mode(b, a_text != NULL ? a_text : "as set", false),
					a_text, err);
		if (status == 0 && b_text != NULL) {
			status = read_overrides(add_mode(b, b_text, false), b_text, err);
		}
	} else {
		if (find_image(image, sizeof(image))) {
			memcpy(add_mode(b, "cpu (docker)", true)->image, image, sizeof(image));
		}
		add_mode(b, "cpu", true);
		if (b->abilities.device_count > 0) {
			add_mode(b, term_words("gpu (%s)", b->abilities.devices[0].id).text, false);
		}
	}
	for (int i = 0; i < b->mode_count; i++) {
		make_room(&b->modes[i].settings, &b->gguf);
	}
	return status;
}

/* Beside what runs: never at its cost. */
static int check_memory(struct bench *b, struct err *err)
{
	const struct memory_machine machine = scouting_machine(b->cli, &b->abilities);

	for (int i = 0; i < b->mode_count; i++) {
		struct memory_machine here = machine;
		struct memory_decision decision;

		here.device_free_bytes = b->modes[i].no_device ? 0 : machine.device_free_bytes;
		memory_decide(&(struct memory_model){ .id = b->model->id,
						      .gguf = &b->gguf,
						      .settings = b->modes[i].settings },
			      &here, &decision);
		if (!decision.fits) {
			return err_set(err, ERR_NO_MEMORY, "%s: %s", b->modes[i].name,
				       decision.sentence);
		}
	}
	return 0;
}

/* Results */

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of a series: NAN where nothing was measured; the spread is a part of it. */
struct median {
	double value, spread;
};

static struct median median(const struct bench_series *s)
{
	double sorted[BENCH_RUNS_MAX];
	int n = s->count;

	if (n == 0) {
		return (struct median){ .value = (double)NAN };
	}
	memcpy(sorted, s->values, sizeof(sorted));
	qsort(sorted, (size_t)n, sizeof(*sorted), by_value);
	double value = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;

	return (struct median){ value, value > 0 ? (sorted[n - 1] - sorted[0]) / 2 / value : 0 };
}

static void add_cell(struct table *t, const struct bench_mode *mode, size_t at)
{
	bool is_time = bench_measures[at].kind == BENCH_STARTUP;
	struct median m = median(&mode->series[at]);

	if (isnan(m.value)) {
		table_cell(t, "-");
	} else {
		table_cell(t, "%.*f %s +-%.0f%%", is_time ? 2 : 1,
			   is_time ? m.value / 1000 : m.value, is_time ? "s" : "tok/s",
			   m.spread * 100);
	}
}

/* How much faster than the first mode; NAN: not known. */
static double factor(const struct bench *b, const struct bench_mode *mode)
{
	return median(&mode->series[INFERENCE_AT]).value /
	       median(&b->modes[0].series[INFERENCE_AT]).value;
}

/* The seed's table, then all that was measured. */
static void print_tables(const struct bench *b, struct buf *out)
{
	struct table table;

	table_init(&table, "MODE\tSTARTUP\tINFERENCE\tFACTOR");
	for (int i = 0; i < b->mode_count; i++) {
		double times = factor(b, &b->modes[i]);

		table_row(&table, TERM_PLAIN, "%s", b->modes[i].name);
		add_cell(&table, &b->modes[i], STARTUP_AT);
		add_cell(&table, &b->modes[i], INFERENCE_AT);
		table_cell(&table, i == 0 ? "baseline" : isnan(times) ? "-" : "%.1fx", times);
	}
	table_print(&table, out);
	buf_add_char(out, '\n');
	table_init(&table, term_words("MEDIAN OF %d", b->runs).text);
	for (int i = 0; i < b->mode_count; i++) {
		table_cell(&table, "%s", b->modes[i].name);
	}
	for (size_t k = 0; k < BENCH_MEASURES; k++) {
		table_row(&table, TERM_PLAIN, "%s", bench_measures[k].name);
		for (int i = 0; i < b->mode_count; i++) {
			add_cell(&table, &b->modes[i], k);
		}
	}
	table_print(&table, out);
}

static void write_mode(const struct bench *b, const struct bench_mode *mode, struct json_writer *w)
{
	static const struct {
		const char *list, *what, *value;
	} kinds[BENCH_KIND_COUNT] = {
		[BENCH_STARTUP] = { "startup", "start", "ms" },
		[BENCH_PROMPT] = { "prompt", "tokens", "tokens_per_second" },
		[BENCH_GENERATION] = { "generation", "streams", "tokens_per_second" },
	};

	jsonw_object(w);
	jsonw_member_text(w, "mode", mode->name);
	for (size_t k = 0, i = 0; i < BENCH_KIND_COUNT; i++) {
		jsonw_member_array(w, kinds[i].list);
		for (; k < BENCH_MEASURES && bench_measures[k].kind == (enum bench_kind)i; k++) {
			const struct bench_measure *m = &bench_measures[k];
			struct median of_runs = median(&mode->series[k]);

			if (isnan(of_runs.value)) {
				continue;
			}
			jsonw_object(w);
			if (m->kind == BENCH_STARTUP) {
				jsonw_member_text(w, kinds[i].what,
						  m->n == BENCH_COLD ? "cold" : "warm");
			} else {
				jsonw_member_i64(w, kinds[i].what, m->n);
			}
			jsonw_member_double(w, kinds[i].value, of_runs.value, 2);
			jsonw_member_double(w, "spread", of_runs.spread, 3);
			jsonw_end(w);
		}
		jsonw_end(w);
	}
	jsonw_member_double(w, "factor", factor(b, mode), 2);
	jsonw_end(w);
}

static void write_result(const struct bench *b, struct json_writer *w)
{
	struct utsname system;

	uname(&system);
	jsonw_object(w);
	jsonw_member_text(w, "model_id", b->model->id);
	jsonw_member_i64(w, "at_unix_ms", loop_unix_ms());
	jsonw_member_text(w, "machine", system.nodename);
	jsonw_member_text(w, "engine", b->abilities.version);
	jsonw_member_i64(w, "runs", b->runs);
	jsonw_member_array(w, "rows");
	for (int i = 0; i < b->mode_count; i++) {
		write_mode(b, &b->modes[i], w);
	}
	jsonw_end(w);
	jsonw_end(w);
}

/* Puts it before those that are kept, where the backend, maybe in a container, finds them. */
static int keep(const struct bench *b, struct span result, struct err *err)
{
	const char *path = b->cli->places.bench;
	struct json *old = NULL;
	struct json_writer w;
	struct buf text, out;
	int kept = 1;

	buf_init(&text, OUT_MAX_BYTES);
	buf_init(&out, OUT_MAX_BYTES);
	if (fs_read(path, &text, NULL) == 0) { /* else it is begun anew */
		old = json_parse(buf_span(&text), NULL);
	}
	jsonw_init(&w, &out);
	jsonw_object(&w);
	jsonw_member_array(&w, "results");
	jsonw_raw(&w, result);
	struct json_iter it = json_iter(json_get(json_root(old), "results"));

	for (; kept < KEPT_MAX && json_next(&it); kept++) {
		jsonw_value(&w, it.value);
	}
	int status = jsonw_end_all(&w);

	status = status != 0 ? status : fs_replace(path, buf_span(&out), 0644, err);
	json_destroy(old);
	buf_finish(&text);
	buf_finish(&out);
	return status;
}

static int report(const struct bench *b, struct err *err)
{
	struct json_writer w;
	struct buf result;

	buf_init(&result, OUT_MAX_BYTES);
	jsonw_init(&w, &result);
	write_result(b, &w);
	int status = keep(b, buf_span(&result), err);

	if (b->cli->json) {
		buf_add_span(&b->cli->out, buf_span(&result));
	} else {
		print_tables(b, &b->cli->out);
	}
	buf_finish(&result);
	return status;
}

/* The command */

static int choose_model(struct bench *b, const struct registry *r, const struct args *args,
			struct err *err)
{
	struct preflight found;
	const char *first = r->count > 0 ? r->models[0].id : "";
	struct model *model = NULL;
	int status = models_find(r, args->count > 0 ? args->items[0] : first, &model, err);

	if (status != 0) {
		return status;
	}
	b->model = model;
	if (models_check_files(b->cli, b->model, &found) != 0) {
		err_set(err, found.err.code, "%s", found.err.text);
	}
	memcpy(b->model_path, found.model_path, sizeof(b->model_path));
	b->gguf = found.gguf;
	return found.err.code;
}

static int prepare(struct bench *b, struct registry *r, struct args *args, struct err *err)
{
	const char *runs_text = args_flag(args, "--runs");
	uint64_t runs = RUNS_DEFAULT;

	if (runs_text != NULL &&
	    (span_to_u64(span_of(runs_text), BENCH_RUNS_MAX, &runs) != 0 || runs == 0)) {
		return err_set(err, ERR_INVALID, "--runs: '%s' is not a number in 1..%d", runs_text,
			       BENCH_RUNS_MAX);
	}
	b->runs = (int)runs;
	int status = models_load(r, b->cli, err);

	status = status != 0 ? status : choose_model(b, r, args, err);
	status = status != 0 ? status : scouting_ask(b->cli, b->engine_path, &b->abilities, err);
	status = status != 0 ? status
			     : choose_modes(b, args_flag(args, "--a"), args_flag(args, "--b"), err);
	return status != 0 ? status : check_memory(b, err);
}

int command_bench(struct cli *cli, struct args *args, struct err *err)
{
	struct bench *b = mem_alloc(sizeof(*b));
	struct registry registry = { .count = 0 };

	b->cli = cli;
	int status = prepare(b, &registry, args, err);

	status = status != 0 ? status : bench_run(b, err);
	status = status != 0 ? status : report(b, err);
	gguf_finish(&b->gguf);
	registry_finish(&registry);
	free(b);
	return status;
}
