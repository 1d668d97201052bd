/*
 * A chained hash table that doubles when there is an entry per bucket. It only grows: the
 * sandbox's tables are filled once and then live until a reset.
 */
#include "map.h"

#include <stdint.h>

#include "memory.h"

enum { MIN_BUCKET_COUNT = 64 };

struct map_entry {
    struct map_entry *next;
    void *value;
    uint64_t hash;
    char *key;
};

/* FNV-1a, 64 bit. */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = 14695981039346656037U;
    for (const unsigned char *byte = (const unsigned char *)key; *byte != '\0'; byte++)
        hash = (hash ^ *byte) * 1099511628211U;
    return hash;
}

static void grow_buckets(struct map *map)
{
    size_t bucket_count = map->bucket_count * 2;
    if (bucket_count < MIN_BUCKET_COUNT)
        bucket_count = MIN_BUCKET_COUNT;
    struct map_entry **buckets = memory_new(bucket_count, sizeof(struct map_entry *));
    for (size_t i = 0; i < map->bucket_count; i++) {
        struct map_entry *next;
        for (struct map_entry *entry = map->buckets[i]; entry != NULL; entry = next) {
            next = entry->next;
            entry->next = buckets[entry->hash % bucket_count];
            buckets[entry->hash % bucket_count] = entry;
        }
    }
    free(map->buckets);
    map->buckets = buckets;
    map->bucket_count = bucket_count;
}

/* Returns the link to key's entry, or the NULL link to append it to. */
static struct map_entry **find_slot(const struct map *map, const char *key, uint64_t hash)
{
    struct map_entry **slot = &map->buckets[hash % map->bucket_count];
    while (*slot != NULL && ((*slot)->hash != hash || strcmp((*slot)->key, key) != 0))
        slot = &(*slot)->next;
    return slot;
}

void map_fini(struct map *map, void (*destroy)(void *value))
{
    for (size_t i = 0; i < map->bucket_count; i++) {
        struct map_entry *next;
        for (struct map_entry *entry = map->buckets[i]; entry != NULL; entry = next) {
            next = entry->next;
            if (destroy != NULL)
                destroy(entry->value);
            free(entry->key);
            free(entry);
        }
    }
    free(map->buckets);
    *map = (struct map){0};
}

void *map_get(const struct map *map, const char *key)
{
    if (map->count == 0)
        return NULL;
    struct map_entry *entry = *find_slot(map, key, hash_of(key));
    return entry == NULL ? NULL : entry->value;
}

void map_set(struct map *map, const char *key, void *value)
{
    if (map->count >= map->bucket_count)
        grow_buckets(map);
    uint64_t hash = hash_of(key);
    struct map_entry **slot = find_slot(map, key, hash);
    if (*slot == NULL) {
        *slot = memory_new(1, sizeof **slot);
        (*slot)->hash = hash;
        (*slot)->key = memory_copy(key);
        map->count++;
    }
    (*slot)->value = value;
}

void *map_remove(struct map *map, const char *key)
{
    if (map->count == 0)
        return NULL;
    struct map_entry **slot = find_slot(map, key, hash_of(key));
    struct map_entry *entry = *slot;
    if (entry == NULL)
        return NULL;
    void *value = entry->value;
    *slot = entry->next;
    free(entry->key);
    free(entry);
    map->count--;
    return value;
}
