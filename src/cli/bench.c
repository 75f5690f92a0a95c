/* SPDX-License-Identifier: MIT */
/*
 * `ronzal bench`: a model's speed by measurement. For each mode (CPU and GPU, or two settings) the
 * real engine is started several times beside whatever runs, on a free port and with a key of its
 * own; what counts is the engine's own clock, and for starts ours: from spawn to the first token.
 */
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"
#include "cli/scouting.h"
#include "cli/term.h"
#include "engine/api.h"
#include "engine/launch.h"
#include "host/preflight.h"
#include "http/client.h"
#include "io/child.h"
#include "io/timer.h"
#include "model/gguf.h"
#include "model/memory.h"
#include "os/memory.h"

#define RUNS_DEFAULT 3
#define RUNS_MAX 20
#define MODES_MAX 2
#define READY_STEP_MS 10
#define ANSWER_MS 600000
#define STOP_MS 5000
#define SLOTS 4		    /* and so many streams at once */
#define CONTEXT_TOKENS 4400 /* of a slot, where the model's settings say none */
#define GENERATED_TOKENS 64
#define GENERATION_PROMPT_TOKENS 16
#define OUT_MAX_BYTES (1u << 20)
#define KEPT_MAX 50

enum measure { FIRST_START, NEXT_START, PROMPT_512, PROMPT_4096, GENERATION, AT_ONCE, MEASURES };

static const struct {
	const char *head, *unit;
	int decimals;
	double scale; /* from what is kept */
	bool less_is_better;
} measures[MEASURES] = {
	[FIRST_START] = { "first start", "s", 2, 1e-3, true },
	[NEXT_START] = { "next start", "s", 2, 1e-3, true },
	[PROMPT_512] = { "prompt 512", "tok/s", 1, 1, false },
	[PROMPT_4096] = { "prompt 4096", "tok/s", 1, 1, false },
	[GENERATION] = { "generation", "tok/s", 1, 1, false },
	[AT_ONCE] = { "4 at once", "tok/s", 1, 1, false },
};

struct series {
	int count;
	double values[RUNS_MAX];
};

struct mode {
	char name[64];
	struct settings settings;
	bool no_device; /* --device none */
	struct series series[MEASURES];
};

struct bench {
	const struct cli *cli;
	const struct model *model;
	char engine_path[FS_PATH_MAX_BYTES], model_path[FS_PATH_MAX_BYTES];
	struct engine_abilities abilities;
	struct gguf gguf;
	struct mode modes[MODES_MAX];
	int mode_count, runs;
	/* the engine that runs */
	struct loop *loop;
	struct child *child;
	struct client *client;
	struct loop_signal *signals[2];
	struct timer timer;
	uint16_t port;
	char *key_path, bearer[SECRET_TEXT_BYTES + 8];
	bool exited, interrupted;
	/* the requests that run */
	struct asked {
		struct bench *bench;
		struct client_fetch *fetch; /* NULL: answered */
	} asked[SLOTS];
	int open;
	int status; /* of the last answer */
	struct api_usage usage;
	struct err err;
};

static double median(const struct series *s, double *ret_spread)
{
	double sorted[RUNS_MAX] = { 0 };
	int n = s->count;

	for (int i = 0; i < n; i++) {
		int at = i;

		for (; at > 0 && sorted[at - 1] > s->values[i]; at--) {
			sorted[at] = sorted[at - 1];
		}
		sorted[at] = s->values[i];
	}
	if (n == 0) {
		*ret_spread = 0;
		return (double)NAN;
	}
	double middle = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;

	*ret_spread = middle > 0 ? (sorted[n - 1] - sorted[0]) / 2 / middle : 0;
	return middle;
}

static void add(struct series *s, double value)
{
	s->values[s->count++] = value;
}

/* The engine */

static void on_engine_exit(void *user, int exit_code)
{
	struct bench *b = user;

	b->exited = true;
	if (b->err.code == 0) {
		err_set(&b->err, ERR_ENGINE_FAILED, "llama-server ended by itself (%d)", exit_code);
	}
	loop_stop(b->loop);
}

static void on_signal(void *user)
{
	struct bench *b = user;

	b->interrupted = true;
	err_set(&b->err, ERR_CANCELED, "interrupted");
	loop_stop(b->loop);
}

static void on_timer(struct timer *t)
{
	loop_stop(t->loop);
}

static uint16_t free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool is_known = fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
			getsockname(fd, (struct sockaddr *)&address, &size) == 0;

	if (fd >= 0) {
		close(fd);
	}
	return is_known ? ntohs(address.sin_port) : 0;
}

static int engine_start(struct bench *b, const struct mode *mode, struct err *err)
{
	static const char *const no_device[] = { "--device", "none", NULL };
	struct model model = *b->model;
	char key[SECRET_TEXT_BYTES];

	model.settings = mode->settings;
	secret_make(key);
	snprintf(b->bearer, sizeof(b->bearer), "Bearer %s", key);
	b->port = free_port();
	b->exited = false;
	b->err = (struct err){ 0 };
	int status = fs_replace(b->key_path, span_of(key), 0600, err);
	char **environment = status == 0 ? scouting_environment(b->cli, err) : NULL;
	char **argv =
		environment == NULL
			? NULL
			: launch_argv(
				  &(struct launch_options){
					  .abilities = &b->abilities,
					  .model = &model,
					  .engine_path = b->engine_path,
					  .model_path = b->model_path,
					  .hosts = "127.0.0.1",
					  .port = b->port,
					  .api_key_file = b->key_path,
					  .cache_ram_mib = 0,
					  .extra_arguments = mode->no_device ? no_device : NULL,
				  },
				  err);

	if (argv != NULL) {
		b->child = child_start(b->loop,
				       &(struct child_options){
					       .argv = (const char *const *)argv,
					       .env = (const char *const *)environment,
					       .stdio = { CHILD_NULL, CHILD_NULL, CHILD_NULL },
					       .new_session = true,
					       .on_exit = on_engine_exit,
					       .user = b,
				       },
				       err);
	}
	free(argv);
	free(environment);
	return b->child != NULL ? 0 : err->code;
}

static void engine_stop(struct bench *b)
{
	child_kill(b->child, SIGTERM);
	timer_start(&b->timer, STOP_MS);
	while (child_pid(b->child) != 0 && timer_is_on(&b->timer)) {
		loop_run(b->loop);
	}
	timer_stop(&b->timer);
	child_kill(b->child, SIGKILL);
	child_close(b->child);
	b->child = NULL;
	unlink(b->key_path);
}

/* Requests */

static void on_reply(void *user, const struct client_reply *reply)
{
	struct asked *a = user;
	struct bench *b = a->bench;

	a->fetch = NULL;
	b->status = reply->err.code != 0 ? 0 : reply->status;
	api_usage_init(&b->usage);
	api_usage_scan(&b->usage, reply->body);
	if (--b->open == 0) {
		loop_stop(b->loop);
	}
}

/* Sends the same request `count` times at once and waits for all answers. */
static int ask(struct bench *b, enum h1_method method, const char *target, struct span body,
	       int count)
{
	struct h1_field fields[] = { { SPAN_LIT("Authorization"), span_of(b->bearer) },
				     { SPAN_LIT("Content-Type"), SPAN_LIT("application/json") } };
	struct client_options options = { .to = { .host = "127.0.0.1", .port = b->port },
					  .method = method,
					  .target = span_of(target),
					  .fields = fields,
					  .field_count = ARRAY_LEN(fields),
					  .body = body,
					  .first_byte_ms = ANSWER_MS,
					  .idle_ms = ANSWER_MS };

	b->open = count;
	for (int i = 0; i < count; i++) {
		b->asked[i] = (struct asked){ .bench = b };
		b->asked[i].fetch = client_fetch(b->client, &options, API_BODY_MAX_BYTES, on_reply,
						 &b->asked[i]);
	}
	while (b->open > 0 && b->err.code == 0) {
		loop_run(b->loop);
	}
	for (int i = 0; i < count; i++) {
		client_fetch_cancel(b->asked[i].fetch);
	}
	return b->err.code;
}

/* So many tokens of prompt and answer; the prompt differs by `seed` and comes from no cache. */
static int complete(struct bench *b, uint32_t prompt_tokens, int answer_tokens, uint32_t seed,
		    int count)
{
	uint32_t vocabulary = b->gguf.vocabulary > 1000 ? b->gguf.vocabulary : 1000;
	struct json_writer w;
	struct buf body;

	buf_init(&body, OUT_MAX_BYTES);
	jsonw_init(&w, &body);
	jsonw_object(&w);
	jsonw_key(&w, "prompt");
	jsonw_array(&w);
	for (uint32_t i = 0; i < prompt_tokens; i++) {
		jsonw_u64(&w, 300 + (i * 7919u + seed * 104729u) % (vocabulary - 300));
	}
	jsonw_end(&w);
	jsonw_member_i64(&w, "n_predict", answer_tokens);
	jsonw_member_bool(&w, "ignore_eos", true);
	jsonw_member_bool(&w, "cache_prompt", false);
	jsonw_end_all(&w);
	int status = ask(b, H1_POST, "/completion", buf_span(&body), count);

	buf_finish(&body);
	if (status == 0 && b->status != 200) {
		status = err_set(&b->err, ERR_ENGINE_FAILED,
				 "llama-server answered %d to a prompt of %u tokens", b->status,
				 prompt_tokens);
	}
	return status;
}

static int await_ready(struct bench *b)
{
	uint64_t until_us = loop_now_us() + (uint64_t)b->cli->config.load_timeout_s * 1000000;

	for (b->status = 0; ask(b, H1_GET, "/health", SPAN_LIT(""), 1) == 0 && b->status != 200;) {
		if (loop_now_us() > until_us) {
			return err_set(&b->err, ERR_TIMEOUT, "llama-server was not ready in time");
		}
		timer_start(&b->timer, READY_STEP_MS);
		loop_run(b->loop);
		timer_stop(&b->timer);
	}
	return b->err.code;
}

/* Measuring */

static void measure_prompt(struct bench *b, struct series *s, uint32_t tokens, uint32_t seed)
{
	if (complete(b, tokens, 1, seed, 1) == 0 && b->usage.prompt_ms > 0) {
		add(s, (double)b->usage.prompt_evaluated * 1000 / b->usage.prompt_ms);
	}
}

static int measure(struct bench *b, struct mode *mode, int run)
{
	uint64_t start_us = loop_now_us();
	uint32_t context = (uint32_t)mode->settings.ctx_size / (uint32_t)mode->settings.parallel;

	if (await_ready(b) != 0 || complete(b, GENERATION_PROMPT_TOKENS, 1, 1, 1) != 0) {
		return b->err.code;
	}
	add(&mode->series[run == 0 ? FIRST_START : NEXT_START],
	    (double)(loop_now_us() - start_us) / 1000);
	if (context > 512 + 8) {
		measure_prompt(b, &mode->series[PROMPT_512], 512, (uint32_t)run + 2);
	}
	if (context > 4096 + 8) {
		measure_prompt(b, &mode->series[PROMPT_4096], 4096, (uint32_t)run + 3);
	}
	if (complete(b, GENERATION_PROMPT_TOKENS, GENERATED_TOKENS, 4, 1) == 0 &&
	    b->usage.predicted_ms > 0) {
		add(&mode->series[GENERATION],
		    (double)b->usage.predicted_n * 1000 / b->usage.predicted_ms);
	}
	start_us = loop_now_us();
	if (complete(b, GENERATION_PROMPT_TOKENS, GENERATED_TOKENS, 5, SLOTS) == 0) {
		add(&mode->series[AT_ONCE],
		    SLOTS * GENERATED_TOKENS * 1e6 / (double)(loop_now_us() - start_us));
	}
	return b->err.code;
}

static int run_modes(struct bench *b, struct err *err)
{
	int status = 0;

	b->loop = loop_create();
	b->client = client_create(b->loop);
	b->key_path = fs_join(b->cli->paths.run, "bench-key");
	timer_init(&b->timer, b->loop, on_timer);
	b->signals[0] = loop_signal_start(b->loop, SIGTERM, on_signal, b);
	b->signals[1] = loop_signal_start(b->loop, SIGINT, on_signal, b);
	for (int i = 0; status == 0 && i < b->mode_count * b->runs; i++) {
		struct mode *mode = &b->modes[i % b->mode_count];

		if (!b->cli->quiet && !b->cli->json) {
			fprintf(stderr, "%s: run %d of %d\n", mode->name, i / b->mode_count + 1,
				b->runs);
		}
		status = engine_start(b, mode, err);
		if (status == 0) {
			status = measure(b, mode, i / b->mode_count);
			if (status != 0) {
				err_set(err, status, "%s: %s", mode->name, b->err.text);
			}
			engine_stop(b);
		}
	}
	loop_signal_close(b->signals[0]);
	loop_signal_close(b->signals[1]);
	client_close(b->client);
	loop_destroy(b->loop);
	free(b->key_path);
	return status;
}

/* What is to be measured */

static int read_overrides(struct mode *mode, const char *text, struct err *err)
{
	char **words = cli_list(text, ',');
	int status = 0;

	for (char **word = words; status == 0 && *word != NULL; word++) {
		struct span value = span_of(*word);
		struct span name = span_split(&value, '=');
		const struct setting_row *row = setting_find(name);
		int32_t number;

		if (row == NULL || value.ptr == NULL) {
			status = err_set(err, ERR_INVALID,
					 "'%s' is not SETTING=VALUE. The settings: ronzal set "
					 "MODEL",
					 *word);
		} else if ((status = setting_parse(row, value, &number, err)) == 0) {
			setting_put(&mode->settings, row, number);
		}
	}
	cli_list_free(words);
	return status;
}

static struct mode *add_mode(struct bench *b, const char *name)
{
	struct mode *mode = &b->modes[b->mode_count++];

	*mode = (struct mode){ .settings = b->model->settings };
	span_copy(span_of(name), mode->name, sizeof(mode->name));
	return mode;
}

static int choose_modes(struct bench *b, const char *a_text, const char *b_text, struct err *err)
{
	char name[64];
	int status = 0;

	if (a_text != NULL || b_text != NULL) {
		status = read_overrides(add_mode(b, a_text != NULL ? a_text : "as set"),
					a_text != NULL ? a_text : "", err);
		if (status == 0 && b_text != NULL) {
			status = read_overrides(add_mode(b, b_text), b_text, err);
		}
	} else {
		struct mode *cpu = add_mode(b, "cpu");

		cpu->settings.n_gpu_layers = 0;
		cpu->no_device = true;
		if (b->abilities.device_count > 0) {
			snprintf(name, sizeof(name), "gpu (%s)", b->abilities.devices[0].id);
			add_mode(b, name);
		}
	}
	for (int i = 0; i < b->mode_count; i++) {
		struct settings *s = &b->modes[i].settings;
		uint32_t native = b->gguf.context_length;
		uint32_t context = native > 0 && native < CONTEXT_TOKENS ? native : CONTEXT_TOKENS;

		s->parallel = s->parallel > 0 ? s->parallel : SLOTS;
		s->ctx_size = s->ctx_size > 0 ? s->ctx_size : (int32_t)context * s->parallel;
	}
	return status;
}

/* Beside what runs: never at its cost. */
static int check_memory(struct bench *b, struct err *err)
{
	struct memory_machine machine = { .budget_free_bytes = UINT64_MAX };
	struct memory memory;

	if (memory_read(&memory) != 0) {
		return 0;
	}
	machine.host_free_bytes = memory.available_bytes;
	machine.is_unified = memory.gpu_wired_limit_bytes > 0;
	for (int i = 0; i < b->mode_count; i++) {
		struct memory_decision decision;

		machine.device_free_bytes = 0;
		for (int k = 0; !b->modes[i].no_device && k < b->abilities.device_count; k++) {
			machine.device_free_bytes += b->abilities.devices[k].free_bytes;
		}
		memory_decide(&(struct memory_model){ .id = b->model->id,
						      .gguf = &b->gguf,
						      .settings = b->modes[i].settings },
			      &machine, &decision);
		if (!decision.fits) {
			return err_set(err, ERR_NO_MEMORY, "%s: %s", b->modes[i].name,
				       decision.sentence);
		}
	}
	return 0;
}

/* Results */

static void print_cell(const struct mode *mode, int measure, char *text, size_t room)
{
	double spread, value = median(&mode->series[measure], &spread);

	if (isnan(value)) {
		snprintf(text, room, "-");
	} else if (mode->series[measure].count > 1) {
		snprintf(text, room, "%.*f %s +-%.0f%%", measures[measure].decimals,
			 value * measures[measure].scale, measures[measure].unit, spread * 100);
	} else {
		snprintf(text, room, "%.*f %s", measures[measure].decimals,
			 value * measures[measure].scale, measures[measure].unit);
	}
}

static void print_table(const struct bench *b, struct buf *out)
{
	struct table table;

	char text[64];

	table_init(&table);
	table_row(&table, TERM_DIM, "mode");
	for (int k = 0; k < MEASURES; k++) {
		table_cell(&table, "%s", measures[k].head);
	}
	for (int i = 0; i < b->mode_count; i++) {
		table_row(&table, TERM_PLAIN, "%s", b->modes[i].name);
		for (int k = 0; k < MEASURES; k++) {
			print_cell(&b->modes[i], k, text, sizeof(text));
			table_cell(&table, "%s", text);
		}
	}
	if (b->mode_count == 2) {
		table_row(&table, TERM_BOLD, "factor");
		for (int k = 0; k < MEASURES; k++) {
			double spread, x = median(&b->modes[0].series[k], &spread);
			double y = median(&b->modes[1].series[k], &spread);
			double factor = measures[k].less_is_better ? x / y : y / x;

			table_cell(&table, isnan(factor) ? "-" : "%.1fx", factor);
		}
	}
	table_print(&table, out);
	table_finish(&table);
}

static void write_series(struct json_writer *w, const struct mode *mode, int measure,
			 const char *key)
{
	double spread;

	jsonw_member_double(w, key, median(&mode->series[measure], &spread), 2);
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
	jsonw_key(w, "rows");
	jsonw_array(w);
	for (int i = 0; i < b->mode_count; i++) {
		const struct mode *mode = &b->modes[i];

		jsonw_object(w);
		jsonw_member_text(w, "mode", mode->name);
		write_series(w, mode, FIRST_START, "first_start_ms");
		write_series(w, mode, NEXT_START, "next_start_ms");
		jsonw_key(w, "prompt");
		jsonw_array(w);
		for (int k = PROMPT_512; k <= PROMPT_4096; k++) {
			if (mode->series[k].count > 0) {
				jsonw_object(w);
				jsonw_member_i64(w, "tokens", k == PROMPT_512 ? 512 : 4096);
				write_series(w, mode, k, "tokens_per_second");
				jsonw_end(w);
			}
		}
		jsonw_end(w);
		write_series(w, mode, GENERATION, "generation_tokens_per_second");
		write_series(w, mode, AT_ONCE, "generation_at_once_tokens_per_second");
		jsonw_end(w);
	}
	jsonw_end(w);
	jsonw_end(w);
}

/* Puts the result before those that are kept in the state folder. */
static int keep(const struct bench *b, struct span result, struct err *err)
{
	char *path = fs_join(b->cli->paths.state, "bench.json");
	struct err ignored = { 0 }; /* what is not there or not readable is begun anew */
	struct json *old = NULL;
	struct json_writer w;
	struct buf text, out;
	int kept = 1;

	buf_init(&text, OUT_MAX_BYTES);
	buf_init(&out, OUT_MAX_BYTES);
	if (fs_read(path, &text, &ignored) == 0) {
		old = json_parse(buf_span(&text), &ignored);
	}
	jsonw_init(&w, &out);
	jsonw_object(&w);
	jsonw_key(&w, "results");
	jsonw_array(&w);
	jsonw_raw(&w, result);
	struct json_iter it = json_iter(json_get(json_root(old), "results"));
	const struct json_value *value;

	for (struct span name; kept < KEPT_MAX && json_next(&it, &name, &value); kept++) {
		jsonw_value(&w, value);
	}
	int status = jsonw_end_all(&w);

	status = status != 0 ? status : fs_replace(path, buf_span(&out), 0600, err);
	json_destroy(old);
	buf_finish(&text);
	buf_finish(&out);
	free(path);
	return status;
}

static int report(const struct bench *b, struct err *err)
{
	struct json_writer w;
	struct buf result, out;

	buf_init(&result, OUT_MAX_BYTES);
	buf_init(&out, OUT_MAX_BYTES);
	jsonw_init(&w, &result);
	write_result(b, &w);
	int status = keep(b, buf_span(&result), err);

	if (b->cli->json) {
		buf_printf(&out, "%.*s\n", SPAN_ARG(buf_span(&result)));
	} else {
		print_table(b, &out);
	}
	term_print(&out);
	buf_finish(&result);
	buf_finish(&out);
	return status;
}

/* The command */

static int choose_model(struct bench *b, const struct registry *r, const struct args *args,
			struct err *err)
{
	struct preflight_options options = {
		.model_roots = (const char *const *)b->cli->places.model_roots
	};
	struct preflight found = { .err.code = 0 };
	uint64_t bytes;
	int status = 0;

	b->model = args->count > 0 ? registry_find(r, span_of(args->items[0]))
		   : r->count > 0  ? &r->models[0]
				   : NULL;
	if (b->model == NULL) {
		status = err_set(err, ERR_NOT_FOUND, "there is no model '%s'. See: ronzal models",
				 args->count > 0 ? args->items[0] : "");
	} else if (preflight_check_files(&options, b->model, &found) != 0) {
		status = err_set(err, found.err.code, "%s", found.err.text);
	} else {
		memcpy(b->model_path, found.model_path, sizeof(b->model_path));
		status = gguf_read_path(&b->gguf, b->model_path, &bytes, err);
	}
	return status;
}

static int prepare(struct bench *b, struct registry *r, struct args *args, struct err *err)
{
	const struct config *c = &b->cli->config;
	const char *a_text = args_take_value(args, "--a", err);
	const char *b_text = args_take_value(args, "--b", err);
	const char *runs_text = args_take_value(args, "--runs", err);
	uint64_t runs = RUNS_DEFAULT;
	int status = args_check(args, 0, 1, err);

	if (status == 0 && runs_text != NULL &&
	    (span_to_u64(span_of(runs_text), RUNS_MAX, &runs) != 0 || runs == 0)) {
		status = err_set(err, ERR_INVALID, "--runs: '%s' is not a number in 1..%d",
				 runs_text, RUNS_MAX);
	}
	b->runs = (int)runs;
	status = status != 0
			 ? status
			 : registry_load(r, b->cli->places.registry, (uint16_t)c->engine_port_min,
					 (uint16_t)c->engine_port_max, err);
	status = status != 0 ? status : choose_model(b, r, args, err);
	status = status != 0 ? status : scouting_ask(b->cli, b->engine_path, &b->abilities, err);
	status = status != 0 ? status : choose_modes(b, a_text, b_text, err);
	status = status != 0 ? status : check_memory(b, err);
	return status;
}

int command_bench(struct cli *cli, struct args *args, struct err *err)
{
	struct bench *b = mem_alloc(sizeof(*b));
	struct registry registry = { .count = 0 };

	b->cli = cli;
	int status = prepare(b, &registry, args, err);

	status = status != 0 ? status : run_modes(b, err);
	status = status != 0 ? status : report(b, err);
	gguf_finish(&b->gguf);
	registry_finish(&registry);
	free(b);
	return status;
}
