/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 of a file while it is being written: a child process of low priority reads behind the
 * writer, so that a download is not slowed by it and is checked as soon as it is over. It hashes
 * what is on the disk, also what an earlier, broken download left there.
 */
#ifndef FETCH_HASHER_H
#define FETCH_HASHER_H

#include "base/digest.h"

struct hasher;

/* Follows the open file, which only grows. NULL and err when there can be no process. */
struct hasher *hasher_start(int fd, struct err *err);
/* The file is whole: waits for its hash and ends the hasher. 0, or what kept it from being read. */
int hasher_finish(struct hasher *h, char ret_hex[DIGEST_HEX_BYTES], struct err *err);
void hasher_abandon(struct hasher *h); /* NULL is fine */

#endif
