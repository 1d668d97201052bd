/* Any bytes as a .env file: variables with valid names, or one-line problems. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "config/env_file.h"

static const char name_characters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";

static void check_entry(const struct env_file *file, const struct env_entry *entry)
{
    assert(entry->name[0] != '\0');
    assert(entry->name[strspn(entry->name, name_characters)] == '\0');
    assert(env_file_find(file, entry->name) == entry);
    assert(entry->line > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct env_file file = {0};
    struct problems problems = {0};
    int result = env_file_parse(&file, "x.env", (const char *)data, size, &problems);
    assert(result == 0 || problems_have_error(&problems));
    assert(result == 0 || result == ERROR_INVALID || result == ERROR_TOO_LARGE);
    for (size_t i = 0; result == 0 && i < file.count; i++)
        check_entry(&file, &file.entries[i]);
    for (size_t i = 0; i < problems.count; i++)
        assert(strchr(problems.items[i].text, '\n') == NULL);
    env_file_fini(&file);
    problems_fini(&problems);
    return 0;
}
