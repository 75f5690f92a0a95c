/* SPDX-License-Identifier: MIT */
#include "base/secret_file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

#define SECRET_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

static int read_secret(const char *path, char ret_text[SECRET_TEXT_BYTES], struct err *err)
{
	struct buf content;
	int status;

	buf_init(&content, 2 * SECRET_TEXT_BYTES);
	status = fs_read(path, &content, err);
	if (status == 0) {
		struct span text = buf_span(&content);
		struct span line = span_split(&text, '\n');

		if (line.len == SECRET_TEXT_BYTES - 1 &&
		    strspn(line.ptr, SECRET_CHARS) == line.len) {
			span_copy(line, ret_text, SECRET_TEXT_BYTES);
		} else {
			status =
				err_set(err, ERR_INVALID,
					"%s does not hold a secret: remove it, a fresh one is made",
					path);
		}
	}
	buf_finish(&content);
	return status;
}

/*
 * Written beside it and linked there, which fails when somebody else was first. The name beside it
 * is random: processes of two containers may have the same pid.
 */
static int make_secret(const char *path, struct err *err)
{
	char text[SECRET_TEXT_BYTES], name[SECRET_TEXT_BYTES];
	char *fresh;
	int status;

	secret_make(text);
	secret_make(name);
	fresh = mem_printf("%s.%s", path, name);
	status = fs_replace(fresh, span_of(text), 0600, err);
	if (status == 0) {
		if (link(fresh, path) != 0 && errno != EEXIST) {
			status = err_set_os(err, -errno, "making the secret %s", path);
		}
		unlink(fresh);
	}
	free(fresh);
	return status;
}

int secret_file_load(const char *path, char ret_text[SECRET_TEXT_BYTES], struct err *err)
{
	struct err why = { 0 };
	int status = read_secret(path, ret_text, &why);

	if (status == -ENOENT) {
		status = make_secret(path, err);
		return status == 0 ? read_secret(path, ret_text, err) : status;
	}
	return status == 0 ? 0 : err_set(err, status, "%s", why.text);
}
