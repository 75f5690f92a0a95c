/* SPDX-License-Identifier: MIT */
/*
 * The log: one line an event on stderr (or a file), `2026-11-23T18:40:00.123Z level who: text`.
 * Bytes that are not printable are escaped, so a model's name cannot forge a line or move a cursor.
 * The sink is the one global state of a process outside cli/main.c. Lines are at most
 * LOG_LINE_MAX_BYTES and written with one write(2).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#define LOG_LINE_MAX_BYTES 2048

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* `who` is the process's name in each line ("agent"); borrowed for ever. fd is borrowed. */
void log_setup(const char *who, enum log_level level, int fd);
bool log_is_on(enum log_level level);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) (log_is_on(LOG_DEBUG) ? log_write(LOG_DEBUG, __VA_ARGS__) : (void)0)

#endif
