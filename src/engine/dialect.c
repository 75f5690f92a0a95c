/* SPDX-License-Identifier: MIT */
/*
 * Line forms, newest first:
 *   0.00.255.748 I load_tensors: offloaded 23/23 layers to GPU
 *   0.00.789.208 I srv  llama_server: model loaded
 *   load_tensors: offloaded 23/23 layers to GPU
 */
#include "engine/dialect.h"

#include <stdio.h>

#include "base/mem.h"

/* Families of devices that are GPUs; a name is a family and an optional number. */
static const char *const gpu_families[] = { "MTL",    "Metal",	   "CUDA",  "ROCm",
					    "HIP",    "Vulkan",	   "SYCL",  "MUSA",
					    "OpenCL", "GPUOpenCL", "WebGPU" };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static struct span skip_timestamp(struct span s)
{
	size_t at = 0, dots = 0;

	while (at < s.len && (is_digit(s.ptr[at]) || s.ptr[at] == '.')) {
		dots += s.ptr[at++] == '.';
	}
	return dots == 3 && at < s.len && s.ptr[at] == ' ' ? span_from(s, at + 1) : s;
}

static char take_level(struct span *s)
{
	char level = s->len >= 2 && s->ptr[1] == ' ' ? s->ptr[0] : '\0';

	if (level == '\0' || strchr("DIWE", level) == NULL) {
		return '\0';
	}
	*s = span_from(*s, 2);
	return level;
}

struct dialect_line dialect_read(struct span line)
{
	struct dialect_line l = { 0 };

	while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r')) {
		line.len--;
	}
	if (line.len > DIALECT_LINE_MAX_BYTES) {
		line.len = DIALECT_LINE_MAX_BYTES;
	}
	l.text = skip_timestamp(line);
	l.level = take_level(&l.text);
	l.body = span_trim(l.text);

	size_t colon = span_find(l.text, ": ");
	struct span head = { l.text.ptr, colon };

	if (colon == l.text.len) {
		return l;
	}
	while (head.ptr != NULL) { /* a module stands before the function */
		l.function = span_split(&head, ' ');
	}
	l.body = span_trim(span_from(l.text, colon + 1));
	return l;
}

bool dialect_is_gpu(struct span name)
{
	if (span_has_suffix(name, "_Host")) {
		return false;
	}
	name = dialect_device_of_buffer(name);
	while (name.len > 0 && is_digit(name.ptr[name.len - 1])) {
		name.len--;
	}
	for (size_t i = 0; i < ARRAY_LEN(gpu_families); i++) {
		if (span_is(name, gpu_families[i])) {
			return true;
		}
	}
	return false;
}

bool dialect_is_host(struct span name)
{
	return span_has_prefix(name, "CPU") || span_has_suffix(name, "_Host") ||
	       span_is(name, "AMX") || span_is(name, "BLAS");
}

struct span dialect_device_of_buffer(struct span name)
{
	return (struct span){ name.ptr, span_find_char(name, '_') };
}

bool dialect_number_take(struct span *rest, uint64_t *ret_value)
{
	uint64_t value;
	size_t at = 0;

	while (at < rest->len && is_digit(rest->ptr[at])) {
		at++;
	}
	if (span_to_u64((struct span){ rest->ptr, at }, INT64_MAX, &value) != 0) {
		return false;
	}
	*rest = span_from(*rest, at);
	*ret_value = value;
	return true;
}

bool dialect_mib_read(struct span text, uint64_t *ret_bytes)
{
	struct span rest = span_trim(text);
	uint64_t whole, hundredths = 0, scale = 1;

	if (!dialect_number_take(&rest, &whole) || whole > (1ull << 40)) {
		return false;
	}
	bool has_point = span_has_prefix(rest, ".");

	for (size_t i = 1; has_point && i < rest.len && i < 4 && is_digit(rest.ptr[i]); i++) {
		hundredths = hundredths * 10 + (uint64_t)(rest.ptr[i] - '0');
		scale *= 10;
	}
	*ret_bytes = (whole << 20) + (hundredths << 20) / scale;
	return true;
}

bool dialect_device_read(struct span text, struct host_device *ret_device)
{
	struct host_device d = { 0 };
	size_t colon = span_find_char(text, ':');
	struct span id = span_trim((struct span){ text.ptr, colon });
	struct span name = span_trim(span_from(text, colon + 1));
	size_t open = name.len;

	while (open > 0 && name.ptr[open - 1] != '(') { /* names have brackets too: the last one */
		open--;
	}
	struct span sizes = span_from(name, open);
	struct span free_size = span_from(sizes, span_find_char(sizes, ',') + 1);

	if (colon == text.len || open == 0 || id.len == 0 || id.len >= sizeof(d.id) ||
	    !span_has_suffix(name, " free)") || !dialect_mib_read(sizes, &d.total_bytes) ||
	    !dialect_mib_read(free_size, &d.free_bytes)) {
		return false;
	}
	dialect_quote(id, d.id, sizeof(d.id));
	dialect_quote(span_trim((struct span){ name.ptr, open - 1 }), d.name, sizeof(d.name));
	*ret_device = d;
	return true;
}

void dialect_quote(struct span s, char *text, size_t room)
{
	bool is_sound = span_is_utf8(s);
	size_t used = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		bool is_plain = c >= 0x20 && c != 0x7f && (c < 0x80 || is_sound);

		if (used + (is_plain ? 1 : 4) >= room) {
			/* Not in the middle of a character. */
			while (is_plain && used > 0 && (c & 0xc0) == 0x80) {
				c = (unsigned char)text[--used];
			}
			break;
		}
		if (is_plain) {
			text[used++] = (char)c;
		} else {
			used += (size_t)snprintf(text + used, room - used, "\\x%02x", c);
		}
	}
	text[used] = '\0';
}
