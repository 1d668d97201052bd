#include "queue/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_replace.h"
#include "base/text.h"
#include "spool_folders.h"

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
           file_replace_end(spool->folder_fd, name, (size_t)(reply - text), "}", reply) &&
           folder_sync_reach(&spool->sync, name_sync);
}

/* In place of what is there, or under a name that is not on disk yet. */
static int replace(struct spool *spool, const char *name, const char *text, bool durable,
    uint64_t *name_sync, struct error *error)
{
    int result = file_replace(spool->folder_fd, name, text, strlen(text), durable, error);
    if (result == 0)
        *name_sync = folder_sync_next(&spool->sync);
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

static int load_from(const struct spool *spool, int folder_fd, const char *id,
    struct spool_record *record, struct error *error)
{
    file_name name;
    char *bytes = NULL;
    size_t length_bytes = 0;
    *record = (struct spool_record){0};
    name_of(name, id, suffix);
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
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
    return load_from(spool, spool->folder_fd, id, record, error);
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
    if (unlinkat(spool->folder_fd, name, 0) != 0 && errno != ENOENT)
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

static bool has_file(int folder_fd, const char *name)
{
    struct stat status;
    return fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

int spool_bury(struct spool *spool, const char *id, struct error *error)
{
    file_name name;
    name_of(name, id, suffix);
    if (renameat(spool->folder_fd, name, spool->dead_fd, name) == 0)
        return 0;
    int failure = errno;
    /* That may be either folder's: dead/ is missing when somebody has removed it. */
    if (failure == ENOENT && !has_file(spool->folder_fd, name))
        return 0;
    return error_set_errno(
        error, ERROR_SYSTEM, failure, "spool: %s cannot be moved to dead/", name);
}

int spool_exhume(struct spool *spool, const char *id, struct error *error)
{
    file_name name;
    name_of(name, id, suffix);
    if (has_file(spool->dead_fd, name) && has_file(spool->folder_fd, name))
        return error_set(error, ERROR_INVALID,
            "spool/ has a %s of its own, with which the next start goes on; both stay", name);
    if (renameat(spool->dead_fd, name, spool->folder_fd, name) != 0)
        return errno == ENOENT
                   ? error_set(error, ERROR_CLOSED, "dead/ has no %s", name)
                   : error_set_errno(error, ERROR_SYSTEM, errno, "dead/%s cannot be moved", name);
    /* The new name first: a crash may then leave both, but never neither. */
    if (fsync(spool->folder_fd) != 0 || fsync(spool->dead_fd) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno,
            "%s was moved to spool/, and may be back in dead/ after a power failure", name);
    return 0;
}
