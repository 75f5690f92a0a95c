/* SPDX-License-Identifier: MIT */
/*
 * Doubly linked ring with the links inside the elements. A list head is a `struct list` that
 * points to itself when empty. An element that is in no list points to itself too, so removing
 * twice is harmless.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

#include "base/mem.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *item)
{
	item->prev = head->prev;
	item->next = head;
	head->prev->next = item;
	head->prev = item;
}

static inline void list_remove(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

#define LIST_ITEM(link, type, member) CONTAINER_OF(link, type, member)

/*
 * `item` is each `type` whose `member` is in the list. The body may remove it, nothing else: the
 * next one is read before the body runs.
 */
#define LIST_EACH(type, item, member, head) \
	for (type *item = LIST_ITEM((head)->next, type, member), \
		  *item##_next = LIST_ITEM(item->member.next, type, member); \
	     &item->member != (head); \
	     item = item##_next, item##_next = LIST_ITEM(item->member.next, type, member))

#endif
