/* SPDX-License-Identifier: MIT */
#include "backend/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/secret_file.h"
#include "io/loop.h"

#define KEYS_FILE_MAX_BYTES (1u << 20)

static void key_finish(struct key *key)
{
	for (int i = 0; i < key->model_count; i++) {
		free(key->models[i]);
	}
	*key = (struct key){ 0 };
}

static void forget_all(struct keys *k)
{
	for (size_t i = 0; i < k->count; i++) {
		key_finish(&k->items[i]);
	}
	free(k->items);
	k->items = NULL;
	k->count = 0;
}

/* The file */

static int read_models(const struct json_value *list, struct key *key)
{
	struct span text;

	JSON_EACH (it, list) {
		if (key->model_count == KEY_MODELS_MAX || !json_to_span(it.value, &text)) {
			return ERR_INVALID;
		}
		key->models[key->model_count++] = mem_spandup(text);
	}
	return 0;
}

static int read_key(const struct json_value *v, struct key *key)
{
	const char *hash = json_text_at(v, "hash", "");

	span_copy(span_of(json_text_at(v, "name", "")), key->name, sizeof(key->name));
	key->made_unix_ms = json_i64_at(v, "made_unix_ms", 0);
	if (strlen(hash) != sizeof(key->hash) - 1 || key->name[0] == '\0') {
		return ERR_INVALID;
	}
	memcpy(key->hash, hash, sizeof(key->hash));
	span_copy((struct span){ hash, sizeof(key->id) - 1 }, key->id, sizeof(key->id));
	return read_models(json_get(v, "models"), key);
}

static int read_list(struct keys *k, const struct json_value *list)
{
	size_t count = json_count(list);

	if (json_type(list) != JSON_ARRAY || count > KEYS_MAX) {
		return ERR_INVALID;
	}
	k->items = mem_alloc(count * sizeof(*k->items));
	JSON_EACH (it, list) {
		if (read_key(it.value, &k->items[k->count++]) != 0) {
			return ERR_INVALID;
		}
	}
	return 0;
}

static int parse(struct keys *k, struct span text, struct err *err)
{
	struct keys fresh = { 0 };
	struct json *doc = json_parse(text, err);
	int status = read_list(&fresh, json_get(json_root(doc), "keys"));

	json_destroy(doc);
	if (status != 0) {
		forget_all(&fresh);
		return err_set(err, status,
			       "%s is not a list of keys. Put a copy back, or remove it and make "
			       "new keys: ronzal keys add NAME",
			       k->path);
	}
	forget_all(k);
	k->items = fresh.items;
	k->count = fresh.count;
	return 0;
}

int keys_refresh(struct keys *k, struct err *err)
{
	struct buf text;

	if (!fs_changed(k->path, &k->stamp)) {
		return 0;
	}
	if (k->stamp.inode == 0) {
		forget_all(k);
		return 0;
	}
	buf_init(&text, KEYS_FILE_MAX_BYTES);
	int status = fs_read(k->path, &text, err);

	if (status == 0) {
		status = parse(k, buf_span(&text), err);
	}
	if (status != 0) {
		k->stamp.bytes = -1; /* whoever asks again shall hear it again */
	}
	buf_finish(&text);
	return status;
}

void key_write(const struct key *key, bool with_hash, struct json_writer *w)
{
	jsonw_object(w);
	jsonw_member_text(w, "id", key->id);
	jsonw_member_text(w, "name", key->name);
	if (with_hash) {
		jsonw_member_text(w, "hash", key->hash);
	}
	jsonw_member_i64(w, "made_unix_ms", key->made_unix_ms);
	jsonw_member_array(w, "models");
	for (int i = 0; i < key->model_count; i++) {
		jsonw_text(w, key->models[i]);
	}
	jsonw_end(w);
	jsonw_end(w);
}

void keys_write(const struct keys *k, struct json_writer *w)
{
	jsonw_array(w);
	for (size_t i = 0; i < k->count; i++) {
		key_write(&k->items[i], false, w);
	}
	jsonw_end(w);
}

/* Writes the file without one of the keys, or with one more, and reads it. Each may be NULL. */
static int save(struct keys *k, const struct key *without, const struct key *more, struct err *err)
{
	struct json_writer w;
	struct buf text;

	buf_init(&text, KEYS_FILE_MAX_BYTES);
	jsonw_init(&w, &text);
	w.pretty = true;
	jsonw_object(&w);
	jsonw_member_array(&w, "keys");
	for (size_t i = 0; i < k->count; i++) {
		if (&k->items[i] != without) {
			key_write(&k->items[i], true, &w);
		}
	}
	if (more != NULL) {
		key_write(more, true, &w);
	}
	int status = jsonw_end_all(&w);

	if (status == 0) {
		status = fs_replace(k->path, buf_span(&text), 0600, err);
		status = status == 0 ? keys_refresh(k, err) : status;
	} else {
		err_set(err, status, "%s would be larger than %u bytes", k->path,
			KEYS_FILE_MAX_BYTES);
	}
	buf_finish(&text);
	return status;
}

int keys_open(struct keys *k, const char *folder, struct err *err)
{
	char *token_path = fs_join(folder, "management.token");

	*k = (struct keys){ .path = fs_join(folder, "keys.json") };
	int status = secret_file_load(token_path, k->token, err);

	free(token_path);
	if (status == 0) {
		status = keys_refresh(k, err);
	}
	if (status != 0) {
		keys_close(k);
	}
	return status;
}

void keys_close(struct keys *k)
{
	forget_all(k);
	free(k->path);
	*k = (struct keys){ 0 };
}

/* Changing */

static bool name_is_valid(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
			return false;
		}
	}
	return len > 0 && len < KEY_NAME_MAX_BYTES && span_is_utf8(span_of(name));
}

const struct key *keys_named(const struct keys *k, const char *id_or_name)
{
	for (size_t i = 0; i < k->count; i++) {
		if (strcmp(k->items[i].id, id_or_name) == 0 ||
		    strcmp(k->items[i].name, id_or_name) == 0) {
			return &k->items[i];
		}
	}
	return NULL;
}

static int add(struct keys *k, const char *name, const char *const *models, int model_count,
	       char ret_secret[KEY_SECRET_BYTES], struct err *err)
{
	char random[SECRET_TEXT_BYTES];
	int status = keys_refresh(k, err);

	if (status != 0) {
		return status;
	}
	if (!name_is_valid(name)) {
		return err_set(err, ERR_INVALID,
			       "a key's name has 1 to %d bytes and no control characters",
			       KEY_NAME_MAX_BYTES - 1);
	}
	if (keys_named(k, name) != NULL) {
		return err_set(err, ERR_BUSY, "there is a key named '%s' already", name);
	}
	if (k->count == KEYS_MAX || model_count > KEY_MODELS_MAX) {
		return err_set(err, ERR_FULL, "there may be %d keys, each for %d named models",
			       KEYS_MAX, KEY_MODELS_MAX);
	}
	struct key key = { .made_unix_ms = loop_unix_ms() };

	secret_make(random);
	snprintf(ret_secret, KEY_SECRET_BYTES, "%s%s", KEY_PREFIX, random);
	digest_hex_of(span_of(ret_secret), key.hash);
	span_copy(span_of(name), key.name, sizeof(key.name));
	span_copy((struct span){ key.hash, sizeof(key.id) - 1 }, key.id, sizeof(key.id));
	for (int i = 0; i < model_count; i++) {
		key.models[key.model_count++] = mem_strdup(models[i]);
	}
	status = save(k, NULL, &key, err);
	key_finish(&key);
	return status;
}

/* Under the file's lock, so that the command line and the backend do not undo each other's work. */
int keys_add(struct keys *k, const char *name, const char *const *models, int model_count,
	     char ret_secret[KEY_SECRET_BYTES], struct err *err)
{
	int lock = fs_lock(k->path, err);

	if (lock < 0) {
		return lock;
	}
	int status = add(k, name, models, model_count, ret_secret, err);

	close(lock);
	return status;
}

int keys_revoke(struct keys *k, const char *id_or_name, struct err *err)
{
	int lock = fs_lock(k->path, err);

	if (lock < 0) {
		return lock;
	}
	int status = keys_refresh(k, err);
	const struct key *key = keys_named(k, id_or_name);

	if (status == 0 && key == NULL) {
		status = err_set(err, ERR_NOT_FOUND, "there is no key '%s'. See them: ronzal keys",
				 id_or_name);
	}
	status = status == 0 ? save(k, key, NULL, err) : status;
	close(lock);
	return status;
}

/* Asking */

const struct key *keys_find(const struct keys *k, struct span secret)
{
	const struct key *found = NULL;
	char hash[DIGEST_HEX_BYTES];

	digest_hex_of(secret, hash);
	for (size_t i = 0; i < k->count; i++) {
		if (secret_equal(span_of(k->items[i].hash), span_of(hash))) {
			found = &k->items[i];
		}
	}
	return found;
}

const struct key *keys_look_up(struct keys *k, struct span secret, uint64_t now_ms)
{
	bool is_due = now_ms - k->looked_ms >= KEYS_LOOK_MS;
	const struct key *key = secret.ptr == NULL || is_due ? NULL : keys_find(k, secret);

	if (secret.ptr != NULL && key == NULL && (is_due || span_has_prefix(secret, KEY_PREFIX))) {
		k->looked_ms = now_ms;
		keys_refresh(k, NULL); /* a broken file leaves them as they were */
		key = keys_find(k, secret);
	}
	return key;
}

bool key_opens(const struct key *key, const char *model_id)
{
	for (int i = 0; i < key->model_count; i++) {
		if (strcmp(key->models[i], model_id) == 0) {
			return true;
		}
	}
	return key->model_count == 0;
}

bool keys_is_token(const struct keys *k, struct span secret)
{
	return secret_equal(span_of(k->token), secret);
}
