/* SPDX-License-Identifier: MIT */
/*
 * One read at a time; a reload that is asked for while one runs makes another one follow, because
 * the file may have changed after the running one looked. What the job makes is its own until it is
 * done, and what it looks at does not change before: nothing is shared between the threads.
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
#include "host/agent_inside.h"

struct catalog {
	struct agent *agent;	/* not to be touched once closed */
	char *path, *copy_path; /* the last good one, only ours to write */
	uint16_t port_min, port_max;
	struct registry registry;
	char digest[DIGEST_HEX_BYTES]; /* of its text; "" until something was read */
	char error[ERR_TEXT_MAX_BYTES + 64];
	uint64_t begun, wanted; /* tickets */
	bool is_reading, closed;

	struct registry fresh; /* the job's */
	char fresh_digest[DIGEST_HEX_BYTES];
	bool has_fresh; /* it is to take the place of the one in force */
	struct err err;
};

static int read_file(struct catalog *c, const char *path, bool keep_copy)
{
	struct buf text;
	bool is_same = false;
	int status;

	buf_init(&text, REGISTRY_FILE_MAX_BYTES);
	status = fs_read(path, &text, &c->err);
	if (status == 0) {
		digest_hex_of(buf_span(&text), c->fresh_digest);
		is_same = strcmp(c->fresh_digest, c->digest) == 0;
	}
	if (status == 0 && !is_same) {
		status = registry_parse(&c->fresh, buf_span(&text), c->port_min, c->port_max,
					&c->err);
		c->has_fresh = status == 0;
	}
	if (c->has_fresh && keep_copy &&
	    fs_replace(c->copy_path, buf_span(&text), 0600, NULL) != 0) {
		log_warn("the last good registry cannot be kept at %s", c->copy_path);
	}
	buf_finish(&text);
	return status;
}

static void read_work(void *arg)
{
	struct catalog *c = arg;
	struct err err;

	if (read_file(c, c->path, true) != 0 && c->digest[0] == '\0') {
		err = c->err; /* nothing is in force yet: the copy, and the reason why */
		read_file(c, c->copy_path, false);
		c->err = err;
	}
}

static void read_done(void *arg);

static void begin(struct catalog *c)
{
	c->is_reading = true;
	c->has_fresh = false;
	c->err = (struct err){ 0 };
	c->begun = c->wanted;
	loop_work(c->agent->loop, read_work, read_done, c);
}

static void catalog_free(void *arg)
{
	struct catalog *c = arg;

	registry_finish(&c->registry);
	registry_finish(&c->fresh);
	free(c->path);
	free(c->copy_path);
	free(c);
}

/* Each trouble is told once, not at every read. */
static void tell(struct catalog *c)
{
	char error[sizeof(c->error)] = "";
	const struct registry *now = c->has_fresh ? &c->fresh : &c->registry;

	if (c->err.code == -ENOENT && now->count == 0) {
		log_debug("no registry yet at %s", c->path);
	} else if (c->err.code != 0) {
		snprintf(error, sizeof(error), "%s%s", c->err.text,
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
	struct catalog *c = arg;
	struct registry former = { 0 };
	uint64_t ticket = c->begun;

	c->is_reading = false;
	if (c->closed) {
		catalog_free(c);
		return;
	}
	tell(c);
	if (c->has_fresh) {
		former = c->registry;
		c->registry = c->fresh;
		c->fresh = (struct registry){ 0 };
		memcpy(c->digest, c->fresh_digest, sizeof(c->digest));
	}
	if (c->wanted > c->begun) {
		begin(c);
	}
	agent_on_registry(c->agent, ticket);
	registry_finish(&former);
}

struct catalog *catalog_create(struct agent *a)
{
	struct catalog *c = mem_alloc(sizeof(*c));

	c->agent = a;
	c->path = mem_strdup(a->options.registry_path);
	c->copy_path = fs_join(a->options.paths->state, "registry.last-good.json");
	c->port_min = a->options.port_min;
	c->port_max = a->options.port_max;
	registry_init_empty(&c->registry, c->port_min, c->port_max);
	return c;
}

uint64_t catalog_reload(struct catalog *c)
{
	if (c->wanted == c->begun || !c->is_reading) {
		c->wanted++;
	}
	if (!c->is_reading) {
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
	if (!c->is_reading) {
		loop_defer(c->agent->loop, catalog_free, c);
	}
}
