#include "queue/id_table.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int id_table_init(struct id_table *table, size_t items, struct error *error)
{
    size_t bucket_count = 64;
    while (bucket_count < items)
        bucket_count *= 2;
    table->bucket_count = bucket_count;
    table->buckets = (struct id_item **)calloc(bucket_count, sizeof(struct id_item *));
    if (table->buckets == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for a table of %zu ids", items);
    return 0;
}

void id_table_fini(struct id_table *table)
{
    free((void *)table->buckets);
    *table = (struct id_table){0};
}

/* FNV-1a. */
static struct id_item **bucket_of(const struct id_table *table, const char *id)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * UINT64_C(1099511628211);
    return &table->buckets[hash & (table->bucket_count - 1)];
}

struct id_item *id_table_find(const struct id_table *table, const char *id)
{
    struct id_item *item = *bucket_of(table, id);
    while (item != NULL && strcmp(item->id, id) != 0)
        item = item->next;
    return item;
}

void id_table_add(struct id_table *table, struct id_item *item)
{
    assert(id_table_find(table, item->id) == NULL);
    struct id_item **bucket = bucket_of(table, item->id);
    item->next = *bucket;
    *bucket = item;
}

void id_table_remove(struct id_table *table, struct id_item *item)
{
    struct id_item **link = bucket_of(table, item->id);
    while (*link != item) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = item->next;
    item->next = NULL;
}
