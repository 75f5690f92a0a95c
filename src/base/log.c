/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
	const char *who;
	enum log_level level;
	int fd;
} sink = { "ronzal", LOG_INFO, STDERR_FILENO };

void log_setup(const char *who, enum log_level level, int fd)
{
	sink.who = who;
	sink.level = level;
	sink.fd = fd;
}

bool log_is_on(enum log_level level)
{
	return level <= sink.level;
}

static size_t stamp(char *line, size_t room, enum log_level level)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	size_t len = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &utc);

	return len + (size_t)snprintf(line + len, room - len,
				      ".%03ldZ %s %s: ", now.tv_nsec / 1000000, names[level],
				      sink.who);
}

/* Copies text, writing bytes that are not printable as \xNN; returns the length. */
static size_t add_escaped(char *line, size_t len, size_t room, const char *text)
{
	for (; *text != '\0' && len + 5 < room; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c != 0x7f) {
			line[len++] = (char)c;
		} else {
			len += (size_t)snprintf(line + len, room - len, "\\x%02x", c);
		}
	}
	return len;
}

void log_write(enum log_level level, const char *format, ...)
{
	char text[LOG_LINE_MAX_BYTES];
	char line[LOG_LINE_MAX_BYTES];
	va_list args;

	if (!log_is_on(level)) {
		return;
	}
	int saved_errno = errno;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	size_t len = add_escaped(line, stamp(line, sizeof(line), level), sizeof(line) - 1, text);

	line[len++] = '\n';
	ssize_t written = write(sink.fd, line, len);

	(void)written; /* a log that cannot be written is not worth dying for */
	errno = saved_errno;
}
