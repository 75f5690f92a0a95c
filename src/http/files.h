/* SPDX-License-Identifier: MIT */
/*
 * A folder of files for browsers, read into memory once at the start: requests touch no disk, and a
 * path that is not in the table does not exist, so there is nothing to traverse.
 *
 * Beside `x.js`, `x.js.br` and `x.js.gz` are its compressed forms, chosen by Accept-Encoding. Each
 * file has an ETag from its content. What lies in /assets is cached for ever, because the page's
 * build puts the hash of its content into its name; others are asked for again.
 */
#ifndef HTTP_FILES_H
#define HTTP_FILES_H

#include "http/server.h"

#define FILES_COUNT_MAX 512
#define FILES_FIELDS_MAX 8 /* that the options add */
#define FILES_TOTAL_MAX_BYTES (32u << 20)

struct files;

struct files_options {
	const char *folder;
	bool fall_back_to_index;       /* a path without a dot that is not there gets /index.html */
	const struct h1_field *fields; /* added to each answer (CSP ...); borrowed for its life */
	size_t field_count;
};

/* NULL and an err that names the file. Links and special files are left out. */
struct files *files_load(const struct files_options *options, struct err *err);
void files_destroy(struct files *f);

/* Answers GET and HEAD (405 otherwise, 404 when it is not there). Ends the exchange. */
void files_serve(const struct files *f, struct exchange *x);

#endif
