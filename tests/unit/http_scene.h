/* SPDX-License-Identifier: MIT */
/*
 * An HTTP server, a proxy behind it and raw sockets around both, all on one loop and one thread: a
 * test is a plain sequence of sends and waits. Peers are non-blocking sockets that know no HTTP.
 *
 * The server answers: /echo (the body, whole), /stream-echo (piece by piece), /none (at once, the
 * body unread), /size?N (N bytes), /hold (begins a streamed answer and keeps it), /silent (never
 * answers), /path (the decoded path, and the query), /proxy and below (relayed to the upstream).
 */
#ifndef HTTP_SCENE_H
#define HTTP_SCENE_H

#include "unit.h"

#include "base/buf.h"
#include "http/proxy.h"
#include "http/server.h"
#include "io/loop.h"

#define SCENE_BODY_MAX_BYTES 100000 /* of /echo and /stream-echo */
#define SCENE_WAIT_MS 5000
#define SCENE_HELD_MAX 128

#define END "Connection: close\r\n\r\n"
#define HOST "Host: a\r\n"

#define SHORT_MS 120 /* limits that a test waits for */
#define CLOCK_MS 10  /* by which the loop's clock may be behind */
#define SOON_MS 100  /* what must happen at once, on a busy machine */

struct scene {
	struct loop *loop;
	struct http_server *server;
	struct client *client;
	uint16_t port; /* the server's */
	int listener;  /* the upstream's socket */
	uint16_t upstream_port;
	struct proxy_hooks hooks; /* of /proxy; on_done is the scene's */
	uint64_t first_byte_ms, idle_ms;
	size_t requests;		       /* that reached the handler */
	size_t closes;			       /* on_close was heard */
	struct exchange *held[SCENE_HELD_MAX]; /* /hold and /proxy, while they live */
	struct err why;			       /* of the last /proxy that ended; code 0: complete */
	size_t results;
	unsigned turns;
};

/* `limits` may set head_ms, body_ms, send_ms, idle_ms, hosts, origins and conns_max; or NULL. */
void scene_open(struct scene *s, const struct http_server_options *limits);
void scene_close(struct scene *s);
void scene_turn(struct scene *s); /* what is ready now, sometimes after a millisecond */

#define WAIT_FOR(s, condition) \
	do { \
		uint64_t due_us_ = loop_now_us() + SCENE_WAIT_MS * 1000u; \
		while (!(condition)) { \
			scene_turn(s); \
			if (loop_now_us() > due_us_) { \
				fail_msg("waited in vain for " #condition); \
			} \
		} \
	} while (0)

struct peer {
	int fd;
	struct buf got;
	bool has_ended; /* FIN or RST came */
	bool was_reset;
};

void peer_dial(struct scene *s, struct peer *p);   /* to the server */
void peer_accept(struct scene *s, struct peer *p); /* from the proxy, at the upstream */
void peer_send(struct scene *s, struct peer *p, struct span bytes);
#define peer_say(s, p, text) peer_send((s), (p), span_of(text))
void peer_close(struct peer *p);
void peer_reset(struct peer *p); /* closes with RST */

/* These read what has come first. */
bool peer_has(struct peer *p, const char *text);
bool peer_has_bytes(struct peer *p, size_t bytes);
bool peer_is_done(struct peer *p);		     /* the other side has closed */
int peer_status(struct peer *p);		     /* of the first answer; 0: none yet */
size_t peer_count(struct peer *p, const char *text); /* how often it stands in what came */
/* Takes the Date fields out of what came, so that two runs compare. */
const char *peer_undated(struct peer *p);
/* Dials, sends all, waits for the end, and gives the status of the first answer. Close the peer. */
int peer_ask(struct scene *s, struct peer *p, struct span bytes);

#endif
