/* SPDX-License-Identifier: MIT */
#include "cli/visit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/timer.h"

struct server *visit_find(const struct visit *s, const char *id)
{
	for (size_t i = 0; i < s->count; i++) {
		if (span_is_nocase(span_of(s->servers[i].id), id)) {
			return &s->servers[i];
		}
	}
	return NULL;
}

struct server *visit_first_ready(const struct visit *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->servers[i].phase == SERVER_READY) {
			return &s->servers[i];
		}
	}
	return NULL;
}

static void tell(struct visit *s, const struct server *changed)
{
	if (s->on_change != NULL) {
		s->on_change(s, changed);
	}
}

static void on_up(void *user)
{
	(void)user;
}

static void on_server(struct visit *s, const struct server *server)
{
	struct server *known = visit_find(s, server->id);

	if (known == NULL) {
		s->servers = mem_resize(s->servers, s->count + 1, sizeof(*s->servers));
		known = &s->servers[s->count++];
	}
	*known = *server;
	if (s->synced) {
		tell(s, known);
	}
}

static void on_event(void *user, const struct wire_event *e)
{
	struct visit *s = user;
	struct server *server;

	switch (e->type) {
	case EVENT_HOST:
		s->host = e->host;
		break;
	case EVENT_SERVER:
		on_server(s, &e->server);
		break;
	case EVENT_PROGRESS:
		server = visit_find(s, e->progress.id);
		if (server != NULL) {
			server->progress = e->progress.fraction;
			server->eta_ms = e->progress.eta_ms;
			tell(s, server);
		}
		break;
	case EVENT_REMOVED:
		server = visit_find(s, e->removed.id);
		if (server != NULL) {
			*server = s->servers[--s->count];
			tell(s, NULL);
		}
		break;
	case EVENT_SYNCED:
		if (!s->synced) {
			s->synced = true;
			loop_stop(s->loop);
		}
		tell(s, NULL);
		break;
	case EVENT_LOG:
		if (s->on_log != NULL) {
			s->on_log(e->log.line, e->log.dropped);
		}
		break;
	case EVENT_HELLO:
	case EVENT_REPLY:
	case EVENT_BYE:
		break; /* the link's own */
	}
}

static void on_down(void *user, const struct err *why)
{
	struct visit *s = user;

	(void)why; /* link_error has it */
	if (!s->synced) {
		loop_stop(s->loop);
	} else {
		tell(s, NULL);
	}
}

static const struct link_callbacks calls = { on_up, on_event, on_down };

static void on_open_timeout(struct timer *t)
{
	loop_stop(t->loop);
}

int visit_open_on(struct visit *s, struct loop *loop, const struct cli *cli, struct err *err)
{
	struct timer opening;

	*s = (struct visit){ .loop = loop };
	timer_init(&opening, s->loop, on_open_timeout);
	timer_start(&opening, VISIT_OPEN_MS);
	s->link = link_unix_create(s->loop, cli->places.agent_socket, "", "ronzal", &calls, s);
	loop_run(s->loop);
	const struct err *why = link_error(s->link);
	int status = s->synced ? 0
		     : timer_is_on(&opening)
			     ? err_set(err, why->code, "%s", why->text)
			     : err_set(err, ERR_TIMEOUT, "the agent did not answer within %d s",
				       VISIT_OPEN_MS / 1000);

	timer_stop(&opening);
	return status;
}

int visit_open(struct visit *s, const struct cli *cli, struct err *err)
{
	int status = visit_open_on(s, loop_create(), cli, err);

	if (status != 0) {
		visit_close(s);
	}
	return status;
}

static void free_results(struct visit *s)
{
	free((void *)(uintptr_t)s->reply.results);
	s->reply = (struct wire_reply){ 0 };
}

void visit_close(struct visit *s)
{
	if (s->loop != NULL) {
		s->on_change = NULL;
		link_close(s->link);
		loop_run(s->loop);
		loop_destroy(s->loop);
		free_results(s);
		free(s->servers);
		*s = (struct visit){ 0 };
	}
}

static void on_reply(void *user, const struct wire_reply *reply)
{
	struct visit *s = user;
	size_t bytes = reply->count * sizeof(*reply->results);
	struct wire_result *copies = mem_alloc(bytes);

	if (bytes > 0) {
		memcpy(copies, reply->results, bytes);
	}
	free_results(s);
	s->reply =
		(struct wire_reply){ .err = reply->err, .results = copies, .count = reply->count };
	s->replied = true;
	loop_stop(s->loop);
}

int visit_ask(struct visit *s, const struct wire_request *request, struct err *err)
{
	s->replied = false;
	link_send(s->link, request, on_reply, s);
	while (!s->replied && !s->interrupted) {
		loop_run(s->loop);
	}
	if (!s->replied) {
		return err_set(err, ERR_CANCELED, "interrupted");
	}
	const struct err *why = &s->reply.err;

	return why->code != 0 ? err_set(err, why->code, "%s", why->text) : 0;
}

int visit_resolve(const struct visit *s, const char *word, const char **ret_id, struct err *err)
{
	const struct server *found = visit_find(s, word);
	struct nearest nearest = { .word = span_of(word) };
	struct buf names;

	if (found != NULL) {
		*ret_id = found->id;
		return 0;
	}
	buf_init(&names, ERR_TEXT_MAX_BYTES / 2);
	for (size_t i = 0; i < s->count; i++) {
		nearest_try(&nearest, s->servers[i].id);
		buf_printf(&names, "%s%s", i > 0 ? ", " : "", s->servers[i].id);
	}
	err_set(err, ERR_NOT_FOUND,
		nearest.name != NULL ? "there is no model '%s'. Did you mean '%s'?"
				     : "there is no model '%s'. Models: %s",
		word,
		nearest.name != NULL ? nearest.name
		: s->count > 0	     ? buf_text(&names)
				     : "none yet (ronzal models scan)");
	buf_finish(&names);
	return ERR_NOT_FOUND;
}

int visit_choose(const struct visit *s, const char *const *words, int count,
		 bool (*is_meant)(const struct server *server), struct wire_request *r,
		 struct err *err)
{
	size_t most = s->count + (size_t)count;
	const char **ids = mem_alloc(most * (sizeof(*ids) + SERVER_ID_MAX_BYTES));
	char *copy = (char *)(ids + most);
	int status = 0;

	r->ids = ids;
	for (int i = 0; status == 0 && i < count; i++) {
		status = visit_resolve(s, words[i], &ids[r->id_count], err);
		r->id_count += status == 0;
	}
	for (size_t i = 0; count == 0 && i < s->count; i++) {
		ids[r->id_count] = s->servers[i].id;
		r->id_count += is_meant(&s->servers[i]);
	}
	for (size_t i = 0; i < r->id_count; i++, copy += SERVER_ID_MAX_BYTES) {
		ids[i] = memcpy(copy, ids[i], strlen(ids[i]) + 1);
	}
	return status;
}
