/* SPDX-License-Identifier: MIT */
#include "host/preflight.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/darwin.h"
#include "os/port.h"

#define ENGINE_PROGRAM "llama-server"
#define FIT_PROGRAM "llama-fit-params"

/* The engine */

static int stamp_engine(const char *path, struct fs_stamp *ret_stamp)
{
	if (access(path, X_OK) != 0) {
		return -errno;
	}
	if (!fs_is_file(path)) {
		return -EACCES;
	}
	*ret_stamp = (struct fs_stamp){ 0 };
	fs_changed(path, ret_stamp);
	return 0;
}

static int find_in_path(char ret_path[FS_PATH_MAX_BYTES], struct fs_stamp *ret_stamp)
{
	const char *path = getenv("PATH");
	struct span rest = span_of(path != NULL ? path : "/usr/local/bin:/usr/bin:/bin");

	while (rest.ptr != NULL) {
		struct span folder = span_split(&rest, ':');

		snprintf(ret_path, FS_PATH_MAX_BYTES, "%.*s/%s", SPAN_ARG(folder), ENGINE_PROGRAM);
		if (folder.len > 0 && stamp_engine(ret_path, ret_stamp) == 0) {
			return 0;
		}
	}
	return -ENOENT;
}

int preflight_find_engine(const char *engine_path, char ret_path[FS_PATH_MAX_BYTES],
			  struct fs_stamp *ret_stamp, struct err *err)
{
	int status;

	if (engine_path == NULL) {
		if (find_in_path(ret_path, ret_stamp) == 0) {
			return 0;
		}
		return err_set(err, ERR_NO_ENGINE,
			       "llama-server is not in PATH: install llama.cpp, or say where it is "
			       "with engine = PATH in host.conf");
	}
	snprintf(ret_path, FS_PATH_MAX_BYTES, "%s", engine_path);
	status = stamp_engine(engine_path, ret_stamp);
	if (status != 0) {
		return err_set(
			err, ERR_NO_ENGINE,
			"engine = %s cannot be run: %s; correct it in host.conf, or leave it "
			"out to take llama-server from PATH",
			engine_path, err_sentence(status));
	}
	return 0;
}

/* The model */

void preflight_explain_refusal(int status, const char *path, const char *home, char *text,
			       size_t room)
{
	const char *guarded = darwin_guarded_folder(path, home);

	if (status == -EPERM) {
		snprintf(text, room,
			 "move it out of %s, or allow ronzal in System Settings > Privacy & "
			 "Security > Full Disk Access",
			 guarded != NULL ? guarded : "that folder");
	} else {
		snprintf(text, room, "%s",
			 status == -EACCES ? "make it readable for the user who runs ronzal"
					   : "download it again");
	}
}

static void explain_refusal(struct preflight *p, const char *path, int status)
{
	preflight_explain_refusal(status, path, getenv("HOME"), p->next_step, sizeof(p->next_step));
}

static int resolve_inside(const struct preflight *p, const char *path,
			  char ret_path[FS_PATH_MAX_BYTES])
{
	int status = ERR_DENIED;

	for (const char *const *root = p->options.model_roots; status != 0 && *root != NULL;
	     root++) {
		if (fs_is_folder(*root)) {
			status = fs_resolve_inside(path, *root, ret_path, NULL);
		}
	}
	return status;
}

/*
 * Of a split model all parts must lie inside, and the name stays as it is: the engine finds them by
 * it, and in the hub's cache it is a link.
 */
static int resolve_parts(const struct preflight *p, const char *wanted,
			 char ret_path[FS_PATH_MAX_BYTES])
{
	uint32_t own = 0, count = 1;
	char *part = gguf_part_path(wanted, 0, &own, &count);
	int status = resolve_inside(p, wanted, ret_path);
	bool is_split = part != NULL;

	for (uint32_t i = 1; is_split && status == 0 && i < count; i++) {
		free(part);
		part = gguf_part_path(wanted, i, &own, &count);
		if (resolve_inside(p, part, ret_path) == ERR_DENIED) {
			status = ERR_DENIED;
		}
	}
	if (is_split) {
		snprintf(ret_path, FS_PATH_MAX_BYTES, "%s", wanted);
	}
	free(part);
	return status;
}

static int resolve(struct preflight *p, const char *path, char ret_path[FS_PATH_MAX_BYTES])
{
	char *wanted = registry_host_path(p->options.model_roots[0], path);
	int status = resolve_parts(p, wanted, ret_path);

	p->err = (struct err){ 0 };
	if (status == -ENOENT) {
		err_set(&p->err, ERR_NOT_FOUND, "the model's file is not there: %s", wanted);
		snprintf(p->next_step, sizeof(p->next_step),
			 "put it there, or look for it: ronzal models scan");
	} else if (status == -EPERM || status == -EACCES) {
		explain_refusal(p, wanted, status);
	} else if (status != 0) {
		err_set(&p->err, ERR_DENIED, "%s lies outside the model folders", wanted);
		snprintf(p->next_step, sizeof(p->next_step),
			 "move it there, or add its folder to model_roots in host.conf");
	}
	free(wanted);
	return p->err.code;
}

static int check_model(struct preflight *p, const char *file, const char *mmproj)
{
	int status = resolve(p, file, p->model_path);

	if (status == 0) {
		status = gguf_read_path(&p->gguf, p->model_path, &p->err);
		if (status != 0) {
			explain_refusal(p, p->model_path, status);
		}
	}
	if (status == 0 && mmproj != NULL) {
		status = resolve(p, mmproj, p->mmproj_path);
		fs_size(p->mmproj_path, &p->mmproj_bytes);
	}
	memory_read(&p->memory);
	return status;
}

static int check_port(struct preflight *p)
{
	struct port_holder holder;

	if (port_holder_of(p->port, &holder) != 0) {
		return 0;
	}
	if (holder.pid == 0) {
		err_set(&p->err, ERR_BUSY, "port %u is taken by another program", p->port);
	} else {
		err_set(&p->err, ERR_BUSY,
			"port %u is taken by %s (pid %d). ronzal did not start it and will not "
			"stop it",
			p->port, holder.name, (int)holder.pid);
	}
	snprintf(p->next_step, sizeof(p->next_step), "free the port, or: ronzal set %s port=NUMBER",
		 p->id);
	return p->err.code;
}

/*
 * An empty key file would mean no authentication at all, so what was written is read back. Not on
 * the other thread: a start that was canceled would write over the key of the one after it.
 */
static void make_key(struct preflight *p)
{
	struct buf check;
	int status;

	secret_make(p->key);
	p->key_path = mem_printf("%s/key-%u", p->options.run_folder, p->port);
	buf_init(&check, SECRET_TEXT_BYTES);
	status = fs_replace(p->key_path, span_of(p->key), 0600, &p->err);
	if (status == 0) {
		status = fs_read(p->key_path, &check, &p->err);
	}
	if (status == 0 && !span_is(buf_span(&check), p->key)) {
		err_set(&p->err, ERR_IO, "%s does not hold what was written to it", p->key_path);
	}
	buf_finish(&check);
}

int preflight_check_files(const struct preflight_options *options, const struct model *model,
			  struct preflight *ret_found)
{
	*ret_found = (struct preflight){ .options = *options };
	return check_model(ret_found, model->file_path, model->mmproj_path);
}

/* Beside the engine, where every package puts it. */
static void find_fit(struct preflight *p)
{
	const char *slash = strrchr(p->engine_path, '/');
	int folder = slash != NULL ? (int)(slash + 1 - p->engine_path) : 0;

	snprintf(p->fit_path, sizeof(p->fit_path), "%.*s%s", folder, p->engine_path, FIT_PROGRAM);
	if (access(p->fit_path, X_OK) != 0) {
		p->fit_path[0] = '\0';
	}
}

static void preflight_work(void *arg)
{
	struct preflight *p = arg;

	snprintf(p->next_step, sizeof(p->next_step), "ronzal doctor");
	if (preflight_find_engine(p->options.engine_path, p->engine_path, &p->engine, &p->err) ==
		    0 &&
	    check_model(p, p->file_path, p->mmproj_file) == 0 && check_port(p) == 0) {
		find_fit(p);
	}
}

static void preflight_free(struct preflight *p)
{
	gguf_finish(&p->gguf);
	free(p->key_path);
	free(p->file_path);
	free(p->mmproj_file);
	free(p);
}

static void preflight_done(void *arg)
{
	struct preflight *p = arg;
	void (*done)(void *user) = p->done;

	p->done = NULL;
	if (p->canceled) {
		preflight_free(p);
		return;
	}
	if (p->err.code == 0) {
		make_key(p);
	}
	done(p->user);
}

struct preflight *preflight_start(struct loop *loop, const struct preflight_options *options,
				  const struct model *model, void (*done)(void *user), void *user)
{
	struct preflight *p = mem_alloc(sizeof(*p));

	p->options = *options;
	p->port = model->port;
	span_copy(span_of(model->id), p->id, sizeof(p->id));
	p->file_path = mem_strdup(model->file_path);
	p->mmproj_file = mem_strdup(model->mmproj_path);
	p->done = done;
	p->user = user;
	loop_work(loop, preflight_work, preflight_done, p);
	return p;
}

void preflight_close(struct preflight *p)
{
	if (p == NULL) {
		return;
	}
	if (p->done != NULL) {
		p->canceled = true;
	} else {
		preflight_free(p);
	}
}
