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
#include "spool/state_dir.h"

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
#include "spool/spool.h"

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

/* Reports errno; failed is that of the first parent that could not be created, or 0. */
static int creation_error(const char *path, int failed, struct error *error)
{
    /* Without its parent a directory cannot be created either, which says nothing of the cause. */
    int reason = errno == ENOENT && failed != 0 ? failed : errno;
    return error_set_errno(
        error, error_code_of_path(reason), reason, "cannot create STATE_DIR %s", path);
}

/* mkdir -p. A parent that cannot be created shows when the last directory is checked. */
static int make_state_path(const char *path, struct error *error)
{
    char part[PATH_MAX];
    struct stat status;
    int failed = 0;
    if (!text_copy(part, sizeof part, path))
        return error_set(error, ERROR_INVALID, "STATE_DIR is longer than %d bytes", PATH_MAX);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!make_state_dir(part) && failed == 0)
            failed = errno;
        *slash = '/';
    }
    if (!make_state_dir(part) || stat(part, &status) != 0)
        return creation_error(path, failed, error);
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
        return error_set_errno(error, ERROR_SYSTEM, failure, "cannot lock STATE_DIR %s", path);
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

/* Opens the lock file of the directory and creates it if it is missing. */
static int open_lock(int dir_fd, const char *path, int *lock_fd, struct error *error)
{
    struct stat status;
    /* O_NONBLOCK: a FIFO under that name must not hang us. */
    int fd = openat(
        dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0)
        return error_set_errno(
            error, error_code_of_path(errno), errno, "cannot write to STATE_DIR %s", path);
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return error_set(error, ERROR_INVALID, "STATE_DIR %s/lock is not a regular file", path);
    }
    *lock_fd = fd;
    return 0;
}

int state_dir_lock(struct state_dir *dir, int dir_fd, const char *path, struct error *error)
{
    int lock_fd = -1;
    dir->lock_fd = -1;
    int result = open_lock(dir_fd, path, &lock_fd, error);
    if (result != 0)
        return result;
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

int state_dir_open(struct state_dir *dir, const char *path, struct error *error)
{
    dir->lock_fd = -1;
    int result = make_state_path(path, error);
    if (result != 0)
        return result;
    int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return error_set_errno(
            error, error_code_of_path(errno), errno, "cannot open STATE_DIR %s", path);
    result = state_dir_lock(dir, dir_fd, path, error);
    close(dir_fd);
    return result;
}

void state_dir_close(struct state_dir *dir)
{
    if (dir->lock_fd >= 0)
        close(dir->lock_fd);
    dir->lock_fd = -1;
}

const char *state_dir_find_fault(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return NULL;
    if (status.st_uid != geteuid())
        return "belongs to another user, who can read and change the replies in it";
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return "can be written to by other users, who can change the replies in it";
    return NULL;
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

/* As open. A link of any other user than root could lead root's commands anywhere. */
static int open_trusted_path(const char *path)
{
    struct stat status;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int fd = open(path, flags | O_NOFOLLOW);
    if (fd >= 0 || lstat(path, &status) != 0 || !S_ISLNK(status.st_mode))
        return fd;
    if (status.st_uid == 0)
        return open(path, flags);
    errno = ELOOP;
    return -1;
}

int state_dir_open_path(const char *path, bool trusts_links, int *fd, struct error *error)
{
    *fd = trusts_links ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : open_trusted_path(path);
    if (*fd < 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "STATE_DIR %s does not exist", path);
    if (*fd < 0)
        return error_set_errno(
            error, error_code_of_path(errno), errno, "cannot open STATE_DIR %s", path);
    return 0;
}

/* Reads the file "account" into owner; its length, 0 if there is none, or a negative errno. */
static ssize_t read_owner(int dir_fd, char owner[static ACCOUNT_BYTES])
{
    struct stat status;
    int fd = openat(dir_fd, "account", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    bool is_file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    ssize_t length = is_file ? read(fd, owner, ACCOUNT_BYTES - 1) : -EINVAL;
    if (is_file && length < 0)
        length = -errno;
    else if (is_file)
        owner[length] = '\0';
    close(fd);
    return length;
}

int state_dir_check_account_at(
    int dir_fd, const char *path, const char *account_id, bool *claimed, struct error *error)
{
    char owner[ACCOUNT_BYTES];
    ssize_t length = read_owner(dir_fd, owner);
    *claimed = length > 0;
    if (length < 0)
        return error_set_errno(error, error_code_of_path((int)-length), (int)-length,
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
    int result = state_dir_open_path(path, true, &fd, error);
    if (result != 0)
        return result;
    result = state_dir_check_account_at(
        fd, path, account_id, claimed != NULL ? claimed : &unused, error);
    close(fd);
    return result;
}

int state_dir_claim_at(int dir_fd, const char *path, const char *account_id, struct error *error)
{
    bool claimed;
    int result = state_dir_check_account_at(dir_fd, path, account_id, &claimed, error);
    if (result != 0 || claimed)
        return result;
    result = file_replace(dir_fd, "account", account_id, strlen(account_id), true, error);
    if (result != 0)
        error_wrap(error, "STATE_DIR %s", path);
    return result;
}

int state_dir_claim(const char *path, const char *account_id, struct error *error)
{
    int fd;
    int result = state_dir_open_path(path, true, &fd, error);
    if (result != 0)
        return result;
    result = state_dir_claim_at(fd, path, account_id, error);
    close(fd);
    return result;
}
