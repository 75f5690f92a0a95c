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
/* The escape sequence, or "" where there is no colour. */
const char *term_color(enum term_color color);

/* A few words as a value: term_bytes(n).text lives until the end of the statement it stands in. */
struct words {
	char text[128];
};

struct words term_words(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct words term_bytes(uint64_t bytes); /* "5.1 GiB", "680 MiB", "-" for 0 */
struct words term_duration(uint64_t ms); /* "3h12m", "45 s", "0.11 s" */
/* A bar of `width` cells; fraction < 0 draws dots. */
void term_bar(struct buf *out, float fraction, int width);

#define TABLE_COLUMNS_MAX 12

/* Rows of text whose columns are made as wide as their widest cell. */
struct table {
	struct buf text; /* private: a row a line, its colour first; tabs end cells */
};

void table_init(struct table *t, const char *head); /* cells separated by tabs; NULL: none */
/* Adds a row of cells, separated by tabs as well. */
void table_row(struct table *t, enum term_color color, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Adds a cell to the last row. */
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *t, struct buf *out); /* the end of the table, too */

/* A yes or no of a person; where nobody can answer it is no. */
bool term_confirm(const char *question, bool assumed);

/* Writes to stdout, the whole of it; text is empty then. */
void term_print(struct buf *text);
void term_print_lines(struct buf *text); /* and ends the last line, if it did not end */

#endif
