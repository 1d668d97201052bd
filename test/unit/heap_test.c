/* The heap of due times: order and invariants after every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/containers.h"

enum { ITEMS = 300, STEPS = 5000, DUE_TIMES = 100 };

static void test_empty_heap_has_no_first(void **state)
{
    (void)state;
    struct heap heap = {0};
    assert_null(heap_first(&heap));
    heap_fini(&heap);
    assert_int_equal(heap_reserve(&heap, 0, NULL), 0);
    assert_null(heap_first(&heap));
    heap_fini(&heap);
}

static void test_items_leave_in_order(void **state)
{
    (void)state;
    static const int64_t due_ms[] = {5, 3, 9, INT64_MAX, 3, 0, -7, 9, 1};
    static const int64_t order[] = {-7, 0, 1, 3, 3, 5, 9, 9, INT64_MAX};
    enum { COUNT = sizeof due_ms / sizeof due_ms[0] };
    struct heap_item items[COUNT] = {0};
    struct heap heap = {0};
    assert_int_equal(heap_reserve(&heap, COUNT, NULL), 0);
    for (size_t i = 0; i < COUNT; i++)
        heap_push(&heap, &items[i], due_ms[i]);
    for (size_t i = 0; i < COUNT; i++) {
        struct heap_item *first = heap_first(&heap);
        assert_true(first->due_ms == order[i]);
        heap_remove(&heap, first);
        assert_int_equal(first->place, 0);
    }
    assert_null(heap_first(&heap));
    heap_fini(&heap);
}

/* Every item knows its place, and none is due before its parent. */
static void check_heap(const struct heap *heap, size_t count)
{
    assert_int_equal(heap->count, count);
    for (size_t place = 1; place <= count; place++) {
        const struct heap_item *item = heap->items[place - 1];
        assert_int_equal(item->place, place);
        if (place > 1)
            assert_true(heap->items[place / 2 - 1]->due_ms <= item->due_ms);
    }
    assert_ptr_equal(heap_first(heap), count > 0 ? heap->items[0] : NULL);
}

/* Removals hit random places; many due times are equal. */
static void test_random_pushes_and_removals_keep_the_order(void **state)
{
    (void)state;
    static struct heap_item items[ITEMS];
    struct heap heap = {0};
    unsigned short random[3] = {1, 2, 3};
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        struct heap_item *item = &items[nrand48(random) % ITEMS];
        if (item->place == 0) {
            assert_int_equal(heap_reserve(&heap, ++count, NULL), 0);
            heap_push(&heap, item, nrand48(random) % DUE_TIMES);
        } else {
            heap_remove(&heap, item);
            count--;
        }
        check_heap(&heap, count);
    }
    heap_fini(&heap);
}

struct visits {
    int64_t due_ms[ITEMS];
    size_t count;
    size_t max;
};

static bool record_visit(void *context, struct heap_item *item)
{
    struct visits *visits = context;
    visits->due_ms[visits->count++] = item->due_ms;
    return visits->count < visits->max;
}

/* Visits the first items only, in order, until the callback or the limit stops it. */
static void test_visits_are_in_order_and_bounded(void **state)
{
    (void)state;
    struct heap_item items[ITEMS] = {0};
    struct heap heap = {0};
    assert_int_equal(heap_reserve(&heap, ITEMS, NULL), 0);
    for (int i = 0; i < ITEMS; i++)
        heap_push(&heap, &items[i], (int64_t)i * 7 % ITEMS);
    for (size_t max = 1; max <= ITEMS; max++) {
        struct visits visits = {.max = max};
        heap_visit(&heap, HEAP_MAX_VISITED, record_visit, &visits);
        assert_int_equal(visits.count, max);
        for (size_t i = 0; i < max; i++)
            assert_int_equal(visits.due_ms[i], i);
    }
    struct visits visits = {.max = ITEMS};
    heap_visit(&heap, 5, record_visit, &visits);
    assert_int_equal(visits.count, 5);
    check_heap(&heap, ITEMS);
    heap_fini(&heap);
    heap_visit(&heap, 5, record_visit, &visits);
    assert_int_equal(visits.count, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_heap_has_no_first),
        cmocka_unit_test(test_items_leave_in_order),
        cmocka_unit_test(test_random_pushes_and_removals_keep_the_order),
        cmocka_unit_test(test_visits_are_in_order_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
