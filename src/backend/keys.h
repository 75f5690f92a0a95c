/* SPDX-License-Identifier: MIT */
/*
 * Who may do what. API keys open the gateway, for all models or for named ones; the management
 * token opens /api. Keys are kept as SHA-256 in one file (0600) and shown once, when made; the
 * token lies in a file of its own, because the page and the command line need it.
 */
#ifndef BACKEND_KEYS_H
#define BACKEND_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"

#define KEYS_MAX 256
#define KEY_NAME_MAX_BYTES 64
#define KEY_SECRET_BYTES 48
#define KEY_MODELS_MAX 16
#define KEYS_LOOK_MS 1000 /* a key that was revoked may live that long */
#define KEY_PREFIX "rz-"  /* an API key is this and 43 characters of base64url */

struct key {
	char id[17]; /* first hex digits of the hash: names it in lists and for revoking */
	char name[KEY_NAME_MAX_BYTES];
	char hash[65];
	int64_t made_unix_ms;
	char *models[KEY_MODELS_MAX]; /* ids that it opens; none: all */
	int model_count;
};

struct keys {
	char *path; /* of keys.json */
	struct key *items;
	size_t count;
	char token[SECRET_TEXT_BYTES];
	struct fs_stamp stamp; /* private: of what was read */
	uint64_t looked_ms;    /* private */
};

/* Reads keys.json and management.token in folder, makes what is missing. */
int keys_open(struct keys *k, const char *folder, struct err *err);
void keys_close(struct keys *k);
/* Reads keys.json again if it changed. */
int keys_refresh(struct keys *k, struct err *err);
/*
 * keys_find in what the file says: it is looked at every KEYS_LOOK_MS, and at once for a secret of
 * our form that is not known, because that may have been made just now.
 */
const struct key *keys_look_up(struct keys *k, struct span secret, uint64_t now_ms);

/* Adds a key and writes the file; ret_secret is the only copy of the key itself. */
int keys_add(struct keys *k, const char *name, const char *const *models, int model_count,
	     char ret_secret[KEY_SECRET_BYTES], struct err *err);
int keys_revoke(struct keys *k, const char *id_or_name, struct err *err);
void key_write(const struct key *key, bool with_hash, struct json_writer *w);
void keys_write(const struct keys *k, struct json_writer *w); /* a list without hashes */

/* The key that `secret` is, or NULL; in time that does not depend on which bytes are right. */
const struct key *keys_find(const struct keys *k, struct span secret);
const struct key *keys_named(const struct keys *k, const char *id_or_name); /* NULL: none */
bool key_opens(const struct key *key, const char *model_id);
bool keys_is_token(const struct keys *k, struct span secret);

#endif
