/* SPDX-License-Identifier: MIT */
/*
 * A command's conversation with the agent: a loop, a link, and the servers as the agent says them.
 * The calls block until there is an answer; on_change is told in between.
 */
#ifndef CLI_VISIT_H
#define CLI_VISIT_H

#include "cli/cli.h"
#include "link/link.h"

#define VISIT_OPEN_MS 5000

struct visit {
	struct loop *loop;
	struct link *link;
	struct server *servers; /* in the order in which the agent said them */
	size_t count;
	struct host_info host;
	bool synced;
	struct wire_reply reply; /* of the last visit_ask: results are copies, owned here */
	bool replied;
	bool interrupted; /* set it, and stop the loop, to leave a visit_ask: ERR_CANCELED */
	/* A server changed (or the link went down: NULL). May be NULL. */
	void (*on_change)(struct visit *s, const struct server *changed);
	void (*on_log)(struct span line, uint64_t dropped);
	void *user;
};

/* Dials the user's agent and waits for its picture; ERR_NO_AGENT says how to start one. */
int visit_open(struct visit *s, const struct cli *cli, struct err *err);
/* The same on a loop that becomes the visit's; visit_close also when it fails. */
int visit_open_on(struct visit *s, struct loop *loop, const struct cli *cli, struct err *err);
void visit_close(struct visit *s);

/* Sends and waits for the reply, however long that takes; its error is the result. */
int visit_ask(struct visit *s, const struct wire_request *request, struct err *err);

struct server *visit_find(const struct visit *s, const char *id);
struct server *visit_first_ready(const struct visit *s);
/* The id that a word means (exact, or without regard to case); ERR_NOT_FOUND lists the names. */
int visit_resolve(const struct visit *s, const char *word, const char **ret_id, struct err *err);
/*
 * Puts into a request the ids that the words name, or without words those of all servers that are
 * meant. Copies: an agent that leaves takes its servers along. wire_request_finish in any case.
 */
int visit_choose(const struct visit *s, const char *const *words, int count,
		 bool (*is_meant)(const struct server *server), struct wire_request *r,
		 struct err *err);

#endif
