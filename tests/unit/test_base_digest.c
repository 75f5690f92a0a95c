/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

/* FIPS 180-4 examples and the empty message. */
static void sha256_matches_known_vectors(void **state)
{
	static const char *const vectors[][2] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	char hex[DIGEST_HEX_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		digest_hex_of(span_of(vectors[i][0]), hex);
		assert_string_equal(hex, vectors[i][1]);
	}
}

static void a_million_letters_added_in_uneven_pieces(void **state)
{
	struct digest *d = digest_create();
	char hex[DIGEST_HEX_BYTES], letters[997];
	size_t left = 1000000;

	(void)state;
	memset(letters, 'a', sizeof(letters));
	for (size_t piece = 1; left > 0; piece = piece % sizeof(letters) + 1) {
		size_t len = piece < left ? piece : left;
		digest_add(d, letters, len);
		left -= len;
	}
	digest_hex(d, hex);
	assert_string_equal(hex,
			    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	digest_hex(d, hex); /* it starts anew */
	assert_string_equal(hex,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_destroy(d);
	digest_destroy(NULL);
}

static void secrets_are_long_plain_and_different(void **state)
{
	char a[SECRET_TEXT_BYTES], b[SECRET_TEXT_BYTES];

	(void)state;
	secret_make(a);
	secret_make(b);
	assert_int_equal(strlen(a), SECRET_TEXT_BYTES - 1);
	assert_string_not_equal(a, b);
	for (size_t i = 0; a[i] != '\0'; i++) {
		assert_true(isalnum((unsigned char)a[i]) || a[i] == '-' || a[i] == '_');
	}
}

static void secrets_are_equal_only_when_they_are(void **state)
{
	struct span key = SPAN_LIT("correct-key");

	(void)state;
	assert_true(secret_equal(key, SPAN_LIT("correct-key")));
	assert_false(secret_equal(key, SPAN_LIT("correct-kez")));
	assert_false(secret_equal(key, SPAN_LIT("Correct-key")));
	assert_false(secret_equal(key, SPAN_LIT("correct-ke")));
	assert_false(secret_equal(key, SPAN_LIT("correct-key2")));
	assert_false(secret_equal(key, (struct span){ NULL, 0 }));
	assert_false(secret_equal((struct span){ NULL, 0 }, key));
	assert_true(secret_equal((struct span){ NULL, 0 }, SPAN_LIT("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_matches_known_vectors),
		cmocka_unit_test(a_million_letters_added_in_uneven_pieces),
		cmocka_unit_test(secrets_are_long_plain_and_different),
		cmocka_unit_test(secrets_are_equal_only_when_they_are),
	};
	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
