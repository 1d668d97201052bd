/* Small files read as a whole. */
#ifndef BASE_FILE_READ_H
#define BASE_FILE_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct file_content {
    char *bytes; /* the caller's to free; NUL-ended behind length_bytes */
    size_t length_bytes;
    bool is_public; /* a regular file that every user of the machine may read */
};

/*
 * Reads the whole file at path, a regular one or a pipe; a pipe that nobody writes to is empty.
 * Errors: ERROR_SYSTEM, ERROR_TOO_LARGE for more than limit_bytes, ERROR_NO_MEMORY; the text names
 * the path, and nothing is to be freed. Blocks as the file does. Any thread.
 */
int file_read(
    const char *path, size_t limit_bytes, struct file_content *content, struct error *error);

#endif
