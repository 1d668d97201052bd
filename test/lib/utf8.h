/* UTF-8 checks for tests and fuzz targets; inline, as the latter link no test library. */
#ifndef TEST_LIB_UTF8_H
#define TEST_LIB_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

static inline bool utf8_is_valid(const char *bytes, size_t length_bytes)
{
    for (size_t at = 0; at < length_bytes;) {
        size_t step = text_utf8_length(bytes + at, length_bytes - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

/* Whether the bytes are UTF-8 without ASCII control characters, so that they fit on one line. */
static inline bool utf8_is_one_line(const char *bytes, size_t length_bytes)
{
    for (size_t i = 0; i < length_bytes; i++)
        if ((unsigned char)bytes[i] < ' ' || bytes[i] == 0x7F)
            return false;
    return utf8_is_valid(bytes, length_bytes);
}

#endif
