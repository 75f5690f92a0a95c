/* SPDX-License-Identifier: MIT */
#include "os/procfs.h"

#include "base/err.h"

#define STAT_STATE 3 /* proc(5): the first field behind the name */
#define STAT_UTIME 14
#define STAT_STIME 15
#define STAT_START 22
#define TCP_FIELD_LOCAL 1
#define TCP_FIELD_STATE 3
#define TCP_FIELD_INODE 9
#define TCP_FIELDS 10

/* The next run of bytes without blanks; empty at the end. */
static struct span next_word(struct span *rest)
{
	*rest = span_trim(*rest);
	size_t len = 0;

	while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t') {
		len++;
	}
	struct span word = { rest->ptr, len };

	*rest = span_from(*rest, len);
	return word;
}

static struct span without_newline(struct span text)
{
	if (text.len > 0 && text.ptr[text.len - 1] == '\n') {
		text.len--;
	}
	return text;
}

bool procfs_read_stat(struct span text, struct procfs_stat *ret_stat)
{
	struct procfs_stat stat = { .state = '?' };
	size_t open = span_find_char(text, '(');
	size_t close = text.len;

	while (close > open && text.ptr[close - 1] != ')') {
		close--;
	}
	if (close <= open + 1) {
		return false;
	}
	struct span name = { text.ptr + open + 1, close - open - 2 };
	struct span rest = without_newline(span_from(text, close));
	struct span fields[STAT_START + 1];
	uint64_t user, system;

	for (int i = STAT_STATE; i <= STAT_START; i++) {
		fields[i] = next_word(&rest);
	}
	if (fields[STAT_STATE].len != 1 ||
	    span_to_u64(fields[STAT_UTIME], UINT32_MAX, &user) != 0 ||
	    span_to_u64(fields[STAT_STIME], UINT32_MAX, &system) != 0 ||
	    span_to_u64(fields[STAT_START], UINT64_MAX, &stat.start_ticks) != 0) {
		return false;
	}
	stat.state = fields[STAT_STATE].ptr[0];
	stat.cpu_ticks = user + system;
	if (name.len >= sizeof(stat.name)) {
		name.len = sizeof(stat.name) - 1;
	}
	memcpy(stat.name, name.ptr, name.len);
	*ret_stat = stat;
	return true;
}

bool procfs_read_resident(struct span text, uint64_t *ret_pages)
{
	struct span rest = without_newline(text);

	next_word(&rest);
	return span_to_u64(next_word(&rest), UINT64_MAX / 65536, ret_pages) == 0;
}

/* So many hex digits, as the kernel prints a number. */
static bool read_hex(struct span digits, size_t count, uint32_t *ret_value)
{
	uint32_t value = 0;

	for (size_t i = 0; i < digits.len && i < count; i++) {
		char c = digits.ptr[i];
		bool is_letter = c >= 'A' && c <= 'F';

		if (!is_letter && (c < '0' || c > '9')) {
			return false;
		}
		value = value << 4 | (uint32_t)(is_letter ? c - 'A' + 10 : c - '0');
	}
	*ret_value = value;
	return digits.len == count;
}

/* "0100007F:1F90" is 127.0.0.1:8080. */
static bool has_port(struct span address, uint16_t port)
{
	uint32_t value;

	return read_hex(span_from(address, span_find_char(address, ':') + 1), 4, &value) &&
	       value == port;
}

bool procfs_find_listener(struct span text, uint16_t port, uint64_t *ret_inode)
{
	while (text.ptr != NULL) {
		struct span line = span_split(&text, '\n');
		struct span fields[TCP_FIELDS];

		for (size_t i = 0; i < TCP_FIELDS; i++) {
			fields[i] = next_word(&line);
		}
		if (span_is(fields[TCP_FIELD_STATE], "0A") &&
		    has_port(fields[TCP_FIELD_LOCAL], port) &&
		    span_to_u64(fields[TCP_FIELD_INODE], UINT64_MAX, ret_inode) == 0) {
			return true;
		}
	}
	return false;
}

bool procfs_read_cgroup(struct span text, struct span *ret_path)
{
	while (text.ptr != NULL) {
		struct span line = span_split(&text, '\n');

		if (span_has_prefix(line, "0::/")) {
			*ret_path = span_from(line, 3);
			return true;
		}
	}
	return false;
}

bool procfs_read_limit(struct span text, uint64_t *ret_bytes)
{
	return span_to_u64(without_newline(text), UINT64_MAX, ret_bytes) == 0;
}

bool procfs_read_field(struct span text, const char *name, uint64_t *ret_value)
{
	while (text.ptr != NULL) {
		struct span line = span_split(&text, '\n');

		if (span_is(next_word(&line), name)) {
			return span_to_u64(next_word(&line), UINT64_MAX, ret_value) == 0;
		}
	}
	return false;
}

/* "eth0 00000000 010012AC 0003 ...": interface, destination, gateway, flags. */
bool procfs_read_gateway(struct span text, uint32_t *ret_address)
{
	while (text.ptr != NULL) {
		struct span line = span_split(&text, '\n');
		uint32_t destination, gateway;

		next_word(&line);
		if (read_hex(next_word(&line), 8, &destination) && destination == 0 &&
		    read_hex(next_word(&line), 8, &gateway) && gateway != 0) {
			*ret_address = gateway;
			return true;
		}
	}
	return false;
}
