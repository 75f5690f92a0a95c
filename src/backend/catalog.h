/* SPDX-License-Identifier: MIT */
/*
 * /v1/models and /v1/models/ID: OpenAI's members, Anthropic's and ours in one object, so that
 * either's clients find theirs.
 */
#ifndef BACKEND_CATALOG_H
#define BACKEND_CATALOG_H

#include "backend/fleet.h"
#include "backend/keys.h"

#define CATALOG_MAX_BYTES (4u << 20)

/* Models that the key opens; key NULL: all. */
void catalog_write(const struct fleet *f, const struct key *key, struct buf *out);
void catalog_write_model(const struct fleet *f, const struct fleet_model *m, struct buf *out);

#endif
