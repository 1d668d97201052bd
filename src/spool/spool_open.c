/*
 * Opening a spool and leaving it. The runtime's own makes what is missing; that of an operator's
 * command changes nothing.
 *
 * A command that root runs must not be led anywhere by what the directory's owner has put into it.
 * So it opens every directory below STATE_DIR by its descriptor and without following a symbolic
 * link (openat, O_NOFOLLOW), and then becomes that owner before it reads or changes a file. The
 * descriptors stay good also where only root could reach the directory by its path.
 *
 * All functions block for the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/spool.h"
#include "spool/spool_dirs.h"
#include "spool/state_dir.h"

static int make_spool_dir(
    int state_fd, const char *state_dir, const char *name, struct error *error)
{
    if (mkdirat(state_fd, name, 0700) != 0 && errno != EEXIST)
        return error_set_errno(
            error, error_code_of_path(errno), errno, "cannot create %s/%s", state_dir, name);
    return 0;
}

static int open_spool_dir(
    int state_fd, const char *state_dir, const char *name, int flags, int *fd, struct error *error)
{
    *fd = openat(state_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    if (*fd < 0)
        return error_set_errno(
            error, error_code_of_path(errno), errno, "cannot open %s/%s", state_dir, name);
    return 0;
}

/* Owns state_fd from now on, also on failure. */
static struct spool *create_spool(int state_fd, const char *account_id, struct error *error)
{
    struct spool *created = malloc(sizeof *created);
    char *account_copy = strdup(account_id);
    if (created == NULL || account_copy == NULL) {
        free(created);
        free(account_copy);
        close(state_fd);
        error_set(error, ERROR_NO_MEMORY, "out of memory for the spool");
        return NULL;
    }
    *created = (struct spool){
        .state_fd = state_fd, .dir_fd = -1, .dead_fd = -1, .account_id = account_copy};
    return created;
}

static int open_spool_dirs(
    struct spool *spool, const char *state_dir, int flags, struct error *error)
{
    int result =
        open_spool_dir(spool->state_fd, state_dir, SPOOL_LIVE_DIR, flags, &spool->dir_fd, error);
    if (result == 0)
        result = open_spool_dir(
            spool->state_fd, state_dir, SPOOL_DEAD_DIR, flags, &spool->dead_fd, error);
    return result;
}

static int prepare_spool(struct spool *spool, const char *state_dir, struct error *error)
{
    int result = state_dir_claim_at(spool->state_fd, state_dir, spool->account_id, error);
    if (result == 0)
        result = make_spool_dir(spool->state_fd, state_dir, SPOOL_LIVE_DIR, error);
    if (result == 0)
        result = make_spool_dir(spool->state_fd, state_dir, SPOOL_DEAD_DIR, error);
    /* Always, since an earlier process may have been killed after creating them. */
    if (result == 0 && fsync(spool->state_fd) != 0)
        result = error_set_errno(error, ERROR_SYSTEM, errno, "cannot sync %s", state_dir);
    return result == 0 ? open_spool_dirs(spool, state_dir, 0, error) : result;
}

int spool_open(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error)
{
    int state_fd;
    int result = state_dir_open_path(state_dir, true, &state_fd, error);
    if (result != 0)
        return result;
    struct spool *created = create_spool(state_fd, account_id, error);
    if (created == NULL)
        return ERROR_NO_MEMORY;
    result = prepare_spool(created, state_dir, error);
    if (result != 0) {
        spool_close(created);
        return result;
    }
    *spool = created;
    return 0;
}

static int check_existing(struct spool *spool, const char *state_dir, struct error *error)
{
    bool claimed;
    int result =
        state_dir_check_account_at(spool->state_fd, state_dir, spool->account_id, &claimed, error);
    if (result == 0 && !claimed)
        return error_set(error, ERROR_CLOSED, "no runtime has used STATE_DIR %s yet", state_dir);
    return result;
}

int spool_open_existing(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error)
{
    int state_fd;
    bool is_root = geteuid() == 0;
    int result = state_dir_open_path(state_dir, !is_root, &state_fd, error);
    if (result != 0)
        return result;
    struct spool *created = create_spool(state_fd, account_id, error);
    if (created == NULL)
        return ERROR_NO_MEMORY;
    created->keeps_temporaries = true;
    result = check_existing(created, state_dir, error);
    if (result == 0)
        result = open_spool_dirs(created, state_dir, is_root ? O_NOFOLLOW : 0, error);
    if (result != 0) {
        spool_close(created);
        return result;
    }
    *spool = created;
    return 0;
}

int spool_drop_privileges(const struct spool *spool, struct error *error)
{
    struct stat status;
    if (geteuid() != 0)
        return 0;
    if (fstat(spool->state_fd, &status) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot examine STATE_DIR");
    if (status.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) != 0 || setgid(status.st_gid) != 0 || setuid(status.st_uid) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno,
            "cannot become user %u, who owns STATE_DIR", (unsigned)status.st_uid);
    return 0;
}

int spool_lock(
    const struct spool *spool, struct state_dir *dir, const char *state_dir, struct error *error)
{
    return state_dir_lock(dir, spool->state_fd, state_dir, error);
}

int spool_ask_runtime(const struct spool *spool, const char *state_dir, const char *request,
    enum control_result *result, char answer[static CONTROL_ANSWER_BYTES], struct error *error)
{
    return control_socket_ask(
        spool->state_fd, state_dir, request, SPOOL_ASK_MS, result, answer, error);
}

void spool_close(struct spool *spool)
{
    if (spool == NULL)
        return;
    if (spool->dir_fd >= 0)
        close(spool->dir_fd);
    if (spool->dead_fd >= 0)
        close(spool->dead_fd);
    close(spool->state_fd);
    free(spool->account_id);
    free(spool);
}
