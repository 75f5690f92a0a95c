/* SPDX-License-Identifier: MIT */
#include "hostapi/mirror.h"

#include <stdlib.h>

#include "base/mem.h"

void mirror_init(struct mirror *m)
{
	*m = (struct mirror){ 0 };
	list_init(&m->entries);
}

void mirror_clear(struct mirror *m)
{
	LIST_FOR_EACH (it, next, &m->entries) {
		free(LIST_ITEM(it, struct mirror_entry, link));
	}
	list_init(&m->entries);
	m->host_change = 0;
}

void mirror_finish(struct mirror *m)
{
	mirror_clear(m);
}

void mirror_put_host(struct mirror *m, const struct host_info *host)
{
	m->host = *host;
	m->host_change = ++m->change;
}

static struct mirror_entry *find(const struct mirror *m, const char *id)
{
	LIST_FOR_EACH (it, next, &m->entries) {
		struct mirror_entry *e = LIST_ITEM(it, struct mirror_entry, link);

		if (strcmp(e->server.id, id) == 0) {
			return e;
		}
	}
	return NULL;
}

void mirror_put(struct mirror *m, const struct server *server)
{
	struct mirror_entry *e = find(m, server->id);

	if (e == NULL) {
		e = mem_alloc(sizeof(*e));
		list_init(&e->link);
	}
	list_remove(&e->link);
	e->server = *server;
	e->change = ++m->change;
	list_append(&m->entries, &e->link);
}

bool mirror_put_progress(struct mirror *m, const char *id, float fraction, int32_t eta_ms)
{
	struct mirror_entry *e = find(m, id);

	if (e == NULL) {
		return false;
	}
	e->server.progress = fraction;
	e->server.eta_ms = eta_ms;
	return true;
}

void mirror_remove(struct mirror *m, const char *id)
{
	struct mirror_entry *e = find(m, id);

	if (e != NULL) {
		list_remove(&e->link);
		free(e);
	}
}

static const struct mirror_entry *entry_at(const struct mirror *m, struct list *it)
{
	return it == &m->entries ? NULL : LIST_ITEM(it, struct mirror_entry, link);
}

const struct mirror_entry *mirror_next(const struct mirror *m, const struct mirror_entry *e)
{
	return entry_at(m, e->link.next);
}

const struct mirror_entry *mirror_after(const struct mirror *m, uint64_t seen)
{
	struct list *it = m->entries.next;

	while (it != &m->entries && entry_at(m, it)->change <= seen) {
		it = it->next;
	}
	return entry_at(m, it);
}
