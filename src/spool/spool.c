#include "spool/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"

#define SPOOL_SUFFIX ".json"

/* Never changed once open, but for the count of syncs. */
struct spool {
    int dir_fd;
    struct dir_sync sync; /* of dir_fd */
    int dead_fd;
    char *account_id;
    bool keeps_leftovers; /* they may be a write that goes on elsewhere */
};

/* An answer's limit, six-fold when every byte has to be escaped, and an envelope. */
enum { RECORD_LIMIT_BYTES = 49 * 1024 * 1024 };

static const char suffix[] = SPOOL_SUFFIX;

/* Room for a name of ours: an id and a suffix. */
typedef char file_name[ID_BYTES + sizeof suffix];

static void name_of(file_name name, const char *id, const char *ending)
{
    snprintf(name, sizeof(file_name), "%s%s", id, ending);
}

/*
 * Puts the reply behind what the record of the run says already, which saves a new file. False when
 * that is not possible; the record there is then as before, or damaged if even that cannot be had.
 */
static bool add_reply(struct spool *spool, const char *name, const char *text, uint64_t name_sync)
{
    const char *reply = strstr(text, SPOOL_RECORD_REPLY);
    return reply != NULL &&
           file_replace_end(spool->dir_fd, name, (size_t)(reply - text), "}", reply) &&
           dir_sync_ensure(&spool->sync, name_sync);
}

/* In place of what is there, or under a name that is not on disk yet. */
static int replace(struct spool *spool, const char *name, const char *text, bool durable,
    uint64_t *name_sync, struct error *error)
{
    int result = file_replace(spool->dir_fd, name, text, strlen(text), durable, error);
    if (result == 0)
        *name_sync = dir_sync_next(&spool->sync);
    return result;
}

int spool_save(struct spool *spool, struct spool_record *record, bool durable, struct error *error)
{
    file_name name;
    int result = 0;
    name_of(name, record->id, suffix);
    char *text = spool_record_write(record, spool->account_id);
    if (text == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for a spool record");
    if (!durable || !add_reply(spool, name, text, record->name_sync))
        result = replace(spool, name, text, durable, &record->name_sync, error);
    if (result != 0)
        error_wrap(error, "spool");
    free(text);
    return result;
}

/* Reads a file into *bytes, the caller's to free. ERROR_INVALID when it can be no record. */
static int read_whole(int fd, char **bytes, size_t *length_bytes, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > RECORD_LIMIT_BYTES)
        return error_set(error, ERROR_INVALID, "is no file, or too large for a record");
    char *content = malloc((size_t)status.st_size + 1);
    if (content == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory to read it");
    ssize_t length = read(fd, content, (size_t)status.st_size);
    int failure = errno;
    if (length == status.st_size) {
        *bytes = content;
        *length_bytes = (size_t)length;
        return 0;
    }
    free(content);
    if (length < 0)
        return error_set_errno(error, ERROR_SYSTEM, failure, "cannot be read");
    return error_set(error, ERROR_INVALID, "cannot be read whole");
}

static int load_from(const struct spool *spool, int dir_fd, const char *id,
    struct spool_record *record, struct error *error)
{
    file_name name;
    char *bytes = NULL;
    size_t length_bytes = 0;
    *record = (struct spool_record){0};
    name_of(name, id, suffix);
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "spool: there is no %s", name);
    if (fd < 0 && (errno == ELOOP || errno == ENXIO))
        return error_set(error, ERROR_INVALID, "spool: %s is no file", name);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "spool: %s cannot be opened", name);
    int result = read_whole(fd, &bytes, &length_bytes, error);
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
    return load_from(spool, spool->dir_fd, id, record, error);
}

int spool_load_dead(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error)
{
    return load_from(spool, spool->dead_fd, id, record, error);
}

int spool_remove(struct spool *spool, const char *id, struct error *error)
{
    file_name name;
    name_of(name, id, suffix);
    if (unlinkat(spool->dir_fd, name, 0) != 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_SYSTEM, errno, "spool: %s cannot be removed", name);
    return 0;
}

int spool_remove_dead(struct spool *spool, const char *id, struct error *error)
{
    file_name name;
    name_of(name, id, suffix);
    if (unlinkat(spool->dead_fd, name, 0) == 0)
        return 0;
    if (errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "dead/ has no %s", name);
    return error_set_errno(error, ERROR_SYSTEM, errno, "dead/%s cannot be removed", name);
}

static bool has_file(int dir_fd, const char *name)
{
    struct stat status;
    return fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

int spool_bury(struct spool *spool, const char *id, struct error *error)
{
    file_name name;
    name_of(name, id, suffix);
    if (renameat(spool->dir_fd, name, spool->dead_fd, name) == 0)
        return 0;
    int failure = errno;
    /* That may be either directory's: dead/ is missing when somebody has removed it. */
    if (failure == ENOENT && !has_file(spool->dir_fd, name))
        return 0;
    return error_set_errno(
        error, ERROR_SYSTEM, failure, "spool: %s cannot be moved to dead/", name);
}

int spool_exhume(struct spool *spool, const char *id, struct error *error)
{
    file_name name;
    name_of(name, id, suffix);
    if (has_file(spool->dead_fd, name) && has_file(spool->dir_fd, name))
        return error_set(error, ERROR_INVALID,
            "spool/ has a %s of its own, with which the next start goes on; both stay", name);
    if (renameat(spool->dead_fd, name, spool->dir_fd, name) != 0)
        return errno == ENOENT
                   ? error_set(error, ERROR_CLOSED, "dead/ has no %s", name)
                   : error_set_errno(error, ERROR_SYSTEM, errno, "dead/%s cannot be moved", name);
    /* The new name first: a crash may then leave both, but never neither. */
    if (fsync(spool->dir_fd) != 0 || fsync(spool->dead_fd) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno,
            "%s was moved to spool/, and may be back in dead/ after a power failure", name);
    return 0;
}

/* A shortage passes; all else is for whoever chose the directory. */
static enum error_code code_of(int failure)
{
    bool is_shortage =
        failure == EMFILE || failure == ENFILE || failure == ENOMEM || failure == EIO;
    return is_shortage ? ERROR_SYSTEM : ERROR_INVALID;
}

static int make_dir(const char *state_dir, const char *name, struct error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", state_dir, name);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set_errno(error, code_of(errno), errno, "%s cannot be made", path);
    return 0;
}

static int open_dir(const char *state_dir, const char *name, int *fd, struct error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", state_dir, name);
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return error_set_errno(error, code_of(errno), errno, "%s cannot be opened", path);
    return 0;
}

/* Reads up to bytes_size - 1 bytes of a file; its length or a negative errno value. */
static ssize_t read_small(int dir_fd, const char *name, char *bytes, size_t bytes_size)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
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

static int open_state_dir(const char *state_dir, int *fd, struct error *error)
{
    *fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "STATE_DIR %s does not exist", state_dir);
    if (*fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "STATE_DIR %s", state_dir);
    return 0;
}

/* *claimed: whether it is anybody's yet. */
static int compare_owner(
    int dir_fd, const char *state_dir, const char *account_id, bool *claimed, struct error *error)
{
    char owner[256];
    ssize_t length = read_small(dir_fd, "account", owner, sizeof owner);
    *claimed = length > 0;
    if (length < 0 && length != -ENOENT)
        return error_set_errno(error, ERROR_SYSTEM, (int)-length,
            "whose STATE_DIR %s is cannot be read (account in it)", state_dir);
    if (!*claimed || strcmp(owner, account_id) == 0)
        return 0;
    char quoted[sizeof owner];
    text_quote(quoted, sizeof quoted, owner, (size_t)length);
    return error_set(error, ERROR_INVALID,
        "STATE_DIR %s belongs to account %s, not to %s; give each account a directory of its own",
        state_dir, quoted, account_id);
}

/* The same without an open directory; ERROR_CLOSED when there is none. */
static int look_at_owner(
    const char *state_dir, const char *account_id, bool *claimed, struct error *error)
{
    int fd;
    int result = open_state_dir(state_dir, &fd, error);
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

/* The directory remembers whose it is, so that replies never reach another account's threads. */
static int claim_for_account(const char *state_dir, const char *account_id, struct error *error)
{
    int fd;
    bool claimed;
    int result = open_state_dir(state_dir, &fd, error);
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

static int open_dirs(struct spool **spool, const char *state_dir, const char *account_id,
    bool keeps_leftovers, struct error *error)
{
    int result = 0;
    struct spool *created = malloc(sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the spool");
    *created = (struct spool){.dir_fd = -1,
        .dead_fd = -1,
        .account_id = strdup(account_id),
        .keeps_leftovers = keeps_leftovers};
    if (created->account_id == NULL)
        result = error_set(error, ERROR_NO_MEMORY, "no memory for the spool");
    if (result == 0)
        result = open_dir(state_dir, "spool", &created->dir_fd, error);
    created->sync.dir_fd = created->dir_fd;
    if (result == 0)
        result = open_dir(state_dir, "dead", &created->dead_fd, error);
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
        result = make_dir(state_dir, "spool", error);
    if (result == 0)
        result = make_dir(state_dir, "dead", error);
    if (result != 0)
        return result;
    return open_dirs(spool, state_dir, account_id, false, error);
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
    return open_dirs(spool, state_dir, account_id, true, error);
}

uint64_t spool_syncs(const struct spool *spool)
{
    return spool->sync.begun;
}

void spool_close(struct spool *spool)
{
    if (spool == NULL)
        return;
    if (spool->dir_fd >= 0)
        close(spool->dir_fd);
    if (spool->dead_fd >= 0)
        close(spool->dead_fd);
    free(spool->account_id);
    free(spool);
}

static bool ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name);
    size_t ending_length = strlen(ending);
    return length >= ending_length && strcmp(name + length - ending_length, ending) == 0;
}

/* The id in a file's name, or false for a file that is no record. */
static bool id_of(const char *name, char id[static ID_BYTES])
{
    size_t length = strlen(name);
    size_t ending = sizeof SPOOL_SUFFIX - 1;
    if (!ends_with(name, SPOOL_SUFFIX) || length - ending >= ID_BYTES)
        return false;
    memcpy(id, name, length - ending);
    id[length - ending] = '\0';
    return id_is_valid(id);
}

/* A view of its own on a directory, from its start; NULL with *error. */
static DIR *open_listing(int dir_fd, struct error *error)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir != NULL)
        return dir;
    error_set_errno(error, ERROR_SYSTEM, errno, "the spool cannot be read");
    if (fd >= 0)
        close(fd);
    return NULL;
}

typedef int load_record(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error);

static int each(struct spool *spool, int dir_fd, load_record *load, spool_found *found,
    void *context, struct error *error)
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
        if (!spool->keeps_leftovers && ends_with(file->d_name, SPOOL_SUFFIX FILE_REPLACE_SUFFIX))
            unlinkat(dir_fd, file->d_name, 0);
        if (!id_of(file->d_name, id))
            continue;
        int loaded = load(spool, id, &record, &why);
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
    return each(spool, spool->dir_fd, spool_load, found, context, error);
}

int spool_each_dead(struct spool *spool, spool_found *found, void *context, struct error *error)
{
    return each(spool, spool->dead_fd, spool_load_dead, found, context, error);
}

/* Adds up the directory and finds its oldest record; *oldest is "" when there is none. */
static int survey(
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
        if (!id_of(file->d_name, id) ||
            fstatat(dir_fd, file->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        usage->files++;
        usage->bytes += status.st_size;
        if (oldest[0] == '\0' || status.st_mtim.tv_sec < oldest_time.tv_sec ||
            (status.st_mtim.tv_sec == oldest_time.tv_sec &&
                status.st_mtim.tv_nsec < oldest_time.tv_nsec)) {
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
        int result = survey(spool->dead_fd, usage, oldest, error);
        if (result != 0 || (usage->files <= SPOOL_DEAD_FILES && usage->bytes <= SPOOL_DEAD_BYTES))
            return result;
        result = spool_remove_dead(spool, oldest, error);
        /* Somebody else may have removed it meanwhile. */
        if (result != 0 && result != ERROR_CLOSED)
            return result;
        if (result == 0)
            removed(context, oldest);
    }
}
