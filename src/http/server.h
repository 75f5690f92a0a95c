/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.1 server. Each request becomes an exchange that the handler answers, now or later.
 *
 * Life of an exchange: the handler gets it by on_request and ends it with exactly one of
 * exchange_reply*, exchange_fail, exchange_end, exchange_abort; after that it must not be touched.
 * Unless on_close comes first: the client has left (FIN or RST, noticed at once, also while we
 * stream), or broke the rules, or was too slow; then there is nothing to end and the exchange is
 * gone when on_close returns. So: end it, or hear on_close; never both.
 *
 * The server itself answers what never reaches a handler: malformed requests (400, 413, 414, 417,
 * 431, 501), foreign Host or Origin (403), too slow (408). One exchange at a time per connection;
 * pipelined requests wait, and are answered in order. HTTP/1.0 gets one answer, then the end.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "http/h1.h"
#include "io/conn.h"

#define SERVER_CONNS_MAX 4096 /* default of listener.conns_max */
#define SERVER_HEAD_MS 10000  /* from a head's first byte to its last */
#define SERVER_BODY_MS 30000  /* grace for a body; each KiB received earns a second more */
#define SERVER_SEND_MS 60000  /* without any byte taken by a client that owes us reading */
#define SERVER_IDLE_MS 75000  /* between requests */
#define SERVER_LINGER_MS 2000 /* reading and discarding after an early last answer */
#define SERVER_PIPELINE_MAX_BYTES 16384	     /* read ahead of the answer at hand */
#define SERVER_PIECE_MAX_BYTES 65536	     /* of a body, given at once */
#define SERVER_SEND_MAX_BYTES (65536 + 4096) /* kept for a slow reader: one full read, framed */

struct exchange;
struct http_server;

/* What was asked. Lives as long as the exchange, or until exchange_forget_request. */
struct request {
	enum h1_method method;
	/*
	 * The path, decoded once and checked: begins with '/', no empty, "." or ".." segment, no
	 * backslash, no control byte, no encoded slash, well-formed UTF-8. This one value is for
	 * routing and for authorisation.
	 */
	const char *path;
	struct span query;  /* behind '?', as received; ptr NULL without */
	struct span target; /* path and query as received, in origin form: for passing on */
	struct span host;   /* of the Host field, port included; empty in HTTP/1.0 without */
	const struct h1_head *head;
	bool has_body; /* announced and not of length 0 */
};

struct http_server_options {
	struct listener_options listener; /* on_conn and user are the server's */
	/*
	 * Names and addresses (no port) by which clients may call us, NULL-terminated; NULL: any.
	 * Other hosts get 403. Borrowed for the server's life, as all here.
	 */
	const char *const *hosts;
	/*
	 * Origins ("http://localhost:5173") that may call, NULL-terminated, besides our own (that
	 * whose authority equals the Host field). Any other Origin gets 403. NULL: none.
	 */
	const char *const *origins;
	/*
	 * Numeric address whose connections count as made on this machine, besides loopback: that
	 * of a container's gateway, where our port is published on the host's loopback address.
	 * NULL: none.
	 */
	const char *local_peer;
	/* Limits in milliseconds; 0: the default above. */
	uint64_t head_ms, body_ms, send_ms, idle_ms;
	/* A request: the exchange is the callee's from now on. */
	void (*on_request)(void *user, struct exchange *x);
	/*
	 * Writes the body of an error answer (application/json) for exchange_fail and the server's
	 * own; request is NULL when it could not be read. NULL: {"error":{"message","type","code",
	 * "param"}}.
	 */
	void (*write_error)(void *user, const struct request *request, const struct err *why,
			    struct buf *out);
	void *user;
};

/* NULL and an err that names the address. */
struct http_server *http_server_start(struct loop *loop, const struct http_server_options *options,
				      struct err *err);
uint16_t http_server_port(const struct http_server *s);
/* Accepts no more and closes idle connections; running exchanges go on, then their ends close. */
void http_server_drain(struct http_server *s);
/* Closes all at once; running exchanges hear on_close. Frees later. NULL is fine. */
void http_server_close(struct http_server *s);

/* The request's side of an exchange. */

const struct request *exchange_request(const struct exchange *x);
/* Whether the client is on this machine: loopback, or options.local_peer. */
bool exchange_peer_is_local(const struct exchange *x);

struct exchange_callbacks {
	/* See the top; may be NULL for a handler that answers at once. */
	void (*on_close)(void *user);
	void (*on_drain)(void *user); /* all that exchange_send kept is gone; may be NULL */
};
/* In on_close: why. ERR_CANCELED: the client left; else what came of the request was refused. */
const struct err *exchange_refusal(const struct exchange *x);
/* Who is told. `callbacks` is borrowed for the life of the exchange. */
void exchange_watch(struct exchange *x, const struct exchange_callbacks *callbacks, void *user);

/*
 * Asks for the whole body, which lives as long as what was asked; on_body comes once, perhaps from
 * inside this call. A body over max_bytes is answered with 413 and ends in on_close, perhaps from
 * inside this call too: let it be the last statement.
 * Sends `100 Continue` if the client waits for it.
 */
typedef void exchange_body_fn(void *user, struct exchange *x, struct span body);
void exchange_read_body(struct exchange *x, size_t max_bytes, exchange_body_fn *on_body,
			void *user);
/*
 * Asks for the body piece by piece as it comes, each borrowed until the callback returns; `last`
 * comes exactly once, perhaps with an empty piece. Over max_bytes as above.
 */
typedef void exchange_piece_fn(void *user, struct exchange *x, struct span piece, bool last);
void exchange_stream_body(struct exchange *x, uint64_t max_bytes, exchange_piece_fn *on_piece,
			  void *user);
void exchange_pause_body(struct exchange *x); /* and resume: no piece comes in between */
void exchange_resume_body(struct exchange *x);

/* The answer's side. HEAD requests are answered like GET; the server leaves the body away. */

struct reply {
	int status;
	const char *content_type;      /* NULL: none */
	const struct h1_field *fields; /* more fields; framing and Connection are the server's */
	size_t field_count;
};

/* One whole answer of any size; what the client is slow to read is copied. Ends the exchange. */
void exchange_reply(struct exchange *x, const struct reply *reply, struct span body);
void exchange_reply_json(struct exchange *x, int status, struct span body);
/*
 * An error answer: status from err's table row, body from write_error, Retry-After for what may go
 * well later. Ends the exchange.
 */
void exchange_fail(struct exchange *x, const struct err *why);
/* 405, with the methods that there are: "GET, PUT". */
void exchange_fail_method(struct exchange *x, const char *allow, const struct err *why);
void exchange_fail_with(struct exchange *x, const struct reply *reply, const struct err *why);

/*
 * A streamed answer: begin, send any number, end. content_length < 0: not known (chunked; until
 * close for HTTP/1.0); otherwise exactly so many bytes must follow. The head goes out together
 * with the first bytes, or by exchange_flush.
 */
void exchange_begin(struct exchange *x, const struct reply *reply, int64_t content_length);
void exchange_flush(struct exchange *x);
/*
 * 0: sent or kept. ERR_FULL: more than SERVER_SEND_MAX_BYTES would wait, none was taken: try again
 * on on_drain. Stop producing when exchange_kept says that bytes wait, and go on at on_drain.
 * ERR_CLOSED: the client is gone, on_close will say so; keep calm until then.
 */
int exchange_send(struct exchange *x, struct span bytes);
size_t exchange_kept(const struct exchange *x);
size_t exchange_room(const struct exchange *x); /* bytes that exchange_send would take now */
bool exchange_has_begun(const struct exchange *x);
/*
 * Frees what was asked, the whole body included, once an answer has begun and nobody will look at
 * it (exchange_request) again: a long stream holds no more than it needs.
 */
void exchange_forget_request(struct exchange *x);
/*
 * Sends the last bytes (may be empty) and the end of the answer in one write. Like exchange_send it
 * may refuse with ERR_FULL; the exchange lives on then. Any other result: it is gone.
 */
int exchange_end(struct exchange *x, struct span last);
/* Ends without an end: the client can tell that the answer is not complete. */
void exchange_abort(struct exchange *x);

/* The reason phrase: "Not Found". */
const char *http_status_text(int status);

#endif
