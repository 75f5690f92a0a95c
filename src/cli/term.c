/* SPDX-License-Identifier: MIT */
#include "cli/term.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

bool term_is_live(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);
}

bool term_has_color(void)
{
	const char *no_color = getenv("NO_COLOR");

	return term_is_live() && (no_color == NULL || no_color[0] == '\0');
}

const char *term_color(enum term_color color)
{
	static const char *const codes[] = { "\x1b[0m",	 "\x1b[1m",  "\x1b[2m",
					     "\x1b[32m", "\x1b[33m", "\x1b[31m" };

	return term_has_color() ? codes[color] : "";
}

void term_bytes(uint64_t bytes, char *text, size_t room)
{
	double mib = (double)bytes / 1048576.0;

	if (bytes == 0) {
		snprintf(text, room, "-");
	} else if (mib < 10) {
		snprintf(text, room, "%.1f MiB", mib);
	} else if (mib < 1024) {
		snprintf(text, room, "%.0f MiB", mib);
	} else {
		snprintf(text, room, "%.1f GiB", mib / 1024.0);
	}
}

void term_duration(uint64_t ms, char *text, size_t room)
{
	unsigned long long s = ms / 1000;

	if (ms < 10000) {
		snprintf(text, room, "%.2f s", (double)ms / 1000.0);
	} else if (s < 100) {
		snprintf(text, room, "%llu s", s);
	} else if (s < 6000) {
		snprintf(text, room, "%llum%02llus", s / 60, s % 60);
	} else if (s < 86400) {
		snprintf(text, room, "%lluh%02llum", s / 3600, s / 60 % 60);
	} else {
		snprintf(text, room, "%llud%02lluh", s / 86400, s / 3600 % 24);
	}
}

void term_bar(struct buf *out, float fraction, int width)
{
	int full = fraction < 0 ? 0 : (int)(fraction * (float)width + 0.5f);

	for (int i = 0; i < width; i++) {
		buf_add_text(out, i < full	 ? "\xe2\x96\x88"
				  : fraction < 0 ? "\xc2\xb7"
						 : "\xe2\x96\x91");
	}
}

void table_init(struct table *t, int columns)
{
	*t = (struct table){ .columns = columns };
}

void table_finish(struct table *t)
{
	free(t->cells);
	free(t->colors);
	*t = (struct table){ 0 };
}

char (*table_add_row(struct table *t, enum term_color color))[TABLE_CELL_MAX_BYTES]
{
	size_t first = t->rows * (size_t)t->columns;

	t->rows++;
	t->cells = mem_resize(t->cells, t->rows * (size_t)t->columns, sizeof(*t->cells));
	t->colors = mem_resize(t->colors, t->rows, sizeof(*t->colors));
	memset(t->cells + first, 0, (size_t)t->columns * sizeof(*t->cells));
	t->colors[t->rows - 1] = color;
	return t->cells + first;
}

/* Cells on screen: every UTF-8 lead byte is one. */
static int cell_width(const char *text)
{
	int width = 0;

	for (; *text != '\0'; text++) {
		width += ((unsigned char)*text & 0xc0) != 0x80;
	}
	return width;
}

void table_print(const struct table *t, struct buf *out)
{
	int widths[TABLE_COLUMNS_MAX] = { 0 };
	size_t cells = t->rows * (size_t)t->columns;

	for (size_t i = 0; i < cells; i++) {
		int width = cell_width(t->cells[i]);
		int *widest = &widths[i % (size_t)t->columns];

		*widest = width > *widest ? width : *widest;
	}
	for (size_t row = 0; row < t->rows; row++) {
		buf_add_text(out, term_color(t->colors[row]));
		for (int column = 0; column < t->columns; column++) {
			const char *text = t->cells[row * (size_t)t->columns + (size_t)column];
			bool is_last = column == t->columns - 1;

			buf_printf(out, "%s%*s", text,
				   is_last ? 0 : widths[column] - cell_width(text) + 2, "");
		}
		buf_printf(out, "%s\n", term_color(TERM_PLAIN));
	}
}

void term_print(struct buf *text)
{
	fwrite(buf_text(text), 1, text->len, stdout);
	fflush(stdout);
	buf_clear(text);
}
