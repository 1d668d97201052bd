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
 * A record is one JSON object. Its "version" is that of the format: it rises when a release
 * writes something that an earlier one would misread, and a release leaves records of a higher
 * version alone (ERROR_NEWER), because after a rollback they may hold replies. Records without a
 * version are from before there was one; they are read as version 1. An additional member that may
 * be ignored does not need a new version.
 *
 * Members that older releases did not write are optional.
 *
 * There is no lock: a record is used by one thread at a time, the worker that has its entry or the
 * control socket's while it has reserved the id (dead_letter.c), and everything shared is constant
 * after spool_open. If an operator removes a directory under us, the write that fails makes it
 * again and puts it under the same descriptor. All functions block for the disk.
 */
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
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "base/watch.h"
#include "spool/spool_dirs.h"

/* The gateway's largest response with every byte escaped (6 for 1), and the other members. */
enum { RECORD_LIMIT_BYTES = 49 * 1024 * 1024, CHECK_BYTES = 64 * 1024 };

/*
 * Version 2 added what a v1 backend needs, version 3 calls of tools and replies that do not fit in
 * a thread, version 4 wake-ups. A record is written in the first version that holds what it has,
 * for the releases that know no later one.
 */
enum { FORMAT_VERSION = 4, TOOLS_VERSION = 3, BACKEND_V1_VERSION = 2, FIRST_VERSION = 1 };

/* The first version of the format that holds the record. */
static int version_of(const struct spool_record *record)
{
    if (record->is_wake_up)
        return FORMAT_VERSION;
    if (record->rounds != NULL || record->document.wanted)
        return TOOLS_VERSION;
    bool is_of_v1_backend = record->message_id[0] != '\0' || record->may_be_changed ||
                            record->answers_again || record->begins_task ||
                            record->empty_answers > 0;
    return is_of_v1_backend ? BACKEND_V1_VERSION : FIRST_VERSION;
}

static const char *const json_words[] = {"false", "true"};

static void put_string(struct text *record, const char *name, const char *value)
{
    text_printf(record, ",\"%s\":", name);
    json_append_string(record, value, strlen(value));
}

static void put_v1_members(struct text *text, const struct spool_record *record)
{
    put_string(text, "message", record->message_id);
    text_printf(text,
        ",\"threadUntil\":%lld,\"mayBeChanged\":%s,\"again\":%s,\"beginsTask\":%s"
        ",\"emptyAnswers\":%u",
        (long long)record->thread_until_ms, json_words[record->may_be_changed],
        json_words[record->answers_again], json_words[record->begins_task], record->empty_answers);
    if (record->document.wanted) {
        text_printf(
            text, ",\"long\":true,\"documentBegun\":%s", json_words[record->document.begun]);
        put_string(text, "document", record->document.id);
    }
    if (record->is_wake_up)
        text_append(text, ",\"wakeUp\":true");
    if (record->rounds != NULL) {
        text_append(text, ",\"rounds\":");
        json_append(text, record->rounds);
    }
}

/* Not by way of a tree, which would copy a reply twice and take four times as long. */
char *spool_record_write(const struct spool_record *record, const char *account_id)
{
    int version = version_of(record);
    struct text text = {0};
    text_printf(&text, "{\"version\":%d", version);
    put_string(&text, "account", account_id);
    put_string(&text, "id", record->id);
    put_string(&text, "agent", record->agent_id);
    put_string(&text, "slug", record->agent_slug);
    put_string(&text, "task", record->task_id);
    text_printf(&text,
        ",\"createdAt\":%lld,\"failingMs\":%lld,\"errorMs\":%lld,\"timeouts\":%u,\"runs\":%u"
        ",\"givenUp\":%s",
        (long long)record->created_at_ms, (long long)record->failing_ms,
        (long long)record->error_ms, record->timeouts, record->runs,
        json_words[record->reply_abandoned]);
    put_string(&text, "failure", record->failure);
    if (version >= BACKEND_V1_VERSION)
        put_v1_members(&text, record);
    if (record->reply != NULL)
        put_string(&text, "reply", record->reply);
    text_append(&text, "}");
    return text_take(&text);
}

static bool copy_id_field(char field[static ID_BYTES], const json_t *document, const char *key)
{
    const char *value = json_guard_string(document, key);
    return value != NULL && text_copy(field, ID_BYTES, value);
}

/* record is all zeros, which are the defaults of optional members. */
static bool read_record_numbers(const json_t *document, struct spool_record *record)
{
    double runs;
    double timeouts = 0;
    if (!json_guard_time_ms(document, "createdAt", 0, &record->created_at_ms) ||
        !json_guard_number(json_object_get(document, "runs"), 0, INT_MAX, &runs))
        return false;
    json_guard_time_ms(document, "failingMs", 0, &record->failing_ms);
    json_guard_time_ms(document, "errorMs", 0, &record->error_ms);
    json_guard_number(json_object_get(document, "timeouts"), 0, INT_MAX, &timeouts);
    record->timeouts = (unsigned)timeouts;
    record->runs = (unsigned)runs;
    return true;
}

/* All optional: records of a v0 backend have none of them. */
static void read_v1_members(const json_t *document, struct spool_record *record)
{
    double empty_answers = 0;
    const char *message_id = json_guard_id(document, "message");
    text_copy(record->message_id, sizeof record->message_id, message_id != NULL ? message_id : "");
    json_guard_time_ms(document, "threadUntil", 0, &record->thread_until_ms);
    record->may_be_changed = json_is_true(json_object_get(document, "mayBeChanged"));
    record->answers_again = json_is_true(json_object_get(document, "again"));
    record->begins_task = json_is_true(json_object_get(document, "beginsTask"));
    record->is_wake_up = json_is_true(json_object_get(document, "wakeUp"));
    const char *document_id = json_guard_id(document, "document");
    record->document.wanted = json_is_true(json_object_get(document, "long"));
    record->document.begun = json_is_true(json_object_get(document, "documentBegun"));
    text_copy(
        record->document.id, sizeof record->document.id, document_id != NULL ? document_id : "");
    json_guard_number(json_object_get(document, "emptyAnswers"), 0, INT_MAX, &empty_answers);
    record->empty_answers = (unsigned)empty_answers;
}

/* False when the document is not a complete record of this account and id. */
static bool read_record_fields(
    const json_t *document, const char *account_id, const char *id, struct spool_record *record)
{
    const char *account = json_guard_string(document, "account");
    const char *failure = json_guard_string(document, "failure");
    if (account == NULL || strcmp(account, account_id) != 0 ||
        !copy_id_field(record->id, document, "id") || strcmp(record->id, id) != 0 ||
        !copy_id_field(record->agent_id, document, "agent") ||
        !copy_id_field(record->agent_slug, document, "slug") ||
        !copy_id_field(record->task_id, document, "task") || !read_record_numbers(document, record))
        return false;
    record->reply_abandoned = json_is_true(json_object_get(document, "givenUp"));
    read_v1_members(document, record);
    text_copy(record->failure, sizeof record->failure, failure != NULL ? failure : "");
    return true;
}

/*
 * Releases before version 1 wrote no version and no "stage". Anything beyond what this release
 * knows is a newer layout, of which nothing else can be judged, not even whose it is.
 */
static bool is_newer_format(const json_t *document)
{
    double version;
    const json_t *value = json_object_get(document, "version");
    if (json_object_get(document, "stage") != NULL)
        return true;
    return value != NULL && !json_guard_number(value, INT_MIN, FORMAT_VERSION, &version);
}

static int read_document(const json_t *document, const char *account_id, const char *id,
    struct spool_record *record, struct error *error)
{
    if (is_newer_format(document))
        return error_set(error, ERROR_NEWER,
            "written by a newer release; this one reads format version %d", FORMAT_VERSION);
    if (!read_record_fields(document, account_id, id, record))
        return error_set(error, ERROR_INVALID, "not a record of this account");
    record->rounds = json_incref(json_object_get(document, "rounds"));
    const char *reply = json_guard_string(document, "reply");
    if (reply != NULL && (record->reply = strdup(reply)) == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for a reply");
    return 0;
}

int spool_record_parse(const char *bytes, size_t length_bytes, const char *account_id,
    const char *id, struct spool_record *record, struct error *error)
{
    json_t *document = NULL;
    *record = (struct spool_record){0};
    int result = json_guard_load(bytes, length_bytes, &document, error);
    if (result == 0)
        result = read_document(document, account_id, id, record, error);
    else if (result != ERROR_NO_MEMORY)
        result = ERROR_INVALID;
    json_decref(document);
    if (result != 0)
        spool_record_fini(record);
    return result;
}

void spool_record_fini(struct spool_record *record)
{
    json_decref(record->rounds);
    free(record->reply);
    record->rounds = NULL;
    record->reply = NULL;
}

static const char component[] = "Spool";
static const char suffix[] = ".json";
static const char temporary_suffix[] = ".json" FILE_REPLACE_SUFFIX;

typedef char record_name[ID_BYTES + sizeof suffix];

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
    restore_spool_dir(spool, spool->dead_fd, SPOOL_DEAD_DIR);
    restore_spool_dir(spool, spool->dir_fd, SPOOL_LIVE_DIR);
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
    if (result != 0 && restore_spool_dir(spool, spool->dir_fd, SPOOL_LIVE_DIR))
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
    if (restore_spool_dir(spool, spool->dead_fd, SPOOL_DEAD_DIR)) {
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
    if (fsync(spool->dir_fd) == 0 && fsync(spool->dead_fd) == 0)
        return 0;
    int failure = errno;
    renameat(spool->dir_fd, name, spool->dead_fd, name);
    return error_set_errno(error, ERROR_SYSTEM, failure, "cannot move dead/%s to spool/", name);
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
