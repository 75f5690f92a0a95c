/* SPDX-License-Identifier: MIT */
/*
 * A server of src/http with a few handlers, and raw peers that talk to it byte by byte, all on one
 * loop.
 *
 *   /hello   at once            /echo   the whole body       /pieces  the body as it comes
 *   /later   after 5 ms         /hold   never                /big?N   N bytes of 'x'
 *   /stream  64 KiB pieces for as long as somebody reads     /half    breaks off
 */
#ifndef HTTP_RIG_H
#define HTTP_RIG_H

#include "http/client.h"
#include "http/proxy.h"
#include "io/timer.h"

#define RIG_BODY_MAX_BYTES 100000
#define RIG_WAIT_MS 5000 /* a test that waits longer has failed */

struct rig {
	struct loop *loop;
	struct http_server *server;
	uint16_t port;
	struct timer timer;
	int requests; /* that reached a handler */
	int closes;   /* exchanges that heard on_close */
	uint64_t streamed_bytes;
	size_t kept_max_bytes; /* the most that ever waited for a reader */
	void (*on_request)(struct rig *rig, struct exchange *x); /* instead of the above */
};

struct raw {
	struct rig *rig;
	struct conn *conn;
	struct span to_send;
	size_t step;
	struct timer timer;
	struct buf got;
	bool has_ended;
	int end_status;
};

/* Limits of 0 are the server's defaults. */
void rig_start(struct rig *rig, const struct http_server_options *options);
void rig_finish(struct rig *rig); /* checks that nothing is left open */
void rig_run(struct rig *rig, uint64_t ms);

void raw_start(struct raw *raw, struct rig *rig, struct span bytes, size_t step);
void raw_finish(struct raw *raw);
/* Runs until the peer has ended the connection, or `text` has come (NULL: the end only). */
void raw_wait(struct raw *raw, const char *text);

/* All that came back for these bytes, Date fields removed; free() it. Fails without an end. */
char *rig_talk(struct rig *rig, struct span bytes, size_t step);

/* A listener that answers every request head by `answer`, then closes if told so. */
struct upstream_rig {
	struct listener *listener;
	uint16_t port;
	struct span answer;
	size_t step; /* bytes of the answer per write; 0: at once */
	bool closes, resets;
	int conns, requests;
	struct buf got; /* all that came, of all connections */
	struct rig *rig;
};
void upstream_start(struct upstream_rig *u, struct rig *rig, struct span answer);
void upstream_finish(struct upstream_rig *u);

#endif
