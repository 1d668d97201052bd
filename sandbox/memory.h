/* Allocation that aborts the program, with a message, when there is no memory. */
#ifndef SANDBOX_MEMORY_H
#define SANDBOX_MEMORY_H

#include <jansson.h>
#include <stddef.h>

/* Allocates zeroed memory; never NULL. The caller frees it with free(). Any thread. */
void *memory_new(size_t count, size_t item_bytes);

/* Copies string, or "" for NULL; never NULL. The caller frees it. Any thread. */
char *memory_copy(const char *string);

/* Copies length_bytes of bytes and appends a NUL; never NULL. The caller frees it. */
char *memory_copy_bytes(const char *bytes, size_t length_bytes);

/* Copies string without white space at its ends; never NULL. The caller frees it. */
char *memory_copy_trimmed(const char *string);

/* Returns json, or aborts if it is NULL: for constructors that fail only without memory. */
json_t *memory_json(json_t *json);

/* Returns untrusted text as a new JSON string; text that is not UTF-8 becomes "(not UTF-8)". */
json_t *memory_json_text(const char *text);

/*
 * Serializes json compactly, with numbers as the backend prints them (50.0). The caller frees it.
 */
char *memory_json_dump(const json_t *json);

#endif
