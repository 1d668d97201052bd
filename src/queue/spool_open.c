#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_replace.h"
#include "base/text.h"
#include "queue/spool.h"
#include "spool_folders.h"

/* A shortage passes; all else is for whoever chose the folder. */
static enum error_code code_of(int failure)
{
    bool is_shortage =
        failure == EMFILE || failure == ENFILE || failure == ENOMEM || failure == EIO;
    return is_shortage ? ERROR_SYSTEM : ERROR_INVALID;
}

static int make_folder(const char *state_dir, const char *name, struct error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", state_dir, name);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set_errno(error, code_of(errno), errno, "%s cannot be made", path);
    return 0;
}

static int open_folder(const char *state_dir, const char *name, int *fd, struct error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", state_dir, name);
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return error_set_errno(error, code_of(errno), errno, "%s cannot be opened", path);
    return 0;
}

/* Reads up to bytes_size - 1 bytes of a file; its length or a negative errno value. */
static ssize_t read_small(int folder_fd, const char *name, char *bytes, size_t bytes_size)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    ssize_t length = read(fd, bytes, bytes_size - 1);
    if (length < 0)
        length = -errno;
    else
        bytes[length] = '\0';
    close(fd);
    return length;
}

static int open_state_folder(const char *state_dir, int *fd, struct error *error)
{
    *fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "STATE_DIR %s does not exist", state_dir);
    if (*fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "STATE_DIR %s", state_dir);
    return 0;
}

/* *claimed: whether it is anybody's yet. */
static int compare_owner(int folder_fd, const char *state_dir, const char *account_id,
    bool *claimed, struct error *error)
{
    char owner[256];
    ssize_t length = read_small(folder_fd, "account", owner, sizeof owner);
    *claimed = length > 0;
    if (length < 0 && length != -ENOENT)
        return error_set_errno(error, ERROR_SYSTEM, (int)-length,
            "whose STATE_DIR %s is cannot be read (account in it)", state_dir);
    if (!*claimed || strcmp(owner, account_id) == 0)
        return 0;
    char quoted[sizeof owner];
    text_quote(quoted, sizeof quoted, owner, (size_t)length);
    return error_set(error, ERROR_INVALID,
        "STATE_DIR %s belongs to account %s, not to %s; give each account a folder of its own",
        state_dir, quoted, account_id);
}

/* The same without an open folder; ERROR_CLOSED when there is none. */
static int look_at_owner(
    const char *state_dir, const char *account_id, bool *claimed, struct error *error)
{
    int fd;
    int result = open_state_folder(state_dir, &fd, error);
    if (result != 0)
        return result;
    result = compare_owner(fd, state_dir, account_id, claimed, error);
    close(fd);
    return result;
}

int spool_check_account(const char *state_dir, const char *account_id, struct error *error)
{
    bool claimed;
    int result = look_at_owner(state_dir, account_id, &claimed, error);
    return result == ERROR_CLOSED ? 0 : result;
}

/* The folder remembers whose it is, so that replies never reach another account's threads. */
static int claim_for_account(const char *state_dir, const char *account_id, struct error *error)
{
    int fd;
    bool claimed;
    int result = open_state_folder(state_dir, &fd, error);
    if (result != 0)
        return result;
    result = compare_owner(fd, state_dir, account_id, &claimed, error);
    if (result == 0 && !claimed &&
        file_replace(fd, "account", account_id, strlen(account_id), true, error) != 0) {
        error_wrap(error, "STATE_DIR %s", state_dir);
        result = ERROR_INVALID;
    }
    close(fd);
    return result;
}

static int open_folders(struct spool **spool, const char *state_dir, const char *account_id,
    bool keeps_leftovers, struct error *error)
{
    int result = 0;
    struct spool *created = malloc(sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the spool");
    *created = (struct spool){.folder_fd = -1,
        .dead_fd = -1,
        .account_id = strdup(account_id),
        .keeps_leftovers = keeps_leftovers};
    if (created->account_id == NULL)
        result = error_set(error, ERROR_NO_MEMORY, "no memory for the spool");
    if (result == 0)
        result = open_folder(state_dir, "spool", &created->folder_fd, error);
    created->sync.folder_fd = created->folder_fd;
    if (result == 0)
        result = open_folder(state_dir, "dead", &created->dead_fd, error);
    if (result != 0) {
        spool_close(created);
        return result;
    }
    *spool = created;
    return 0;
}

int spool_open(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error)
{
    int result = claim_for_account(state_dir, account_id, error);
    if (result == 0)
        result = make_folder(state_dir, "spool", error);
    if (result == 0)
        result = make_folder(state_dir, "dead", error);
    if (result != 0)
        return result;
    return open_folders(spool, state_dir, account_id, false, error);
}

int spool_open_existing(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error)
{
    bool claimed;
    int result = look_at_owner(state_dir, account_id, &claimed, error);
    if (result == 0 && !claimed)
        result = error_set(error, ERROR_CLOSED, "STATE_DIR %s was not used yet", state_dir);
    if (result != 0)
        return result;
    return open_folders(spool, state_dir, account_id, true, error);
}

void spool_close(struct spool *spool)
{
    if (spool == NULL)
        return;
    if (spool->folder_fd >= 0)
        close(spool->folder_fd);
    if (spool->dead_fd >= 0)
        close(spool->dead_fd);
    free(spool->account_id);
    free(spool);
}
