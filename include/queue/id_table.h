/* A hash table by id over items that live in their owners' structures. Never allocates once made.
 */
#ifndef QUEUE_ID_TABLE_H
#define QUEUE_ID_TABLE_H

#include <stddef.h>

#include "base/error.h"
#include "base/id.h"

/* Embedded. id is set before id_table_add and stays while the item is in a table. */
struct id_item {
    char id[ID_BYTES];
    struct id_item *next;
};

/* Not thread-safe: its owner's lock guards it. */
struct id_table {
    struct id_item **buckets;
    size_t bucket_count;
};

/* Makes a table that works well for up to items items. ERROR_NO_MEMORY. */
int id_table_init(struct id_table *table, size_t items, struct error *error);

/* Frees the table, not the items. */
void id_table_fini(struct id_table *table);

/* NULL when there is none. */
struct id_item *id_table_find(const struct id_table *table, const char *id);

/* No item of that id may be there yet. */
void id_table_add(struct id_table *table, struct id_item *item);

/* item must be there. */
void id_table_remove(struct id_table *table, struct id_item *item);

#endif
