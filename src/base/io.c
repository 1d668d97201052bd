#include "base/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sync.h"
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
    content->world_readable = S_ISREG(status.st_mode) && (status.st_mode & S_IROTH) != 0;
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

int file_replace(int dir_fd, const char *name, const char *bytes, size_t length_bytes, bool durable,
    struct error *error)
{
    char temporary[NAME_MAX + 1];
    snprintf(temporary, sizeof temporary, "%s" FILE_REPLACE_SUFFIX, name);
    int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "%s cannot be made", temporary);
    bool written = write_all(fd, bytes, length_bytes, 0) && (!durable || fsync(fd) == 0);
    int failure = errno;
    close(fd);
    if (written && renameat(dir_fd, temporary, dir_fd, name) == 0 &&
        (!durable || fsync(dir_fd) == 0))
        return 0;
    failure = written ? errno : failure;
    unlinkat(dir_fd, temporary, 0);
    return error_set_errno(error, ERROR_SYSTEM, failure, "%s cannot be written", name);
}

static bool has_length(int fd, size_t length_bytes)
{
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISREG(found.st_mode) &&
           (size_t)found.st_size == length_bytes;
}

bool file_replace_end(
    int dir_fd, const char *name, size_t kept_bytes, const char *old_end, const char *new_end)
{
    size_t old_bytes = strlen(old_end);
    int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
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

uint64_t dir_sync_next(const struct dir_sync *sync)
{
    return atomic_load(&sync->begun) + 1;
}

static void note_reached(struct dir_sync *sync, uint64_t number)
{
    uint64_t reached = atomic_load(&sync->reached);
    while (reached < number && !atomic_compare_exchange_weak(&sync->reached, &reached, number))
        continue;
}

bool dir_sync_ensure(struct dir_sync *sync, uint64_t number)
{
    if (number != 0 && atomic_load(&sync->reached) >= number)
        return true;
    uint64_t own = atomic_fetch_add(&sync->begun, 1) + 1;
    if (fsync(sync->dir_fd) != 0)
        return false;
    note_reached(sync, own);
    return true;
}

/* What poll is to wait; INT_MAX may stand for more. */
static int wait_until_ms(int64_t deadline_ms)
{
    if (deadline_ms == SYNC_NO_DEADLINE)
        return -1;
    int64_t left_ms = deadline_ms - clock_monotonic_ms();
    if (left_ms > INT_MAX)
        return INT_MAX;
    return left_ms < 0 ? 0 : (int)left_ms;
}

int fd_wait(struct pollfd *fds, nfds_t count, int64_t deadline_ms)
{
    for (;;) {
        int wait_ms = wait_until_ms(deadline_ms);
        int ready = poll(fds, count, wait_ms);
        assert(ready >= 0 || errno == EINTR);
        if (ready > 0 || (ready == 0 && wait_ms < INT_MAX))
            return ready;
    }
}

bool fd_wait_readable(int fd, int64_t wait_ms)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return fd_wait(&readable, 1, clock_monotonic_ms() + wait_ms) > 0;
}
