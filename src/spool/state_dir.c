#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sync.h"
#include "base/text.h"
#include "spool/spool.h"

enum {
    HOLDER_BYTES = 32,
    LOOK_LIMIT_MS = 200, /* longer than a look at who holds the lock takes, which shares it */
    LOOK_AGAIN_MS = 5,
};

static bool make_dir(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* mkdir for every directory on the way; the last one must be a directory afterwards. */
static int make_path(const char *path, struct error *error)
{
    char part[PATH_MAX];
    struct stat status;
    if (!text_copy(part, sizeof part, path))
        return error_set(error, ERROR_INVALID, "STATE_DIR is longer than %d bytes", PATH_MAX);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        make_dir(part);
        *slash = '/';
    }
    if (!make_dir(part) || stat(part, &status) != 0)
        return error_set_errno(error, ERROR_INVALID, errno, "STATE_DIR %s cannot be made", path);
    if (!S_ISDIR(status.st_mode))
        return error_set(error, ERROR_INVALID, "STATE_DIR %s is not a directory", path);
    return 0;
}

/* The process id that the holder wrote down. */
static void read_holder(int lock_fd, char *holder, size_t holder_bytes)
{
    ssize_t length = pread(lock_fd, holder, holder_bytes - 1, 0);
    holder[length > 0 ? length : 0] = '\0';
    holder[strspn(holder, "0123456789")] = '\0';
}

static int refuse_second(int lock_fd, const char *path, int failure, struct error *error)
{
    char holder[HOLDER_BYTES];
    if (failure != EWOULDBLOCK)
        return error_set_errno(
            error, ERROR_INVALID, failure, "STATE_DIR %s cannot be locked", path);
    read_holder(lock_fd, holder, sizeof holder);
    return error_set(error, ERROR_LOCKED,
        "STATE_DIR %s is in use by another runtime (process %s); one account is served by one "
        "runtime at a time",
        path, holder[0] != '\0' ? holder : "unknown");
}

/* False with errno EWOULDBLOCK when somebody else keeps it. */
static bool take_lock(int lock_fd)
{
    int64_t deadline_ms = clock_monotonic_ms() + LOOK_LIMIT_MS;
    bool taken;
    while (!(taken = flock(lock_fd, LOCK_EX | LOCK_NB) == 0) && errno == EWOULDBLOCK &&
           clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, LOOK_AGAIN_MS);
    return taken;
}

int state_dir_open(struct state_dir *dir, const char *path, struct error *error)
{
    dir->lock_fd = -1;
    int result = make_path(path, error);
    if (result != 0)
        return result;
    char lock_path[PATH_MAX + sizeof "/lock"];
    snprintf(lock_path, sizeof lock_path, "%s/lock", path);
    int lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock_fd < 0)
        return error_set_errno(
            error, ERROR_INVALID, errno, "STATE_DIR %s cannot be written to", path);
    if (!take_lock(lock_fd)) {
        result = refuse_second(lock_fd, path, errno, error);
        close(lock_fd);
        return result;
    }
    /* Only said to a second runtime; the lock itself does not depend on it. */
    if (ftruncate(lock_fd, 0) == 0)
        dprintf(lock_fd, "%ld\n", (long)getpid());
    dir->lock_fd = lock_fd;
    return 0;
}

void state_dir_close(struct state_dir *dir)
{
    if (dir->lock_fd >= 0)
        close(dir->lock_fd);
    dir->lock_fd = -1;
}

bool state_dir_is_held(const char *path, char *holder, size_t holder_bytes)
{
    char lock_path[PATH_MAX + sizeof "/lock"];
    holder[0] = '\0';
    snprintf(lock_path, sizeof lock_path, "%s/lock", path);
    int lock_fd = open(lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (lock_fd < 0)
        return false;
    bool held = flock(lock_fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (held)
        read_holder(lock_fd, holder, holder_bytes);
    close(lock_fd);
    return held;
}
