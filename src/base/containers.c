#include "base/containers.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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
        return error_set(error, ERROR_NO_MEMORY, "no memory for %zu due times", capacity);
    heap->items = items;
    heap->capacity = capacity;
    return 0;
}

/* Places are 1-based: the children of place p are 2p and 2p + 1. */
static void put(struct heap *heap, size_t place, struct heap_item *item)
{
    heap->items[place - 1] = item;
    item->place = place;
}

static void sift_up(struct heap *heap, struct heap_item *item, size_t place)
{
    while (place > 1 && heap->items[place / 2 - 1]->due_ms > item->due_ms) {
        put(heap, place, heap->items[place / 2 - 1]);
        place /= 2;
    }
    put(heap, place, item);
}

static void sift_down(struct heap *heap, struct heap_item *item, size_t place)
{
    for (size_t child = place * 2; child <= heap->count; child = place * 2) {
        if (child < heap->count && heap->items[child]->due_ms < heap->items[child - 1]->due_ms)
            child++;
        if (heap->items[child - 1]->due_ms >= item->due_ms)
            break;
        put(heap, place, heap->items[child - 1]);
        place = child;
    }
    put(heap, place, item);
}

void heap_push(struct heap *heap, struct heap_item *item, int64_t due_ms)
{
    assert(item->place == 0);
    assert(heap->count < heap->capacity);
    item->due_ms = due_ms;
    heap->count++;
    sift_up(heap, item, heap->count);
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
        sift_up(heap, last, place);
    else
        sift_down(heap, last, place);
}

/* Places whose items come next, the one due first last. */
struct frontier {
    size_t places[HEAP_MAX_VISITED + 1];
    size_t count;
};

static void frontier_add(struct frontier *frontier, const struct heap *heap, size_t place)
{
    if (place > heap->count)
        return;
    size_t at = frontier->count++;
    int64_t due_ms = heap->items[place - 1]->due_ms;
    while (at > 0 && heap->items[frontier->places[at - 1] - 1]->due_ms < due_ms) {
        frontier->places[at] = frontier->places[at - 1];
        at--;
    }
    frontier->places[at] = place;
}

void heap_visit(const struct heap *heap, size_t count,
    bool (*visit)(void *context, struct heap_item *item), void *context)
{
    assert(count <= HEAP_MAX_VISITED);
    struct frontier frontier;
    frontier.count = 0;
    frontier_add(&frontier, heap, 1);
    /* Each visit takes one place and adds two at most, so there is always room. */
    for (size_t visited = 0; visited < count && frontier.count > 0; visited++) {
        size_t place = frontier.places[--frontier.count];
        if (!visit(context, heap->items[place - 1]))
            return;
        frontier_add(&frontier, heap, place * 2);
        frontier_add(&frontier, heap, place * 2 + 1);
    }
}

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

bool id_is_valid(const char *text)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strspn(text, allowed);
    return length > 0 && length < ID_BYTES && text[length] == '\0';
}
