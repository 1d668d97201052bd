/* Small files read as a whole. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct file_content {
    char *bytes; /* the caller's to free; NUL-ended behind length_bytes */
    size_t length_bytes;
    bool world_readable; /* a regular file that every user of the machine may read */
};

/*
 * Reads the whole file at path, a regular one or a pipe; a pipe that nobody writes to is empty.
 * Errors: ERROR_SYSTEM, ERROR_TOO_LARGE for more than limit_bytes, ERROR_NO_MEMORY; the text names
 * the path, and nothing is to be freed. Blocks as the file does. Any thread.
 */
int file_read(
    const char *path, size_t limit_bytes, struct file_content *content, struct error *error);

/* Writing a small file whole or not at all. */

/* What a name ends in while its file is written; an interrupted write leaves such a file. */
#define FILE_REPLACE_SUFFIX ".new"

/*
 * Puts bytes into the file name of the open directory, readable by its owner only: under the name
 * with FILE_REPLACE_SUFFIX first, then renamed. durable: on disk when this returns (file and
 * directory are synced); else it survives the end of the process, but not that of the machine.
 * Blocks for the disk. On failure (ERROR_SYSTEM) the old file stays as it was, unless the directory
 * alone could not be synced: then the new one is there.
 */
int file_replace(int dir_fd, const char *name, const char *bytes, size_t length_bytes, bool durable,
    struct error *error);

/*
 * Puts new_end in place of old_end, which is all that the file name has behind its first
 * kept_bytes, and syncs the file. false, with the file as it was, when it is not there, is no
 * regular file, is longer or shorter than that, or cannot be written; but a machine that stops
 * meanwhile, or a disk that fails, may leave a part of new_end. Blocks for the disk.
 */
bool file_replace_end(
    int dir_fd, const char *name, size_t kept_bytes, const char *old_end, const char *new_end);

/* Puts the names in a directory on disk, once for all that were made before. */

/*
 * Syncs of one directory are counted as they begin: one that begins after a name was made has it on
 * disk when it is over. Initialise with the directory's descriptor alone, which stays the caller's.
 */
struct dir_sync {
    int dir_fd;
    _Atomic uint64_t begun;
    _Atomic uint64_t reached; /* the last of those that ended well */
};

/*
 * After a name was made, renamed or removed: the number, 1 or more, of the sync that will have it
 * on disk. Any thread.
 */
uint64_t dir_sync_next(const struct dir_sync *sync);

/*
 * Returns true when a sync of that number or a later one has ended well, and makes one if none has:
 * then it blocks for the disk. Number 0 stands for a name of which nothing is known, and always
 * makes one. False with errno when the directory could not be synced. Any thread.
 */
bool dir_sync_ensure(struct dir_sync *sync, uint64_t number);

/* Waits for descriptors up to a moment of the monotonic clock. */

/*
 * Blocks until one of count fds has something to say or deadline_ms on the monotonic clock has come
 * (SYNC_NO_DEADLINE: never), whatever signals are handled meanwhile. A deadline that is over is a
 * look. Returns how many have, 0 at the deadline, with their revents set accordingly; those with a
 * negative fd have none. Any thread.
 */
int fd_wait(struct pollfd *fds, nfds_t count, int64_t deadline_ms);

/*
 * Whether fd becomes readable, or is at its end, within wait_ms (0: is so now). A negative fd never
 * does. Blocks until then. Any thread.
 */
bool fd_wait_readable(int fd, int64_t wait_ms);

#endif
