/* SPDX-License-Identifier: MIT */
/*
 * One read at a time; a reload that is asked for while one runs makes another one follow, because
 * the file may have changed after the running one looked. The job owns what it reads until it is
 * done, so nothing is shared between the threads.
 */
#include "host/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

struct reading {
	struct catalog *catalog;
	struct registry registry;
	char digest[DIGEST_HEX_BYTES]; /* of the text in force; then of the text that was read */
	bool has_new;		       /* registry is to take the place of the one in force */
	struct err err;
};

struct catalog {
	struct loop *loop;
	struct catalog_options options;
	char *path, *copy_path; /* the options' texts: a job may outlive whoever gave them */
	struct registry registry;
	char digest[DIGEST_HEX_BYTES]; /* "" until something was read */
	char error[ERR_TEXT_MAX_BYTES + 64];
	struct reading *reading; /* the job on its way */
	uint64_t begun, wanted;	 /* tickets */
	bool closed;
};

static int read_file(struct reading *r, const char *path, bool keep_copy)
{
	const struct catalog_options *o = &r->catalog->options;
	char digest[DIGEST_HEX_BYTES];
	struct buf text;
	int status;

	buf_init(&text, REGISTRY_FILE_MAX_BYTES);
	status = fs_read(path, &text, &r->err);
	if (status == 0) {
		digest_hex_of(buf_span(&text), digest);
		if (strcmp(digest, r->digest) == 0) {
			goto out;
		}
		status = registry_parse(&r->registry, buf_span(&text), o->port_min, o->port_max,
					&r->err);
	}
	if (status != 0) {
		goto out;
	}
	memcpy(r->digest, digest, sizeof(digest));
	r->has_new = true;
	if (keep_copy && fs_replace(o->copy_path, buf_span(&text), 0600, NULL) != 0) {
		log_warn("the last good registry cannot be kept at %s", o->copy_path);
	}
out:
	buf_finish(&text);
	return status;
}

static void read_work(void *arg)
{
	struct reading *r = arg;
	const struct catalog_options *o = &r->catalog->options;
	struct err err;

	if (read_file(r, o->path, true) != 0 && r->digest[0] == '\0') {
		err = r->err; /* nothing is in force yet: the copy, and the reason why */
		read_file(r, o->copy_path, false);
		r->err = err;
	}
}

static void read_done(void *arg);

static void begin(struct catalog *c)
{
	struct reading *r = mem_alloc(sizeof(*r));

	r->catalog = c;
	memcpy(r->digest, c->digest, sizeof(r->digest));
	c->reading = r;
	c->begun = c->wanted;
	loop_work(c->loop, read_work, read_done, r);
}

static void catalog_free(void *arg)
{
	struct catalog *c = arg;

	registry_finish(&c->registry);
	free(c->path);
	free(c->copy_path);
	free(c);
}

/* Each trouble is told once, not at every read. */
static void tell(struct catalog *c, const struct reading *r)
{
	char error[sizeof(c->error)] = "";
	const struct registry *now = r->has_new ? &r->registry : &c->registry;

	if (r->err.code == -ENOENT && now->count == 0) {
		log_debug("no registry yet at %s", c->path);
	} else if (r->err.code != 0) {
		snprintf(error, sizeof(error), "%s%s", r->err.text,
			 now->count > 0 ? "; the last good registry stays in force" : "");
	} else if (now->problem_count > 0) {
		snprintf(error, sizeof(error), "%zu refused: %s", now->problem_count,
			 now->problems[0].text);
	}
	if (strcmp(error, c->error) != 0) {
		memcpy(c->error, error, sizeof(error));
		if (error[0] != '\0') {
			log_error("registry: %s", error);
		}
		for (size_t i = 0; i < now->problem_count && i < REGISTRY_PROBLEMS_MAX; i++) {
			log_warn("registry: %s", now->problems[i].text);
		}
	}
}

static void read_done(void *arg)
{
	struct reading *r = arg;
	struct catalog *c = r->catalog;
	struct registry former = c->registry;
	uint64_t ticket = c->begun;

	c->reading = NULL;
	if (c->closed) {
		if (r->has_new) {
			registry_finish(&r->registry);
		}
		free(r);
		catalog_free(c);
		return;
	}
	tell(c, r);
	if (r->has_new) {
		c->registry = r->registry;
		memcpy(c->digest, r->digest, sizeof(c->digest));
	}
	if (c->wanted > c->begun) {
		begin(c);
	}
	c->options.on_read(c->options.user, ticket);
	if (r->has_new) {
		registry_finish(&former);
	}
	free(r);
}

struct catalog *catalog_create(struct loop *loop, const struct catalog_options *options)
{
	struct catalog *c = mem_alloc(sizeof(*c));

	c->loop = loop;
	c->options = *options;
	c->options.path = c->path = mem_strdup(options->path);
	c->options.copy_path = c->copy_path = mem_strdup(options->copy_path);
	registry_init_empty(&c->registry, options->port_min, options->port_max);
	return c;
}

uint64_t catalog_reload(struct catalog *c)
{
	if (c->wanted == c->begun || c->reading == NULL) {
		c->wanted++;
	}
	if (c->reading == NULL) {
		begin(c);
	}
	return c->wanted;
}

const struct registry *catalog_registry(const struct catalog *c)
{
	return &c->registry;
}

const char *catalog_error(const struct catalog *c)
{
	return c->error;
}

void catalog_close(struct catalog *c)
{
	if (c == NULL) {
		return;
	}
	c->closed = true;
	if (c->reading == NULL) {
		loop_defer(c->loop, catalog_free, c);
	}
}
