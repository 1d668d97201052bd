#include "base/file_replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static bool write_all(int fd, const char *bytes, size_t length_bytes)
{
    while (length_bytes > 0) {
        ssize_t written = write(fd, bytes, length_bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        length_bytes -= (size_t)written;
    }
    return true;
}

int file_replace(int folder_fd, const char *name, const char *bytes, size_t length_bytes,
    bool durable, struct error *error)
{
    char temporary[NAME_MAX + 1];
    snprintf(temporary, sizeof temporary, "%s" FILE_REPLACE_SUFFIX, name);
    int fd =
        openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "%s cannot be made", temporary);
    bool written = write_all(fd, bytes, length_bytes) && (!durable || fsync(fd) == 0);
    int failure = errno;
    close(fd);
    if (written && renameat(folder_fd, temporary, folder_fd, name) == 0 &&
        (!durable || fsync(folder_fd) == 0))
        return 0;
    failure = written ? errno : failure;
    unlinkat(folder_fd, temporary, 0);
    return error_set_errno(error, ERROR_SYSTEM, failure, "%s cannot be written", name);
}
