/* Intrusive containers: a heap by due time, a hash table by id, and one that forgets. */
#ifndef BASE_CONTAINERS_H
#define BASE_CONTAINERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"

/* The structure of that type in which member is embedded at pointer. */
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* A binary min-heap by due time over items embedded in their owners' structures. */

/* Embedded in what waits. A zeroed item is not in any heap. */
struct heap_item {
    int64_t due_ms;
    size_t place; /* 1-based position in the heap, 0 while not in one */
};

/* Not thread-safe: guarded by its owner's lock. A zeroed heap is empty. */
struct heap {
    struct heap_item **items;
    size_t count;
    size_t capacity;
};

/* Frees the array, not the items, which belong to the callers that pushed them. */
void heap_fini(struct heap *heap);

/* Allocates room for count items in total, so that pushing cannot fail. ERROR_NO_MEMORY. */
int heap_reserve(struct heap *heap, size_t count, struct error *error);

/* Adds item, which must not be in a heap; room must have been reserved. O(log n). */
void heap_push(struct heap *heap, struct heap_item *item, int64_t due_ms);

/* The item due first, or NULL if the heap is empty. */
struct heap_item *heap_first(const struct heap *heap);

/* Removes item from the heap that it is in. O(log n). */
void heap_remove(struct heap *heap, struct heap_item *item);

/* Has the item in the heap, with that due time if it was not there yet, or not. O(log n). */
void heap_keep(struct heap *heap, struct heap_item *item, bool wanted, int64_t due_ms);

/*
 * Calls visit for up to count items (at most HEAP_MAX_VISITED) in the order of their due times,
 * until it returns false. The heap is unchanged; the cost depends on count, not on the heap's size.
 */
enum { HEAP_MAX_VISITED = 512 };
void heap_visit(const struct heap *heap, size_t count,
    bool (*visit)(void *context, struct heap_item *item), void *context);

/* Ids of the backend: opaque but bounded, as they key this table and name files in the spool. */

enum { ID_BYTES = 65 }; /* 64 characters and the NUL */

/* Whether text is 1 to 64 characters of [A-Za-z0-9_-]. Pure. */
bool id_is_valid(const char *text);

/* A number that stands for the text, spread evenly over its range; not against chosen texts. Pure.
 */
uint64_t id_hash(const char *id);

/*
 * Writes a key that stands for two ids, which together do not fit into one: a hash of each, so two
 * pairs share a key with a probability of 2^-128. Pure.
 */
void id_pair_key(char key[static ID_BYTES], const char *one, const char *other);

/* A hash table by id over items embedded in their owners' structures. Allocates only in init. */

/* Embedded. id is set before id_table_add and must not change while the item is in a table. */
struct id_item {
    char id[ID_BYTES];
    struct id_item *next;
};

/* Not thread-safe: guarded by its owner's lock. */
struct id_table {
    struct id_item **buckets;
    size_t bucket_count;
};

/* Creates a table sized for about that many items; more only slow it down. ERROR_NO_MEMORY. */
int id_table_init(struct id_table *table, size_t items, struct error *error);

/* Frees the table, not the items. */
void id_table_fini(struct id_table *table);

/* The item with that id, or NULL. */
struct id_item *id_table_find(const struct id_table *table, const char *id);

/* The id must not be in the table yet. */
void id_table_add(struct id_table *table, struct id_item *item);

/* item must be in the table. */
void id_table_remove(struct id_table *table, struct id_item *item);

/* A table of a fixed number of items, which drops the least recently used one when it is full. */

/* The first member of the items. */
struct lru_item {
    struct id_item item;
    TAILQ_ENTRY(lru_item) in_order;
};

TAILQ_HEAD(lru_list, lru_item);

/* Not thread-safe: guarded by its owner's lock. Has the memory of the items as well. */
struct id_lru {
    struct id_table table;
    struct lru_list order; /* least recently used first */
    char *slots;
    size_t slot_bytes;
    size_t capacity; /* in items */
    size_t used;
};

/* Creates a table of that many items of item_bytes each; all allocation is here. ERROR_NO_MEMORY.
 */
int id_lru_init(struct id_lru *lru, size_t capacity, size_t item_bytes, struct error *error);
void id_lru_fini(struct id_lru *lru);

/* The item with that id, or NULL. Does not count as a use. */
void *id_lru_find(const struct id_lru *lru, const char *id);

/* The item with that id, made the most recently used one; a new one is all zeros except its id. */
void *id_lru_use(struct id_lru *lru, const char *id);

#endif
