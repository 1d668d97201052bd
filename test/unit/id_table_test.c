/* Ids: validity, the hash table by id, and the one that drops what was not used for longest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/containers.h"

static void test_valid_ids_are_safe_file_names(void **state)
{
    (void)state;
    char max[ID_BYTES + 1];
    memset(max, 'x', ID_BYTES);
    max[ID_BYTES] = '\0';
    assert_false(id_is_valid(max));
    max[ID_BYTES - 1] = '\0';
    assert_true(id_is_valid(max));
    static const char *const valid[] = {"a", "0", "k57abcXYZ", "_", "-", "a-b_c"};
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++)
        assert_true(id_is_valid(valid[i]));
    static const char *const wrong[] = {
        "", " ", "a b", "a/b", "..", "a.b", "a\n", "\xC3\xA4", "a%"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(id_is_valid(wrong[i]));
}

/* More items than buckets, so that chains are long. */
static void test_items_are_found_until_removed(void **state)
{
    (void)state;
    enum { ITEMS = 1000 };
    static struct id_item items[ITEMS];
    struct id_table table;
    struct error error;
    assert_int_equal(id_table_init(&table, 0, &error), 0);
    for (size_t i = 0; i < ITEMS; i++) {
        snprintf(items[i].id, sizeof items[i].id, "id-%zu", i);
        assert_null(id_table_find(&table, items[i].id));
        id_table_add(&table, &items[i]);
    }
    for (size_t i = 0; i < ITEMS; i++)
        assert_ptr_equal(id_table_find(&table, items[i].id), &items[i]);
    for (size_t i = 0; i < ITEMS; i += 3)
        id_table_remove(&table, &items[i]);
    for (size_t i = 0; i < ITEMS; i++)
        assert_ptr_equal(id_table_find(&table, items[i].id), i % 3 == 0 ? NULL : &items[i]);
    id_table_add(&table, &items[0]);
    assert_ptr_equal(id_table_find(&table, "id-0"), &items[0]);
    id_table_fini(&table);
}

static void test_prefixes_and_empty_ids_are_distinct(void **state)
{
    (void)state;
    struct id_item items[] = {{.id = ""}, {.id = "a"}, {.id = "ab"}};
    struct id_table table;
    struct error error;
    assert_int_equal(id_table_init(&table, 3, &error), 0);
    for (size_t i = 0; i < 3; i++)
        id_table_add(&table, &items[i]);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(id_table_find(&table, items[i].id), &items[i]);
    assert_null(id_table_find(&table, "A"));
    id_table_fini(&table);
}

struct slot {
    struct lru_item item;
    int value;
};

static void use_slot(struct id_lru *lru, const char *id, int value)
{
    struct slot *slot = id_lru_use(lru, id);
    assert_string_equal(slot->item.item.id, id);
    slot->value = value;
}

static void expect_slot(const struct id_lru *lru, const char *id, int value)
{
    const struct slot *slot = id_lru_find(lru, id);
    if (slot == NULL || slot->value != value)
        fail_msg("%s: %d instead of %d", id, slot != NULL ? slot->value : -1, value);
}

/* Looking is not using, or the last one dropped would be another. */
static void test_least_recently_used_one_makes_room(void **state)
{
    (void)state;
    struct id_lru lru;
    assert_int_equal(id_lru_init(&lru, 3, sizeof(struct slot), NULL), 0);
    assert_null(id_lru_find(&lru, "a"));
    use_slot(&lru, "a", 1);
    use_slot(&lru, "b", 2);
    use_slot(&lru, "c", 3);
    use_slot(&lru, "a", 4);
    expect_slot(&lru, "b", 2);
    const struct slot *fresh = id_lru_use(&lru, "d");
    assert_int_equal(fresh->value, 0);
    assert_null(id_lru_find(&lru, "b"));
    expect_slot(&lru, "a", 4);
    expect_slot(&lru, "c", 3);
    use_slot(&lru, "e", 5);
    assert_null(id_lru_find(&lru, "c"));
    expect_slot(&lru, "a", 4);
    expect_slot(&lru, "d", 0);
    assert_int_equal(lru.used, 3);
    const struct lru_item *first = TAILQ_FIRST(&lru.order);
    assert_string_equal(first->item.id, "a");
    id_lru_fini(&lru);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_ids_are_safe_file_names),
        cmocka_unit_test(test_items_are_found_until_removed),
        cmocka_unit_test(test_prefixes_and_empty_ids_are_distinct),
        cmocka_unit_test(test_least_recently_used_one_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
