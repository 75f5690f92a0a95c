/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/keys.h"
#include "base/fs.h"
#include "base/mem.h"

struct home {
	char folder[64];
	char *keys_path, *token_path, *lock_path;
	struct keys keys;
};

static int set_up(void **state)
{
	struct home *h = mem_alloc(sizeof(*h));
	struct err err;

	snprintf(h->folder, sizeof(h->folder), "/tmp/ronzal-keys-XXXXXX");
	assert_non_null(mkdtemp(h->folder));
	h->keys_path = fs_join(h->folder, "keys.json");
	h->lock_path = fs_join(h->folder, "keys.json.lock");
	h->token_path = fs_join(h->folder, "management.token");
	assert_int_equal(keys_open(&h->keys, h->folder, &err), 0);
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct home *h = *state;

	keys_close(&h->keys);
	unlink(h->keys_path);
	unlink(h->token_path);
	unlink(h->lock_path);
	rmdir(h->folder);
	free(h->keys_path);
	free(h->token_path);
	free(h->lock_path);
	free(h);
	return 0;
}

static bool is_private(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & 0777) == 0600;
}

static void finds_the_key_that_was_added_and_no_near_one(void **state)
{
	struct home *h = *state;
	char secret[KEY_SECRET_BYTES];
	struct err err;

	assert_int_equal(keys_add(&h->keys, "laptop", NULL, 0, secret, &err), 0);
	assert_true(span_has_prefix(span_of(secret), KEY_PREFIX));
	assert_int_equal(strlen(secret), KEY_SECRET_BYTES - 2);
	const struct key *key = keys_find(&h->keys, span_of(secret));

	assert_non_null(key);
	assert_string_equal(key->name, "laptop");
	assert_true(key_opens(key, "any"));
	for (size_t i = 0; i < strlen(secret); i++) {
		secret[i] ^= 1;
		assert_null(keys_find(&h->keys, span_of(secret)));
		secret[i] ^= 1;
		assert_null(keys_find(&h->keys, (struct span){ secret, i }));
	}
	assert_null(keys_find(&h->keys, span_of(key->hash)));
	assert_null(keys_find(&h->keys, span_of(key->id)));
}

static void keeps_hashes_only_in_a_private_file(void **state)
{
	struct home *h = *state;
	char secret[KEY_SECRET_BYTES];
	struct err err;
	struct buf text;

	assert_int_equal(keys_add(&h->keys, "laptop", NULL, 0, secret, &err), 0);
	buf_init(&text, 65536);
	assert_int_equal(fs_read(h->keys_path, &text, &err), 0);
	assert_int_equal(span_find(buf_span(&text), secret), text.len);
	assert_int_equal(span_find(buf_span(&text), secret + 3), text.len);
	assert_true(is_private(h->keys_path));
	assert_true(is_private(h->token_path));
	buf_clear(&text);
	struct json_writer w;

	jsonw_init(&w, &text);
	keys_write(&h->keys, &w);
	assert_int_equal(span_find(buf_span(&text), "hash"), text.len);
	assert_true(span_find(buf_span(&text), "laptop") < text.len);
	buf_finish(&text);
}

static void opens_named_models_only(void **state)
{
	struct home *h = *state;
	const char *models[] = { "a", "b" };
	char secret[KEY_SECRET_BYTES];
	struct keys again;
	struct err err;

	assert_int_equal(keys_add(&h->keys, "two", models, 2, secret, &err), 0);
	assert_int_equal(keys_open(&again, h->folder, &err), 0);
	const struct key *key = keys_find(&again, span_of(secret));

	assert_non_null(key);
	assert_true(key_opens(key, "a"));
	assert_true(key_opens(key, "b"));
	assert_false(key_opens(key, "c"));
	assert_false(key_opens(key, ""));
	assert_string_equal(again.token, h->keys.token);
	keys_close(&again);
}

static void sees_what_another_process_changed(void **state)
{
	struct home *h = *state;
	char secret[KEY_SECRET_BYTES], other[KEY_SECRET_BYTES];
	struct keys again;
	struct err err;

	assert_int_equal(keys_open(&again, h->folder, &err), 0);
	assert_int_equal(keys_add(&again, "first", NULL, 0, secret, &err), 0);
	assert_null(keys_find(&h->keys, span_of(secret)));
	assert_int_equal(keys_refresh(&h->keys, &err), 0);
	assert_non_null(keys_find(&h->keys, span_of(secret)));
	assert_int_equal(keys_add(&h->keys, "second", NULL, 0, other, &err), 0);
	assert_int_equal(keys_revoke(&again, "first", &err), 0);
	assert_non_null(keys_find(&again, span_of(other)));
	assert_int_equal(keys_refresh(&h->keys, &err), 0);
	assert_null(keys_find(&h->keys, span_of(secret)));
	keys_close(&again);
}

static void refuses_bad_names_doubles_and_too_many(void **state)
{
	struct home *h = *state;
	char secret[KEY_SECRET_BYTES];
	char long_name[KEY_NAME_MAX_BYTES + 1];
	const char *models[KEY_MODELS_MAX + 1] = { NULL };
	struct err err;

	memset(long_name, 'x', KEY_NAME_MAX_BYTES);
	long_name[KEY_NAME_MAX_BYTES] = '\0';
	assert_int_equal(keys_add(&h->keys, "", NULL, 0, secret, &err), ERR_INVALID);
	assert_int_equal(keys_add(&h->keys, long_name, NULL, 0, secret, &err), ERR_INVALID);
	assert_int_equal(keys_add(&h->keys, "a\nb", NULL, 0, secret, &err), ERR_INVALID);
	assert_int_equal(keys_add(&h->keys, "\xff", NULL, 0, secret, &err), ERR_INVALID);
	assert_int_equal(keys_add(&h->keys, "a", NULL, 0, secret, &err), 0);
	assert_int_equal(keys_add(&h->keys, "a", NULL, 0, secret, &err), ERR_BUSY);
	for (int i = 0; i <= KEY_MODELS_MAX; i++) {
		models[i] = "m";
	}
	assert_int_equal(keys_add(&h->keys, "b", models, KEY_MODELS_MAX + 1, secret, &err),
			 ERR_FULL);
	assert_int_equal(keys_revoke(&h->keys, "nobody", &err), ERR_NOT_FOUND);
	assert_int_equal(h->keys.count, 1);
}

static void keeps_its_keys_when_the_file_is_broken(void **state)
{
	static const char *const broken[] = { "", "{", "{\"keys\":7}", "{\"keys\":[{}]}",
					      "{\"keys\":[{\"name\":\"x\",\"hash\":\"short\"}]}" };
	struct home *h = *state;
	char secret[KEY_SECRET_BYTES], fresh[KEY_SECRET_BYTES];
	struct err err;

	assert_int_equal(keys_add(&h->keys, "laptop", NULL, 0, secret, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		assert_int_equal(fs_replace(h->keys_path, span_of(broken[i]), 0600, &err), 0);
		assert_int_equal(keys_refresh(&h->keys, &err), ERR_INVALID);
		assert_non_null(strstr(err.text, "is not a list of keys"));
		assert_non_null(keys_find(&h->keys, span_of(secret)));
		/* It may be mended yet: it is not written over. */
		assert_int_equal(keys_revoke(&h->keys, "laptop", &err), ERR_INVALID);
		assert_int_equal(keys_add(&h->keys, "b", NULL, 0, fresh, &err), ERR_INVALID);
	}
	assert_int_equal(unlink(h->keys_path), 0);
	assert_int_equal(keys_refresh(&h->keys, &err), 0);
	assert_int_equal(h->keys.count, 0);
}

/* Files that follow each other within a second may have one inode, and as many bytes. */
static void sees_each_change_of_many_in_a_second(void **state)
{
	char old[KEY_SECRET_BYTES], fresh[KEY_SECRET_BYTES];
	struct home *h = *state;
	struct keys other;
	struct err err;

	assert_int_equal(keys_open(&other, h->folder, &err), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(keys_add(&other, "aaa", NULL, 0, old, &err), 0);
		assert_non_null(keys_look_up(&h->keys, span_of(old), KEYS_LOOK_MS));
		assert_int_equal(keys_revoke(&other, "aaa", &err), 0);
		assert_int_equal(keys_add(&other, "bbb", NULL, 0, fresh, &err), 0);
		assert_non_null(keys_look_up(&h->keys, span_of(fresh), KEYS_LOOK_MS));
		assert_null(keys_find(&h->keys, span_of(old)));
		assert_int_equal(keys_revoke(&other, "bbb", &err), 0);
	}
	keys_close(&other);
}

#define ADDERS 8 /* of which the last has to get the lock within its 2 s */

static void loses_no_key_when_many_processes_add_one(void **state)
{
	struct home *h = *state;
	char secret[KEY_SECRET_BYTES], name[16];
	struct err err;

	for (int i = 0; i < ADDERS; i++) {
		snprintf(name, sizeof(name), "key%d", i);
		if (fork() == 0) {
			_exit(keys_add(&h->keys, name, NULL, 0, secret, &err) != 0);
		}
	}
	for (int status; wait(&status) > 0;) {
		assert_int_equal(status, 0);
	}
	assert_int_equal(keys_refresh(&h->keys, &err), 0);
	assert_int_equal(h->keys.count, ADDERS);
}

static void knows_its_own_token_only(void **state)
{
	struct home *h = *state;
	char token[sizeof(h->keys.token)];

	memcpy(token, h->keys.token, sizeof(token));
	assert_true(keys_is_token(&h->keys, span_of(token)));
	token[0] ^= 1;
	assert_false(keys_is_token(&h->keys, span_of(token)));
	assert_false(keys_is_token(&h->keys, SPAN_LIT("")));
	assert_null(keys_find(&h->keys, span_of(h->keys.token)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(finds_the_key_that_was_added_and_no_near_one),
		TEST(keeps_hashes_only_in_a_private_file),
		TEST(opens_named_models_only),
		TEST(sees_what_another_process_changed),
		TEST(refuses_bad_names_doubles_and_too_many),
		TEST(keeps_its_keys_when_the_file_is_broken),
		TEST(sees_each_change_of_many_in_a_second),
		TEST(loses_no_key_when_many_processes_add_one),
		TEST(knows_its_own_token_only),
	};

	return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
