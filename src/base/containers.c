/*
 * Intrusive containers: the nodes are embedded in the entries that they order or index, so the
 * queue allocates only when it accepts an entry, never at a point that must not fail.
 *
 * The heap is a binary min-heap by due time. Each node knows its own position, which makes removal
 * of an arbitrary entry O(log n); everything that moves a node goes through heap_place. Memory for
 * the array of pointers is reserved ahead of the push. heap_visit lists the first entries in order
 * without disturbing the heap: a small sorted frontier of positions whose parents were visited.
 *
 * The id table chains nodes in buckets, as many as the expected number of entries, and never grows.
 * Ids come from the backend; they are bounded and checked because they also name spool files.
 *
 * The table that forgets is an id table whose items also stand in the order of their use. They are
 * slots of one array, whose pages cost no memory until they are used; an item never moves.
 *
 * None of them locks: they belong to structures whose lock the caller holds.
 */
#include "base/containers.h"

#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void heap_fini(struct heap *heap)
{
    free((void *)heap->items);
    *heap = (struct heap){0};
}

int heap_reserve(struct heap *heap, size_t count, struct error *error)
{
    if (count <= heap->capacity)
        return 0;
    size_t capacity = count < 64 ? 64 : count * 2;
    struct heap_item **items = reallocarray((void *)heap->items, capacity, sizeof(void *));
    if (items == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for %zu due times", capacity);
    heap->items = items;
    heap->capacity = capacity;
    return 0;
}

/* Places are 1-based: the children of place p are 2p and 2p + 1. */
static void heap_place(struct heap *heap, size_t place, struct heap_item *item)
{
    heap->items[place - 1] = item;
    item->place = place;
}

/* Moves parents down until item fits at place or above. */
static void heap_sift_up(struct heap *heap, struct heap_item *item, size_t place)
{
    while (place > 1 && heap->items[place / 2 - 1]->due_ms > item->due_ms) {
        heap_place(heap, place, heap->items[place / 2 - 1]);
        place /= 2;
    }
    heap_place(heap, place, item);
}

/* Moves the earlier child up until item fits at place or below. */
static void heap_sift_down(struct heap *heap, struct heap_item *item, size_t place)
{
    for (size_t child = place * 2; child <= heap->count; child = place * 2) {
        if (child < heap->count && heap->items[child]->due_ms < heap->items[child - 1]->due_ms)
            child++;
        if (heap->items[child - 1]->due_ms >= item->due_ms)
            break;
        heap_place(heap, place, heap->items[child - 1]);
        place = child;
    }
    heap_place(heap, place, item);
}

void heap_push(struct heap *heap, struct heap_item *item, int64_t due_ms)
{
    assert(item->place == 0);
    assert(heap->count < heap->capacity);
    item->due_ms = due_ms;
    heap->count++;
    heap_sift_up(heap, item, heap->count);
}

struct heap_item *heap_first(const struct heap *heap)
{
    return heap->count > 0 ? heap->items[0] : NULL;
}

void heap_remove(struct heap *heap, struct heap_item *item)
{
    size_t place = item->place;
    assert(place >= 1 && place <= heap->count && heap->items[place - 1] == item);
    struct heap_item *last = heap->items[heap->count - 1];
    heap->count--;
    item->place = 0;
    if (last == item)
        return;
    if (last->due_ms < item->due_ms)
        heap_sift_up(heap, last, place);
    else
        heap_sift_down(heap, last, place);
}

void heap_keep(struct heap *heap, struct heap_item *item, bool wanted, int64_t due_ms)
{
    if (wanted && item->place == 0)
        heap_push(heap, item, due_ms);
    else if (!wanted && item->place != 0)
        heap_remove(heap, item);
}

/*
 * Inserts place, if the heap has it, into the count places of the frontier, which are sorted with
 * the item due first at the end. Returns the new count.
 */
static size_t heap_frontier_add(
    const struct heap *heap, size_t *frontier, size_t count, size_t place)
{
    if (place > heap->count)
        return count;
    size_t at = count;
    int64_t due_ms = heap->items[place - 1]->due_ms;
    while (at > 0 && heap->items[frontier[at - 1] - 1]->due_ms < due_ms) {
        frontier[at] = frontier[at - 1];
        at--;
    }
    frontier[at] = place;
    return count + 1;
}

void heap_visit(const struct heap *heap, size_t count,
    bool (*visit)(void *context, struct heap_item *item), void *context)
{
    assert(count <= HEAP_MAX_VISITED);
    /* Each visit removes one place and adds at most two, so the array cannot overflow. */
    size_t frontier[HEAP_MAX_VISITED + 1];
    size_t waiting = heap_frontier_add(heap, frontier, 0, 1);
    for (size_t visited = 0; visited < count && waiting > 0; visited++) {
        size_t place = frontier[--waiting];
        if (!visit(context, heap->items[place - 1]))
            return;
        waiting = heap_frontier_add(heap, frontier, waiting, place * 2);
        waiting = heap_frontier_add(heap, frontier, waiting, place * 2 + 1);
    }
}

bool id_is_valid(const char *text)
{
    size_t length = strspn(text, TEXT_LETTERS TEXT_DIGITS "_-");
    return length > 0 && length < ID_BYTES && text[length] == '\0';
}

int id_table_init(struct id_table *table, size_t items, struct error *error)
{
    /* A power of two, so that a mask picks the bucket. */
    size_t bucket_count = 64;
    while (bucket_count < items)
        bucket_count *= 2;
    table->bucket_count = bucket_count;
    table->buckets = (struct id_item **)calloc(bucket_count, sizeof(struct id_item *));
    if (table->buckets == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for a table of %zu ids", items);
    return 0;
}

void id_table_fini(struct id_table *table)
{
    free((void *)table->buckets);
    *table = (struct id_table){0};
}

/* FNV-1a, unseeded: the ids are assigned by the backend, not chosen by its users. */
uint64_t id_hash(const char *id)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * UINT64_C(1099511628211);
    return hash;
}

void id_pair_key(char key[static ID_BYTES], const char *one, const char *other)
{
    snprintf(key, ID_BYTES, "%016" PRIx64 "%016" PRIx64, id_hash(one), id_hash(other));
}

static struct id_item **id_bucket(const struct id_table *table, const char *id)
{
    return &table->buckets[id_hash(id) & (table->bucket_count - 1)];
}

struct id_item *id_table_find(const struct id_table *table, const char *id)
{
    struct id_item *item = *id_bucket(table, id);
    while (item != NULL && strcmp(item->id, id) != 0)
        item = item->next;
    return item;
}

void id_table_add(struct id_table *table, struct id_item *item)
{
    assert(id_table_find(table, item->id) == NULL);
    struct id_item **bucket = id_bucket(table, item->id);
    item->next = *bucket;
    *bucket = item;
}

void id_table_remove(struct id_table *table, struct id_item *item)
{
    struct id_item **link = id_bucket(table, item->id);
    while (*link != item) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = item->next;
    item->next = NULL;
}

int id_lru_init(struct id_lru *lru, size_t capacity, size_t item_bytes, struct error *error)
{
    *lru = (struct id_lru){.slot_bytes = item_bytes, .capacity = capacity};
    TAILQ_INIT(&lru->order);
    lru->slots = calloc(capacity, item_bytes);
    if (lru->slots == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for %zu ids", capacity);
    return id_table_init(&lru->table, capacity, error);
}

void id_lru_fini(struct id_lru *lru)
{
    id_table_fini(&lru->table);
    free(lru->slots);
    *lru = (struct id_lru){0};
}

void *id_lru_find(const struct id_lru *lru, const char *id)
{
    struct id_item *found = id_table_find(&lru->table, id);
    return found != NULL ? CONTAINER_OF(found, struct lru_item, item) : NULL;
}

/* A slot that nothing is in, if need be the least recently used one's. */
static struct lru_item *lru_take_slot(struct id_lru *lru)
{
    if (lru->used < lru->capacity)
        return (void *)(lru->slots + lru->slot_bytes * lru->used++);
    struct lru_item *oldest = TAILQ_FIRST(&lru->order);
    TAILQ_REMOVE(&lru->order, oldest, in_order);
    id_table_remove(&lru->table, &oldest->item);
    memset(oldest, 0, lru->slot_bytes);
    return oldest;
}

void *id_lru_use(struct id_lru *lru, const char *id)
{
    struct lru_item *item = id_lru_find(lru, id);
    if (item != NULL) {
        TAILQ_REMOVE(&lru->order, item, in_order);
    } else {
        item = lru_take_slot(lru);
        text_copy(item->item.id, sizeof item->item.id, id);
        id_table_add(&lru->table, &item->item);
    }
    TAILQ_INSERT_TAIL(&lru->order, item, in_order);
    return item;
}
