/* SPDX-License-Identifier: MIT */
/*
 * What a person reads: tables, bars, sizes, colours. Colour only on a terminal and never without
 * NO_COLOR's consent; nothing here is said by colour alone.
 */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum term_color { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_GREEN, TERM_YELLOW, TERM_RED };

bool term_is_live(void); /* stdout is a terminal that lines can be redrawn on */
bool term_has_color(void);
/* The escape sequence, or "" where there is no colour. */
const char *term_color(enum term_color color);

/* "5.1 GiB", "680 MiB", "-" for 0. */
void term_bytes(uint64_t bytes, char *text, size_t room);
/* "3h12m", "45 s", "0.11 s". */
void term_duration(uint64_t ms, char *text, size_t room);
/* A bar of `width` cells; fraction < 0 draws dots. */
void term_bar(struct buf *out, float fraction, int width);

#define TABLE_COLUMNS_MAX 10
#define TABLE_CELL_MAX_BYTES 160

/* Rows of text whose columns are made as wide as their widest cell. */
struct table {
	int columns;
	size_t rows;
	char (*cells)[TABLE_CELL_MAX_BYTES]; /* row by row */
	enum term_color *colors;	     /* of a row */
};

void table_init(struct table *t, int columns);
void table_finish(struct table *t);
/* Adds a row of empty cells, returns the first of them. */
char (*table_add_row(struct table *t, enum term_color color))[TABLE_CELL_MAX_BYTES];
void table_print(const struct table *t, struct buf *out);

/* Writes to stdout, the whole of it. */
void term_print(struct buf *text);

#endif
