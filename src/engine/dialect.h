/* SPDX-License-Identifier: MIT */
/*
 * What all builds of llama-server have in common in the lines that they print: the prefix, the
 * function's name, devices and sizes. Spans returned point into the line given.
 */
#ifndef ENGINE_DIALECT_H
#define ENGINE_DIALECT_H

#include <stdbool.h>

#include "base/span.h"
#include "wire/server.h"

#define DIALECT_LINE_MAX_BYTES 1024 /* of a line, no more than this is looked at */

struct dialect_line {
	struct span text;     /* without timestamp, level and line end */
	struct span function; /* "load_tensors"; empty when the line names none */
	struct span body;     /* behind "function: ", trimmed; the whole text when there is none */
	char level;	      /* of the prefix: D I W E; 0 when it has none */
};

struct dialect_line dialect_read(struct span line);

/* Whether a device or buffer of this name is a GPU's own memory: "CUDA0", not "CUDA_Host". */
bool dialect_is_gpu(struct span name);
/* Whether it is main memory: "CPU_Mapped", "AMX", "CUDA_Host". Unknown names are neither. */
bool dialect_is_host(struct span name);

/* "MTL0" of "MTL0_Mapped". */
struct span dialect_device_of_buffer(struct span name);

/*
 * "CUDA0: NVIDIA H200 (143771 MiB, 143139 MiB free)", with any blanks before the colon. False when
 * the text has another form.
 */
bool dialect_device_read(struct span text, struct host_device *ret_device);

/* The number at the beginning of text ("1849.47 MiB") times 2^20; false when there is none. */
bool dialect_mib_read(struct span text, uint64_t *ret_bytes);

/* The decimal number at the beginning of *rest, which moves behind it; false when there is none. */
bool dialect_number_take(struct span *rest, uint64_t *ret_value);

/* Copies with control bytes and broken UTF-8 as \xNN, clipped to fit; room >= 1. */
void dialect_quote(struct span s, char *text, size_t room);

#endif
