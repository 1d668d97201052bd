/* Ids: validity, and the hash table by id. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_ids_are_safe_file_names),
        cmocka_unit_test(test_items_are_found_until_removed),
        cmocka_unit_test(test_prefixes_and_empty_ids_are_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
