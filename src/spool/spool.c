/*
 * Two directories of small files, one record each, named after the notification: spool/ for work
 * that goes on and dead/ for replies that could not be posted and records that cannot be read. The
 * life of a record:
 *
 *     (none) --save--> run --save durable--> run + reply --remove--> (none)
 *                       |                         |
 *                       +---------- bury ---------+--> dead/ --exhume--> spool/
 *
 * A run is saved before the request goes out and not synced: it has to survive this process, not
 * the machine, and the page cache does. A reply is synced before it is first posted, because from
 * then on only this file can tell whether the agent has answered.
 *
 * Each save is a new file that is renamed over the old one (file_replace). So a power failure while
 * a reply is being written leaves the record of the run, and its count.
 *
 * The form of a record is in record.c.
 *
 * There is no lock: a record is used by one thread at a time, the worker that has its entry, and
 * everything shared is constant after spool_open. If an operator removes a directory under us, the
 * write that fails makes it again and puts it under the same descriptor. All functions block for
 * the disk.
 */
#include "spool/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "base/watch.h"
#include "spool/state_dir.h"

/* The gateway's largest response with every byte escaped (6 for 1), and the other members. */
enum { RECORD_LIMIT_BYTES = 49 * 1024 * 1024, CHECK_BYTES = 64 * 1024 };

static const char component[] = "Spool";
static const char suffix[] = ".json";
static const char temporary_suffix[] = ".json" FILE_REPLACE_SUFFIX;

typedef char record_name[ID_BYTES + sizeof suffix];

struct spool {
    int state_fd; /* STATE_DIR */
    int dir_fd;   /* stays the same number, also when spool/ is made again */
    int dead_fd;  /* likewise */
    char *account_id;
    bool keeps_temporaries; /* a runtime may be writing them */
};

static const char live_dir[] = "spool";
static const char dead_dir[] = "dead";

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
    int result = open_spool_dir(spool->state_fd, state_dir, live_dir, flags, &spool->dir_fd, error);
    if (result == 0)
        result =
            open_spool_dir(spool->state_fd, state_dir, dead_dir, flags, &spool->dead_fd, error);
    return result;
}

static int prepare_spool(struct spool *spool, const char *state_dir, struct error *error)
{
    int result = state_dir_claim_at(spool->state_fd, state_dir, spool->account_id, error);
    if (result == 0)
        result = make_spool_dir(spool->state_fd, state_dir, live_dir, error);
    if (result == 0)
        result = make_spool_dir(spool->state_fd, state_dir, dead_dir, error);
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

static void record_name_of(record_name name, const char *id)
{
    snprintf(name, sizeof(record_name), "%s%s", id, suffix);
}

/* Whether the directory that we have open is no longer the one of that name. */
static bool spool_dir_is_gone(const struct spool *spool, int fd, const char *name)
{
    struct stat ours;
    struct stat named;
    if (fstatat(spool->state_fd, name, &named, 0) != 0)
        return errno == ENOENT;
    return fstat(fd, &ours) == 0 && (ours.st_dev != named.st_dev || ours.st_ino != named.st_ino);
}

/*
 * Makes a directory again that was removed or exchanged, and puts it in the place of fd in one
 * step, so that other threads need no lock. False if there was no need, or if it fails.
 */
static bool restore_spool_dir(const struct spool *spool, int fd, const char *name)
{
    if (!spool_dir_is_gone(spool, fd, name))
        return false;
    if (mkdirat(spool->state_fd, name, 0700) != 0 && errno != EEXIST)
        return false;
    int fresh = openat(spool->state_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fresh < 0)
        return false;
    bool restored = fsync(spool->state_fd) == 0 && dup3(fresh, fd, O_CLOEXEC) >= 0;
    close(fresh);
    if (restored)
        log_warn(component,
            "%s/ in the state directory was removed and has been made again; the records that it "
            "held are lost, so their agents may be run again",
            name);
    return restored;
}

bool spool_is_usable(struct spool *spool, struct error *error)
{
    /* As large as most records, since an empty file can be made on a full disk, too. */
    static const char bytes[CHECK_BYTES];
    static const char name[] = "check";
    restore_spool_dir(spool, spool->dead_fd, dead_dir);
    restore_spool_dir(spool, spool->dir_fd, live_dir);
    if (file_replace(spool->dir_fd, name, bytes, sizeof bytes, true, error) != 0)
        return false;
    unlinkat(spool->dir_fd, name, 0);
    return true;
}

int spool_save(
    struct spool *spool, const struct spool_record *record, bool durable, struct error *error)
{
    record_name name;
    record_name_of(name, record->id);
    char *text = spool_record_write(record, spool->account_id);
    if (text == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for a spool record");
    int result = file_replace(spool->dir_fd, name, text, strlen(text), durable, error);
    if (result != 0 && restore_spool_dir(spool, spool->dir_fd, live_dir))
        result = file_replace(spool->dir_fd, name, text, strlen(text), durable, error);
    if (result != 0)
        error_wrap(error, "spool");
    free(text);
    return result;
}

/* Reads an open file into *bytes, for the caller to free. */
static int read_record(int fd, char **bytes, size_t *length_bytes, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > RECORD_LIMIT_BYTES)
        return error_set(error, ERROR_INVALID, "not a regular file, or too large for a record");
    char *content = malloc((size_t)status.st_size + 1);
    if (content == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory");
    ssize_t length = read(fd, content, (size_t)status.st_size);
    int failure = errno;
    if (length == status.st_size) {
        *bytes = content;
        *length_bytes = (size_t)length;
        return 0;
    }
    free(content);
    if (length < 0)
        return error_set_errno(error, ERROR_SYSTEM, failure, "read failed");
    return error_set(error, ERROR_INVALID, "truncated while being read");
}

static int load_record(const struct spool *spool, int dir_fd, const char *id,
    struct spool_record *record, struct error *error)
{
    record_name name;
    char *bytes = NULL;
    size_t length_bytes = 0;
    *record = (struct spool_record){0};
    record_name_of(name, id);
    watch_sign(); /* reading all of them may take long */
    /* O_NONBLOCK: a FIFO under a record's name must not hang the runtime. */
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "spool: %s does not exist", name);
    /* Symbolic links and sockets are never ours and will not become readable. */
    if (fd < 0 && (errno == ELOOP || errno == ENXIO))
        return error_set(error, ERROR_INVALID, "spool: %s is not a regular file", name);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "spool: cannot open %s", name);
    int result = read_record(fd, &bytes, &length_bytes, error);
    close(fd);
    if (result == 0)
        result = spool_record_parse(bytes, length_bytes, spool->account_id, id, record, error);
    free(bytes);
    if (result != 0)
        error_wrap(error, "spool: %s", name);
    return result;
}

int spool_load(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error)
{
    return load_record(spool, spool->dir_fd, id, record, error);
}

int spool_load_dead(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error)
{
    return load_record(spool, spool->dead_fd, id, record, error);
}

int spool_remove(struct spool *spool, const char *id, struct error *error)
{
    record_name name;
    record_name_of(name, id);
    if (unlinkat(spool->dir_fd, name, 0) != 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_SYSTEM, errno, "spool: cannot remove %s", name);
    return 0;
}

int spool_remove_dead(struct spool *spool, const char *id, struct error *error)
{
    record_name name;
    record_name_of(name, id);
    if (unlinkat(spool->dead_fd, name, 0) == 0)
        return 0;
    if (errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "dead/%s does not exist", name);
    return error_set_errno(error, ERROR_SYSTEM, errno, "cannot remove dead/%s", name);
}

static bool record_exists(int dir_fd, const char *name)
{
    struct stat status;
    return fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

int spool_bury(struct spool *spool, const char *id, struct error *error)
{
    record_name name;
    record_name_of(name, id);
    if (renameat(spool->dir_fd, name, spool->dead_fd, name) == 0)
        return 0;
    int failure = errno;
    /* ENOENT is about either end: the record may be missing, or dead/ may have been removed. */
    if (failure == ENOENT && !record_exists(spool->dir_fd, name))
        return 0;
    if (restore_spool_dir(spool, spool->dead_fd, dead_dir)) {
        if (renameat(spool->dir_fd, name, spool->dead_fd, name) == 0)
            return 0;
        failure = errno;
    }
    return error_set_errno(error, ERROR_SYSTEM, failure, "spool: cannot move %s to dead/", name);
}

int spool_exhume(struct spool *spool, const char *id, struct error *error)
{
    record_name name;
    record_name_of(name, id);
    if (record_exists(spool->dead_fd, name) && record_exists(spool->dir_fd, name))
        return error_set(error, ERROR_INVALID,
            "spool/%s exists as well and will be resumed at the next start; both are kept", name);
    if (renameat(spool->dead_fd, name, spool->dir_fd, name) != 0)
        return errno == ENOENT ? error_set(error, ERROR_CLOSED, "dead/%s does not exist", name)
                               : error_set_errno(error, ERROR_SYSTEM, errno,
                                     "cannot move dead/%s to spool/", name);
    /* The new name first: a crash in between may leave both names, but never neither. */
    if (fsync(spool->dir_fd) != 0 || fsync(spool->dead_fd) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno,
            "moved %s to spool/, but a power failure may undo that", name);
    return 0;
}

static bool has_suffix(const char *name, const char *ending)
{
    size_t length = strlen(name);
    size_t ending_length = strlen(ending);
    return length >= ending_length && strcmp(name + length - ending_length, ending) == 0;
}

/* The id in a file's name; false for a file that is not a record. */
static bool record_id_of(const char *name, char id[static ID_BYTES])
{
    size_t length = strlen(name);
    size_t ending = sizeof suffix - 1;
    if (!has_suffix(name, suffix) || length - ending >= ID_BYTES)
        return false;
    memcpy(id, name, length - ending);
    id[length - ending] = '\0';
    return id_is_valid(id);
}

/* Opens the directory again, since a duplicate descriptor would share its read position. */
static DIR *open_listing(int dir_fd, struct error *error)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir != NULL)
        return dir;
    error_set_errno(error, ERROR_SYSTEM, errno, "cannot list the spool");
    if (fd >= 0)
        close(fd);
    return NULL;
}

static int visit_records(
    struct spool *spool, int dir_fd, spool_found *found, void *context, struct error *error)
{
    DIR *dir = open_listing(dir_fd, error);
    if (dir == NULL)
        return ERROR_SYSTEM;
    const struct dirent *file;
    int result = 0;
    while (result == 0 && (file = readdir(dir)) != NULL) {
        char id[ID_BYTES];
        struct spool_record record;
        struct error why;
        if (!spool->keeps_temporaries && has_suffix(file->d_name, temporary_suffix))
            unlinkat(dir_fd, file->d_name, 0);
        if (!record_id_of(file->d_name, id))
            continue;
        int loaded = load_record(spool, dir_fd, id, &record, &why);
        text_copy(record.id, sizeof record.id, id);
        why.code = loaded;
        if (loaded == ERROR_NO_MEMORY)
            result = error_set(error, loaded, "%s", why.text);
        else if (loaded != ERROR_CLOSED)
            found(context, &record, loaded != 0 ? &why : NULL);
    }
    closedir(dir);
    return result;
}

int spool_each(struct spool *spool, spool_found *found, void *context, struct error *error)
{
    return visit_records(spool, spool->dir_fd, found, context, error);
}

int spool_each_dead(struct spool *spool, spool_found *found, void *context, struct error *error)
{
    return visit_records(spool, spool->dead_fd, found, context, error);
}

static bool is_before(const struct timespec *one, const struct timespec *other)
{
    return one->tv_sec < other->tv_sec ||
           (one->tv_sec == other->tv_sec && one->tv_nsec < other->tv_nsec);
}

/* Measures the directory and finds its oldest record; *oldest is "" when there is none. */
static int measure_dir(
    int dir_fd, struct spool_usage *usage, char oldest[static ID_BYTES], struct error *error)
{
    struct timespec oldest_time = {0};
    DIR *dir = open_listing(dir_fd, error);
    if (dir == NULL)
        return ERROR_SYSTEM;
    *usage = (struct spool_usage){0};
    oldest[0] = '\0';
    const struct dirent *file;
    while ((file = readdir(dir)) != NULL) {
        char id[ID_BYTES];
        struct stat status;
        if (!record_id_of(file->d_name, id) ||
            fstatat(dir_fd, file->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        usage->files++;
        usage->bytes += status.st_size;
        if (oldest[0] == '\0' || is_before(&status.st_mtim, &oldest_time)) {
            oldest_time = status.st_mtim;
            text_copy(oldest, ID_BYTES, id);
        }
    }
    closedir(dir);
    return 0;
}

int spool_trim_dead(struct spool *spool, struct spool_usage *usage,
    void (*removed)(void *context, const char *id), void *context, struct error *error)
{
    char oldest[ID_BYTES];
    for (;;) {
        int result = measure_dir(spool->dead_fd, usage, oldest, error);
        if (result != 0 || (usage->files <= SPOOL_DEAD_FILES && usage->bytes <= SPOOL_DEAD_BYTES))
            return result;
        result = spool_remove_dead(spool, oldest, error);
        /* ERROR_CLOSED: another worker, or an operator's spool drop, has just removed it. */
        if (result != 0 && result != ERROR_CLOSED)
            return result;
        if (result == 0)
            removed(context, oldest);
    }
}
