/* SPDX-License-Identifier: MIT */
#include "os/darwin.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define MIB ((uint64_t)1 << 20)
#define LARGE_BYTES ((uint64_t)36 << 30)
#define PRESSURE_WARN 2
#define PRESSURE_CRITICAL 4
#define CELLAR "/Cellar/"

bool darwin_read_number(struct span bytes, uint64_t *ret_value)
{
	uint32_t narrow;

	if (bytes.len == sizeof(*ret_value)) {
		memcpy(ret_value, bytes.ptr, sizeof(*ret_value));
	} else if (bytes.len == sizeof(narrow)) {
		memcpy(&narrow, bytes.ptr, sizeof(narrow));
		*ret_value = narrow;
	} else {
		return false;
	}
	return true;
}

uint64_t darwin_available_bytes(const struct darwin_pages *p)
{
	uint64_t free_pages = p->free > p->speculative ? p->free - p->speculative : 0;

	return (free_pages + p->file_backed + p->purgeable) * p->page_bytes;
}

uint64_t darwin_wired_limit_bytes(uint64_t total_bytes, uint64_t limit_mib)
{
	return limit_mib > 0		    ? limit_mib * MIB
	       : total_bytes >= LARGE_BYTES ? total_bytes / 4 * 3
					    : total_bytes / 3 * 2;
}

enum memory_pressure darwin_pressure(uint64_t level)
{
	return level >= PRESSURE_CRITICAL ? MEMORY_CRITICAL
	       : level >= PRESSURE_WARN	  ? MEMORY_WARN
					  : MEMORY_NORMAL;
}

bool darwin_lasting_path(const char *path, char *ret_path, size_t room)
{
	const char *cellar = strstr(path, CELLAR);
	const char *name = cellar != NULL ? cellar + strlen(CELLAR) : "";
	const char *version = strchr(name, '/');
	const char *rest = version != NULL ? strchr(version + 1, '/') : NULL;

	return rest != NULL && version > name && rest > version + 1 &&
	       (size_t)snprintf(ret_path, room, "%.*s/opt/%.*s%s", (int)(cellar - path), path,
				(int)(version - name), name, rest) < room;
}

const char *darwin_guarded_folder(const char *path, const char *home)
{
	static const char *const guarded[] = { "Documents", "Desktop", "Downloads", "Library" };
	size_t home_len = home != NULL ? strlen(home) : 0;

	if (strncmp(path, "/Volumes/", strlen("/Volumes/")) == 0) {
		return "Volumes";
	}
	if (home_len == 0 || strncmp(path, home, home_len) != 0 || path[home_len] != '/') {
		return NULL;
	}
	struct span rest = span_of(path + home_len + 1);
	struct span first = span_split(&rest, '/');

	for (size_t i = 0; i < ARRAY_LEN(guarded); i++) {
		if (span_is(first, guarded[i])) {
			return guarded[i];
		}
	}
	return NULL;
}
