/* From a member back to the structure that it is embedded in. */
#ifndef BASE_CONTAINERS_H
#define BASE_CONTAINERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The structure of that type whose member is at pointer. */
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* A binary min-heap of due times over items that live in their owners' structures. */

/* Embedded in the thing that waits. A zeroed item is in no heap. */
struct heap_item {
    int64_t due_ms;
    size_t place; /* 1-based position in the heap, 0 while in none */
};

/* Not thread-safe: its owner's lock guards it. A zeroed heap is empty. */
struct heap {
    struct heap_item **items;
    size_t count;
    size_t capacity;
};

/* Frees the heap's own memory, not the items, which belong to those who pushed them. */
void heap_fini(struct heap *heap);

/* Makes room for count items in all, so that the next pushes cannot fail. ERROR_NO_MEMORY. */
int heap_reserve(struct heap *heap, size_t count, struct error *error);

/* Adds item, which must be in no heap; room must have been reserved. O(log n). */
void heap_push(struct heap *heap, struct heap_item *item, int64_t due_ms);

/* The item due first, or NULL. */
struct heap_item *heap_first(const struct heap *heap);

/* Takes item out of the heap it is in. O(log n). */
void heap_remove(struct heap *heap, struct heap_item *item);

/*
 * Shows items to visit, the one due first first, until it returns false, count were shown, or all.
 * The heap stays as it is, and what it costs depends on count (HEAP_MAX_VISITED at most) alone.
 */
enum { HEAP_MAX_VISITED = 512 };
void heap_visit(const struct heap *heap, size_t count,
    bool (*visit)(void *context, struct heap_item *item), void *context);

/* The backend's ids: opaque, but bounded, since they name table rows here and files in the spool.
 */

enum { ID_BYTES = 65 }; /* 64 characters and the closing NUL */

/* Whether text is 1 to 64 characters of [A-Za-z0-9_-]. Pure. */
bool id_is_valid(const char *text);

/* A hash table by id over items that live in their owners' structures. Never allocates once made.
 */

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
