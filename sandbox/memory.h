/* Allocation for a program that has no use for going on without memory: it says so and aborts. */
#ifndef SANDBOX_MEMORY_H
#define SANDBOX_MEMORY_H

#include <jansson.h>
#include <stddef.h>

/* Zeroed memory, never NULL. The caller frees it with free(). Any thread. */
void *memory_new(size_t count, size_t item_bytes);

/* A copy of string, never NULL; NULL gives an empty string. The caller frees it. Any thread. */
char *memory_copy(const char *string);

/* The first length_bytes of bytes as a NUL-ended copy, never NULL. The caller frees it. */
char *memory_copy_bytes(const char *bytes, size_t length_bytes);

/* Returns json, or aborts when it is NULL: for values that only a lack of memory can refuse. */
json_t *memory_json(json_t *json);

/* A new JSON string of text from the outside; what is not UTF-8 becomes "(not UTF-8)". */
json_t *memory_json_text(const char *text);

/* json as compact text with numbers as the backend prints them (50.0). The caller frees it. */
char *memory_json_dump(const json_t *json);

#endif
