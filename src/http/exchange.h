/* SPDX-License-Identifier: MIT */
/*
 * What server.c (connections and requests) and exchange.c (answers) share, and nobody else.
 *
 * A server_conn belongs to its server's list until drop_conn, where every end meets; its memory is
 * freed one loop turn later. It has at most one exchange; the exchange belongs to it.
 *
 *   idle -> head -> exchange (body, answer) -> idle ...
 *     `-------`------------`-> lingering -> dropped
 */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include <time.h>

#include "base/json.h"
#include "base/list.h"
#include "http/server.h"
#include "io/timer.h"

#define SERVER_DISCARD_MAX_BYTES 65536 /* of an unread body, rather than closing */
#define SERVER_ERROR_MAX_BYTES 4096    /* the body of an error answer */

struct http_server {
	struct loop *loop;
	struct http_server_options options;
	struct listener *listener;
	struct list conns;
	bool is_draining;
	time_t date_s; /* `date` is the Date field of this second */
	char date[32];
};

/* What the timer of a connection waits for. */
enum conn_wait { WAIT_REQUEST, WAIT_HEAD, WAIT_BODY, WAIT_SEND, WAIT_LINGER };

struct server_conn {
	struct list link;
	struct http_server *server;
	struct conn *conn;
	struct exchange *x; /* the one at hand, or NULL */
	struct timer timer;
	enum conn_wait wait;
	uint64_t body_due_ms;
	uint64_t given;		  /* bytes of answers, all in all */
	uint64_t taken_before;	  /* of them, by the client, when WAIT_SEND began */
	struct h1_reader *reader; /* an incomplete head */
	struct h1_body body; /* of the request at hand; swallowed once its exchange has ended */
	struct buf ahead;    /* input whose turn has not come */
	bool is_taking;	     /* take_input is on the stack */
	bool is_deferred;    /* on_take_ahead will come */
	bool is_lingering, is_dropped;
	bool is_local, knows_local; /* the peer, asked once */
};

enum body_want {
	BODY_NOT_ASKED,
	BODY_WHOLE,
	BODY_STREAMED,
	BODY_TOLD, /* the handler has heard the last of it */
};

/* What was asked: a stream that has begun does without it. */
struct asked {
	struct request request;
	struct h1_head *head;
	struct buf whole; /* the body, where it is wanted whole */
	char path[];	  /* request.path */
};

struct exchange {
	struct asked *asked; /* NULL once it was forgotten */
	struct server_conn *sc;
	const struct exchange_callbacks *callbacks;
	void *user;
	const struct err *refusal; /* while a refused one hears on_close */

	enum body_want want;
	bool body_is_paused;
	bool owes_continue;
	uint64_t body_max_bytes, body_bytes;
	union {
		exchange_body_fn *on_body;   /* BODY_WHOLE */
		exchange_piece_fn *on_piece; /* BODY_STREAMED */
	};
	void *body_user;

	bool has_begun;			       /* an answer */
	bool is_chunked, has_no_body, is_last; /* is_last: the connection ends with this answer */
	bool has_length;
	uint64_t left;	    /* of an answer of known length */
	struct buf pending; /* its head, until the first bytes go */
};

/* server.c */
void server_conn_wait(struct server_conn *sc, enum conn_wait wait, uint64_t ms);
void server_conn_drop(struct server_conn *sc, bool with_reset);
/* The answer is with the conn in full: on to the next request, or to the end. */
void server_conn_answered(struct server_conn *sc);
void server_conn_linger(struct server_conn *sc);
/* Whether the request's body is read, or short enough to swallow, so that another can follow. */
bool server_conn_can_go_on(const struct server_conn *sc);
const char *server_date(struct http_server *s);

/* exchange.c */
void exchange_free(struct exchange *x);
void exchange_drained(struct exchange *x);
/* The body of an error answer, as options.write_error or by default. request may be NULL. */
void server_write_error(const struct http_server *s, const struct request *request,
			const struct err *why, struct buf *out);

#endif
