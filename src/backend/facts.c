/* SPDX-License-Identifier: MIT */
/*
 * A reading works on copies of paths, so that the registry may change meanwhile; what it found
 * replaces what was known.
 */
#include "backend/facts.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/mem.h"

struct item {
	struct list link;
	char *path;
	struct fs_stamp stamp;
	struct fact fact;
};

struct facts {
	struct loop *loop;
	const char *const *model_roots;
	struct list items;
};

struct reading {
	struct facts *facts;
	struct list items; /* copies of paths, then what was read */
	void (*on_done)(void *user);
	void *user;
};

static void free_item(struct item *item)
{
	list_remove(&item->link);
	gguf_finish(&item->fact.gguf);
	free(item->path);
	free(item);
}

static struct item *find(const struct list *items, const char *path)
{
	LIST_EACH (struct item, item, link, items) {
		if (strcmp(item->path, path) == 0) {
			return item;
		}
	}
	return NULL;
}

/* On another thread. */
static void read_items(void *arg)
{
	struct reading *reading = arg;

	LIST_EACH (struct item, item, link, &reading->items) {
		struct fact *fact = &item->fact;

		if (!fs_changed(item->path, &item->stamp) && item->stamp.inode != 0) {
			free_item(item); /* what is known still holds */
		} else {
			gguf_read_path(&fact->gguf, item->path, &fact->err);
		}
	}
}

static void on_read(void *arg)
{
	struct reading *reading = arg;
	struct facts *f = reading->facts;

	LIST_EACH (struct item, item, link, &reading->items) {
		struct item *known = find(&f->items, item->path);

		if (known != NULL) {
			free_item(known);
		}
		list_remove(&item->link);
		list_append(&f->items, &item->link);
	}
	reading->on_done(reading->user);
	free(reading);
}

struct facts *facts_create(struct loop *loop, const char *const *model_roots)
{
	struct facts *f = mem_alloc(sizeof(*f));

	f->loop = loop;
	f->model_roots = model_roots;
	list_init(&f->items);
	return f;
}

void facts_destroy(struct facts *f)
{
	LIST_EACH (struct item, item, link, &f->items) {
		free_item(item);
	}
	free(f);
}

void facts_read(struct facts *f, const struct registry *r, void (*on_done)(void *user), void *user)
{
	struct reading *reading = mem_alloc(sizeof(*reading));

	reading->facts = f;
	reading->on_done = on_done;
	reading->user = user;
	list_init(&reading->items);
	for (size_t i = 0; i < r->count; i++) {
		struct item *item = mem_alloc(sizeof(*item));
		const struct item *known;

		item->path = registry_host_path(f->model_roots[0], r->models[i].file_path);
		known = find(&f->items, item->path);
		if (known != NULL) {
			item->stamp = known->stamp;
		}
		list_append(&reading->items, &item->link);
	}
	loop_work(f->loop, read_items, on_read, reading);
}

const struct fact *facts_find(const struct facts *f, const struct model *m)
{
	char *path = registry_host_path(f->model_roots[0], m->file_path);
	const struct item *item = find(&f->items, path);

	free(path);
	return item != NULL ? &item->fact : NULL;
}
