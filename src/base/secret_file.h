/* SPDX-License-Identifier: MIT */
/*
 * A secret that several processes share by a file in a folder of theirs.
 */
#ifndef BASE_SECRET_FILE_H
#define BASE_SECRET_FILE_H

#include "base/digest.h"

/*
 * Reads the secret in `path`, or makes a fresh one there (0600) when there is none; when several
 * processes do so at once, all get the same. A file that holds anything else is an error.
 */
int secret_file_load(const char *path, char ret_text[SECRET_TEXT_BYTES], struct err *err);

#endif
