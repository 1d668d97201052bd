/*
 * An array of pointers to documents. Listing functions collect the documents of an account, order
 * and cut them, as the queries of the backend do, whose orders and cuts are part of its answers.
 */
#include "rows.h"

#include "memory.h"

enum { FIRST_CAPACITY = 16 };

void rows_fini(struct rows *rows)
{
    free((void *)rows->items);
    *rows = (struct rows){0};
}

static void grow_rows(struct rows *rows)
{
    rows->capacity = rows->capacity == 0 ? FIRST_CAPACITY : 2 * rows->capacity;
    struct document **items = memory_new(rows->capacity, sizeof(struct document *));
    if (rows->count > 0)
        memcpy((void *)items, (void *)rows->items, rows->count * sizeof(struct document *));
    free((void *)rows->items);
    rows->items = items;
}

void rows_add(struct rows *rows, struct document *document)
{
    if (rows->count == rows->capacity)
        grow_rows(rows);
    rows->items[rows->count++] = document;
}

void rows_add_account(
    struct rows *rows, const struct store *store, enum table table, const char *account_id)
{
    struct document *document = NULL;
    TAILQ_FOREACH (document, &store->tables[table], siblings) {
        if (document_is(document, "accountId", account_id))
            rows_add(rows, document);
    }
}

static int compare_numbers(double one, double other)
{
    return one < other ? 1 : one > other ? -1 : 0;
}

static int compare_rows(const void *one, const void *other, void *argument)
{
    const char *key = *(const char *const *)argument;
    const struct document *first = *(struct document *const *)one;
    const struct document *second = *(struct document *const *)other;
    int order = compare_numbers(document_number(first, key), document_number(second, key));
    if (order != 0)
        return order;
    return compare_numbers(
        document_number(first, "_creationTime"), document_number(second, "_creationTime"));
}

void rows_sort(struct rows *rows, const char *key)
{
    if (rows->count > 1)
        qsort_r((void *)rows->items, rows->count, sizeof(struct document *), compare_rows,
            (void *)&key);
}

void rows_cut(struct rows *rows, size_t count)
{
    if (rows->count > count)
        rows->count = count;
}

void rows_write(const struct rows *rows, struct text *text)
{
    text_append(text, "[");
    for (size_t i = 0; i < rows->count; i++) {
        if (i > 0)
            text_append(text, ",");
        document_write(rows->items[i], text);
    }
    text_append(text, "]");
}
