/* SPDX-License-Identifier: MIT */
/*
 * Downloaded files, each put into its place only when it is whole, has the hash that was said, and
 * begins like a GGUF. Until then it is PATH.incomplete, from which a later try goes on; one process
 * at a time writes to it.
 */
#ifndef FETCH_STORE_H
#define FETCH_STORE_H

#include "base/digest.h"
#include "fetch/report.h"
#include "fetch/transfer.h"

struct store_file {
	char *what; /* for people */
	char *url, *path;
	char tag[16];		       /* in the name of the incomplete file; "": none */
	char sha256[DIGEST_HEX_BYTES]; /* "": nobody said one */
	uint64_t bytes;
};

void store_files_free(struct store_file *files, size_t count); /* a list of them */

/*
 * Brings what is not there yet of these files, all in `folder`, which is made. ERR_BUSY: somebody
 * else is downloading one; ERR_IO: there is no room for them.
 */
int store_get(const struct store_file *files, size_t count, const char *folder, struct transfer *t,
	      struct report *r, struct err *err);

#endif
