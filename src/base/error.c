/*
 * An error travels up the call chain in a struct error that the outermost caller owns, usually on
 * its stack. The function that fails fills it in with error_set or error_set_errno; each caller
 * that knows more may prefix context with error_wrap. Nothing here allocates, so running out of
 * memory can be reported like everything else, and a text that is too long is truncated.
 */
#include "base/error.h"

#include <errno.h>
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

/* written is what vsnprintf returned for the text so far; a full buffer gets no cause. */
static void error_append_cause(struct error *error, int written, const char *cause)
{
    if (written < 0 || (size_t)written >= sizeof error->text)
        return;
    size_t used = (size_t)written;
    snprintf(error->text + used, sizeof error->text - used, ": %.*s",
        (int)(sizeof error->text - used - 1), cause);
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
    error_append_cause(error, written, strerror(errno_value));
    error->code = code;
    return code;
}

enum error_code error_code_of_path(int errno_value)
{
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case EINVAL:
        return ERROR_INVALID;
    default:
        return ERROR_SYSTEM;
    }
}

void error_copy_stable(char *destination, unsigned long destination_bytes, const char *text)
{
    static const char mark[] = "[Request ID: ";
    const char *id = strstr(text, mark);
    const char *end = id != NULL ? strchr(id, ']') : NULL;
    if (end == NULL)
        snprintf(destination, destination_bytes, "%s", text);
    else
        snprintf(destination, destination_bytes, "%.*s%s", (int)(id - text), text,
            end + 1 + strspn(end + 1, " "));
}

int error_wrap(struct error *error, const char *format, ...)
{
    /* A copy, since the new text is written over the old one. */
    char inner[ERROR_TEXT_BYTES];
    memcpy(inner, error->text, sizeof inner);
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    error_append_cause(error, written, inner);
    return error->code;
}
