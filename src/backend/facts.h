/* SPDX-License-Identifier: MIT */
/*
 * What models' files say about themselves (model/gguf.h), read on another thread and kept until the
 * file changes.
 */
#ifndef BACKEND_FACTS_H
#define BACKEND_FACTS_H

#include "io/loop.h"
#include "model/gguf.h"
#include "model/registry.h"

struct facts;

struct fact {
	struct err err; /* code 0: gguf is there */
	struct gguf gguf;
};

/* model_roots is borrowed; the first one stands for /models. */
struct facts *facts_create(struct loop *loop, const char *const *model_roots);
void facts_destroy(struct facts *f); /* not while it reads */

/* Reads what is not known yet, or has changed; on_done once, from the loop. */
void facts_read(struct facts *f, const struct registry *r, void (*on_done)(void *user), void *user);
/* As last read; NULL: never. Borrowed until the next facts_read. */
const struct fact *facts_find(const struct facts *f, const struct model *m);

#endif
