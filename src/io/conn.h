/* SPDX-License-Identifier: MIT */
/*
 * Byte streams: TCP and UNIX sockets, pipes to a child; and the listeners that accept them.
 *
 * A conn belongs to whoever made or accepted it until conn_close, which may be called at any time,
 * also inside its own callbacks; no callback follows it and the memory is the loop's business from
 * then on. After on_end the conn still has to be closed.
 *
 * Reading is pushed: on_data gets each piece as it arrives, borrowed until it returns; the whole
 * piece is the reader's to take. All conns of a loop read into one shared 64 KiB buffer, so an idle
 * conn holds none. Back-pressure: conn_pause stops reading, conn_resume goes on.
 *
 * Writing tries the socket at once and keeps the rest, at most out_max_bytes of it.
 */
#ifndef IO_CONN_H
#define IO_CONN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/span.h"
#include "io/loop.h"

#define CONN_OUT_MAX_BYTES 65536 /* the default for out_max_bytes */
#define CONN_PARTS_MAX 8	 /* spans in one conn_writev */

struct conn;

struct conn_callbacks {
	/* Bytes came. Not called while paused. */
	void (*on_data)(void *user, struct span data);
	/*
	 * Nothing more will come: status 0 is a clean end of input, else what the system said. The
	 * conn may still be written to after a clean end.
	 */
	void (*on_end)(void *user, int status);
	/* All that was kept has gone to the system, after a write that had to keep some. */
	void (*on_drain)(void *user);
};

/* A dialled conn: on_connect(user, 0) or a negative code, exactly once unless closed before. */
typedef void conn_connect_fn(void *user, int status);

/* `address` is a numeric IPv4 or IPv6 address; names are resolved by conn_dial_host. */
struct conn *conn_dial_tcp(struct loop *loop, const char *address, uint16_t port,
			   conn_connect_fn *on_connect, void *user);
struct conn *conn_dial_host(struct loop *loop, const char *host, uint16_t port,
			    conn_connect_fn *on_connect, void *user);
struct conn *conn_dial_unix(struct loop *loop, const char *path, conn_connect_fn *on_connect,
			    void *user);

/* Takes over a connected socket or pipe end. Closes fd and returns NULL when it cannot be one. */
struct conn *conn_of_fd(struct loop *loop, int fd, struct err *err);

/* Starts reading. `callbacks` is borrowed for the conn's life; `user` goes to each of them. */
void conn_start(struct conn *c, const struct conn_callbacks *callbacks, void *user);
void conn_set_callbacks(struct conn *c, const struct conn_callbacks *callbacks, void *user);
void conn_set_out_max(struct conn *c, size_t out_max_bytes);

void conn_pause(struct conn *c);
void conn_resume(struct conn *c); /* on_data comes later, never from inside this call */

/*
 * 0: all bytes are sent or kept. ERR_FULL: they do not fit and none was taken. Any other negative
 * code: the conn is broken (on_end will say so as well, later). conn_writev takes up to
 * CONN_PARTS_MAX spans as one write.
 */
int conn_write(struct conn *c, struct span bytes);
int conn_writev(struct conn *c, const struct span *parts, size_t count);
size_t conn_kept(const struct conn *c);	    /* bytes not yet with the system */
size_t conn_untaken(const struct conn *c);  /* of what was written, not yet with the peer */
size_t conn_out_room(const struct conn *c); /* bytes that a write may still add */

/* Ends our side after what is kept is sent (FIN); reading goes on. */
void conn_shutdown(struct conn *c);

/* Closes now; kept bytes are lost. NULL is fine. */
void conn_close(struct conn *c);
/* Closes with a reset (RST) where the transport has one: the peer sees an unclean end. */
void conn_abort(struct conn *c);
/* Closes once what is kept is sent, or after timeout_ms. The caller forgets the conn. */
void conn_close_gracefully(struct conn *c, uint64_t timeout_ms);

/* The descriptor, for asking the system about the peer (os/peer.h); -1 when there is none. */
int conn_fd(const struct conn *c);
/* Whether the peer is on this machine: loopback, a UNIX socket, a pipe; or at `address`, if any. */
bool conn_peer_is_local(const struct conn *c, const char *address);

/* Listeners */

struct listener;

struct listener_options {
	const char *address;   /* numeric, for TCP */
	uint16_t port;	       /* 0: any free one, see listener_port */
	const char *unix_path; /* instead of address; an old socket file there is replaced */
	mode_t unix_mode;      /* of the socket file */
	int conns_max;	       /* accepted and open at once; above it accepting waits */
	/* A fresh conn, the callee's to own; call conn_start or conn_close. */
	void (*on_conn)(void *user, struct conn *c);
	void *user;
};

/* NULL and an err that names the address, and for a taken port says so (-EADDRINUSE). */
struct listener *listener_start(struct loop *loop, const struct listener_options *options,
				struct err *err);
uint16_t listener_port(const struct listener *l);
void listener_close(struct listener *l); /* conns that it accepted live on; NULL is fine */

#endif
