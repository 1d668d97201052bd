/* Reading and atomically replacing small files, syncing directories, polling descriptors. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

/*
 * Reads the whole regular file at path into the uninitialized *content, whose data is then never
 * NULL. *world_readable, unless NULL, is whether every user of the machine can read it.
 * Errors: ERROR_INVALID for what is missing or not a regular file (a FIFO or a device is refused
 * without waiting), ERROR_SYSTEM when the system refuses to read it (error_code_of_path),
 * ERROR_TOO_LARGE for more than limit_bytes, ERROR_NO_MEMORY; the text names the path, and there is
 * nothing to free. Blocks for the disk. Any thread.
 */
int file_read(const char *path, size_t limit_bytes, struct text *content, bool *world_readable,
    struct error *error);

/* The same, but a symbolic link of that name is refused: whoever can make one chooses what is read.
 */
int file_read_unlinked(
    const char *path, size_t limit_bytes, struct text *content, struct error *error);

/* The suffix of a file that is being written; an interrupted write leaves such a file behind. */
#define FILE_REPLACE_SUFFIX ".new"

/*
 * Atomically creates or replaces the file name in the open directory, readable by its owner only:
 * written under the name plus FILE_REPLACE_SUFFIX, then renamed. durable: on disk when this returns
 * (file and directory are synced); otherwise it survives a crash of the process but not of the
 * machine. Blocks on the disk. On failure (ERROR_SYSTEM) the old file is unchanged, unless only the
 * sync of the directory failed: then the new one is in place.
 */
int file_replace(int dir_fd, const char *name, const char *bytes, size_t length_bytes, bool durable,
    struct error *error);

/* Writes all bytes to fd. False with errno set. Blocks as the descriptor does. Any thread. */
bool fd_write(int fd, const char *bytes, size_t length_bytes);

/*
 * Syncs the directory at path, so that the names created in it survive a power failure. False with
 * errno set. Blocks on the disk. Any thread.
 */
bool dir_sync(const char *path);

/*
 * Blocks until one of the fds is ready or deadline_ms on the monotonic clock has passed
 * (SYNC_NO_DEADLINE: never); signals do not end the wait. A deadline in the past polls once.
 * Returns the number of ready fds, 0 at the deadline, with their revents set; a negative fd is
 * never ready. Any thread.
 */
int fd_wait(struct pollfd *fds, nfds_t count, int64_t deadline_ms);

/*
 * Whether fd becomes readable, or reaches its end, within wait_ms (0: polls once). A negative fd
 * never does. Blocks for that long at most. Any thread.
 */
bool fd_wait_readable(int fd, int64_t wait_ms);

/*
 * EMFILE or ENFILE if no descriptor can be opened at the moment, else 0. For naming the cause after
 * a failure: other threads may open or close some at any time. Any thread; does not block.
 */
int fd_find_shortage(void);

#endif
