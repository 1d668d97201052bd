#include "map.h"

#include <stdint.h>

#include "memory.h"

enum { SMALLEST_BUCKET_COUNT = 64 };

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

static void grow(struct map *map)
{
    size_t bucket_count = map->bucket_count * 2;
    if (bucket_count < SMALLEST_BUCKET_COUNT)
        bucket_count = SMALLEST_BUCKET_COUNT;
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

/* Where the pointer to key's entry stands; it points to NULL when there is none. */
static struct map_entry **find(const struct map *map, const char *key, uint64_t hash)
{
    struct map_entry **place = &map->buckets[hash % map->bucket_count];
    while (*place != NULL && ((*place)->hash != hash || strcmp((*place)->key, key) != 0))
        place = &(*place)->next;
    return place;
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
    struct map_entry *entry = *find(map, key, hash_of(key));
    return entry == NULL ? NULL : entry->value;
}

void map_set(struct map *map, const char *key, void *value)
{
    if (map->count >= map->bucket_count)
        grow(map);
    uint64_t hash = hash_of(key);
    struct map_entry **place = find(map, key, hash);
    if (*place == NULL) {
        *place = memory_new(1, sizeof **place);
        (*place)->hash = hash;
        (*place)->key = memory_copy(key);
        map->count++;
    }
    (*place)->value = value;
}

void *map_remove(struct map *map, const char *key)
{
    if (map->count == 0)
        return NULL;
    struct map_entry **place = find(map, key, hash_of(key));
    struct map_entry *entry = *place;
    if (entry == NULL)
        return NULL;
    void *value = entry->value;
    *place = entry->next;
    free(entry->key);
    free(entry);
    map->count--;
    return value;
}
