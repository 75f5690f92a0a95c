/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer with a limit.
 *
 * Invariants: data[0..len) are the bytes, data[len] is NUL once anything was added; len never
 * exceeds max_bytes. A zeroed struct is an empty buffer whose limit is 0: call buf_init first.
 * "Full" is an answer: adding either takes all bytes or none and says ERR_FULL.
 * Consuming from the front is cheap; memory is moved only when room is needed.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"

struct buf {
	char *data;	  /* first byte; NULL while nothing was ever added */
	size_t len;	  /* bytes from data */
	size_t max_bytes; /* len may not exceed this */
	char *block;	  /* private: the allocation, block <= data */
	size_t block_len; /* private */
};

/* Life cycle */
void buf_init(struct buf *b, size_t max_bytes);
void buf_finish(struct buf *b);	 /* frees; the limit stays, so the buffer can be used again */
char *buf_detach(struct buf *b); /* hands over the NUL-terminated bytes (free() them); empties b */

/* Room for `len` more bytes at data + len, or NULL when full; then count them with buf_added. */
char *buf_reserve_more(struct buf *b, size_t len); /* buf_reserve alone calls it */
static inline char *buf_reserve(struct buf *b, size_t len)
{
	size_t spare = b->block_len - (size_t)(b->data - b->block) - b->len;

	return len < spare && len <= b->max_bytes - b->len ? b->data + b->len
							   : buf_reserve_more(b, len);
}

static inline void buf_added(struct buf *b, size_t len)
{
	b->len += len;
	b->data[b->len] = '\0';
}

/* 0 or ERR_FULL, as all that follow. */
static inline int buf_add(struct buf *b, const void *bytes, size_t len)
{
	char *room = buf_reserve(b, len);

	if (room == NULL) {
		return ERR_FULL;
	}
	if (len > 0) {
		memcpy(room, bytes, len);
	}
	buf_added(b, len);
	return 0;
}

static inline int buf_add_span(struct buf *b, struct span s)
{
	return buf_add(b, s.ptr, s.len);
}

static inline int buf_add_text(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

static inline int buf_add_char(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int buf_add_u64(struct buf *b, uint64_t value); /* in decimal */
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

void buf_consume(struct buf *b, size_t len);  /* drops from the front; len <= b->len */
void buf_truncate(struct buf *b, size_t len); /* keeps the first len bytes */
void buf_clear(struct buf *b);		      /* empties, keeps the memory */

/* Inspect */
static inline struct span buf_span(const struct buf *b)
{
	return (struct span){ b->data, b->len };
}

/* Bytes until the limit. */
static inline size_t buf_room(const struct buf *b)
{
	return b->max_bytes - b->len;
}

const char *buf_text(const struct buf *b); /* never NULL */

#endif
