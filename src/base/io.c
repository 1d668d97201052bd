/*
 * Files and descriptors, below everything that persists state.
 *
 * file_read takes whole small files. Anything else under a path, such as a FIFO or a device, could
 * block whoever reads it or never end, so it is opened without blocking, looked at, and refused.
 * file_replace makes a file appear whole or not at all: write under a temporary name, optionally
 * fsync, rename, fsync the directory.
 *
 * fd_wait is poll(2) with an absolute monotonic deadline, retried when a signal interrupts it.
 */
#include "base/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sync.h"
#include "base/text.h"
#include "base/watch.h"

enum { QUOTED_PATH_BYTES = 256 };

/* Reads size bytes, fewer only at the end of the file. Returns the number, or -1. */
static ssize_t file_read_fully(int descriptor, char *bytes, size_t size)
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

static int file_read_descriptor(int descriptor, const char *quoted_path, size_t limit_bytes,
    struct text *content, bool *world_readable, struct error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot read %s", quoted_path);
    if (S_ISDIR(status.st_mode))
        return error_set_errno(error, ERROR_INVALID, EISDIR, "cannot read %s", quoted_path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_INVALID, "%s is %snot a regular file", quoted_path,
            S_ISFIFO(status.st_mode) ? "a FIFO (a pipe, as of a shell's <(...)), " : "");
    /* One byte over the limit shows that the file is too large; another is for the NUL. */
    char *bytes = malloc(limit_bytes + 2);
    if (bytes == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory reading %s", quoted_path);
    int result = 0;
    ssize_t length = file_read_fully(descriptor, bytes, limit_bytes + 1);
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
    *content = (struct text){
        .data = bytes, .length_bytes = (size_t)length, .capacity_bytes = limit_bytes + 2};
    if (world_readable != NULL)
        *world_readable = (status.st_mode & S_IROTH) != 0;
    return 0;
}

static int file_read_with(const char *path, int flags, size_t limit_bytes, struct text *content,
    bool *world_readable, struct error *error)
{
    assert(limit_bytes < SIZE_MAX / 2);
    char quoted_path[QUOTED_PATH_BYTES];
    text_quote(quoted_path, sizeof quoted_path, path, strlen(path));
    /* O_NONBLOCK: opening a FIFO without a writer would never return. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
    if (descriptor < 0)
        return error_set_errno(
            error, error_code_of_path(errno), errno, "cannot read %s", quoted_path);
    int result =
        file_read_descriptor(descriptor, quoted_path, limit_bytes, content, world_readable, error);
    close(descriptor);
    return result;
}

int file_read(const char *path, size_t limit_bytes, struct text *content, bool *world_readable,
    struct error *error)
{
    return file_read_with(path, 0, limit_bytes, content, world_readable, error);
}

int file_read_unlinked(
    const char *path, size_t limit_bytes, struct text *content, struct error *error)
{
    return file_read_with(path, O_NOFOLLOW, limit_bytes, content, NULL, error);
}

bool fd_write(int fd, const char *bytes, size_t length_bytes)
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

int file_replace(int dir_fd, const char *name, const char *bytes, size_t length_bytes, bool durable,
    struct error *error)
{
    char temporary[NAME_MAX + 1];
    snprintf(temporary, sizeof temporary, "%s" FILE_REPLACE_SUFFIX, name);
    /* O_NONBLOCK: a FIFO under that name must not hang us; without a reader it is refused. */
    int fd = openat(dir_fd, temporary,
        O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot create %s", temporary);
    bool written = fd_write(fd, bytes, length_bytes) && (!durable || fsync(fd) == 0);
    int failure = errno;
    close(fd);
    if (written && renameat(dir_fd, temporary, dir_fd, name) == 0 &&
        (!durable || fsync(dir_fd) == 0))
        return 0;
    failure = written ? errno : failure;
    unlinkat(dir_fd, temporary, 0);
    return error_set_errno(error, ERROR_SYSTEM, failure, "cannot write %s", name);
}

bool dir_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    int failure = errno;
    close(fd);
    errno = failure;
    return synced;
}

/* The timeout for poll; INT_MAX stands for anything longer, after which fd_wait polls again. */
static int poll_timeout_ms(int64_t deadline_ms)
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
        int timeout_ms = poll_timeout_ms(deadline_ms);
        watch_pause();
        int ready = poll(fds, count, timeout_ms);
        watch_resume();
        assert(ready >= 0 || errno == EINTR);
        if (ready > 0 || (ready == 0 && timeout_ms < INT_MAX))
            return ready;
    }
}

bool fd_wait_readable(int fd, int64_t wait_ms)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return fd_wait(&readable, 1, clock_monotonic_ms() + wait_ms) > 0;
}

int fd_find_shortage(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return errno == EMFILE || errno == ENFILE ? errno : 0;
}
