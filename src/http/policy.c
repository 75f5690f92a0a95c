/* SPDX-License-Identifier: MIT */
#include "http/policy.h"

#include <strings.h>

/* The host without its port; the port, if any, must be a number. Empty: malformed. */
static struct span host_name(struct span host)
{
	bool is_v6 = host.len > 0 && host.ptr[0] == '[';
	struct span name = { host.ptr, span_find_char(host, is_v6 ? ']' : ':') };
	const char *extra = is_v6 ? ":." : ".-_";
	uint64_t port;

	if (is_v6 && (name.len == 1 || name.len == host.len)) {
		return (struct span){ host.ptr, 0 };
	}
	name.len += is_v6;
	for (size_t i = is_v6; i + is_v6 < name.len; i++) {
		char c = name.ptr[i], letter = c | 0x20;

		if (!(c >= '0' && c <= '9') && !(letter >= 'a' && letter <= 'z') &&
		    (c == '\0' || strchr(extra, c) == NULL)) {
			return (struct span){ host.ptr, 0 };
		}
	}
	struct span rest = span_from(host, name.len);

	if (rest.len > 0 &&
	    (rest.ptr[0] != ':' || span_to_u64(span_from(rest, 1), 65535, &port) != 0)) {
		name.len = 0;
	}
	return name;
}

int policy_host(const struct h1_head *head, struct policy_host *ret, struct err *err)
{
	size_t count = h1_count(head, "host", &ret->host);

	if (count == 0 && head->minor == 0) {
		*ret = (struct policy_host){ SPAN_LIT(""), SPAN_LIT("") };
		return 0;
	}
	ret->name = count == 1 ? host_name(ret->host) : SPAN_LIT("");
	if (ret->name.len == 0) {
		return err_set(err, ERR_INVALID, "the request needs one well-formed Host field");
	}
	return 0;
}

int policy_target(struct span target, struct span host, struct policy_target *ret, struct err *err)
{
	static const char scheme[] = "http://";
	size_t scheme_len = sizeof(scheme) - 1;

	if (target.len > scheme_len && strncasecmp(target.ptr, scheme, scheme_len) == 0) {
		struct span rest = span_from(target, scheme_len);
		struct span authority = { rest.ptr, span_find_char(rest, '/') };

		if (!span_equal_nocase(authority, host)) {
			return err_set(err, ERR_INVALID,
				       "the target's host differs from the Host field");
		}
		target = span_from(rest, authority.len);
	}
	if (target.len == 0 || target.ptr[0] != '/' || span_find_char(target, '#') < target.len) {
		return err_set(err, ERR_INVALID,
			       "the target must begin with '/' and have no fragment");
	}
	struct span rest = target;

	ret->target = target;
	ret->path = span_split(&rest, '?');
	ret->query = rest;
	return 0;
}

/* Whether a decoded path means one thing to everybody: no segment that is empty, "." or "..". */
static bool is_plain(struct span path)
{
	struct span rest = span_from(path, 1);

	while (rest.ptr != NULL) {
		struct span segment = span_split(&rest, '/');

		if (span_is(segment, ".") || span_is(segment, "..") ||
		    (segment.len == 0 && rest.ptr != NULL)) {
			return false;
		}
	}
	return true;
}

/* The byte that the escape at `at` stands for, or -1. */
static int escaped(struct span raw, size_t at)
{
	int high = at + 2 < raw.len ? h1_hex_digit(raw.ptr[at + 1]) : -1;
	int low = high >= 0 ? h1_hex_digit(raw.ptr[at + 2]) : -1;

	return low >= 0 ? high << 4 | low : -1;
}

int policy_path(struct span raw, char *ret_path, struct err *err)
{
	struct span path = { ret_path, 0 };

	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];

		if (c == '%') {
			int byte = escaped(raw, i);

			if (byte < 0) {
				return err_set(err, ERR_INVALID, "the path has a broken %%-escape");
			}
			c = byte != '/' ? (char)byte : '\\';
			i += 2;
		}
		if ((unsigned char)c < 0x20 || c == 0x7f || c == '\\') {
			return err_set(
				err, ERR_INVALID,
				"the path holds a control byte, a backslash or an encoded slash");
		}
		ret_path[path.len++] = c;
	}
	ret_path[path.len] = '\0';
	if (!is_plain(path) || !span_is_utf8(path)) {
		return err_set(err, ERR_INVALID,
			       "the path has an empty, '.' or '..' segment or is not UTF-8");
	}
	return 0;
}

void policy_query_value(struct span raw, char *ret_text, size_t room)
{
	size_t len = 0;

	for (size_t i = 0; i < raw.len && len + 1 < room; i++) {
		int byte = raw.ptr[i] == '%' ? escaped(raw, i) : -1;

		i += byte >= 0x20 ? 2 : 0;
		ret_text[len++] = byte >= 0x20 ? (char)byte : raw.ptr[i] == '+' ? ' ' : raw.ptr[i];
	}
	ret_text[len] = '\0';
}

static bool is_listed(struct span word, const char *const *list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
		if (span_is_nocase(word, list[i])) {
			return true;
		}
	}
	return false;
}

bool policy_host_is_allowed(struct span name, const char *const *hosts)
{
	return hosts == NULL || is_listed(name, hosts);
}

bool policy_origin_is_allowed(struct span origin, struct span host, const char *const *origins)
{
	static const char scheme[] = "http://";

	bool is_ours = host.len > 0 && span_has_prefix(origin, scheme) &&
		       span_equal_nocase(span_from(origin, sizeof(scheme) - 1), host);

	return origin.ptr == NULL || is_ours || is_listed(origin, origins);
}
