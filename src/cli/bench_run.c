/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"
#include "cli/bench.h"
#include "cli/daemon.h"
#include "cli/scouting.h"
#include "cli/term.h"
#include "engine/api.h"
#include "engine/launch.h"
#include "http/client.h"
#include "io/errand.h"
#include "io/timer.h"
#include "os/memory.h"

#define READY_STEP_MS 10
#define ANSWER_MS 1800000
#define STOP_MS 5000
#define DOCKER_MS 10000
#define BODY_MAX_BYTES (1u << 20)
#define GENERATED_TOKENS 64
#define SHORT_PROMPT_TOKENS 16
#define CONTEXT_SPARE_TOKENS 8
#define ARGV_MAX 96

const struct bench_measure bench_measures[BENCH_MEASURES] = {
	{ BENCH_STARTUP, BENCH_COLD, "cold start" }, { BENCH_STARTUP, BENCH_WARM, "warm start" },
	{ BENCH_PROMPT, 128, "prompt of 128" },	     { BENCH_PROMPT, 512, "prompt of 512" },
	{ BENCH_PROMPT, 2048, "prompt of 2048" },    { BENCH_GENERATION, 1, "1 stream" },
	{ BENCH_GENERATION, 2, "2 streams" },	     { BENCH_GENERATION, 4, "4 streams" },
};

/* One engine after the other, and the requests that it answers. */
struct bench_engine {
	struct bench *bench;
	struct loop *loop;
	struct client *client;
	struct daemon daemon; /* for its signals alone */
	struct timer timer;
	struct child *child; /* the engine, or the docker client in front of it */
	bool is_stopping;
	const struct bench_mode *mode;
	uint16_t port;
	char *key_path, bearer[SECRET_TEXT_BYTES + 8];
	struct asked {
		struct bench_engine *engine;
		struct client_fetch *fetch; /* NULL: answered */
	} asked[BENCH_STREAMS_MAX];
	int open;
	uint32_t seed; /* of the next prompt: none comes from a cache */
	int status;    /* of the last answer */
	struct api_usage usage;
	struct err err;
};

/* The engine */

static void on_engine_exit(void *user, int exit_code)
{
	struct bench_engine *e = user;

	if (!e->is_stopping && e->err.code == 0) {
		err_set(&e->err, ERR_ENGINE_FAILED, "llama-server ended by itself (%d)", exit_code);
	}
	loop_stop(e->loop);
}

static void leave(struct daemon *d)
{
	struct bench_engine *e = CONTAINER_OF(d, struct bench_engine, daemon);

	err_set(&e->err, ERR_CANCELED, "interrupted");
	loop_stop(e->loop);
}

static void on_timer(struct timer *t)
{
	loop_stop(t->loop);
}

static struct words container_name(const struct bench_engine *e)
{
	return term_words("ronzal-bench-%u", e->port);
}

/* The engine of the backend's image, as compose runs it, with nothing but the model and the key. */
static const char docker_script[] =
	"image=$1 port=$2 model=$3 key=$4; shift 4; exec docker run --rm --init --read-only "
	"--tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --name \"$0\" "
	"--user \"$(id -u):$(id -g)\" --publish \"127.0.0.1:$port:$port\" "
	"--mount \"type=bind,src=$model,dst=$model,readonly\" "
	"--mount \"type=bind,src=$key,dst=$key,readonly\" --entrypoint /bin/sh \"$image\" "
	"-c 'exec \"$RONZAL_ENGINE\" \"$@\"' \"$@\"";

/* Starts argv, an engine's, here or behind the script. */
static void spawn(struct bench_engine *e, char **argv)
{
	struct words name = container_name(e), port = term_words("%u", e->port);
	const char *all[ARGV_MAX] = {
		"sh",		"-c",	   docker_script,	 name.text,
		e->mode->image, port.text, e->bench->model_path, e->key_path
	};
	bool in_docker = e->mode->image[0] != '\0';
	char **environment = in_docker ? NULL : scouting_environment(e->bench->cli, &e->err);

	for (size_t i = 0, at = 8; argv[i] != NULL && at + 1 < ARGV_MAX; i++) {
		all[at++] = argv[i];
	}
	if (e->err.code == 0) {
		e->child = child_start(e->loop,
				       &(struct child_options){
					       .argv = in_docker ? all : (const char *const *)argv,
					       .env = (const char *const *)environment,
					       .stdio = { CHILD_NULL, CHILD_NULL, CHILD_NULL },
					       .new_session = true,
					       .on_exit = on_engine_exit,
					       .user = e,
				       },
				       &e->err);
	}
	free(environment);
}

static int engine_start(struct bench_engine *e)
{
	static const char *const no_device[] = { "--device", "none", NULL };
	const struct bench *b = e->bench;
	struct model model = *b->model;
	char key[SECRET_TEXT_BYTES];

	model.settings = e->mode->settings;
	if (scouting_listen("127.0.0.1", &e->port, &e->err) != 0) {
		return e->err.code;
	}
	struct launch_options options = {
		.abilities = &b->abilities,
		.model = &model,
		.engine_path = b->engine_path,
		.model_path = b->model_path,
		.hosts = e->mode->image[0] != '\0' ? "0.0.0.0" : "127.0.0.1",
		.port = e->port,
		.api_key_file = e->key_path,
		.extra_arguments = e->mode->no_device ? no_device : NULL,
	};

	secret_make(key);
	snprintf(e->bearer, sizeof(e->bearer), "Bearer %s", key);
	fs_replace(e->key_path, span_of(key), 0600, &e->err);
	char **argv = e->err.code == 0 ? launch_argv(&options, &e->err) : NULL;

	if (argv != NULL) {
		spawn(e, argv);
	}
	free(argv);
	return e->err.code;
}

static void engine_stop(struct bench_engine *e)
{
	const struct words name = container_name(e);
	const char *const kill_container[] = { "docker", "kill", name.text, NULL };
	struct buf text;

	if (e->child == NULL) {
		return;
	}
	e->is_stopping = true;
	child_kill(e->child, SIGTERM);
	timer_start(&e->timer, STOP_MS);
	while (child_pid(e->child) != 0 && timer_is_on(&e->timer)) {
		loop_run(e->loop);
	}
	timer_stop(&e->timer);
	if (child_pid(e->child) != 0 && e->mode->image[0] != '\0') {
		errand_run(&(struct errand_options){ .argv = kill_container,
						     .limit_ms = DOCKER_MS },
			   &text, NULL);
		buf_finish(&text);
	}
	child_kill(e->child, SIGKILL);
	child_close(e->child);
	e->child = NULL;
	e->is_stopping = false;
	unlink(e->key_path);
}

/* Requests */

static void on_reply(void *user, const struct client_reply *reply)
{
	struct asked *a = user;
	struct bench_engine *e = a->engine;

	a->fetch = NULL;
	e->status = reply->err.code != 0 ? 0 : reply->status;
	api_usage_init(&e->usage);
	api_usage_scan(&e->usage, reply->body);
	if (--e->open == 0) {
		loop_stop(e->loop);
	}
}

/* Sends the same request `count` times at once and waits for all answers. */
static int ask(struct bench_engine *e, enum h1_method method, const char *target, struct span body,
	       int count)
{
	struct h1_field fields[] = { { SPAN_LIT("Authorization"), span_of(e->bearer) },
				     { SPAN_LIT("Content-Type"), SPAN_LIT("application/json") } };
	struct client_options options = { .to = { .host = "127.0.0.1", .port = e->port },
					  .method = method,
					  .target = span_of(target),
					  .fields = fields,
					  .field_count = ARRAY_LEN(fields),
					  .body = body,
					  .first_byte_ms = ANSWER_MS,
					  .idle_ms = ANSWER_MS };

	e->open = count;
	for (int i = 0; i < count; i++) {
		e->asked[i].engine = e;
		e->asked[i].fetch = client_fetch(e->client, &options, API_BODY_MAX_BYTES, on_reply,
						 &e->asked[i]);
	}
	while (e->open > 0 && e->err.code == 0) {
		loop_run(e->loop);
	}
	for (int i = 0; i < count; i++) {
		client_fetch_cancel(e->asked[i].fetch);
	}
	return e->err.code;
}

/* So many tokens of prompt and answer; which ones differs each time. */
static int complete(struct bench_engine *e, int prompt_tokens, int answer_tokens, int count)
{
	uint32_t vocabulary = e->bench->gguf.vocabulary > 1000 ? e->bench->gguf.vocabulary : 1000;
	struct json_writer w;
	struct buf body;

	buf_init(&body, BODY_MAX_BYTES);
	jsonw_init(&w, &body);
	jsonw_object(&w);
	jsonw_member_array(&w, "prompt");
	e->seed++;
	for (uint32_t i = 0; i < (uint32_t)prompt_tokens; i++) {
		jsonw_u64(&w, 300 + (i * 7919u + e->seed * 104729u) % (vocabulary - 300));
	}
	jsonw_end(&w);
	jsonw_member_i64(&w, "n_predict", answer_tokens);
	jsonw_member_bool(&w, "ignore_eos", true);
	jsonw_member_bool(&w, "cache_prompt", false);
	jsonw_end_all(&w);
	int status = ask(e, H1_POST, "/completion", buf_span(&body), count);

	buf_finish(&body);
	if (status == 0 && e->status != 200) {
		status = err_set(&e->err, ERR_ENGINE_FAILED,
				 "llama-server answered %d to a prompt of %d tokens", e->status,
				 prompt_tokens);
	}
	return status;
}

static int await_ready(struct bench_engine *e)
{
	uint64_t until_us =
		loop_now_us() + (uint64_t)e->bench->cli->config.load_timeout_s * 1000000;

	for (e->status = 0; ask(e, H1_GET, "/health", SPAN_LIT(""), 1) == 0 && e->status != 200;) {
		if (loop_now_us() > until_us) {
			return err_set(&e->err, ERR_TIMEOUT, "llama-server was not ready in time");
		}
		timer_start(&e->timer, READY_STEP_MS);
		loop_run(e->loop);
		timer_stop(&e->timer);
	}
	return e->err.code;
}

/* Measuring: the value, or none where the machine or the context does not allow for it. */

static void add(struct bench_series *s, double value)
{
	s->values[s->count++] = value;
}

static void measure_prompt(struct bench_engine *e, int tokens, struct bench_series *s)
{
	const struct settings *settings = &e->mode->settings;

	if (settings->ctx_size / settings->parallel >= tokens + CONTEXT_SPARE_TOKENS &&
	    complete(e, tokens, 1, 1) == 0 && e->usage.prompt_ms > 0) {
		add(s, (double)e->usage.prompt_evaluated * 1000 / e->usage.prompt_ms);
	}
}

/* One stream by the engine's clock, several by ours. */
static void measure_generation(struct bench_engine *e, int streams, struct bench_series *s)
{
	uint64_t start_us = loop_now_us();

	if (streams > e->mode->settings.parallel ||
	    complete(e, SHORT_PROMPT_TOKENS, GENERATED_TOKENS, streams) != 0) {
		return;
	}
	if (streams > 1) {
		add(s, streams * GENERATED_TOKENS * 1e6 / (double)(loop_now_us() - start_us));
	} else if (e->usage.predicted_ms > 0) {
		add(s, (double)e->usage.predicted_n * 1000 / e->usage.predicted_ms);
	}
}

/* A device compiles its programs when they are first used, and that is no speed of the model. */
static void warm_up(struct bench_engine *e)
{
	int parallel = e->mode->settings.parallel;
	int streams = parallel < BENCH_STREAMS_MAX ? parallel : BENCH_STREAMS_MAX;
	struct bench_series ignored = { 0 };

	for (size_t i = 0; i < BENCH_MEASURES && !e->mode->no_device; i++) {
		if (bench_measures[i].kind == BENCH_PROMPT) {
			measure_prompt(e, bench_measures[i].n, &ignored);
		}
	}
	for (; streams > 0 && e->err.code == 0; streams /= 2) {
		complete(e, SHORT_PROMPT_TOKENS, GENERATED_TOKENS, streams);
	}
}

static void measure_startup(struct bench_engine *e, int how, struct bench_series *s)
{
	engine_stop(e);
	if (how == BENCH_COLD && memory_forget_file(e->bench->model_path) != 0) {
		return;
	}
	uint64_t start_us = loop_now_us();

	if (engine_start(e) == 0 && await_ready(e) == 0 &&
	    complete(e, SHORT_PROMPT_TOKENS, 1, 1) == 0) {
		add(s, (double)(loop_now_us() - start_us) / 1000);
		if (how == BENCH_WARM) {
			warm_up(e);
		}
	}
}

static void (*const measures[])(struct bench_engine *, int, struct bench_series *) = {
	[BENCH_STARTUP] = measure_startup,
	[BENCH_PROMPT] = measure_prompt,
	[BENCH_GENERATION] = measure_generation,
};

/* On a terminal every step, else every run. */
static void tell(const struct bench_engine *e, int run, const char *step)
{
	const struct bench *b = e->bench;
	bool is_live = isatty(STDERR_FILENO);

	if (!b->cli->quiet && !b->cli->json && (is_live || step == bench_measures[0].name)) {
		fprintf(stderr, is_live ? "\r\x1b[K%s: run %d of %d: %s" : "%s: run %d of %d\n",
			e->mode->name, run + 1, b->runs, step);
	}
}

static int run_mode(struct bench_engine *e, struct bench_mode *mode, int run)
{
	e->mode = mode;
	for (size_t i = 0; i < BENCH_MEASURES && e->err.code == 0; i++) {
		const struct bench_measure *m = &bench_measures[i];

		tell(e, run, m->name);
		measures[m->kind](e, m->n, &mode->series[i]);
	}
	engine_stop(e);
	return e->err.code;
}

int bench_run(struct bench *b, struct err *err)
{
	struct bench_engine e = { .bench = b, .loop = loop_create() };
	int status = 0;

	e.client = client_create(e.loop);
	e.key_path = fs_join(b->cli->paths.run, "bench-key");
	timer_init(&e.timer, e.loop, on_timer);
	e.daemon = (struct daemon){ .loop = e.loop, .leave = leave };
	daemon_listen(&e.daemon);
	for (int i = 0; status == 0 && i < b->mode_count * b->runs; i++) {
		struct bench_mode *mode = &b->modes[i % b->mode_count];

		status = run_mode(&e, mode, i / b->mode_count);
		if (status != 0) {
			err_set(err, status, "%s: %s", mode->name, e.err.text);
		}
	}
	if (!b->cli->quiet && !b->cli->json && isatty(STDERR_FILENO)) {
		fprintf(stderr, "\r\x1b[K");
	}
	daemon_left(&e.daemon);
	client_close(e.client);
	loop_destroy(e.loop);
	free(e.key_path);
	return status;
}
