/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

#define BUF_FIRST_BYTES 64

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){ .max_bytes = max_bytes };
}

void buf_finish(struct buf *b)
{
	if (b != NULL) {
		free(b->block);
		buf_init(b, b->max_bytes);
	}
}

char *buf_detach(struct buf *b)
{
	char *text;

	if (b->data == b->block && b->block != NULL) {
		text = b->block;
		buf_init(b, b->max_bytes);
	} else {
		text = mem_spandup(buf_span(b));
		buf_finish(b);
	}
	return text;
}

/* Moves the bytes to the front where that makes room for them, len more and the terminator. */
char *buf_reserve_more(struct buf *b, size_t len)
{
	size_t need = b->len + len + 1;
	size_t head = (size_t)(b->data - b->block);

	if (len > buf_room(b)) {
		return NULL;
	}
	if (need <= b->block_len && head >= b->len) {
		memmove(b->block, b->data, b->len);
		b->data = b->block;
		return b->data + b->len;
	}
	size_t grown = b->block_len * 2 > BUF_FIRST_BYTES ? b->block_len * 2 : BUF_FIRST_BYTES;

	if (grown - 1 > b->max_bytes) {
		grown = b->max_bytes + 1;
	}
	if (grown < need) {
		grown = need;
	}
	if (head > 0) {
		memmove(b->block, b->data, b->len);
	}
	b->block = mem_resize(b->block, grown, 1);
	b->block_len = grown;
	b->data = b->block;
	return b->data + b->len;
}

int buf_add_u64(struct buf *b, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	return buf_add(b, digits + at, sizeof(digits) - at);
}

/* Most texts fit into what is there already, and are formatted once. */
int buf_vprintf(struct buf *b, const char *format, va_list args)
{
	size_t spare = b->block_len - (size_t)(b->data - b->block) - b->len;
	va_list again;

	va_copy(again, args);
	int len = vsnprintf(spare > 0 ? b->data + b->len : NULL, spare, format, again);
	va_end(again);
	char *room = len >= 0 ? buf_reserve(b, (size_t)len) : NULL;

	if (room == NULL) {
		buf_truncate(b, b->len);
		return ERR_FULL;
	}
	if ((size_t)len >= spare) {
		vsnprintf(room, (size_t)len + 1, format, args);
	}
	buf_added(b, (size_t)len);
	return 0;
}

int buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int status = buf_vprintf(b, format, args);

	va_end(args);
	return status;
}

void buf_consume(struct buf *b, size_t len)
{
	ENSURE(len <= b->len);
	b->len -= len;
	b->data = b->len > 0 ? b->data + len : b->block;
}

void buf_truncate(struct buf *b, size_t len)
{
	ENSURE(len <= b->len);
	b->len = len;
	if (b->data != NULL) {
		b->data[len] = '\0';
	}
}

void buf_clear(struct buf *b)
{
	b->data = b->block;
	buf_truncate(b, 0);
}

const char *buf_text(const struct buf *b)
{
	return b->data != NULL && b->len > 0 ? b->data : "";
}
