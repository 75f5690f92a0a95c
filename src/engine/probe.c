/* SPDX-License-Identifier: MIT */
/*
 * An option's help begins on a line that starts with at most two blanks and '-', and goes on until
 * the next such line. Its names are separated by commas:
 *   -ngl,  --gpu-layers, --n-gpu-layers N   max. number of layers to store in VRAM, either an exact
 *                                           number, 'auto', or 'all' (default: auto)
 *   -ngl N, --n-gpu-layers N   number of layers to store in VRAM          (older)
 */
#include "engine/probe.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/dialect.h"

struct ability_row {
	const char *flag, *words;
	bool needed;
};

#define ABILITY_ROW(name, flag, words, needed) { flag, words, needed },
static const struct ability_row ability_rows[] = { ABILITY_TABLE(ABILITY_ROW) };
#undef ABILITY_ROW

const char *ability_flag(enum ability ability)
{
	return ability_rows[ability].flag;
}

static bool starts_option(struct span line)
{
	return span_has_prefix(line, "-") || span_has_prefix(line, " -") ||
	       span_has_prefix(line, "  -");
}

/* Cuts the next option's help off *rest; what stands before the first option is skipped. */
static bool option_next(struct span *rest, struct span *ret_option)
{
	struct span option = { NULL, 0 };

	while (rest->ptr != NULL) {
		struct span before = *rest;
		struct span line = span_split(rest, '\n');

		if (starts_option(line)) {
			if (option.ptr != NULL) {
				*rest = before;
				break;
			}
			option.ptr = line.ptr;
		}
		if (option.ptr != NULL) {
			option.len = (size_t)(line.ptr + line.len - option.ptr);
		}
	}
	*ret_option = option;
	return option.ptr != NULL;
}

static bool option_has_name(struct span option, const char *flag)
{
	struct span names = { option.ptr, span_find_char(option, '\n') };

	while (names.ptr != NULL) {
		struct span part = span_trim(span_split(&names, ','));
		struct span name = { part.ptr, span_find_char(part, ' ') };

		if (name.len == 0 || name.ptr[0] != '-') {
			return false; /* the description has begun */
		}
		if (span_is(name, flag) || span_has(part, "  ")) {
			return span_is(name, flag);
		}
	}
	return false;
}

static void help_read(struct span help, struct engine_abilities *a)
{
	struct span option;

	help.len = help.len < PROBE_TEXT_MAX_BYTES ? help.len : PROBE_TEXT_MAX_BYTES;
	while (option_next(&help, &option)) {
		if (span_has(option, "argument has been removed")) {
			continue;
		}
		for (size_t i = 0; i < ABILITY_COUNT; i++) {
			const struct ability_row *row = &ability_rows[i];

			a->has[i] =
				a->has[i] || (option_has_name(option, row->flag) &&
					      (row->words == NULL || span_has(option, row->words)));
		}
	}
}

/* "version: 0.7.0 (build 11669, commit Debian)", older "version: 4242 (1f2e3d4c)". */
static void version_read(struct span text, struct engine_abilities *a)
{
	struct span rest =
		span_trim(span_from(text, span_find(text, "version:") + strlen("version:")));
	struct span word = { rest.ptr, 0 };
	uint64_t build = 0;
	char name[48];

	while (word.len < rest.len && strchr(" \t\r\n", rest.ptr[word.len]) == NULL) {
		word.len++;
	}
	if (word.len == 0) {
		return;
	}
	struct span number = span_from(rest, span_find(rest, "(build ") + strlen("(build "));

	dialect_quote(word, name, sizeof(name));
	if (number.len > 0 && dialect_number_take(&number, &build) && build <= UINT32_MAX) {
		snprintf(a->version, sizeof(a->version), "llama-server %s (build %u)", name,
			 (unsigned)build);
	} else if (span_to_u64(word, UINT32_MAX, &build) == 0) {
		snprintf(a->version, sizeof(a->version), "llama-server build %u", (unsigned)build);
	} else {
		snprintf(a->version, sizeof(a->version), "llama-server %s", name);
	}
}

static void devices_read(struct span text, struct engine_abilities *a)
{
	while (text.ptr != NULL && a->device_count < HOST_DEVICES_MAX) {
		struct host_device device;

		if (dialect_device_read(span_trim(span_split(&text, '\n')), &device) &&
		    dialect_is_gpu(span_of(device.id))) {
			a->devices[a->device_count++] = device;
		}
	}
}

int probe_read(struct span version_text, struct span help_text, struct span devices_text,
	       struct engine_abilities *ret_abilities, struct err *err)
{
	struct engine_abilities *a = ret_abilities;
	char missing[256] = "";

	memset(a, 0, sizeof(*a));
	version_read(version_text, a);
	help_read(help_text, a);
	devices_read(devices_text, a);
	if (!a->has[ABILITY_MODEL] || !a->has[ABILITY_PORT]) {
		return err_set(
			err, ERR_NO_ENGINE,
			"the engine's --help does not read like llama-server's; set engine in "
			"host.conf to a llama-server, or install one");
	}
	for (size_t i = 0; i < ABILITY_COUNT; i++) {
		size_t len = strlen(missing);

		if (ability_rows[i].needed && !a->has[i]) {
			snprintf(missing + len, sizeof(missing) - len, "%s%s", len > 0 ? ", " : "",
				 ability_rows[i].flag);
		}
	}
	if (missing[0] != '\0') {
		return err_set(err, ERR_NO_ENGINE,
			       "%s is too old: it lacks %s; install a newer one (brew upgrade "
			       "llama.cpp, or scripts/engine.sh)",
			       a->version[0] != '\0' ? a->version : "this llama-server", missing);
	}
	return 0;
}

bool probe_fit_read(struct span text, struct memory_said *ret_said)
{
	struct memory_said said = { 0 };
	bool has_any = false;

	while (text.ptr != NULL) {
		struct span rest = span_split(&text, '\n');
		struct span name = span_split(&rest, ' ');
		uint64_t mib[3];
		size_t count = 0;

		while (count < 3 &&
		       span_to_u64(span_split(&rest, ' '), UINT32_MAX, &mib[count]) == 0) {
			count++;
		}
		if (name.len > 0 && count == 3) {
			said.weights += mib[0] << 20;
			said.kv += mib[1] << 20;
			said.compute += mib[2] << 20;
			has_any = true;
		}
	}
	if (has_any) {
		*ret_said = said;
	}
	return has_any;
}
