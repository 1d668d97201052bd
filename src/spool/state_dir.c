/*
 * STATE_DIR belongs to one account for good and to one runtime at a time, by means of two files:
 *
 * - "lock" is held with flock(2) from startup to exit. The kernel releases it when the process
 *   ends in whatever way, so a lock never outlives its holder. The pid in it is only for messages.
 * - "account" names the owner. It is written once, by the first runtime that uses the directory, so
 *   that replies in the spool can never reach another account's threads.
 *
 * Operators' commands check the lock by taking it shared for an instant. A runtime that starts in
 * that instant would see it as held and refuse to start, so it retries for a little longer than
 * such a check lasts.
 */
#include "spool/spool.h"

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

#include "base/io.h"
#include "base/sync.h"
#include "base/text.h"

enum {
    HOLDER_BYTES = 32,
    ACCOUNT_BYTES = 256,
    LOCK_TIMEOUT_MS = 200, /* longer than state_dir_is_held shares the lock */
    LOCK_RETRY_MS = 5,
};

/* Creates the directory and syncs its parent; path does not end in a slash if it is new. */
static bool make_state_dir(const char *path)
{
    char parent[PATH_MAX];
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST;
    text_copy(parent, sizeof parent, path);
    char *slash = strrchr(parent, '/');
    if (slash != NULL)
        slash[slash == parent ? 1 : 0] = '\0';
    /* Best effort: a parent that may be written to but not read cannot be synced. */
    bool synced = dir_sync(slash != NULL ? parent : ".");
    (void)synced;
    return true;
}

/* mkdir -p. A parent that cannot be created shows when the last directory is checked. */
static int make_state_path(const char *path, struct error *error)
{
    char part[PATH_MAX];
    struct stat status;
    if (!text_copy(part, sizeof part, path))
        return error_set(error, ERROR_INVALID, "STATE_DIR is longer than %d bytes", PATH_MAX);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        make_state_dir(part);
        *slash = '/';
    }
    if (!make_state_dir(part) || stat(part, &status) != 0)
        return error_set_errno(error, ERROR_INVALID, errno, "cannot create STATE_DIR %s", path);
    if (!S_ISDIR(status.st_mode))
        return error_set(error, ERROR_INVALID, "STATE_DIR %s is not a directory", path);
    return 0;
}

static void read_holder(int lock_fd, char *holder, size_t holder_bytes)
{
    ssize_t length = pread(lock_fd, holder, holder_bytes - 1, 0);
    holder[length > 0 ? length : 0] = '\0';
    holder[strspn(holder, "0123456789")] = '\0';
}

static int lock_error(int lock_fd, const char *path, int failure, struct error *error)
{
    char holder[HOLDER_BYTES];
    if (failure != EWOULDBLOCK)
        return error_set_errno(error, ERROR_INVALID, failure, "cannot lock STATE_DIR %s", path);
    read_holder(lock_fd, holder, sizeof holder);
    return error_set(error, ERROR_LOCKED,
        "STATE_DIR %s is in use by another runtime (process %s); only one runtime may serve an "
        "account",
        path, holder[0] != '\0' ? holder : "unknown");
}

/* False with errno EWOULDBLOCK when another process holds it. */
static bool take_lock(int lock_fd)
{
    int64_t deadline_ms = clock_monotonic_ms() + LOCK_TIMEOUT_MS;
    bool taken;
    while (!(taken = flock(lock_fd, LOCK_EX | LOCK_NB) == 0) && errno == EWOULDBLOCK &&
           clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, LOCK_RETRY_MS);
    return taken;
}

int state_dir_open(struct state_dir *dir, const char *path, struct error *error)
{
    dir->lock_fd = -1;
    int result = make_state_path(path, error);
    if (result != 0)
        return result;
    char lock_path[PATH_MAX + sizeof "/lock"];
    snprintf(lock_path, sizeof lock_path, "%s/lock", path);
    int lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock_fd < 0)
        return error_set_errno(error, ERROR_INVALID, errno, "cannot write to STATE_DIR %s", path);
    if (!take_lock(lock_fd)) {
        result = lock_error(lock_fd, path, errno, error);
        close(lock_fd);
        return result;
    }
    /* A full disk must not keep the runtime from starting: the pid is only for messages. */
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

static int open_state_path(const char *path, int *fd, struct error *error)
{
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "STATE_DIR %s does not exist", path);
    if (*fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot open STATE_DIR %s", path);
    return 0;
}

/* Reads the file "account" into owner; its length, 0 if there is none, or a negative errno. */
static ssize_t read_owner(int dir_fd, char owner[static ACCOUNT_BYTES])
{
    int fd = openat(dir_fd, "account", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    ssize_t length = read(fd, owner, ACCOUNT_BYTES - 1);
    if (length < 0)
        length = -errno;
    else
        owner[length] = '\0';
    close(fd);
    return length;
}

static int compare_owner(
    int dir_fd, const char *path, const char *account_id, bool *claimed, struct error *error)
{
    char owner[ACCOUNT_BYTES];
    ssize_t length = read_owner(dir_fd, owner);
    *claimed = length > 0;
    if (length < 0)
        return error_set_errno(error, ERROR_SYSTEM, (int)-length,
            "cannot read STATE_DIR %s/account to check its owner", path);
    if (!*claimed || strcmp(owner, account_id) == 0)
        return 0;
    char quoted[sizeof owner];
    text_quote(quoted, sizeof quoted, owner, (size_t)length);
    return error_set(error, ERROR_INVALID,
        "STATE_DIR %s belongs to account %s, not to %s; give each account its own directory", path,
        quoted, account_id);
}

int state_dir_check_account(
    const char *path, const char *account_id, bool *claimed, struct error *error)
{
    int fd;
    bool unused;
    int result = open_state_path(path, &fd, error);
    if (result != 0)
        return result;
    result = compare_owner(fd, path, account_id, claimed != NULL ? claimed : &unused, error);
    close(fd);
    return result;
}

int state_dir_claim(const char *path, const char *account_id, struct error *error)
{
    int fd;
    bool claimed;
    int result = open_state_path(path, &fd, error);
    if (result != 0)
        return result;
    result = compare_owner(fd, path, account_id, &claimed, error);
    if (result == 0 && !claimed &&
        file_replace(fd, "account", account_id, strlen(account_id), true, error) != 0) {
        error_wrap(error, "STATE_DIR %s", path);
        result = ERROR_INVALID;
    }
    close(fd);
    return result;
}
