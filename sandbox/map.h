/* A hash map from strings to pointers, for the ids and keys of the store. */
#ifndef SANDBOX_MAP_H
#define SANDBOX_MAP_H

#include <stddef.h>

struct map_entry;

/* Zero-initialise. Not thread-safe. The map copies keys and never owns values. */
struct map {
    struct map_entry **buckets;
    size_t bucket_count;
    size_t count;
};

/* Frees the map; destroy, unless NULL, is called with every value. The map is empty again. */
void map_fini(struct map *map, void (*destroy)(void *value));

/* The value under key, or NULL. */
void *map_get(const struct map *map, const char *key);

/* Stores value, not NULL, under key; an earlier value is replaced. */
void map_set(struct map *map, const char *key, void *value);

/* Removes key and returns its value, or NULL. */
void *map_remove(struct map *map, const char *key);

#endif
