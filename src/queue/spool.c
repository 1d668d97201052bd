#include "queue/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_guard.h"
#include "base/text.h"

/* A reply's limit, doubled by escapes at worst six-fold, and its envelope. */
enum { RECORD_LIMIT_BYTES = 8 * 1024 * 1024 };

static const double LATEST_TIME_MS = 8.64e15;
static const char suffix[] = ".json";
static const char temporary_suffix[] = ".new";

struct spool {
    int folder_fd;
    int dead_fd;
    char *account_id;
};

/* Room for a name of ours: an id and a suffix. */
typedef char file_name[ID_BYTES + sizeof suffix];

static void name_of(file_name name, const char *id, const char *ending)
{
    snprintf(name, sizeof(file_name), "%s%s", id, ending);
}

static int open_folder(const char *state_dir, const char *name, int *fd, struct error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", state_dir, name);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set_errno(error, ERROR_INVALID, errno, "%s cannot be made", path);
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return error_set_errno(error, ERROR_INVALID, errno, "%s cannot be opened", path);
    return 0;
}

/* Reads up to bytes_size - 1 bytes of a file; its length or -1 with errno. */
static ssize_t read_small(int folder_fd, const char *name, char *bytes, size_t bytes_size)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -1;
    ssize_t length = read(fd, bytes, bytes_size - 1);
    close(fd);
    if (length >= 0)
        bytes[length] = '\0';
    return length;
}

static bool write_all(int fd, const char *bytes, size_t length_bytes)
{
    while (length_bytes > 0) {
        ssize_t written = write(fd, bytes, length_bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        length_bytes -= (size_t)written;
    }
    return true;
}

/* Puts a file there whole or not at all: under another name first, then renamed. */
static int replace_file(int folder_fd, const char *name, const char *bytes, size_t length_bytes,
    bool durable, struct error *error)
{
    char temporary[sizeof(file_name) + sizeof temporary_suffix];
    snprintf(temporary, sizeof temporary, "%s%s", name, temporary_suffix);
    int fd =
        openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "spool: %s cannot be made", temporary);
    bool written = write_all(fd, bytes, length_bytes) && (!durable || fsync(fd) == 0);
    int failure = errno;
    close(fd);
    if (written && renameat(folder_fd, temporary, folder_fd, name) == 0 &&
        (!durable || fsync(folder_fd) == 0))
        return 0;
    failure = written ? errno : failure;
    unlinkat(folder_fd, temporary, 0);
    return error_set_errno(error, ERROR_SYSTEM, failure, "spool: %s cannot be written", name);
}

/* The folder remembers whose it is, so that replies never reach another account's threads. */
static int claim_for_account(const char *state_dir, const char *account_id, struct error *error)
{
    char owner[256];
    int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, ERROR_INVALID, errno, "STATE_DIR %s", state_dir);
    int result = 0;
    ssize_t length = read_small(fd, "account", owner, sizeof owner);
    if (length > 0 && strcmp(owner, account_id) != 0)
        result = error_set(error, ERROR_INVALID,
            "STATE_DIR %s belongs to account %s, not to %s; give each account a folder of its own",
            state_dir, owner, account_id);
    else if (length <= 0)
        result = replace_file(fd, "account", account_id, strlen(account_id), true, error);
    close(fd);
    return result == ERROR_SYSTEM ? ERROR_INVALID : result;
}

int spool_open(
    struct spool **spool, const char *state_dir, const char *account_id, struct error *error)
{
    int result = claim_for_account(state_dir, account_id, error);
    if (result != 0)
        return result;
    struct spool *created = malloc(sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the spool");
    *created = (struct spool){.folder_fd = -1, .dead_fd = -1, .account_id = strdup(account_id)};
    if (created->account_id == NULL)
        result = error_set(error, ERROR_NO_MEMORY, "no memory for the spool");
    if (result == 0)
        result = open_folder(state_dir, "spool", &created->folder_fd, error);
    if (result == 0)
        result = open_folder(state_dir, "dead", &created->dead_fd, error);
    if (result != 0) {
        spool_close(created);
        return result;
    }
    *spool = created;
    return 0;
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

/* The record as JSON, the caller's to free; NULL without memory. */
static char *write_fields(const struct spool *spool, const struct spool_record *record)
{
    char *text = NULL;
    json_t *document = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:i}", "account",
        spool->account_id, "id", record->id, "agent", record->agent_id, "slug", record->agent_slug,
        "task", record->task_id, "createdAt", (json_int_t)record->created_at_ms, "runs",
        (int)record->runs);
    /* Not as an optional part of the above, which is left out when there is no memory for it. */
    if (record->reply == NULL ||
        json_object_set_new(document, "reply", json_string(record->reply)) == 0)
        text = json_guard_dump(document);
    json_decref(document);
    return text;
}

int spool_save(
    struct spool *spool, const struct spool_record *record, bool durable, struct error *error)
{
    file_name name;
    name_of(name, record->id, suffix);
    char *text = write_fields(spool, record);
    if (text == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for a spool record");
    int result = replace_file(spool->folder_fd, name, text, strlen(text), durable, error);
    free(text);
    return result;
}

/* The whole file, the caller's to free, or NULL with *result and *error. */
static char *read_whole(int fd, size_t *length_bytes, int *result, struct error *error)
{
    struct stat status;
    *result = ERROR_INVALID;
    error_set(error, ERROR_INVALID, "cannot be read whole");
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > RECORD_LIMIT_BYTES)
        return NULL;
    char *bytes = malloc((size_t)status.st_size + 1);
    if (bytes == NULL) {
        *result = error_set(error, ERROR_NO_MEMORY, "no memory for a spool record");
        return NULL;
    }
    ssize_t length = read(fd, bytes, (size_t)status.st_size);
    if (length != status.st_size) {
        free(bytes);
        return NULL;
    }
    *length_bytes = (size_t)length;
    return bytes;
}

static bool copy_field(char field[static ID_BYTES], const json_t *document, const char *key)
{
    const char *value = json_guard_string(document, key);
    return value != NULL && text_copy(field, ID_BYTES, value);
}

/* False when the document is no whole record of this account under this id. */
static bool read_fields(
    const json_t *document, const char *account_id, const char *id, struct spool_record *record)
{
    const char *account = json_guard_string(document, "account");
    double created_at_ms;
    double runs;
    if (account == NULL || strcmp(account, account_id) != 0 ||
        !copy_field(record->id, document, "id") || strcmp(record->id, id) != 0 ||
        !copy_field(record->agent_id, document, "agent") ||
        !copy_field(record->agent_slug, document, "slug") ||
        !copy_field(record->task_id, document, "task") ||
        !json_guard_number(
            json_object_get(document, "createdAt"), 0, LATEST_TIME_MS, &created_at_ms) ||
        !json_guard_number(json_object_get(document, "runs"), 0, INT_MAX, &runs))
        return false;
    record->created_at_ms = (int64_t)created_at_ms;
    record->runs = (unsigned)runs;
    return true;
}

int spool_record_parse(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error)
{
    json_t *document = NULL;
    *record = (struct spool_record){0};
    int result = json_guard_load(bytes, length_bytes, &document, error);
    if (result == 0 && !read_fields(document, account_id, id, record))
        result = error_set(error, ERROR_INVALID, "is no record of this account");
    const char *reply = result == 0 ? json_guard_string(document, "reply") : NULL;
    if (reply != NULL && (record->reply = strdup(reply)) == NULL)
        result = error_set(error, ERROR_NO_MEMORY, "no memory for a reply");
    json_decref(document);
    return result == ERROR_NO_MEMORY || result == 0 ? result : ERROR_INVALID;
}

int spool_load(
    struct spool *spool, const char *id, struct spool_record *record, struct error *error)
{
    file_name name;
    size_t length_bytes = 0;
    *record = (struct spool_record){0};
    name_of(name, id, suffix);
    int fd = openat(spool->folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return error_set(error, ERROR_CLOSED, "spool: there is no %s", name);
    if (fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "spool: %s cannot be opened", name);
    int result;
    char *bytes = read_whole(fd, &length_bytes, &result, error);
    close(fd);
    if (bytes != NULL)
        result = spool_record_parse(bytes, length_bytes, spool->account_id, id, record, error);
    free(bytes);
    if (result != 0)
        error_wrap(error, "spool: %s", name);
    return result;
}

int spool_remove(struct spool *spool, const char *id, struct error *error)
{
    file_name name;
    name_of(name, id, suffix);
    if (unlinkat(spool->folder_fd, name, 0) != 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_SYSTEM, errno, "spool: %s cannot be removed", name);
    return 0;
}

int spool_bury(struct spool *spool, const char *id, struct error *error)
{
    file_name name;
    name_of(name, id, suffix);
    if (renameat(spool->folder_fd, name, spool->dead_fd, name) != 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_SYSTEM, errno, "spool: %s cannot be moved", name);
    return 0;
}

/* The id in a file's name, or false for a file that is no record. */
static bool id_of(const char *name, char id[static ID_BYTES])
{
    size_t length = strlen(name);
    size_t ending = sizeof suffix - 1;
    if (length <= ending || length - ending >= ID_BYTES ||
        strcmp(name + length - ending, suffix) != 0)
        return false;
    memcpy(id, name, length - ending);
    id[length - ending] = '\0';
    return id_is_valid(id);
}

/* ERROR_NO_MEMORY when the record could not be looked at, which says nothing of it. */
static int visit(struct spool *spool, const char *name,
    void (*found)(void *context, struct spool_record *record, bool damaged), void *context,
    struct error *error)
{
    char id[ID_BYTES];
    struct spool_record record;
    if (!id_of(name, id)) {
        unlinkat(spool->folder_fd, name, 0);
        return 0;
    }
    struct error why;
    int result = spool_load(spool, id, &record, &why);
    if (result == ERROR_NO_MEMORY)
        return error_set(error, ERROR_NO_MEMORY, "%s", why.text);
    if (result != 0)
        text_copy(record.id, sizeof record.id, id);
    found(context, &record, result != 0);
    return 0;
}

int spool_each(struct spool *spool,
    void (*found)(void *context, struct spool_record *record, bool damaged), void *context,
    struct error *error)
{
    int fd = openat(spool->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return error_set_errno(error, ERROR_SYSTEM, errno, "the spool cannot be read");
    }
    int result = 0;
    const struct dirent *file;
    while (result == 0 && (file = readdir(folder)) != NULL)
        if (strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0)
            result = visit(spool, file->d_name, found, context, error);
    closedir(folder);
    return result;
}
