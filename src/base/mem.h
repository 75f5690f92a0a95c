/* SPDX-License-Identifier: MIT */
/*
 * Memory that cannot fail: these abort with one line on stderr when the system has none.
 * In exchange nothing that a peer sizes is allocated without a cap (see base/buf.h).
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

#include "base/span.h"

void *mem_alloc(size_t bytes);				      /* zeroed; free() it */
void *mem_resize(void *old, size_t count, size_t bytes_each); /* realloc with overflow check */
char *mem_strdup(const char *text);			      /* NULL stays NULL */
char *mem_spandup(struct span s);			      /* adds the terminator */

/* printf into fresh memory; free() it. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The struct that embeds `member`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
