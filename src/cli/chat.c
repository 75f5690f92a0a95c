/* SPDX-License-Identifier: MIT */
/*
 * `ronzal chat`: a conversation in the terminal, straight with the engine: the agent starts the
 * model and hands over its address and key. The answer streams; below it stands how fast it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/term.h"
#include "cli/visit.h"
#include "http/client.h"
#include "http/sse.h"

#define CHAT_BODY_MAX_BYTES (1u << 20)
#define CHAT_LINE_MAX_BYTES 65536
#define CHAT_EVENT_MAX_BYTES 65536
#define CHAT_FIRST_TOKEN_MS 900000

struct chat {
	struct visit visit;
	struct client *client;
	struct wire_result engine;	/* where the model is, and its key */
	struct buf messages;		/* JSON objects, comma-separated: the conversation so far */
	struct buf answer;		/* of the model, as text; or the engine's error */
	struct client_request *request; /* NULL between answers */
	struct sse_parser events;
	int status; /* of the HTTP answer */
	int64_t tokens;
	double tokens_per_second;
	uint64_t asked_us, first_us;
	struct err err;
};

static void add_message(struct chat *c, const char *role, struct span content)
{
	struct json_writer w;

	if (c->messages.len > 0) {
		buf_add_char(&c->messages, ',');
	}
	jsonw_init(&w, &c->messages);
	jsonw_object(&w);
	jsonw_member_text(&w, "role", role);
	jsonw_member_span(&w, "content", content);
	jsonw_end_all(&w);
}

/* What a model says may hold anything: line feeds and tabs pass, other controls do not. */
static void print_text(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char byte = (unsigned char)text.ptr[i];

		if ((byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t') {
			putchar(byte);
		}
	}
	fflush(stdout);
}

static void on_event(void *user, const struct sse_event *event)
{
	struct chat *c = user;
	struct json *doc = json_parse(event->data, NULL);
	const struct json_value *root = json_root(doc);
	const struct json_value *timings = json_get(root, "timings");
	struct span text;

	JSON_EACH (it, json_get(root, "choices")) {
		if (json_to_span(json_get(json_get(it.value, "delta"), "content"), &text)) {
			c->first_us = c->first_us != 0 ? c->first_us : loop_now_us();
			print_text(text);
			buf_add_span(&c->answer, text);
		}
	}
	if (json_type(timings) == JSON_OBJECT) {
		c->tokens = json_i64_at(timings, "predicted_n", 0);
		c->tokens_per_second = json_double_at(timings, "predicted_per_second", 0);
	}
	json_destroy(doc);
}

static void answer_over(struct chat *c)
{
	c->request = NULL;
	loop_stop(c->visit.loop);
}

static void on_piece(void *user, const struct client_piece *piece)
{
	struct chat *c = user;

	if (piece->head != NULL) {
		c->status = piece->head->status;
	}
	if (c->status == 200) {
		sse_parse(&c->events, piece->body);
	} else {
		buf_add_span(&c->answer, piece->body);
	}
	if (piece->done) {
		answer_over(c);
	}
}

static void on_fail(void *user, const struct err *why, bool sent)
{
	struct chat *c = user;

	(void)sent;
	c->err = *why;
	answer_over(c);
}

static const struct client_callbacks calls = { on_piece, on_fail, NULL };

/* Asks with the whole conversation and prints the answer as it comes. */
static int ask(struct chat *c, struct err *err)
{
	struct words authorization = term_words("Bearer %s", c->engine.key);
	struct h1_field fields[] = {
		{ SPAN_LIT("Authorization"), span_of(authorization.text) },
		{ SPAN_LIT("Content-Type"), SPAN_LIT("application/json") },
	};
	struct buf body;

	buf_init(&body, CHAT_BODY_MAX_BYTES);
	if (buf_printf(&body, "{\"stream\":true,\"messages\":[%s]}", buf_text(&c->messages)) != 0) {
		buf_finish(&body);
		return err_set(err, ERR_FULL, "the conversation is longer than %u bytes",
			       CHAT_BODY_MAX_BYTES);
	}
	struct client_options options = {
		.to = { .host = c->engine.address, .port = c->engine.port },
		.method = H1_POST,
		.target = SPAN_LIT("/v1/chat/completions"),
		.fields = fields,
		.field_count = ARRAY_LEN(fields),
		.body = buf_span(&body),
		.first_byte_ms = CHAT_FIRST_TOKEN_MS,
	};

	buf_clear(&c->answer);
	c->err = (struct err){ 0 };
	c->tokens = 0;
	c->first_us = 0;
	c->asked_us = loop_now_us();
	c->request = client_send(c->client, &options, &calls, c);
	while (c->request != NULL) {
		loop_run(c->visit.loop);
	}
	buf_finish(&body);
	return c->err.code != 0 ? err_set(err, c->err.code, "%s", c->err.text)
	       : c->status != 200
		       ? err_set(err, ERR_ENGINE_FAILED, "the engine answered %d: %.400s",
				 c->status, buf_text(&c->answer))
		       : 0;
}

static void print_figures(const struct chat *c)
{
	if (c->tokens > 0 && isatty(STDOUT_FILENO)) {
		printf("%s%lld tokens, %.1f tok/s, first after %.2f s%s\n", term_color(TERM_DIM),
		       (long long)c->tokens, c->tokens_per_second,
		       (double)(c->first_us - c->asked_us) / 1e6, term_color(TERM_PLAIN));
	}
}

static int turn(struct chat *c, struct span prompt, struct err *err)
{
	add_message(c, "user", prompt);
	int status = ask(c, err);

	putchar('\n');
	if (status == 0) {
		add_message(c, "assistant", buf_span(&c->answer));
		print_figures(c);
	}
	return status;
}

static int converse(struct chat *c, struct err *err)
{
	char *line = mem_alloc(CHAT_LINE_MAX_BYTES);
	int status = 0;

	while (status == 0) {
		printf("%s> %s", term_color(TERM_BOLD), term_color(TERM_PLAIN));
		fflush(stdout);
		if (fgets(line, CHAT_LINE_MAX_BYTES, stdin) == NULL || line[0] == '\n') {
			break;
		}
		status = turn(c, (struct span){ line, strcspn(line, "\n") }, err);
	}
	free(line);
	return status;
}

/* Standard input as one prompt. */
static int ask_stdin(struct chat *c, struct err *err)
{
	struct buf prompt;
	char *room;
	ssize_t got = 1;

	buf_init(&prompt, CHAT_BODY_MAX_BYTES / 2);
	while (got > 0 && (room = buf_reserve(&prompt, 4096)) != NULL) {
		got = read(STDIN_FILENO, room, 4096);
		buf_added(&prompt, got > 0 ? (size_t)got : 0);
	}
	int status = turn(c, buf_span(&prompt), err);

	buf_finish(&prompt);
	return status;
}

/* The named model, or the only one that runs, or the first one that is enabled. */
static int choose_model(const struct visit *s, const char *word, const char **ret_id,
			struct err *err)
{
	if (word != NULL) {
		return visit_resolve(s, word, ret_id, err);
	}
	const struct server *ready = visit_first_ready(s);

	*ret_id = ready != NULL ? ready->id : NULL;
	for (size_t i = 0; i < s->count && *ret_id == NULL; i++) {
		*ret_id = s->servers[i].enabled ? s->servers[i].id : NULL;
	}
	return *ret_id != NULL ? 0
			       : err_set(err, ERR_NOT_FOUND,
					 "no model runs and none is enabled. "
					 "See them: ronzal models");
}

static int reach_engine(struct chat *c, const char *word, struct err *err)
{
	const char *id;
	int status = choose_model(&c->visit, word, &id, err);

	if (status != 0) {
		return status;
	}
	struct wire_request request = { .verb = VERB_START, .ids = &id, .id_count = 1 };

	if (visit_find(&c->visit, id)->phase != SERVER_READY) {
		fprintf(stderr, "starting %s ...\n", id);
		status = visit_ask(&c->visit, &request, err);
	}
	request.verb = VERB_CREDENTIALS;
	status = status != 0 ? status : visit_ask(&c->visit, &request, err);
	if (status == 0 && c->visit.reply.count != 1) {
		status = err_set(err, ERR_UNAVAILABLE, "the agent has no key for %s: does it run?",
				 id);
	}
	if (status == 0) {
		c->engine = c->visit.reply.results[0];
	}
	return status;
}

int command_chat(struct cli *cli, struct args *args, struct err *err)
{
	struct chat c = { 0 };
	int status = visit_open(&c.visit, cli, err);

	if (status != 0) {
		return status;
	}
	buf_init(&c.messages, CHAT_BODY_MAX_BYTES);
	buf_init(&c.answer, CHAT_BODY_MAX_BYTES);
	sse_parser_init(&c.events, CHAT_EVENT_MAX_BYTES, on_event, &c);
	c.client = client_create(c.visit.loop);
	status = reach_engine(&c, args->count > 0 ? args->items[0] : NULL, err);
	if (status == 0 && args->count == 2) {
		status = turn(&c, span_of(args->items[1]), err);
	} else if (status == 0 && isatty(STDIN_FILENO)) {
		status = converse(&c, err);
	} else if (status == 0) {
		status = ask_stdin(&c, err);
	}
	client_close(c.client);
	sse_parser_finish(&c.events);
	buf_finish(&c.answer);
	buf_finish(&c.messages);
	visit_close(&c.visit);
	return status;
}
