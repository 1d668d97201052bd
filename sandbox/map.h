/* A hash map from strings to pointers. */
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

/* Frees the map, calling destroy (unless NULL) with every value, and leaves it empty. */
void map_fini(struct map *map, void (*destroy)(void *value));

/* Returns the value of key, or NULL. */
void *map_get(const struct map *map, const char *key);

/* Sets the value of key, which must not be NULL; a previous value is replaced and not freed. */
void map_set(struct map *map, const char *key, void *value);

/* Removes key and returns its value, or NULL. */
void *map_remove(struct map *map, const char *key);

#endif
