/* SPDX-License-Identifier: MIT */
#include "base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/base64.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define SECRET_BYTES 32

struct digest {
	struct sha256_ctx sha256;
};

struct digest *digest_create(void)
{
	struct digest *d = mem_alloc(sizeof(*d));

	sha256_init(&d->sha256);
	return d;
}

void digest_add(struct digest *d, const void *bytes, size_t len)
{
	sha256_update(&d->sha256, len, bytes);
}

void digest_hex(struct digest *d, char ret_hex[DIGEST_HEX_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t raw[SHA256_DIGEST_SIZE];

	sha256_digest(&d->sha256, sizeof(raw), raw);
	for (size_t i = 0; i < sizeof(raw); i++) {
		ret_hex[2 * i] = digits[raw[i] >> 4];
		ret_hex[2 * i + 1] = digits[raw[i] & 15];
	}
	ret_hex[DIGEST_HEX_BYTES - 1] = '\0';
}

void digest_destroy(struct digest *d)
{
	free(d);
}

void digest_hex_of(struct span s, char ret_hex[DIGEST_HEX_BYTES])
{
	struct digest d;

	sha256_init(&d.sha256);
	digest_add(&d, s.ptr, s.len);
	digest_hex(&d, ret_hex);
}

static void random_bytes(uint8_t *bytes, size_t len)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

	ENSURE(fd >= 0);
	while (len > 0) {
		ssize_t got = read(fd, bytes, len);

		ENSURE(got > 0 || (got < 0 && errno == EINTR));
		if (got > 0) {
			bytes += got;
			len -= (size_t)got;
		}
	}
	close(fd);
}

void secret_make(char ret_text[SECRET_TEXT_BYTES])
{
	uint8_t raw[SECRET_BYTES];
	char text[BASE64_ENCODE_RAW_LENGTH(SECRET_BYTES)];

	random_bytes(raw, sizeof(raw));
	base64_encode_raw(text, sizeof(raw), raw);
	for (size_t i = 0; i < SECRET_TEXT_BYTES - 1; i++) {
		char c = text[i];

		ret_text[i] = (char)(c == '+' ? '-' : c == '/' ? '_' : c);
	}
	ret_text[SECRET_TEXT_BYTES - 1] = '\0';
}

bool secret_equal(struct span a, struct span b)
{
	struct span same_length = a.len == b.len ? b : a;
	bool equal = memeql_sec(a.ptr, same_length.ptr, a.len) != 0;

	return equal && a.len == b.len;
}
