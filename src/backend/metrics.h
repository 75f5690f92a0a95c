/* SPDX-License-Identifier: MIT */
/*
 * Prometheus figures of the gateway, per model: histograms for waiting, first token, gaps between
 * tokens and the whole; tokens, errors, active streams; each model's receipt. And the engines' own
 * figures, passed on with a model label.
 *
 * Cardinality is bounded: models that are registered, at most METRICS_MODELS_MAX of them, and fixed
 * classes; nothing that a client sends becomes a label.
 */
#ifndef BACKEND_METRICS_H
#define BACKEND_METRICS_H

#include "backend/account.h"
#include "backend/fleet.h"
#include "backend/usage.h"
#include "base/buf.h"
#include "http/client.h"

#define METRICS_MODELS_MAX 256
#define METRICS_TEXT_MAX_BYTES (16u << 20)

struct metrics;

struct metrics *metrics_create(struct loop *loop, struct fleet *fleet, const struct usage *usage);
void metrics_close(struct metrics *m); /* NULL is fine */

/* For struct account_sink. */
void metrics_account(struct metrics *m, const struct account *a);
void metrics_gap(struct metrics *m, const char *model, uint64_t gap_us);

/*
 * Asks the running engines for theirs (at most once a second; METRICS_FETCH_MS each) and then calls
 * on_text once with everything, text format 0.0.4, borrowed. From the loop, or at once.
 */
typedef void metrics_text_fn(void *user, struct span text);
void metrics_collect(struct metrics *m, metrics_text_fn *on_text, void *user);

#endif
