/* Both read the text only as far as the limit, which is short where it matters. */
#include "utf16.h"

#include <string.h>

#include "base/text.h"
#include "memory.h"

bool utf16_exceeds(const char *string, size_t limit)
{
    size_t length_bytes = strlen(string);
    return text_utf16_cut(string, length_bytes, limit) < length_bytes;
}

json_t *utf16_excerpt(const char *string, size_t limit)
{
    size_t length_bytes = text_utf16_cut(string, strlen(string), limit);
    if (string[length_bytes] == '\0')
        return memory_json_text(string);
    struct text excerpt = {0};
    text_append_bytes(&excerpt, string, length_bytes);
    text_append(&excerpt, "…");
    json_t *json = memory_json_text(excerpt.data);
    text_fini(&excerpt);
    return json;
}
