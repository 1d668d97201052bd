#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, enum error_code code, const char *format, ...)
{
    if (error == NULL)
        return code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    error->code = code;
    return code;
}

int error_set_errno(
    struct error *error, enum error_code code, int errno_value, const char *format, ...)
{
    if (error == NULL)
        return code;
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (written >= 0 && (size_t)written < sizeof error->text) {
        size_t used = (size_t)written;
        snprintf(error->text + used, sizeof error->text - used, ": %s", strerror(errno_value));
    }
    error->code = code;
    return code;
}

int error_wrap(struct error *error, const char *format, ...)
{
    char inner[ERROR_TEXT_BYTES];
    memcpy(inner, error->text, sizeof inner);
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (written >= 0 && (size_t)written < sizeof error->text) {
        size_t used = (size_t)written;
        snprintf(error->text + used, sizeof error->text - used, ": %.*s",
            (int)(sizeof error->text - used - 1), inner);
    }
    return error->code;
}
