/* A binary min-heap of due times over items that live in their owners' structures. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

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
 * The heap stays as it is, and what it costs depends on count (HEAP_MOST_VISITED at most) alone.
 */
enum { HEAP_MOST_VISITED = 512 };
void heap_visit(const struct heap *heap, size_t count,
    bool (*visit)(void *context, struct heap_item *item), void *context);

#endif
