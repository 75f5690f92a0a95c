/* SPDX-License-Identifier: MIT */
/*
 * One downloaded file, put into its place only when it is whole, has the hash that was said, and
 * begins like a GGUF. Until then it is PATH.incomplete, from which a later try goes on; one process
 * at a time writes to it.
 */
#ifndef FETCH_STORE_H
#define FETCH_STORE_H

#include "fetch/report.h"
#include "fetch/transfer.h"

struct store_file {	  /* borrowed */
	const char *what; /* for people */
	const char *url;
	const char *path;
	const char *tag;    /* in the name of the incomplete file; "": none */
	const char *sha256; /* "": nobody said one */
	uint64_t bytes;
};

/* What there is of it already. */
uint64_t store_have(const struct store_file *f);

/* 0 when it is there, also when it was before. ERR_BUSY: somebody else is downloading it. */
int store_get(const struct store_file *f, struct transfer *t, struct report *r, struct err *err);

/* ERR_IO when the file system of the folder has no room for so many more bytes. */
int store_check_room(const char *folder, uint64_t bytes, struct err *err);

#endif
