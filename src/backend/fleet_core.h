/* SPDX-License-Identifier: MIT */
/*
 * What the files of the fleet share, and nobody else: fleet.c (models, registry, life),
 * fleet_side.c (links, keys, auto) and fleet_ask.c (stops that drain).
 *
 * A side is one link; what it reports of a model is kept per side, and the model that everybody
 * sees is made from the registry and the report of the side that routes (fleet_refresh). Whatever
 * changes one of them ends there, and there the listeners are told.
 */
#ifndef BACKEND_FLEET_CORE_H
#define BACKEND_FLEET_CORE_H

#include "backend/choose.h"
#include "backend/fleet.h"
#include "base/fs.h"
#include "base/log.h"
#include "http/client.h"
#include "io/timer.h"

enum { SIDE_HOST, SIDE_LOCAL, SIDES };

struct side {
	struct fleet *fleet;
	struct link *link; /* NULL: this mode has none */
	struct host_info host;
	enum fleet_link state;
	int64_t since_unix_ms;
	uint32_t connection; /* grows with each on_up */
	struct timer credentials;
};

struct report {
	bool known;
	uint32_t connection; /* in which it was said */
	struct server server;
	bool has_endpoint;
	int key_pid, asked_pid; /* the process that the key is of, and that was asked for */
	char address[64], key[WIRE_KEY_MAX_BYTES];
	uint16_t port;
};

struct entry {
	struct fleet_model pub;
	struct report reports[SIDES];
	struct settings started; /* settings and port of the running start */
	uint16_t started_port;
	bool has_started;
};

struct fleet {
	struct loop *loop;
	struct fleet_options options;
	struct registry registry;
	struct err registry_err, link_err;
	struct fs_stamp stamp; /* of the registry's file */
	struct list models, gone, listeners, asks, edits;
	struct side sides[SIDES];
	int route; /* the side that everybody sees */
	struct timer look;
	struct choose choose;
	struct timer choose_timer;
	struct client *client; /* AUTO: for probes */
	size_t probes;
	bool has_answer;
	size_t pending; /* replies that are due */
	bool is_closed;
};

#define TELL(f, event, arguments) \
	LIST_EACH (struct fleet_listener, l_, link, &(f)->listeners) { \
		if (l_->event != NULL) { \
			l_->event arguments; \
		} \
	}

#define ENTRY_EACH(e, list) LIST_EACH (struct entry, e, pub.link, list)

/* fleet.c */
struct entry *fleet_entry(const struct fleet *f, const char *id); /* NULL: none */
struct entry *fleet_add_entry(struct fleet *f, const char *id);
void fleet_refresh(struct fleet *f, struct entry *e);
/* Takes a model away that neither the registry nor a link knows. False: it stays. */
bool fleet_remove_unknown(struct fleet *f, struct entry *e);
/* Reads the registry again if its file is another one than before; whether it was. */
bool fleet_look(struct fleet *f);
/* link_send whose on_reply must end in fleet_release: replies that are due keep the memory. */
void fleet_send(struct fleet *f, int side, const struct wire_request *r, link_reply_fn *on_reply,
		void *user);
void fleet_release(struct fleet *f);
void fleet_on_ignored(void *user, const struct wire_reply *reply); /* for fleet_send */
void fleet_sweep(struct fleet *f, bool all);			   /* frees models that are gone */

/* fleet_side.c */
int fleet_open_sides(struct fleet *f, struct err *err);
void fleet_close_sides(struct fleet *f);

/* fleet_ask.c */
void fleet_close_asks(struct fleet *f);

#endif
