/* SPDX-License-Identifier: MIT */
#include "cli/term.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLE_MAX_BYTES (1u << 20)

bool term_is_live(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);
}

const char *term_color(enum term_color color)
{
	static const char *const codes[] = { "\x1b[0m",	 "\x1b[1m",  "\x1b[2m",
					     "\x1b[32m", "\x1b[33m", "\x1b[31m" };
	const char *no_color = getenv("NO_COLOR");
	bool is_unwanted = no_color != NULL && no_color[0] != '\0';

	return term_is_live() && !is_unwanted ? codes[color] : "";
}

struct words term_words(const char *format, ...)
{
	struct words words;
	va_list args;

	va_start(args, format);
	vsnprintf(words.text, sizeof(words.text), format, args);
	va_end(args);
	return words;
}

struct words term_bytes(uint64_t bytes)
{
	double mib = (double)bytes / 1048576.0;

	return bytes == 0   ? term_words("-")
	       : mib < 10   ? term_words("%.1f MiB", mib)
	       : mib < 1024 ? term_words("%.0f MiB", mib)
			    : term_words("%.1f GiB", mib / 1024.0);
}

struct words term_duration(uint64_t ms)
{
	unsigned long long s = ms / 1000;

	return ms < 10000  ? term_words("%.2f s", (double)ms / 1000.0)
	       : s < 100   ? term_words("%llu s", s)
	       : s < 6000  ? term_words("%llum%02llus", s / 60, s % 60)
	       : s < 86400 ? term_words("%lluh%02llum", s / 3600, s / 60 % 60)
			   : term_words("%llud%02lluh", s / 86400, s / 3600 % 24);
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

void table_row(struct table *t, enum term_color color, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_printf(&t->text, "%s%c", t->text.len > 0 ? "\n" : "", '0' + (int)color);
	buf_vprintf(&t->text, format, args);
	va_end(args);
}

void table_init(struct table *t, const char *head)
{
	buf_init(&t->text, TABLE_MAX_BYTES);
	if (head != NULL) {
		table_row(t, TERM_DIM, "%s", head);
	}
}

void table_cell(struct table *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_add_char(&t->text, '\t');
	buf_vprintf(&t->text, format, args);
	va_end(args);
}

/* Cells on screen: every UTF-8 lead byte is one. */
static int cell_width(struct span cell)
{
	int width = 0;

	for (size_t i = 0; i < cell.len; i++) {
		width += ((unsigned char)cell.ptr[i] & 0xc0) != 0x80;
	}
	return width;
}

/* Prints a row into out, or with out NULL lets the widths grow to it. */
static void lay_out(struct span row, int widths[TABLE_COLUMNS_MAX], struct buf *out)
{
	const char *color = term_color((enum term_color)(row.ptr[0] - '0'));
	struct span rest = span_from(row, 1);

	for (int column = 0; rest.ptr != NULL && column < TABLE_COLUMNS_MAX; column++) {
		struct span cell = span_split(&rest, '\t');
		int width = cell_width(cell);

		if (out != NULL) {
			int gap = rest.ptr != NULL ? widths[column] - width + 2 : 0;

			buf_printf(out, "%s%.*s%*s", column == 0 ? color : "", SPAN_ARG(cell), gap,
				   "");
		} else if (width > widths[column]) {
			widths[column] = width;
		}
	}
	if (out != NULL) {
		buf_printf(out, "%s\n", term_color(TERM_PLAIN));
	}
}

void table_print(struct table *t, struct buf *out)
{
	int widths[TABLE_COLUMNS_MAX] = { 0 };

	for (int pass = 0; pass < 2; pass++) {
		struct span rest = buf_span(&t->text);

		while (rest.len > 0) {
			lay_out(span_split(&rest, '\n'), widths, pass == 0 ? NULL : out);
		}
	}
	buf_finish(&t->text);
}

void term_print(struct buf *text)
{
	fwrite(buf_text(text), 1, text->len, stdout);
	fflush(stdout);
	buf_clear(text);
}

void term_print_lines(struct buf *text)
{
	if (text->len > 0 && text->data[text->len - 1] != '\n') {
		buf_add_char(text, '\n');
	}
	term_print(text);
}

bool term_confirm(const char *question, bool assumed)
{
	char answer[16] = "";

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		return false;
	}
	printf("%s [%s] ", question, assumed ? "Y/n" : "y/N");
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) == NULL) {
		return false;
	}
	return answer[0] == '\n' ? assumed : answer[0] == 'y' || answer[0] == 'Y';
}
