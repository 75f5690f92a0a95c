/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MEM_SMALL_BYTES 1024

static _Noreturn void out_of_memory(size_t bytes)
{
	fprintf(stderr, "ronzal: the system has no %zu bytes of memory left\n", bytes);
	abort();
}

/*
 * glibc gives a thread's freed blocks back to malloc and realloc, not to calloc, whose pages are
 * fresh when they are many. (From malloc and memset, gcc would make a calloc again.)
 */
void *mem_alloc(size_t bytes)
{
	if (bytes <= MEM_SMALL_BYTES) {
		return memset(mem_resize(NULL, bytes, 1), 0, bytes);
	}
	void *memory = calloc(1, bytes);

	if (memory == NULL) {
		out_of_memory(bytes);
	}
	return memory;
}

void *mem_resize(void *old, size_t count, size_t bytes_each)
{
	if (bytes_each != 0 && count > SIZE_MAX / bytes_each) {
		out_of_memory(SIZE_MAX);
	}
	size_t bytes = count * bytes_each;
	void *memory = realloc(old, bytes > 0 ? bytes : 1);

	if (memory == NULL) {
		out_of_memory(bytes);
	}
	return memory;
}

char *mem_strdup(const char *text)
{
	return text != NULL ? mem_spandup(span_of(text)) : NULL;
}

char *mem_spandup(struct span s)
{
	char *copy = mem_resize(NULL, s.len + 1, 1);

	if (s.len > 0) {
		memcpy(copy, s.ptr, s.len);
	}
	copy[s.len] = '\0';
	return copy;
}

char *mem_printf(const char *format, ...)
{
	va_list args, again;

	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	char *text = mem_alloc(len > 0 ? (size_t)len + 1 : 1);

	if (len > 0) {
		vsnprintf(text, (size_t)len + 1, format, again);
	}
	va_end(again);
	va_end(args);
	return text;
}
