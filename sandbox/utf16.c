/* A character of four bytes in UTF-8 has two units in UTF-16, any other one. */
#include "utf16.h"

#include "base/text.h"
#include "memory.h"

/* Units of the character whose first byte is given; 0 for one of its further bytes. */
static size_t unit_count(unsigned char byte)
{
    if ((byte & 0xc0) == 0x80)
        return 0;
    return byte >= 0xf0 ? 2 : 1;
}

size_t utf16_length(const char *string)
{
    size_t units = 0;
    for (; *string != '\0'; string++)
        units += unit_count((unsigned char)*string);
    return units;
}

size_t utf16_prefix(const char *string, size_t limit)
{
    size_t units = 0;
    const char *at = string;
    for (; *at != '\0'; at++) {
        units += unit_count((unsigned char)*at);
        if (units > limit)
            break;
    }
    return (size_t)(at - string);
}

json_t *utf16_excerpt(const char *string, size_t limit)
{
    size_t length = utf16_prefix(string, limit);
    if (string[length] == '\0')
        return memory_json_text(string);
    struct text excerpt = {0};
    text_append_bytes(&excerpt, string, length);
    text_append(&excerpt, "…");
    json_t *json = memory_json_text(excerpt.data);
    text_fini(&excerpt);
    return json;
}
