#include "base/file_replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const char *bytes, size_t length_bytes, size_t offset)
{
    while (length_bytes > 0) {
        ssize_t written = pwrite(fd, bytes, length_bytes, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        offset += (size_t)written;
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
    bool written = write_all(fd, bytes, length_bytes, 0) && (!durable || fsync(fd) == 0);
    int failure = errno;
    close(fd);
    if (written && renameat(folder_fd, temporary, folder_fd, name) == 0 &&
        (!durable || fsync(folder_fd) == 0))
        return 0;
    failure = written ? errno : failure;
    unlinkat(folder_fd, temporary, 0);
    return error_set_errno(error, ERROR_SYSTEM, failure, "%s cannot be written", name);
}

static bool has_length(int fd, size_t length_bytes)
{
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISREG(found.st_mode) &&
           (size_t)found.st_size == length_bytes;
}

bool file_replace_end(
    int folder_fd, const char *name, size_t kept_bytes, const char *old_end, const char *new_end)
{
    size_t old_bytes = strlen(old_end);
    int fd = openat(folder_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool fits = has_length(fd, kept_bytes + old_bytes);
    bool written = fits && write_all(fd, new_end, strlen(new_end), kept_bytes) && fsync(fd) == 0;
    /* Should this fail, too, nothing more can be done for the file. */
    bool restored = fits && !written && write_all(fd, old_end, old_bytes, kept_bytes) &&
                    ftruncate(fd, (off_t)(kept_bytes + old_bytes)) == 0;
    (void)restored;
    close(fd);
    return written;
}
