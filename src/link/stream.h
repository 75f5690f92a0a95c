/* SPDX-License-Identifier: MIT */
/*
 * A link over a byte stream: a socket, or two pipes to a child. Says hello when it opens, skips
 * foreign noise before the agent's first line, cuts lines for link_hear. Its kinds embed it first.
 */
#ifndef LINK_STREAM_H
#define LINK_STREAM_H

#include "base/lines.h"
#include "io/conn.h"
#include "link/base.h"

struct stream {
	struct link base; /* first */
	struct wire_request hello;
	void (*on_end)(struct stream *s); /* NULL: the link is lost with `ended` */
	struct conn *in, *out;		  /* NULL while closed; may be the same one */
	struct lines lines;
	size_t noise_bytes;
	bool is_greeted;
	struct err ended; /* that the other side has closed it, and how */
};

/* controller, who: of the hello, see struct wire_request. After this link_init. */
void stream_init(struct stream *s, const char *controller, const char *who);
void stream_open(struct stream *s, struct conn *in, struct conn *out); /* takes both over */
int stream_say(struct link *l, const struct wire_request *r);	       /* for link_kind */
void stream_close(struct stream *s);				       /* again is fine */

#endif
