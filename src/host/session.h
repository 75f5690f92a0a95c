/* SPDX-License-Identifier: MIT */
/*
 * One peer of the agent on one of its sockets: its queue, and what it still has to be told.
 *
 * States are not queued but marked: a peer that reads slowly gets each server's latest state once
 * it reads again. Log lines are dropped and counted while it is behind. What may not be lost
 * (replies) ends the session when its queue of SESSION_OUT_MAX_BYTES is full.
 *
 * The agent hears of requests and of the end (agent_on_request, agent_on_session_end).
 */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H

#include "base/lines.h"
#include "base/list.h"
#include "io/conn.h"
#include "io/timer.h"
#include "wire/messages.h"

#define SESSION_OUT_MAX_BYTES (256u << 10)
#define SESSION_BEHIND_BYTES (SESSION_OUT_MAX_BYTES / 2) /* above this only replies are queued */
#define SESSION_BYE_MS 1000				 /* for the last lines to be read */

struct agent;
struct supervisor;

enum session_state { SESSION_NEW, SESSION_GREETING, SESSION_ATTACHED, SESSION_GONE };

struct session {
	struct list link; /* the agent's */
	enum session_state state;
	bool is_restricted;
	char controller[WIRE_CONTROLLER_MAX_BYTES], who[WIRE_CONTROLLER_MAX_BYTES]; /* from hello */
	/* private */
	struct agent *agent;
	struct conn *conn;
	bool must_ping, said_bye;
	struct lines lines;
	struct timer timer;	    /* silence: of hello, of pings; or trouble at once */
	struct interest *interests; /* what this peer has to be told, by server */
	size_t interest_count;
	bool host_is_marked, sync_is_due;
};

/* Owns the conn. Says nothing before session_open. */
struct session *session_start(struct agent *agent, struct conn *conn, bool is_restricted);
void session_open(struct session *s);  /* begins to read; the peer has WIRE_HELLO_MS for hello */
void session_close(struct session *s); /* what is queued still goes out; frees later */

/* After hello: who it is, and whether it has to ping. */
void session_attach(struct session *s, const struct wire_request *hello);
/* Tells the host, every server's state, and then `synced`. */
void session_show_all(struct session *s);
void session_flush(struct session *s); /* tells what is marked */
void session_say(struct session *s, const struct wire_event *e);
void session_reply(struct session *s, uint64_t seq, const struct err *err);
void session_bye(struct session *s, const struct err *err); /* code 0: all is well; ends it */
void session_woke(struct session *s);			    /* the machine slept */

void session_follow(struct session *s, struct supervisor *server, uint32_t tail);
void session_unfollow_all(struct session *s);

/* To all that are attached */
void sessions_tell_host(struct agent *a);
void sessions_tell(struct agent *a, struct supervisor *server); /* its state changed, or is new */
void sessions_tell_removed(struct agent *a, struct supervisor *server); /* and forget it */
void sessions_tell_progress(struct agent *a, struct supervisor *server);
void sessions_tell_log(struct agent *a, struct supervisor *server, struct span line,
		       uint64_t dropped);

#endif
