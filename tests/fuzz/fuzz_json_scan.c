/* SPDX-License-Identifier: MIT */
/* The scanner and the tree's reader agree on what is JSON, and on the members of an object. */
#include "base/json_scan.h"

struct seen {
	size_t count;
};

static void on_member(void *user, const struct json_member *member)
{
	struct seen *seen = user;
	char text[256];

	json_scan_text(member->value, text, sizeof(text));
	json_scan_key_is(member->key, "model");
	seen->count++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct seen seen = { 0 };
	struct json *doc = json_parse(text, NULL);
	bool is_object = json_type(json_root(doc)) == JSON_OBJECT;

	/* They may differ on a byte order mark alone: the tree's reader skips it. */
	if (size == 0 || data[0] < 0x80) {
		ENSURE((json_scan(text, on_member, &seen, NULL) == 0) == is_object);
		ENSURE(!is_object || seen.count == json_count(json_root(doc)));
	}
	json_destroy(doc);
	return 0;
}
