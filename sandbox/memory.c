/*
 * Allocation that cannot fail. The sandbox is a test tool: out of memory it aborts, which a test
 * sees, rather than carry an error path through every handler.
 */
#include "memory.h"

#include "base/text.h"

static void abort_out_of_memory(void)
{
    fputs("mission-control-sandbox: out of memory\n", stderr);
    abort();
}

void *memory_new(size_t count, size_t item_bytes)
{
    void *memory = calloc(count, item_bytes);
    if (memory == NULL)
        abort_out_of_memory();
    return memory;
}

char *memory_copy(const char *string)
{
    return string == NULL ? memory_copy_bytes("", 0) : memory_copy_bytes(string, strlen(string));
}

char *memory_copy_bytes(const char *bytes, size_t length_bytes)
{
    char *copy = memory_new(length_bytes + 1, 1);
    memcpy(copy, bytes, length_bytes);
    return copy;
}

char *memory_copy_trimmed(const char *string)
{
    struct text_span trimmed = text_trim(string, strlen(string));
    return memory_copy_bytes(trimmed.bytes, trimmed.length_bytes);
}

json_t *memory_json(json_t *json)
{
    if (json == NULL)
        abort_out_of_memory();
    return json;
}

json_t *memory_json_text(const char *text)
{
    json_t *json = json_string(text);
    return json != NULL ? json : memory_json(json_string("(not UTF-8)"));
}

char *memory_json_dump(const json_t *json)
{
    /* 16 digits print the backend's times with three decimals, and 0.1 as 0.1. */
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(16));
    if (text == NULL)
        abort_out_of_memory();
    return text;
}
