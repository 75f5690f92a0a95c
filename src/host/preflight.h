/* SPDX-License-Identifier: MIT */
/*
 * Everything that can be known before an engine is spawned, checked on another thread: where the
 * engine's program is, that the model is a readable GGUF inside a model root after all links, that
 * the port is free, what the load will take of the memory, and a fresh key file.
 */
#ifndef HOST_PREFLIGHT_H
#define HOST_PREFLIGHT_H

#include "base/digest.h"
#include "base/err.h"
#include "base/fs.h"
#include "io/loop.h"
#include "model/gguf.h"
#include "model/memory.h"
#include "model/registry.h"
#include "os/memory.h"

/* All text is borrowed until the loop ends: a canceled check may still run. */
struct preflight_options {
	const char *engine_path;	/* NULL: llama-server in PATH */
	const char *const *model_roots; /* NULL-terminated; the first one stands for /models */
	const char *run_folder;
};

struct preflight {
	/* what was found */
	char engine_path[FS_PATH_MAX_BYTES];
	struct fs_stamp engine; /* whether it is still the one that was asked for its abilities */
	char fit_path[FS_PATH_MAX_BYTES]; /* its llama-fit-params; "": none */
	char model_path[FS_PATH_MAX_BYTES];
	char mmproj_path[FS_PATH_MAX_BYTES]; /* "": none */
	struct gguf gguf;
	uint64_t mmproj_bytes; /* of the file */
	struct memory memory;  /* of the machine, now */
	uint16_t port;
	char *key_path; /* 0600, made for this start */
	char key[SECRET_TEXT_BYTES];
	struct err err; /* code 0: all is well */
	char next_step[256];
	/* private */
	struct preflight_options options;
	char id[REGISTRY_ID_MAX_BYTES];
	char *file_path, *mmproj_file;
	void (*done)(void *user);
	void *user;
	bool canceled;
};

/* Calls done(user) from the loop unless canceled. The model is copied. */
struct preflight *preflight_start(struct loop *loop, const struct preflight_options *options,
				  const struct model *model, void (*done)(void *user), void *user);
/* Allowed at any time: before done it cancels. Removes no file. NULL is fine. */
void preflight_close(struct preflight *p);

/*
 * Only that model and projector are readable GGUF files inside a model root: fills the paths, err
 * and next_step, and in any case gguf, which is to be finished. Blocks.
 */
int preflight_check_files(const struct preflight_options *options, const struct model *model,
			  struct preflight *ret_found);

/*
 * The next step when a model's file cannot be read. -EPERM: the user may, programs in the
 * background may not, and macOS asks nobody about them (TCC). `home` may be NULL.
 */
void preflight_explain_refusal(int status, const char *path, const char *home, char *text,
			       size_t room);

/* Where llama-server is: 0, or ERR_NO_ENGINE with what to install. Blocks. */
int preflight_find_engine(const char *engine_path, char ret_path[FS_PATH_MAX_BYTES],
			  struct fs_stamp *ret_stamp, struct err *err);

#endif
