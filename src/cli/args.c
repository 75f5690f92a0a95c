/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

static const char *const common_flags[] = { "--json", "--quiet", "--help" };

static int unknown_flag(const struct args *a, const char *flag, struct err *err)
{
	struct span word = span_of(flag + strspn(flag, "-"));
	struct nearest nearest = { .word = span_split(&word, '=') };

	for (size_t i = 0; i < COMMAND_FLAGS_MAX && a->command->flags[i] != NULL; i++) {
		if (span_has_prefix(span_of(a->command->flags[i]), "--")) {
			nearest_try(&nearest, a->command->flags[i] + 2);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(common_flags); i++) {
		nearest_try(&nearest, common_flags[i] + 2);
	}
	config_try_names(&nearest);
	return err_set(err, ERR_INVALID,
		       nearest.name != NULL ? "%s is not known here. Did you mean --%s?"
					    : "%s is not known here. What is: ronzal help %s",
		       flag, nearest.name != NULL ? nearest.name : a->command->name);
}

/* argv[*at] as a flag of the command: 0, ERR_NOT_FOUND or what is wrong with it. */
static int read_own_flag(struct args *a, const char *const *argv, int *at, struct err *err)
{
	struct span value = span_of(argv[*at]);
	struct span name = span_split(&value, '=');

	for (size_t i = 0; i < COMMAND_FLAGS_MAX && a->command->flags[i] != NULL; i++) {
		struct span rest = span_of(a->command->flags[i]);
		struct span known = span_split(&rest, '=');

		if (!span_equal(name, known)) {
			continue;
		}
		if (rest.ptr == NULL && value.ptr != NULL) {
			return err_set(err, ERR_INVALID, "%s takes no value", a->command->flags[i]);
		}
		const char *given = rest.ptr == NULL	? ""
				    : value.ptr != NULL ? value.ptr
							: argv[++*at];

		if (given == NULL) {
			return err_set(err, ERR_INVALID, "%.*s needs a value", SPAN_ARG(name));
		}
		a->values[known.len == 2 ? i - 1 : i] = given;
		++*at;
		return 0;
	}
	return ERR_NOT_FOUND;
}

static int read_flag(struct args *a, struct cli *cli, const char *const *argv, int *at,
		     struct err *err)
{
	bool *const common[] = { &cli->json, &cli->quiet, &a->wants_help };

	for (size_t i = 0; i < ARRAY_LEN(common_flags); i++) {
		if (strcmp(argv[*at], common_flags[i]) == 0) {
			*common[i] = true;
			++*at;
			return 0;
		}
	}
	int status = read_own_flag(a, argv, at, err);

	if (status == ERR_NOT_FOUND) {
		status = config_read_flag(&cli->config, argv, at, err);
	}
	return status == ERR_NOT_FOUND ? unknown_flag(a, argv[*at], err) : status;
}

int args_read(struct args *a, struct cli *cli, const char *const *argv, struct err *err)
{
	const struct command *command = a->command;
	bool only_words = false;
	int status = 0;

	for (int at = 0; status == 0 && argv[at] != NULL;) {
		const char *word = argv[at];

		if (!only_words && strcmp(word, "--") == 0) {
			only_words = true;
			at++;
		} else if (!only_words && word[0] == '-' && word[1] != '\0') {
			status = read_flag(a, cli, argv, &at, err);
		} else if (a->count == ARGS_MAX) {
			status = err_set(err, ERR_FULL, "more than %d words", ARGS_MAX);
		} else {
			a->items[a->count++] = word;
			at++;
		}
	}
	if (status != 0 || a->wants_help) {
		return status;
	}
	if (a->count > command->max) {
		return err_set(err, ERR_INVALID,
			       "'%s' is one word too many. What is known: ronzal help %s",
			       a->items[command->max], command->name);
	}
	if (a->count < command->min) {
		return err_set(err, ERR_INVALID, "a word is missing: ronzal %s %s", command->name,
			       command->words);
	}
	return 0;
}

const char *args_flag(const struct args *a, const char *flag)
{
	size_t len = strlen(flag);

	for (size_t i = 0; i < COMMAND_FLAGS_MAX && a->command->flags[i] != NULL; i++) {
		const char *known = a->command->flags[i];

		if (a->values[i] != NULL && strncmp(known, flag, len) == 0 &&
		    (known[len] == '\0' || known[len] == '=')) {
			return a->values[i];
		}
	}
	return NULL;
}
