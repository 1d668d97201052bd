#include "base/id.h"

#include <string.h>

bool id_is_valid(const char *text)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strspn(text, allowed);
    return length > 0 && length < ID_BYTES && text[length] == '\0';
}
