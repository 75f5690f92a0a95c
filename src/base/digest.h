/* SPDX-License-Identifier: MIT */
/*
 * SHA-256, secrets and their comparison.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"

#define DIGEST_HEX_BYTES 65  /* 64 hex digits and the terminator */
#define SECRET_TEXT_BYTES 44 /* 43 characters of base64url (256 bits) and the terminator */

struct digest; /* a running SHA-256 */

struct digest *digest_create(void);
void digest_add(struct digest *d, const void *bytes, size_t len);
void digest_hex(struct digest *d, char ret_hex[DIGEST_HEX_BYTES]); /* of all added; starts anew */
void digest_destroy(struct digest *d);

void digest_hex_of(struct span s, char ret_hex[DIGEST_HEX_BYTES]);

/* 256 fresh random bits as base64url text. Aborts when the system has no randomness. */
void secret_make(char ret_text[SECRET_TEXT_BYTES]);

/* In time that depends on a.len only. */
bool secret_equal(struct span a, struct span b);

#endif
