/* SPDX-License-Identifier: MIT */
/* Reads the input as a GGUF header, whole and in small pieces; both must agree. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"
#include "model/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	struct span bytes;
	size_t piece; /* most bytes of one read */
};

static ssize_t read_input(void *context, uint64_t offset, void *to, size_t len)
{
	const struct input *in = context;
	struct span rest =
		span_from(in->bytes, offset < in->bytes.len ? (size_t)offset : in->bytes.len);
	size_t got = rest.len < len ? rest.len : len;

	got = got < in->piece ? got : in->piece;
	if (got > 0) {
		memcpy(to, rest.ptr, got);
	}
	return (ssize_t)got;
}

static int read_in_pieces(struct gguf *g, const uint8_t *data, size_t size, size_t piece,
			  struct err *err)
{
	struct input in = { { (const char *)data, size }, piece };
	struct gguf_source source = { &in, size, read_input };

	return gguf_read(g, &source, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gguf whole = { 0 }, pieces = { 0 };
	struct err err_whole = { 0 }, err_pieces = { 0 };
	int status = read_in_pieces(&whole, data, size, SIZE_MAX, &err_whole);

	ENSURE(status == read_in_pieces(&pieces, data, size, 7, &err_pieces));
	ENSURE(strcmp(err_whole.text, err_pieces.text) == 0);
	ENSURE(whole.parameters == pieces.parameters && whole.tensor_bytes == pieces.tensor_bytes);
	ENSURE(status == 0 || err_whole.text[0] != '\0');
	ENSURE(status != 0 || whole.tensor_bytes <= size);
	if (status == 0) {
		/* A later part adds tensors to what is there. */
		read_in_pieces(&whole, data, size, SIZE_MAX, &err_whole);
	}
	gguf_finish(&whole);
	gguf_finish(&pieces);
	return 0;
}
