/* SPDX-License-Identifier: MIT */
/*
 * GET /api/events: every change as it comes, to any number of pages. A reader gets the full picture
 * first. One that is slow gets each server's last state only; when something was left out for it
 * that is no state (a request, a removal) it is told so by `lagged`, and gets a full picture again.
 *
 * Nothing is counted or written while nobody reads; requests are shown up to a rate, of which a
 * person could not follow more.
 */
#ifndef BACKEND_EVENTS_H
#define BACKEND_EVENTS_H

#include "backend/backend_core.h"
#include "http/server.h"

#define EVENTS_READERS_MAX 64
#define EVENTS_HEARTBEAT_MS 15000
#define EVENTS_REQUESTS_MAX 256	 /* in flight that are shown */
#define EVENTS_REQUESTS_PER_S 50 /* new ones */
#define EVENTS_HOST_MS 5000	 /* the host's memory is told that often at most */

struct events;

struct events *events_create(const struct backend *b);
void events_end(struct events *e);   /* ends all streams */
void events_close(struct events *e); /* NULL is fine */

/* Takes over the exchange; ERR_RATE and the exchange untouched when there are too many readers. */
int events_add(struct events *e, struct exchange *x, struct err *err);

/* For struct account_sink. */
void events_account(struct events *e, const struct account *a);
void events_gap(struct events *e, const char *model);
void events_pulls(struct events *e); /* they changed */

#endif
