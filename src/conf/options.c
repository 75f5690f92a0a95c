/* SPDX-License-Identifier: MIT */
#include "conf/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"

#define NAME_MAX_BYTES 64
#define TEXT_MAX_BYTES 4096

enum option_kind { OPTION_NUMBER, OPTION_TEXT, OPTION_BOOL, OPTION_WORD };

struct option_row {
	const char *name; /* "backend_port" */
	enum option_kind kind;
	size_t offset;	      /* in struct config */
	const char *fallback; /* as it would be written */
	uint32_t min, max;
	const char *words; /* "true, false, auto" */
	const char *group, *help;
};

#define ROW(field, kind, fallback, min, max, words, group, help) \
	{ #field, kind, offsetof(struct config, field), fallback, min, max, words, group, help },
#define ROW_N(field, fallback, min, max, group, help) \
	ROW(field, OPTION_NUMBER, #fallback, min, max, "", group, help)
#define ROW_T(field, fallback, group, help) ROW(field, OPTION_TEXT, fallback, 0, 0, "", group, help)
#define ROW_B(field, fallback, group, help) \
	ROW(field, OPTION_BOOL, #fallback, 0, 0, "", group, help)
#define ROW_W(field, fallback, words, group, help) \
	ROW(field, OPTION_WORD, fallback, 0, 0, words, group, help)
static const struct option_row rows[] = { OPTION_TABLE(ROW_N, ROW_T, ROW_B, ROW_W) };

/* Names that the seed gives to some options; they count in the environment only. */
static const struct {
	const char *variable, *name;
} seed_names[] = {
	{ "USE_EXTERNAL_SERVERS", "use_external_servers" },
	{ "HOST_API_URL", "host_api_url" },
};

static void *field_of(const struct config *c, const struct option_row *row)
{
	return (char *)(uintptr_t)c + row->offset;
}

/* Compares without regard to '-' and '_', and to case for the environment's sake. */
static bool is_name(struct span given, const char *name)
{
	if (given.len != strlen(name)) {
		return false;
	}
	for (size_t i = 0; i < given.len; i++) {
		char c = given.ptr[i] == '-' ? '_' : (char)tolower((unsigned char)given.ptr[i]);

		if (c != name[i]) {
			return false;
		}
	}
	return true;
}

static const struct option_row *row_named(struct span name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (is_name(name, rows[i].name)) {
			return &rows[i];
		}
	}
	return NULL;
}

void config_try_names(struct nearest *n)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		nearest_try(n, rows[i].name);
	}
}

static int put_number(void *field, const struct option_row *row, struct span value, struct err *err)
{
	uint64_t number;

	if (span_to_u64(value, row->max, &number) != 0 || number < row->min) {
		return err_set(err, ERR_INVALID, "\"%.*s\" is not a number in %u..%u",
			       SPAN_ARG(value), row->min, row->max);
	}
	*(uint32_t *)field = (uint32_t)number;
	return 0;
}

static int put_bool(void *field, struct span value, struct err *err)
{
	static const char *const yes[] = { "on", "true", "yes", "1" };
	static const char *const no[] = { "off", "false", "no", "0" };

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		bool is_yes = span_is_nocase(value, yes[i]);

		if (is_yes || span_is_nocase(value, no[i])) {
			*(bool *)field = is_yes;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "\"%.*s\" is neither on nor off", SPAN_ARG(value));
}

static int put_text(void *field, struct span value, struct err *err)
{
	char **text = field;

	if (value.len > TEXT_MAX_BYTES) {
		return err_set(err, ERR_INVALID, "the value is longer than %d bytes",
			       TEXT_MAX_BYTES);
	}
	for (size_t i = 0; i < value.len; i++) {
		if ((unsigned char)value.ptr[i] < 0x20 || value.ptr[i] == 0x7f) {
			return err_set(err, ERR_INVALID, "the value has a control character");
		}
	}
	free(*text);
	*text = mem_spandup(value);
	return 0;
}

static struct span next_word(struct span *words)
{
	return span_trim(span_split(words, ','));
}

static int put_word(void *field, const struct option_row *row, struct span value, struct err *err)
{
	struct span words = span_of(row->words);

	value = value.len > 0 ? value : span_of(row->fallback);
	for (uint32_t at = 0; words.ptr != NULL; at++) {
		if (span_equal_nocase(next_word(&words), value)) {
			*(uint32_t *)field = at;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "\"%.*s\" is none of %s", SPAN_ARG(value), row->words);
}

static int put(struct config *c, const struct option_row *row, struct span value, struct err *err)
{
	void *field = field_of(c, row);
	int status = row->kind == OPTION_NUMBER ? put_number(field, row, value, err)
		     : row->kind == OPTION_BOOL ? put_bool(field, value, err)
		     : row->kind == OPTION_WORD ? put_word(field, row, value, err)
						: put_text(field, value, err);

	if (status != 0) {
		err_prefix(err, "%s", row->name);
	}
	return status;
}

void config_init(struct config *c)
{
	*c = (struct config){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ENSURE(put(c, &rows[i], span_of(rows[i].fallback), NULL) == 0);
	}
}

void config_finish(struct config *c)
{
	for (size_t i = 0; c != NULL && i < ARRAY_LEN(rows); i++) {
		if (rows[i].kind == OPTION_TEXT) {
			free(*(char **)field_of(c, &rows[i]));
			*(char **)field_of(c, &rows[i]) = NULL;
		}
	}
}

static int unknown_option(struct span name, struct err *err)
{
	struct nearest nearest = { .word = name };

	config_try_names(&nearest);
	return err_set(err, ERR_INVALID, "there is no option %.*s. %s%s%s", SPAN_ARG(name),
		       nearest.name != NULL ? "Did you mean " : "All of them: ",
		       nearest.name != NULL ? nearest.name : "ronzal help options",
		       nearest.name != NULL ? "?" : "");
}

/* One line without its end; blank lines and comments are fine. */
static int read_line(struct config *c, struct span line, struct err *err)
{
	if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
		line.len--;
	}
	line = span_trim(line);
	if (line.len == 0 || line.ptr[0] == '#') {
		return 0;
	}
	struct span value = line, key = span_trim(span_split(&value, '='));
	const struct option_row *row = row_named(key);

	if (value.ptr == NULL) {
		return err_set(err, ERR_INVALID, "a line is not of the form key = value");
	}
	return row != NULL ? put(c, row, span_trim(value), err) : unknown_option(key, err);
}

static int read_lines(struct config *c, struct span text, const char *where, struct err *err)
{
	int status = 0;

	for (unsigned number = 1; status == 0 && text.ptr != NULL; number++) {
		status = read_line(c, span_split(&text, '\n'), err);
		if (status != 0) {
			err_prefix(err, "%s:%u", where, number);
		}
	}
	return status;
}

int config_read_text(struct config *c, struct span text, const char *where, struct err *err)
{
	struct config trial;

	if (!span_is_utf8(text) || span_find_char(text, '\0') != text.len) {
		return err_set(err, ERR_INVALID, "%s is not a text file", where);
	}
	config_init(&trial);
	int status = read_lines(&trial, text, where, err);

	config_finish(&trial);
	return status == 0 ? read_lines(c, text, where, err) : status;
}

int config_read_file(struct config *c, const char *path, struct err *err)
{
	struct err why;
	struct buf text;

	buf_init(&text, CONFIG_FILE_MAX_BYTES);
	int status = fs_read(path, &text, &why);

	if (status == 0 || status == -ENOENT) { /* no file is an empty one */
		status = config_read_text(c, buf_span(&text), path, err);
	} else {
		*err = why;
	}
	buf_finish(&text);
	return status;
}

/* The row that an environment variable sets, or NULL. */
static const struct option_row *row_of_variable(struct span variable)
{
	for (size_t i = 0; i < ARRAY_LEN(seed_names); i++) {
		if (span_is(variable, seed_names[i].variable)) {
			return row_named(span_of(seed_names[i].name));
		}
	}
	return span_has_prefix(variable, "RONZAL_") ? row_named(span_from(variable, 7)) : NULL;
}

int config_read_environment(struct config *c, const char *const *environment, struct err *err)
{
	int status = 0;

	for (; *environment != NULL; environment++) {
		struct span entry = span_of(*environment);
		struct span variable = span_split(&entry, '=');
		const struct option_row *row = row_of_variable(variable);
		struct err *first = status == 0 ? err : NULL;

		if (row != NULL && entry.ptr != NULL && put(c, row, entry, first) != 0) {
			status = ERR_INVALID;
			err_prefix(first, "%.*s", SPAN_ARG(variable));
		}
	}
	return status;
}

int config_read_flag(struct config *c, const char *const *argv, int *at, struct err *err)
{
	struct span value = span_of(argv[*at]);
	int taken = 1;

	if (!span_has_prefix(value, "--")) {
		return ERR_NOT_FOUND;
	}
	value = span_from(value, 2);
	struct span name = span_split(&value, '=');
	const struct option_row *row = row_named(name);

	if (row == NULL && value.ptr == NULL && span_has_prefix(name, "no-")) {
		row = row_named(span_from(name, 3));
		row = row != NULL && row->kind == OPTION_BOOL ? row : NULL;
		value = SPAN_LIT("off");
	}
	if (row == NULL) {
		return ERR_NOT_FOUND;
	}
	if (value.ptr == NULL && row->kind == OPTION_BOOL) {
		value = SPAN_LIT("on");
	} else if (value.ptr == NULL) {
		if (argv[*at + 1] == NULL) {
			return err_set(err, ERR_INVALID, "command line: --%.*s needs a value",
				       SPAN_ARG(name));
		}
		value = span_of(argv[*at + 1]);
		taken = 2;
	}
	int status = put(c, row, value, err);

	if (status != 0) {
		err_prefix(err, "command line");
	} else {
		*at += taken;
	}
	return status;
}

/* Printing */

static void print_value(const struct config *c, const struct option_row *row, char *text,
			size_t room)
{
	const void *field = field_of(c, row);
	struct span words = span_of(row->words), word = words;

	switch (row->kind) {
	case OPTION_NUMBER:
		snprintf(text, room, "%u", *(const uint32_t *)field);
		break;
	case OPTION_BOOL:
		snprintf(text, room, "%s", *(const bool *)field ? "on" : "off");
		break;
	case OPTION_TEXT:
		snprintf(text, room, "%s", *(char *const *)field);
		break;
	case OPTION_WORD:
		for (uint32_t at = 0; at <= *(const uint32_t *)field; at++) {
			word = next_word(&words);
		}
		span_copy(word, text, room);
		break;
	}
}

/* The name with another character for '_', in capitals or not. */
static void spell(const char *name, char between, bool in_capitals, char text[NAME_MAX_BYTES])
{
	snprintf(text, NAME_MAX_BYTES, "%s", name);
	for (; *text != '\0'; text++) {
		*text = (char)(*text == '_' ? between : in_capitals ? toupper(*text) : *text);
	}
}

static bool begins_group(size_t i)
{
	return i == 0 || strcmp(rows[i].group, rows[i - 1].group) != 0;
}

void config_print_help(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *fallback = rows[i].fallback;
		char flag[NAME_MAX_BYTES];

		if (begins_group(i)) {
			buf_printf(out, "%s%s\n", i > 0 ? "\n" : "", rows[i].group);
		}
		spell(rows[i].name, '-', false, flag);
		buf_printf(out, fallback[0] != '\0' ? "  --%-24s %s (%s)\n" : "  --%-24s %s%s\n",
			   flag, rows[i].help, fallback);
	}
}

void config_print_markdown(struct buf *out)
{
	buf_add_text(out,
		     "# Options\n\n"
		     "Made from the option table by `ronzal help options --markdown`. Later "
		     "sources win: default, `host.conf`, environment, flag. The seed's "
		     "`USE_EXTERNAL_SERVERS` and `HOST_API_URL` count in the environment too.\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char flag[NAME_MAX_BYTES], variable[NAME_MAX_BYTES];
		const struct option_row *row = &rows[i];

		if (begins_group(i)) {
			buf_printf(out,
				   "\n## %s\n\n| file | flag | environment | default | bounds | "
				   "meaning |\n|---|---|---|---|---|---|\n",
				   row->group);
		}
		spell(row->name, '-', false, flag);
		spell(row->name, '_', true, variable);
		buf_printf(out, "| `%s` | `--%s` | `RONZAL_%s` | %s |", row->name, flag, variable,
			   row->fallback);
		if (row->kind == OPTION_NUMBER) {
			buf_printf(out, " %u..%u", row->min, row->max);
		} else if (row->kind == OPTION_WORD) {
			buf_printf(out, " %s", row->words);
		}
		buf_printf(out, " | %s |\n", row->help);
	}
}

void config_print_file(struct buf *out, const struct config *c)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char value[TEXT_MAX_BYTES + 1];

		print_value(c, &rows[i], value, sizeof(value));
		buf_printf(out, "# %s\n%s%s = %s\n\n", rows[i].help,
			   strcmp(value, rows[i].fallback) == 0 ? "# " : "", rows[i].name, value);
	}
}
