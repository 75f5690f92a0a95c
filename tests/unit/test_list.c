/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/list.h"

struct item {
	int value;
	struct list link;
};

/* The values in order as one decimal number: 1, 2, 3 is 123. */
static int digits(struct list *head)
{
	int number = 0;

	LIST_EACH (const struct item, item, link, head) {
		number = number * 10 + item->value;
	}
	return number;
}

static void a_new_list_is_empty(void **state)
{
	struct list head;

	(void)state;
	list_init(&head);
	assert_true(list_is_empty(&head));
	assert_int_equal(digits(&head), 0);
}

static void appending_keeps_the_order(void **state)
{
	struct list head;
	struct item items[] = { { .value = 1 }, { .value = 2 }, { .value = 3 } };

	(void)state;
	list_init(&head);
	for (size_t i = 0; i < 3; i++) {
		list_append(&head, &items[i].link);
	}
	assert_false(list_is_empty(&head));
	assert_int_equal(digits(&head), 123);
}

static void removing_twice_is_harmless(void **state)
{
	struct list head;
	struct item items[] = { { .value = 1 }, { .value = 2 }, { .value = 3 } };

	(void)state;
	list_init(&head);
	for (size_t i = 0; i < 3; i++) {
		list_append(&head, &items[i].link);
	}
	list_remove(&items[1].link);
	list_remove(&items[1].link);
	assert_int_equal(digits(&head), 13);
}

static void a_walk_may_remove_what_it_stands_on(void **state)
{
	struct list head;
	struct item items[] = { { .value = 1 }, { .value = 2 }, { .value = 3 } };
	int visited = 0;

	(void)state;
	list_init(&head);
	for (size_t i = 0; i < 3; i++) {
		list_append(&head, &items[i].link);
	}
	LIST_EACH (struct item, item, link, &head) {
		list_remove(&item->link);
		visited++;
	}
	assert_int_equal(visited, 3);
	assert_true(list_is_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_list_is_empty),
		cmocka_unit_test(appending_keeps_the_order),
		cmocka_unit_test(removing_twice_is_harmless),
		cmocka_unit_test(a_walk_may_remove_what_it_stands_on),
	};

	return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
