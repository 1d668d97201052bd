#include "base/file_read.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

enum { QUOTED_PATH_BYTES = 256 };

/* Reads up to size bytes, fewer only at the end of the file. Returns the number, or -1. */
static ssize_t read_fully(int descriptor, char *bytes, size_t size)
{
    size_t used = 0;
    while (used < size) {
        ssize_t count = read(descriptor, bytes + used, size - used);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        if (count == 0)
            break;
        used += (size_t)count;
    }
    return (ssize_t)used;
}

static int read_descriptor(int descriptor, const char *quoted_path, size_t limit_bytes,
    struct file_content *content, struct error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot read %s", quoted_path);
    /* One byte more than allowed tells a file that is too large; another is for the NUL. */
    char *bytes = malloc(limit_bytes + 2);
    if (bytes == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory to read %s", quoted_path);
    int result = 0;
    ssize_t length = read_fully(descriptor, bytes, limit_bytes + 1);
    if (length < 0)
        result = error_set_errno(error, ERROR_SYSTEM, errno, "cannot read %s", quoted_path);
    else if ((size_t)length > limit_bytes)
        result = error_set(
            error, ERROR_TOO_LARGE, "%s is larger than %zu bytes", quoted_path, limit_bytes);
    if (result != 0) {
        free(bytes);
        return result;
    }
    bytes[length] = '\0';
    content->bytes = bytes;
    content->length_bytes = (size_t)length;
    content->is_public = S_ISREG(status.st_mode) && (status.st_mode & S_IROTH) != 0;
    return 0;
}

int file_read(
    const char *path, size_t limit_bytes, struct file_content *content, struct error *error)
{
    assert(limit_bytes < SIZE_MAX / 2);
    char quoted_path[QUOTED_PATH_BYTES];
    text_quote(quoted_path, sizeof quoted_path, path, strlen(path));
    /* Else the opening of a pipe that nobody writes to, as after the start, would not return. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || fcntl(descriptor, F_SETFL, 0) != 0) {
        error_set_errno(error, ERROR_SYSTEM, errno, "cannot read %s", quoted_path);
        if (descriptor >= 0)
            close(descriptor);
        return ERROR_SYSTEM;
    }
    int result = read_descriptor(descriptor, quoted_path, limit_bytes, content, error);
    close(descriptor);
    return result;
}
