/* SPDX-License-Identifier: MIT */
/*
 * What the three kinds of link have in common (link/link.h): when to dial and to give up, which
 * reply belongs to which request, which logs are followed. Only they include this.
 *
 * A kind embeds struct link first, fills it by link_init, and then
 *   1. is asked to dial, from the loop,
 *   2. hands in what comes from the other side by link_hear, the agent's hello or bye first,
 *   3. is asked to say requests once hello was heard (a kind may say hello itself before),
 *   4. tells by link_lose why there is no way to the agent, or none any more,
 *   5. is asked to hang up, at every loss and at the end: nothing of the way is left then,
 *   6. is asked to free itself.
 */
#ifndef LINK_BASE_H
#define LINK_BASE_H

#include "base/list.h"
#include "io/timer.h"
#include "link/link.h"

#define LINK_REQUESTS_MAX 256 /* that wait for a reply; more are refused at once */
#define LINK_BACKOFF_MIN_MS 250
#define LINK_BACKOFF_MAX_MS 5000

struct link_kind {
	void (*dial)(struct link *l);
	int (*say)(struct link *l, const struct wire_request *r); /* 0, or negative: it is lost */
	void (*hang_up)(struct link *l);
	void (*free)(struct link *l);
	uint32_t hello_ms; /* from dial to the agent's hello or bye */
	bool is_relayed;   /* a bye leaves the way open, for the next hello; who relays pings */
};

enum link_state { LINK_WAITING, LINK_GREETING, LINK_UP, LINK_CLOSED };

struct link {
	const struct link_kind *kind;
	struct loop *loop;
	char *peer; /* in errors: "the agent", "the Host API at ..." */
	const struct link_callbacks *callbacks;
	void *user;
	struct err down; /* code 0: up */

	/* private */
	enum link_state state;
	struct timer timer; /* WAITING: dial; GREETING: give up; UP: ping */
	struct timer soon;  /* tells what must not be told inside a call; frees */
	uint64_t heard_ms;
	uint32_t losses;      /* in a row, without a greeting */
	struct err break_err; /* a request could not be said: link_lose with this soon */
	uint64_t seq;
	struct list asked;   /* struct waiting: requests on their way */
	struct list refused; /* ... whose err is to be told */
	size_t asked_count;
	struct wire_request followed; /* the last subscribe, said again when it comes up */
	bool follows;
};

/* peer is taken over. Dials at once (from the loop). */
void link_init(struct link *l, struct loop *loop, const struct link_kind *kind, char *peer,
	       const struct link_callbacks *callbacks, void *user);

/* One event of the control channel; the link may be lost or closed on return. */
void link_hear(struct link *l, struct span event);
/* To the request that said reply->seq. */
void link_answer(struct link *l, const struct wire_reply *reply);
/* Ignored when it is lost already. */
void link_lose(struct link *l, const struct err *why);

#endif
